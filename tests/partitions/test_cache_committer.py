"""The committer of the page cache: who writes, the loop or a thread, that order and failures are the same (C4), and what is sent on
its way to the disk (C6).
"""

import errno
from collections.abc import Sequence

import pytest

from barnabas.log.write import Write
from barnabas.partitions.committer import CACHED_BYTES_MAX, CacheCommitter, Committed, Lane, Uncommitted
from barnabas.partitions.turn import Turn
from barnabas.ports import Done, File, Pool, Work, WorldError
from barnabas.testing.virtual import VirtualLoop, VirtualTime

SIZE = 256 * 1024


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


class Noting:
    """A file: who wrote, and where, is remembered."""

    path = "/t-0/0.log"

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.error: WorldError | None = None
        self.written: list[tuple[str, int]] = []
        self.sent: list[tuple[int, int]] = []
        """Position and end of each range."""

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        if self.error is not None:
            raise self.error
        self.written.append(("thread" if self._loop.in_thread else "loop", position))
        return sum(map(len, chunks))

    def write_back(self, position: int, size: int) -> None:
        assert self._loop.in_thread, "it may wait for the disk"
        assert self.written[-1][1] < position + size, "it is written before"
        self.sent.append((position, position + size))


class Owner(Committed):
    """Of one lane: what the committer said."""

    def __init__(self, stage: "Stage", file: Noting) -> None:
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
        self.uncommitted = Uncommitted()
        turn = Turn(self.loop, self.time)
        self.committer = CacheCommitter(turn, self.loop, self.uncommitted)
        self.one, self.other = (Owner(self, Noting(self.loop)) for _ in range(2))

    def write(self, owner: Owner, size: int) -> str:
        """A batch, committed; who wrote it."""
        owner.take(size)
        self.time.run_until(lambda: owner.told[-1:] == [owner.position])
        assert self.uncommitted.bytes == 0
        return owner.file.written[-1][0]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_loop_writes_but_for_a_file_that_is_being_synced(stage: Stage) -> None:
    assert stage.write(stage.one, SIZE) == "loop"
    stage.one.lane.syncing = 1
    assert stage.write(stage.one, SIZE) == "thread" and stage.write(stage.other, SIZE) == "loop"
    stage.one.lane.syncing = 0
    assert stage.write(stage.one, SIZE) == "loop"


def test_what_comes_while_a_thread_writes_waits_for_it_and_other_partitions_do_not(stage: Stage) -> None:
    one, other = stage.one, stage.other
    stage.write(one, SIZE)
    began = one.position
    one.lane.syncing = 1
    stage.loop.slow("commit", 1_000)
    one.take(SIZE)
    stage.time.settle()
    for size in (10, SIZE, 10):
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
    one = stage.one
    stage.write(one, SIZE)
    one.lane.syncing = 1
    told = list(one.told)
    one.file.error = WorldError("the disk is full", errno.ENOSPC)
    stage.loop.slow("commit", 1_000)
    one.take(SIZE)
    stage.time.settle()
    one.take(SIZE)
    stage.time.run_until(lambda: bool(one.failures))
    one.file.error = None
    one.take(SIZE)
    stage.time.run_for(2_000)
    assert one.failures == [one.failures[0]] and one.failures[0].errno == errno.ENOSPC
    assert one.told == told and len(one.file.written) == 1
    assert stage.uncommitted.bytes == 0


def test_what_the_page_cache_has_is_sent_to_the_disk_range_by_range(stage: Stage) -> None:
    one = stage.one
    sent_upto = 0
    for number in range(3 * CACHED_BYTES_MAX // SIZE):
        one.lane.syncing = number % 2  # what a thread writes is sent with the next write of the loop
        stage.write(one, SIZE)
        stage.time.run_for(100)
        if one.position - sent_upto < CACHED_BYTES_MAX or one.lane.syncing:
            assert [end for _, end in one.file.sent[-1:]] == [sent_upto][: len(one.file.sent)], "not yet"
        else:
            assert one.file.sent[-1] == (sent_upto, one.position)
            sent_upto = one.position
    assert len(one.file.sent) == 2 and not stage.other.file.sent


def test_of_a_new_file_no_more_is_sent_than_it_has(stage: Stage) -> None:
    one = stage.one
    stage.write(one, CACHED_BYTES_MAX - SIZE)
    one.file, one.position = Noting(stage.loop), 0
    stage.write(one, SIZE)
    stage.time.run_for(100)
    assert one.file.sent == [(0, SIZE)]


def test_nothing_is_sent_of_what_was_not_written(stage: Stage) -> None:
    one = stage.one
    one.file.error = WorldError("the disk is full", errno.ENOSPC)
    one.take(CACHED_BYTES_MAX)
    stage.time.run_until(lambda: bool(one.failures))
    stage.time.run_for(1_000)
    assert one.file.sent == []
