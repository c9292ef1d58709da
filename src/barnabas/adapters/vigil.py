"""The loop stays awake a moment when it has just worked and more is about to come.

To fall asleep in the kernel and to be woken costs a virtual machine tens of microseconds, more than a small request; who sends the
next one as soon as it has its answer pays that each time. So the loop polls for what comes, up to WINDOW_NS after its last work
(Seastar does so for 200 microseconds always, `--idle-poll-time-us`), but only while that pays:

V1  It begins after STREAK gaps in a row that were shorter than the window, however they were spent, and ends with the first longer
    one: in vain it polls at most WINDOW_NS in the time of STREAK pieces of work. An idle broker sleeps.
V2  Whoever else is ready to run on the core goes first, at each look.
V3  With one core there is nobody to wait for: the peer needs it.
V4  Not while a thread of a pool has work, nor beside other threads of a program that embeds a broker: the loop would hold the
    interpreter that they wait for, and get it back before they wake up, up to the 5 ms of the interpreter's switch interval. Nor while
    the kernel does a durable write: a thread of its own ends that, on this core perhaps, and would wait as long.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Final

WINDOW_NS: Final = 150_000
STREAK: Final = 16


class Vigil:
    """Of one loop, on its thread. pays: whether it ever stays awake, asked on that thread. now_ns: a monotonic clock."""

    __slots__ = (
        "_deadline_ns",
        "_gaps",
        "_loop",
        "_may",
        "_noting",
        "_now_ns",
        "_pays",
        "_rested_ns",
        "is_awake",
        "jobs",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pays: Callable[[], bool],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._loop = loop
        self._pays = pays
        self._now_ns = now_ns
        self._may: bool | None = None
        self.jobs = 0
        """Given to threads or to the kernel, and not answered (V4)."""
        self._gaps = 0
        self._rested_ns = 0
        self._deadline_ns = 0
        self._noting = False
        self.is_awake = False

    def heard(self) -> None:
        """A peer has sent something: called for each run of bytes, before they are worked on."""
        if self._noting or self._may is False:
            return
        if self._may is None:
            self._may = self._pays()
        now = self._now_ns()
        self._noting = True
        if self.is_awake:
            return
        if now - self._rested_ns < WINDOW_NS:
            self._gaps += 1
            self.is_awake = self._gaps >= STREAK and self.jobs == 0
        else:
            self._gaps = 0
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        """In the turn behind the work; again and again while awake."""
        now = self._now_ns()
        if self._noting:
            self._noting = False
            self._rested_ns = now
            self._deadline_ns = now + WINDOW_NS
        if not self.is_awake:
            return
        if now > self._deadline_ns or self.jobs > 0:
            self.is_awake = False
            self._gaps = 0
            return
        os.sched_yield()
        self._loop.call_soon(self._look)


def pays_here() -> bool:
    """Whether a loop of this thread has the interpreter for itself, and its peers a core of their own (V3, V4)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1 and threading.current_thread() is threading.main_thread()
