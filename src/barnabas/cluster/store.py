"""The image, durable: decisions in, one MetaStore transaction for all that wait, then apply and answer; and what other
nodes decided, as it comes.

Keys and value formats are in formats.py.

S1  A decision is made on an image that is durable, plus what was decided before it in the same transaction.
S2  image changes, listeners hear of it, and done is called only after the commit; done in the order of submitting.
S3  At most one transaction is under way; what is submitted meanwhile goes into the next one together.
S4  Somebody else's commit (F2) makes ours fail: decide all anew, on the image that the watch has told by then (S6), or
    else that is read anew. Decisions are pure, so they may run twice.
S5  After an error nobody knows whether the commit happened: the askers get the error, and everything is read anew
    before the next decision.
S6  What others commit comes by a watch, whole commits in order, none left out (ports.MetaStore): its facts lead from this
    image to a later one, perhaps several versions later. It costs what changed, whatever else the image holds.
S7  Versions only rise, each is shown once, and listeners hear with it the facts that lead there from the last one shown.
S8  What the watch told and cannot be understood (damage, a newer schema) ends the following: everything is read anew, at
    once and at whatever is told later, until it can. Meanwhile the image stays as it was, and decisions get the error.
Crash   before the commit: nothing happened, nobody was told. After it: it holds, the askers were not told.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from barnabas.cluster import formats
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import Draft, Fact, Image, apply, difference
from barnabas.ports import Compare, MetaChanges, MetaStore, Versioned, WorldError

Reply = TypeVar("Reply")
Listener = Callable[[Image, Sequence[Fact]], None]
"""listener(new image, the facts that led to it)."""

DECISIONS_PER_COMMIT_MAX: Final = 256
CONFLICTS_MAX: Final = 64
"""Lost races in a row before the askers get an error: far more than there are nodes."""


class Submission:
    """A decision to be made, and whom to tell."""

    __slots__ = ("decide", "done", "reply")

    def __init__(
        self,
        decide: Callable[[Image], Decision[Any]],
        done: Callable[[Any, WorldError | None], None],
    ) -> None:
        self.decide = decide
        self.done = done
        self.reply: Any = None


class ClusterStore:
    """The node's one view of the cluster, and the only way to change it."""

    def __init__(self, meta: MetaStore) -> None:
        self.image = Image()
        self._meta = meta
        self._listeners: list[Listener] = []
        self._waiting: deque[Submission] = deque()
        self._busy = False
        self._stale = True
        """The image must be read before the next decision."""
        self._following = False
        """The image is all that the watch has told so far."""
        self._conflicts = 0

    def load(self, done: Callable[[WorldError | None], None]) -> None:
        """Read the image and follow it; once, at start. A newer schema or damage is a WorldError with its remedy."""

        def loaded(reply: None, error: WorldError | None) -> None:
            done(error)

        self._meta.watch(formats.PREFIX, self._heard)
        self.submit(lambda image: Decision(None), loaded)

    def submit(
        self,
        decide: Callable[[Image], Decision[Reply]],
        done: Callable[[Reply | None, WorldError | None], None],
    ) -> Submission:
        """done(reply, None) when the decision's facts are durable and applied; done(None, error) if they may not be.

        done never runs inside this call. decide is pure and quick; it may run more than once (S4).
        """
        submission = Submission(decide, done)
        self._waiting.append(submission)
        if not self._busy:
            self._next()
        return submission

    def withdraw(self, submission: Submission) -> bool:
        """Whether it still waited: then it is never decided and done is never called. Else it takes its course."""
        try:
            self._waiting.remove(submission)
        except ValueError:
            return False
        return True

    def listen(self, listener: Listener) -> None:
        """Hear of every new image, before those who asked for the change do."""
        self._listeners.append(listener)

    def _heard(self, changes: MetaChanges) -> None:
        """S6. While all is being read, what is told before that is part of it."""
        if not self._following:
            if not self._busy:
                self._read()
            return
        try:
            news = formats.decode_changes(self.image, changes)
        except WorldError:
            self._stale = True
            self._following = False
            if not self._busy:
                self._read()
            return
        if news is not None:
            version, facts = news
            image = apply(self.image, facts)
            image.version = version
            self._show(image, facts)

    def _next(self) -> None:
        """Start on what waits: first an image to decide on, then one transaction."""
        if not self._waiting:
            return
        if self._stale:
            self._read()
        else:
            self._busy = True
            self._commit()

    def _read(self) -> None:
        self._busy = True
        self._meta.range(formats.PREFIX, self._loaded)

    def _loaded(self, found: dict[str, Versioned], error: WorldError | None) -> None:
        if error is None:
            try:
                image = formats.decode(found)
            except WorldError as damage:
                error = damage
        if error is not None:
            self._fail(self._taken(), error)
            return
        self._stale = False
        self._following = True
        if image.version != self.image.version:
            self._show(image, difference(self.image, image))
        self._commit()

    def _taken(self) -> list[Submission]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), DECISIONS_PER_COMMIT_MAX))]

    def _commit(self) -> None:
        batch = self._taken()
        if not batch:
            self._busy = False  # all were withdrawn while the image was read
            return
        draft = Draft(self.image)
        facts: list[Fact] = []
        for submission in batch:
            try:
                decision = submission.decide(draft.image)
            except BaseException:
                # Our own mistake: whoever called hears of it, and the others are decided with the next submission.
                self._waiting.extendleft(other for other in reversed(batch) if other is not submission)
                self._busy = False
                raise
            submission.reply = decision.reply
            for fact in decision.facts:
                draft.take(fact)
            facts += decision.facts
        changes = formats.encode(facts)
        puts = {key: value for key, value in changes.items() if value is not None}
        if facts:
            puts[formats.IMAGE_KEY] = str(formats.SCHEMA).encode()
        self._meta.txn(
            [Compare(formats.IMAGE_KEY, self.image.version)],
            puts,
            [key for key, value in changes.items() if value is None],
            lambda succeeded, error: self._committed(batch, draft, facts, succeeded, error),
        )

    def _committed(
        self,
        batch: list[Submission],
        draft: Draft,
        facts: list[Fact],
        succeeded: bool,
        error: WorldError | None,
    ) -> None:
        if error is None and not succeeded:
            self._conflicts += 1
            if self._conflicts <= CONFLICTS_MAX:
                self._stale = self._stale or self.image is draft.before
                self._waiting.extendleft(reversed(batch))
                self._next()
                return
            error = WorldError(f"the metadata store was changed by others {CONFLICTS_MAX} times in a row")
        self._conflicts = 0
        if error is not None:
            self._fail(batch, error)
            return
        if facts:
            self._show(draft.image, facts)
        self._finish(batch, None)

    def _fail(self, batch: list[Submission], error: WorldError) -> None:
        self._stale = True
        for submission in batch:
            submission.reply = None
        self._finish(batch, error)

    def _show(self, image: Image, facts: Sequence[Fact]) -> None:
        self.image = image
        for listener in self._listeners:
            listener(image, facts)

    def _finish(self, batch: list[Submission], error: WorldError | None) -> None:
        """Tell them, then go on: what they submit while being told joins the next transaction."""
        for submission in batch:
            submission.done(submission.reply, error)
        self._busy = False
        self._next()
