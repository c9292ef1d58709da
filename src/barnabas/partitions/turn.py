"""What is done once at the end of a loop turn: first write what was gathered, then send what was answered.

Many requests arrive in one turn. Their batches go to a file in one writev and their replies to a socket in one send,
because both writers and senders register here and run once, in this order, before the loop sleeps again.
"""

from collections.abc import Callable
from typing import Final

from barnabas.ports import Clock, Loop

NOT_READ: Final = -1


class Turn:
    """The end of the current loop turn."""

    __slots__ = ("_clock", "_loop", "_now_ms", "_scheduled", "_senders", "_writers")

    def __init__(self, loop: Loop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._now_ms = NOT_READ
        self._writers: list[Callable[[], None]] = []
        self._senders: list[Callable[[], None]] = []
        self._scheduled = False

    def now_ms(self) -> int:
        """Wall clock, milliseconds: read once for all the requests of a turn that has something to do at its end."""
        if not self._scheduled:
            return self._clock.wall_ms()
        if self._now_ms == NOT_READ:
            self._now_ms = self._clock.wall_ms()
        return self._now_ms

    def write(self, callback: Callable[[], None]) -> None:
        """Run callback with this turn's writers. The caller registers once a turn."""
        self._writers.append(callback)
        if not self._scheduled:
            self._scheduled = True
            self._loop.soon(self._run)

    def send(self, callback: Callable[[], None]) -> None:
        """Run callback with this turn's senders, after all writers."""
        self._senders.append(callback)
        if not self._scheduled:
            self._scheduled = True
            self._loop.soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        self._now_ms = NOT_READ
        while self._writers:
            writers, self._writers = self._writers, []
            for write in writers:
                write()
        senders, self._senders = self._senders, []
        for send in senders:
            send()
