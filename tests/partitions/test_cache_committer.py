"""The committer of the page cache: who writes, the loop or a thread, and that order and failures are the same (C6)."""

import errno
from collections.abc import Sequence

import pytest

from barnabas.log.write import Write
from barnabas.partitions.committer import (
    IN_THREADS_US,
    LARGE_BYTES,
    SLOW_US,
    CacheCommitter,
    Committed,
    Lane,
    Uncommitted,
)
from barnabas.partitions.turn import Turn
from barnabas.ports import Done, File, Pool, Work, WorldError
from barnabas.testing.virtual import VirtualLoop, VirtualTime

SMALL_BYTES = LARGE_BYTES - 1


class Loop(VirtualLoop):
    """Knows whether what runs now is a job of a pool."""

    in_thread = False

    def run_in(self, pool: Pool, work: Work, done: Done) -> None:
        def noted() -> object:
            self.in_thread = True
            try:
                return work()
            finally:
                self.in_thread = False

        super().run_in(pool, noted, done)


class Clock:
    """Virtual time, and what the writes took."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.more_us = 0

    def wall_ms(self) -> int:
        return self._time.wall_ms()

    def mono_ms(self) -> int:
        return self.mono_us() // 1000

    def mono_us(self) -> int:
        return self._time.mono_us() + self.more_us


class SlowFile:
    """Each write takes takes_us; who wrote, and where, is remembered."""

    path = "/t-0/0.log"

    def __init__(self, loop: Loop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self.takes_us = 0
        self.error: WorldError | None = None
        self.written: list[tuple[str, int]] = []

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        self._clock.more_us += self.takes_us
        if self.error is not None:
            raise self.error
        self.written.append(("thread" if self._loop.in_thread else "loop", position))
        return sum(map(len, chunks))


class Owner(Committed):
    """Of one lane: what the committer said."""

    def __init__(self, stage: "Stage", file: SlowFile) -> None:
        super().__init__(bytes(16))
        self._stage = stage
        self.file = file
        self.lane = Lane(self)
        self.position = 0
        self.told: list[int] = []
        self.failures: list[WorldError] = []

    def take(self, size: int) -> None:
        write = Write(self.file, self.position, b"head", bytes(size - 4), size, self.position + size)  # type: ignore[arg-type]
        self.position += size
        self._stage.committer.take(self.lane, write)

    def committed(self, end_offset: int, size: int) -> None:
        self.told.append(end_offset)

    def failed(self, error: WorldError) -> None:
        self.failures.append(error)

    def sync_failed(self, error: WorldError) -> None:
        raise AssertionError("nothing is synced")

    def unsynced_files(self) -> list[File]:
        return []

    def released(self) -> None:
        self._stage.committer.released(self.lane)

    def is_durable(self) -> None:
        raise AssertionError("nothing is synced")


class Stage:
    """Two partitions and their committer."""

    def __init__(self) -> None:
        self.time = VirtualTime(5)
        self.loop = Loop(self.time)
        self.clock = Clock(self.time)
        self.uncommitted = Uncommitted()
        self.committer = CacheCommitter(Turn(self.loop, self.clock), self.loop, self.clock, self.uncommitted)
        self.one, self.other = (Owner(self, SlowFile(self.loop, self.clock)) for _ in range(2))

    def write(self, owner: Owner, size: int) -> str:
        """A batch, committed; who wrote it."""
        owner.take(size)
        self.time.run_until(lambda: owner.told[-1:] == [owner.position])
        assert self.uncommitted.bytes == 0
        return owner.file.written[-1][0]

    def be_slow(self) -> None:
        """The next large writes go to threads."""
        self.one.file.takes_us = SLOW_US
        assert self.write(self.one, LARGE_BYTES) == "loop"
        self.one.file.takes_us = 0

    def wait(self, us: int) -> None:
        self.clock.more_us += us


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_is_quick_is_written_by_the_loop_however_large(stage: Stage) -> None:
    stage.one.file.takes_us = SLOW_US - 1
    assert [stage.write(stage.one, 4 * LARGE_BYTES) for _ in range(3)] == ["loop"] * 3


def test_after_a_slow_write_large_ones_of_all_partitions_go_to_threads_and_small_ones_do_not(
    stage: Stage,
) -> None:
    stage.be_slow()
    assert stage.write(stage.one, LARGE_BYTES) == stage.write(stage.other, LARGE_BYTES) == "thread"
    assert stage.write(stage.one, SMALL_BYTES) == stage.write(stage.other, SMALL_BYTES) == "loop"


def test_they_come_back_when_none_has_been_slow_for_a_while(stage: Stage) -> None:
    stage.be_slow()
    stage.wait(IN_THREADS_US - SLOW_US)
    stage.one.file.takes_us = SLOW_US
    assert stage.write(stage.one, LARGE_BYTES) == "thread"
    stage.one.file.takes_us = SLOW_US - 1
    stage.time.settle()
    stage.wait(IN_THREADS_US - SLOW_US)
    assert stage.write(stage.one, LARGE_BYTES) == "thread", "the slow one in the thread counted"
    stage.wait(SLOW_US)
    assert stage.write(stage.one, LARGE_BYTES) == "loop"


def test_a_small_slow_write_sends_nobody_to_threads(stage: Stage) -> None:
    stage.one.file.takes_us = SLOW_US
    assert stage.write(stage.one, SMALL_BYTES) == "loop"
    stage.one.file.takes_us = 0
    assert stage.write(stage.one, LARGE_BYTES) == "loop"


def test_what_comes_while_a_thread_writes_waits_for_it_and_other_partitions_do_not(stage: Stage) -> None:
    stage.be_slow()
    one, other = stage.one, stage.other
    began = one.position
    stage.loop.slow("commit", 1_000)
    one.take(LARGE_BYTES)
    stage.time.settle()
    for size in (10, LARGE_BYTES, 10):
        one.take(size)
        stage.time.settle()
    other.take(10)
    stage.time.settle()
    assert other.told == [10] and one.told == [began]
    stage.time.run_until(lambda: one.told[-1] == one.position)
    assert [who for who, _ in one.file.written] == ["loop", "thread", "thread"]
    places = [position for _, position in one.file.written]
    assert places == sorted(places) and one.told == sorted(one.told)
    assert stage.uncommitted.bytes == 0


def test_a_write_that_fails_in_a_thread_is_told_once_and_what_came_behind_it_is_dropped(stage: Stage) -> None:
    stage.be_slow()
    one = stage.one
    told = list(one.told)
    one.file.error = WorldError("the disk is full", errno.ENOSPC)
    stage.loop.slow("commit", 1_000)
    one.take(LARGE_BYTES)
    stage.time.settle()
    one.take(LARGE_BYTES)
    stage.time.run_until(lambda: bool(one.failures))
    one.file.error = None
    one.take(LARGE_BYTES)
    stage.time.run_for(2_000)
    assert one.failures == [one.failures[0]] and one.failures[0].errno == errno.ENOSPC
    assert one.told == told and len(one.file.written) == 1
    assert stage.uncommitted.bytes == 0
