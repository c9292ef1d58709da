"""The Loop port over asyncio (uvloop where it is installed): one thread owns all state, pools do slow work for it."""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from barnabas.adapters.direct_writes import DirectWrites
from barnabas.adapters.files import OsRing
from barnabas.adapters.vigil import Vigil, pays_here
from barnabas.ports import Done, Pool, RingFile, Work

POOL_THREADS: Final[dict[Pool, int]] = {
    "commit": 4,
    "sync": 2,
    "checkpoint": 8,
    "write-back": 1,
    "read": 2,
    "compress": 1,
    "upkeep": 1,
    "metadata": 1,
}
ANSWERS_MAX: Final = 32
"""Handed out in one go: thousands of jobs may end together, and others wait for the loop."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it can be imported, the standard one elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class AsyncLoop:
    """The loop of one node. Must be used on the thread that runs it, but for from_thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asyncio = loop
        self.vigil = Vigil(loop, pays_here)
        self._timer: asyncio.TimerHandle | None = None
        self._pools: dict[Pool, ThreadPoolExecutor] = {}
        self._answers: deque[tuple[Done, object | None, BaseException | None]] = deque()
        self._answering = False
        self._direct_writes = DirectWrites(loop, self._write_by_thread)

    def soon(self, callback: Callable[[], None]) -> None:
        self.asyncio.call_soon(callback)

    def wake_at(self, mono_ms: int | None, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if mono_ms is not None:
            # The monotonic clock is asked itself: uvloop's time() is that of the turn's start. Half a millisecond
            # more, because the loop counts in whole ones: the deadline must have passed when the callback asks.
            delay = max(mono_ms / 1000 - time.monotonic(), 0.0) + 0.0005
            self._timer = self.asyncio.call_later(delay, callback)

    def run_in(self, pool: Pool, work: Work, done: Done) -> None:
        executor = self._pools.get(pool)
        if executor is None:
            executor = self._pools[pool] = ThreadPoolExecutor(
                POOL_THREADS[pool], thread_name_prefix=f"barnabas-{pool}"
            )

        def run() -> None:
            result: object | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:
                error = raised
            self._answers.append((done, result, error))
            # One wake-up serves all answers that are there when it runs.
            if not self._answering:
                self._answering = True
                self._wake()

        self.vigil.jobs += 1
        executor.submit(run)

    def _wake(self) -> None:
        try:
            self.asyncio.call_soon_threadsafe(self._answer)
        except RuntimeError:
            return  # the loop has been closed: nobody is left to be told

    def _answer(self) -> None:
        self._answering = False
        try:
            for _ in range(min(len(self._answers), ANSWERS_MAX)):
                done, result, error = self._answers.popleft()
                self.vigil.jobs -= 1
                done(result, error)
        finally:
            # Those that came meanwhile, were too many, or lie behind a callback that raised.
            if self._answers and not self._answering:
                self._answering = True
                self._wake()

    def write_ring(
        self, ring: RingFile, position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        if not isinstance(ring, OsRing):
            self._write_by_thread(ring, position, chunks, done)
            return

        def ended(result: object | None, error: BaseException | None) -> None:
            self.vigil.jobs -= 1
            done(result, error)

        self.vigil.jobs += 1
        self._direct_writes.write(ring, position, chunks, ended)

    def _write_by_thread(
        self, ring: RingFile, position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        self.run_in("commit", lambda: ring.write(position, chunks), done)

    def from_thread(self, callback: Callable[[], None]) -> None:
        self.asyncio.call_soon_threadsafe(callback)

    def on_stop_signal(self, callback: Callable[[str], None]) -> None:
        """callback("SIGTERM" or "SIGINT") on the loop, at each such signal. The main thread's loop only."""
        for wanted in (signal.SIGTERM, signal.SIGINT):
            self.asyncio.add_signal_handler(wanted, callback, wanted.name)

    def close(self) -> None:
        """Ends the pools: waits for the work that was given to them, and to the kernel, and hands out its answers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._direct_writes.close()
        for executor in self._pools.values():
            executor.shutdown(wait=True)
        while self._answers:
            self._answer()
