"""Waiting is one mechanism: one heap of deadlines, one armed timer, and waiters that count what is handed to them.

W1  A waiter completes exactly once: when what it wanted has been fed, at its deadline, or when it is cancelled.
W2  A waiter never plans again at a wake: it counts bytes (or events), and its owner plans once, at completion.
W3  Callbacks run in the order of their deadlines; those of one millisecond in the order they were set.
W4  A wait that only its connection needs ends with the connection: it may have been meant for weeks.
Nothing here survives a crash: a parked request is lost with its connection.
"""

from collections.abc import Callable, Hashable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeVar

from barnabas.ports import Clock, Loop

Subject = TypeVar("Subject")
FOREVER: Final = 1 << 62
EXPIRE_US: Final = 1_000
EXPIRE_MAX: Final = 256
"""Of what is due at once so much is done in one go, and the rest after whatever else is ready."""

TOMBSTONES_MAX: Final = 1024
"""Cancelled timers left in the heap before it is rebuilt without them."""


class Asker:
    """Who is told parked replies. On the way of every request a method of a known class: to make a function and call it costs
    a microsecond.
    """

    __slots__ = ()

    def replied(self, subject: Any, reply: object) -> None:
        """reply is that of what was parked for subject."""
        raise NotImplementedError


class AskingFunction(Asker):
    """For all others: a function."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[Any, object], None]) -> None:
        self._callback = callback

    def replied(self, subject: Any, reply: object) -> None:
        self._callback(subject, reply)


class Parked:
    """A reply that comes later: the handler returns it, whoever knows the reply completes it, once."""

    __slots__ = ("_asker", "_on_abandoned", "_subject", "reply")

    def __init__(self) -> None:
        self.reply: object | None = None
        self._on_abandoned: Callable[[], None] | None = None
        self._asker: Asker | None = None
        self._subject: object | None = None

    def complete(self, reply: object) -> None:
        assert self.reply is None, "a parked reply is completed once"
        self.reply = reply
        asker, subject = self._asker, self._subject
        self._asker = self._subject = self._on_abandoned = None  # the subject may know this: no cycle stays
        if asker is not None:
            asker.replied(subject, reply)

    def held_bytes(self) -> int:
        """About so many, of a reply that is made while it waits and may be large."""
        return 0

    def when_abandoned(self, callback: Callable[[], None]) -> None:
        """callback() if nobody can be told the reply any more: for waits that have no other purpose."""
        self._on_abandoned = callback

    def abandon(self) -> None:
        """The connection that waits for it is gone."""
        callback, self._on_abandoned = self._on_abandoned, None
        if callback is not None:
            callback()

    def tell(self, asker: Asker, subject: object) -> None:
        """asker.replied(subject, reply) as soon as there is a reply: at once when there is."""
        if self.reply is not None:
            asker.replied(subject, self.reply)
        else:
            self._asker = asker
            self._subject = subject

    def then(self, callback: Callable[[Subject, object], None], subject: Subject) -> None:
        """callback(subject, reply), likewise."""
        self.tell(AskingFunction(callback), subject)


class Timer:
    """One entry of the heap."""

    __slots__ = ("_waits", "callback", "deadline_ms")

    def __init__(self, deadline_ms: int, callback: Callable[[], None], waits: "Waits") -> None:
        self.deadline_ms = deadline_ms
        self.callback: Callable[[], None] | None = callback
        self._waits = waits

    def cancel(self) -> None:
        """No error when it has fired or was cancelled."""
        if self.callback is not None:
            self.callback = None
            self._waits.forget_one()


class Waiter:
    """Waits until `wanted` units were fed under any of its keys, or until its deadline."""

    __slots__ = ("keys", "on_done", "timer", "wanted")

    def __init__(self, keys: Sequence[Hashable], wanted: int, on_done: Callable[[bool], None]) -> None:
        self.keys = keys
        self.wanted = wanted
        self.on_done = on_done
        self.timer: Timer | None = None


class Waits:
    """The heap of deadlines and the waiters by key of one node."""

    def __init__(self, clock: Clock, loop: Loop) -> None:
        self._clock = clock
        self._loop = loop
        self._heap: list[tuple[int, int, Timer]] = []
        self._serial = 0
        self._cancelled = 0
        self._armed_ms = FOREVER
        self._by_key: dict[Hashable, list[Waiter]] = {}

    # -- deadlines

    def call_at(self, mono_ms: int, callback: Callable[[], None]) -> Timer:
        """Run callback at mono_ms (of Clock.mono_ms), not earlier."""
        timer = Timer(mono_ms, callback, self)
        self._serial += 1
        heappush(self._heap, (mono_ms, self._serial, timer))
        if mono_ms < self._armed_ms:
            self._armed_ms = mono_ms
            self._loop.wake_at(mono_ms, self.expire)
        return timer

    def call_after(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        """Run callback delay_ms from now."""
        return self.call_at(self._clock.mono_ms() + delay_ms, callback)

    def expire(self) -> None:
        """Run what is due, then arm the timer for what comes next: also when a callback raises."""
        self._armed_ms = FOREVER
        try:
            self._run_due()
        finally:
            self._arm()

    def _run_due(self) -> None:
        """The heap may be another one after each callback."""
        now_ms, end_us = self._clock.mono_ms(), self._clock.mono_us() + EXPIRE_US
        for _ in range(EXPIRE_MAX):
            callback = None
            while callback is None:
                if not self._heap or self._heap[0][0] > now_ms:
                    return
                timer = heappop(self._heap)[2]
                callback = timer.callback
                if callback is None:
                    self._cancelled -= 1
            timer.callback = None
            callback()
            if self._clock.mono_us() >= end_us:
                return

    def _arm(self) -> None:
        while self._heap and self._heap[0][2].callback is None:
            heappop(self._heap)
            self._cancelled -= 1
        if self._heap and self._heap[0][0] < self._armed_ms:
            self._armed_ms = self._heap[0][0]
            self._loop.wake_at(self._armed_ms, self.expire)

    def forget_one(self) -> None:
        """A timer was cancelled. It stays in the heap until it is on top or too many like it lie there."""
        self._cancelled += 1
        if self._cancelled > TOMBSTONES_MAX and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self._cancelled = 0

    def pending(self) -> int:
        """Timers that will fire."""
        return len(self._heap) - self._cancelled

    # -- waiters

    def add(
        self, keys: Sequence[Hashable], wanted: int, deadline_ms: int, on_done: Callable[[bool], None]
    ) -> Waiter:
        """on_done(fed) once: True when `wanted` units were fed under keys, False at the deadline."""
        waiter = Waiter(keys, wanted, on_done)
        for key in keys:
            self._by_key.setdefault(key, []).append(waiter)
        waiter.timer = self.call_at(deadline_ms, lambda: self._complete(waiter, False))
        return waiter

    def feed(self, key: Hashable, amount: int) -> None:
        """amount units happened under key."""
        if not self._by_key:
            return
        waiters = self._by_key.get(key)
        if waiters is None:
            return
        for waiter in list(waiters):
            waiter.wanted -= amount
            if waiter.wanted <= 0:
                self._complete(waiter, True)

    def wake(self, key: Hashable) -> None:
        """Whatever waits under key shall look now: the partition went away, or its leader changed."""
        self.feed(key, FOREVER)

    def cancel(self, waiter: Waiter) -> None:
        """Forget the waiter; its on_done is not called."""
        if waiter.timer is not None:
            self._remove(waiter)

    def waiting(self) -> int:
        """Keys with somebody waiting under them (a gauge)."""
        return len(self._by_key)

    def _complete(self, waiter: Waiter, fed: bool) -> None:
        if waiter.timer is None:
            return
        self._remove(waiter)
        waiter.on_done(fed)

    def _remove(self, waiter: Waiter) -> None:
        assert waiter.timer is not None
        waiter.timer.cancel()
        waiter.timer = None
        for key in waiter.keys:
            waiters = self._by_key.get(key)
            if waiters is not None:
                if waiter in waiters:
                    waiters.remove(waiter)
                if not waiters:
                    del self._by_key[key]
