"""How far each broker has come with the image, told through the metadata store: a change is answered when all serve it.

    applied/<node id>    the version of the image up to which that node has opened what it leads, decimal

E1  A node marks a version once everything the image of that version says is done here, and versions only rise.
E2  One mark is on its way at a time; what is marked meanwhile goes with the next: many changes cost few transactions. One
    that could not be written (the disk is full) is written again AGAIN_MS later: others wait for it.
E3  A mark need not be synced: after a power failure nobody waits who has asked before it.
E4  A mark of a life before this one is lower than what is waited for: a version is waited for only after it was made.
Crash   of a node: it marks nothing more. Whoever waits for it goes on waiting until it is back and has marked, or is no
        broker of the image any more (review), or the asker's time is over (cancel).
"""

from collections.abc import Callable, Collection
from typing import Final

from barnabas.ports import MetaChanges, MetaStore, Versioned, WorldError

PREFIX: Final = "applied/"
AGAIN_MS: Final = 1_000
Nodes = Callable[[], Collection[int]]
CallAfter = Callable[[int, Callable[[], None]], object]


class Waiting:
    """Somebody who waits for a version. cancel: then nothing more is heard of it."""

    __slots__ = ("done", "is_over", "nodes", "version")

    def __init__(self, version: int, nodes: Nodes, done: Callable[[], None]) -> None:
        self.version = version
        self.nodes = nodes
        self.done = done
        self.is_over = False

    def cancel(self) -> None:
        self.is_over = True


class Settled:
    """One node's view of how far all have come, and its own mark."""

    def __init__(self, meta: MetaStore, node_id: int, call_after: CallAfter) -> None:
        self._meta = meta
        self._call_after = call_after
        self._own_key = f"{PREFIX}{node_id}"
        self._applied: dict[int, int] = {}
        self._waiting: list[Waiting] = []
        self._marked = 0
        self._written = 0
        self._writing = False

    def load(self, done: Callable[[WorldError | None], None]) -> None:
        """Once, before anything else."""

        def loaded(found: dict[str, Versioned], error: WorldError | None) -> None:
            self._heard(list(found.items()))
            done(error)

        self._meta.watch(PREFIX, self._heard)
        self._meta.range(PREFIX, loaded)

    def _heard(self, changes: MetaChanges) -> None:
        for key, versioned in changes:
            node_id = int(key.removeprefix(PREFIX))
            if versioned is None:
                self._applied.pop(node_id, None)
            else:
                self._applied[node_id] = max(self._applied.get(node_id, 0), int(versioned.value))
        self.review()

    # -- the own mark

    def mark(self, version: int) -> None:
        """E1."""
        self._marked = max(self._marked, version)
        self._write()

    def _write(self) -> None:
        if self._writing or self._written == self._marked:
            return
        self._writing = True
        version = self._marked

        def go_on() -> None:
            self._writing = False
            self._write()

        def written(_: bool, error: WorldError | None) -> None:
            if error is None:
                self._written = version
                go_on()
            else:
                self._call_after(AGAIN_MS, go_on)

        self._meta.txn([], {self._own_key: str(version).encode()}, [], written, durable=False)

    # -- waiting

    def reached(self, version: int, nodes: Collection[int]) -> bool:
        """Whether all of them have marked it."""
        return all(self._applied.get(node_id, 0) >= version for node_id in nodes)

    def wait(self, version: int, nodes: Nodes, done: Callable[[], None]) -> Waiting:
        """done() once all of nodes() have marked version, asked anew each time: at the next mark or review, never in here."""
        waiting = Waiting(version, nodes, done)
        # While a broker hangs nobody marks anything: those who have given up must not add up.
        self._waiting = [each for each in self._waiting if not each.is_over]
        self._waiting.append(waiting)
        return waiting

    def review(self) -> None:
        """Look again: somebody has marked a version, or there are other nodes to wait for."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.is_over:
                continue
            if self.reached(each.version, each.nodes()):
                each.is_over = True
                each.done()
            else:
                self._waiting.append(each)
