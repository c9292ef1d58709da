"""Virtual time: one heap of callbacks for all nodes of a simulation, turned by the test; nothing ever sleeps.

V1  Time moves only when nothing is left to do now; then it jumps to the next entry.
V2  Entries of the same millisecond run in an order drawn from the seed: nobody may rely on the order of wake-ups.
V3  Work given to a pool takes a drawn time; a pool of one thread keeps its order, as a real one does, and answers come
    in the order in which the work ended.
V4  A killed loop runs nothing any more. Work that was in flight may have happened without an answer.
V5  A frozen one (SIGSTOP) runs nothing for a while, its pools neither; then all that was due, in that order.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final

from barnabas.adapters.loop import POOL_THREADS
from barnabas.ports import Done, Pool, RingFile, Work

WALL_START_MS: Final = 1_700_000_000_000
STEPS_MAX: Final = 10_000_000


class VirtualTime:
    """The clock and the heap. It is a Clock; each node has a VirtualLoop on it."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.steps = 0
        self._now_ms = 0
        self._wall_offset_ms = WALL_START_MS
        self._heap: list[tuple[int, float, int, Callable[[], None]]] = []
        self._count = 0

    def wall_ms(self) -> int:
        return self._now_ms + self._wall_offset_ms

    def mono_ms(self) -> int:
        return self._now_ms

    def mono_us(self) -> int:
        return self._now_ms * 1000

    def step_wall(self, by_ms: int) -> None:
        """An operator or NTP sets the wall clock; the monotonic one does not notice."""
        self._wall_offset_ms += by_ms

    def hold(self, for_ms: int) -> None:
        """Whoever runs now takes that long: what is due meanwhile is late."""
        self._now_ms += for_ms

    def at(self, due_ms: int, callback: Callable[[], None]) -> None:
        """Run callback at due_ms (now when that has passed), among others of that millisecond at random."""
        self._count += 1
        entry = (max(due_ms, self._now_ms), self.random.random(), self._count, callback)
        heappush(self._heap, entry)

    def after(self, delay_ms: int, callback: Callable[[], None]) -> None:
        self.at(self._now_ms + delay_ms, callback)

    def step(self, until_ms: int | None = None) -> bool:
        """Run one entry, if there is one (due by until_ms); returns whether there was."""
        if not self._heap or (until_ms is not None and self._heap[0][0] > until_ms):
            return False
        due_ms, _, _, callback = heappop(self._heap)
        self._now_ms = max(due_ms, self._now_ms)
        self.steps += 1
        assert self.steps < STEPS_MAX, f"seed {self.seed}: the simulation does not end"
        callback()
        return True

    def run_for(self, duration_ms: int) -> None:
        """All that is due within the next duration_ms; afterwards that time has passed."""
        end_ms = self._now_ms + duration_ms
        while self.step(end_ms):
            pass
        self._now_ms = max(end_ms, self._now_ms)

    def settle(self) -> None:
        """All that is due at this millisecond, and what it causes at this millisecond."""
        self.run_for(0)

    def run_until(self, reached: Callable[[], bool], limit_ms: int = 600_000) -> None:
        """Until reached() holds; AssertionError with the seed when it does not within limit_ms of virtual time."""
        end_ms = self._now_ms + limit_ms
        while not reached():
            if not self.step(end_ms):
                idle = "nothing is left to run" if not self._heap else f"{limit_ms} ms have passed"
                raise AssertionError(f"seed {self.seed}: not reached, and {idle} (at {self._now_ms} ms)")


class _Pool:
    """Jobs that wait, and how many run."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.work_ms_max: int | None = None
        self.waiting: deque[tuple[Work, Done]] = deque()
        self.running: dict[int, Work] = {}


class VirtualLoop:
    """The Loop port of one simulated node."""

    def __init__(self, time: VirtualTime, *, work_ms_max: int = 5) -> None:
        self.time = time
        self.alive = True
        self.frozen = False
        self._held: deque[Callable[[], None]] = deque()
        self._work_ms_max = work_ms_max
        self._timer = 0
        self._pools: dict[Pool, _Pool] = {}
        self._jobs = 0
        self._answers: deque[tuple[Done, object | None, BaseException | None]] = deque()

    def soon(self, callback: Callable[[], None]) -> None:
        self.after(0, callback)

    def from_thread(self, callback: Callable[[], None]) -> None:
        self.after(0, callback)

    def after(self, delay_ms: int, callback: Callable[[], None]) -> None:
        """Run callback on this node in delay_ms, if the node still lives then. For the doubles; not in the port."""
        self.time.after(delay_ms, lambda: self._fire(callback))

    def _fire(self, callback: Callable[[], None]) -> None:
        if self.frozen:
            self._held.append(callback)
        elif self.alive:
            callback()

    def wake_at(self, mono_ms: int | None, callback: Callable[[], None]) -> None:
        self._timer += 1
        armed = self._timer
        if mono_ms is not None:
            delay_ms = max(mono_ms - self.time.mono_ms(), 0)
            self.after(delay_ms, lambda: callback() if armed == self._timer else None)

    def run_in(self, pool: Pool, work: Work, done: Done) -> None:
        if not self.alive:
            return
        found = self._pool(pool)
        found.waiting.append((work, done))
        self._start(found)

    def write_ring(
        self, ring: RingFile, position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        self.run_in("commit", lambda: ring.write(position, chunks), done)

    def _pool(self, pool: Pool) -> _Pool:
        found = self._pools.get(pool)
        if found is None:
            found = self._pools[pool] = _Pool(POOL_THREADS[pool])
        return found

    def _start(self, pool: _Pool) -> None:
        while pool.waiting and len(pool.running) < pool.threads:
            work, done = pool.waiting.popleft()
            self._jobs += 1
            job = self._jobs
            pool.running[job] = work
            longest_ms = self._work_ms_max if pool.work_ms_max is None else pool.work_ms_max
            delay_ms = self.time.random.randint(0, longest_ms)
            self.after(delay_ms, lambda job=job, work=work, done=done: self._finish(pool, job, work, done))  # type: ignore[misc]

    def _finish(self, pool: _Pool, job: int, work: Work, done: Done) -> None:
        del pool.running[job]
        result: object | None = None
        error: BaseException | None = None
        try:
            result = work()
        except AssertionError:
            raise  # our own bug: the test must see it
        except Exception as raised:
            error = raised
        self._answers.append((done, result, error))
        self.soon(self._answer)
        self._start(pool)

    def _answer(self) -> None:
        done, result, error = self._answers.popleft()
        done(result, error)

    def slow(self, pool: Pool, work_ms_max: int | None) -> None:
        """From now on each work of that pool may take so long; None: as long as all."""
        self._pool(pool).work_ms_max = work_ms_max

    def freeze(self) -> None:
        """V5."""
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        while self._held and not self.frozen:
            self._fire(self._held.popleft())

    def kill(self) -> None:
        """SIGKILL. Of the work that was running, some still happens; nobody hears of it."""
        if not self.alive:
            return
        self.alive = self.frozen = False
        self._held.clear()
        for pool in self._pools.values():
            for work in pool.running.values():
                if self.time.random.random() < 0.5:
                    try:
                        work()
                    except AssertionError:
                        raise
                    except Exception:
                        continue
        self._pools.clear()
        self._answers.clear()
