"""The checkpoint of a half of the journal: several syncs at once, and what partitions do meanwhile (H3 and C4)."""

import errno
from collections.abc import Callable

import pytest
from journal_bench import ROUNDS_OF_A_HALF, TOPICS, Bench

from barnabas.adapters.loop import POOL_THREADS
from barnabas.log.journal import JOURNAL
from barnabas.partitions import journal_committer
from barnabas.partitions.committer import Lane
from barnabas.partitions.journal_committer import (
    LATE_MAX,
    ROOM_WAIT_MS,
    SMALL_BYTES,
    SYNCS_MAX,
    JournalCommitter,
    Late,
)
from barnabas.ports import Done, File, Pool, Work, WorldError
from barnabas.records.record import Record, build_batch
from barnabas.testing import virtual

SOON_MS = 50
"""What takes no longer waited for nothing but the disk."""
FOR_EVER_MS = 3_600_000
SIX = (*TOPICS, "d", "e", "f")
Plant = Callable[[pytest.MonkeyPatch], None]


def begin_checkpoint(bench: Bench, takes_ms: int, fails: str | None = None) -> None:
    """The files of all topics are being synced, which takes so long at most; of one of them it fails."""
    bench.put(*bench.topics)  # a first batch goes to its file, which is made
    bench.machine.loop.slow("checkpoint", takes_ms)
    bench.put(*bench.topics)
    if fails is not None:
        bench.machine.disk.fail("sync", errno.EIO, path=f"{fails}-0/0000")
    while not any(bench.partition(name).lane.syncing for name in bench.topics):
        bench.put(*bench.topics)


def fill_the_other_half(bench: Bench, name: str) -> None:
    for _ in range(ROUNDS_OF_A_HALF - 1):
        bench.put(name)


def took_ms(bench: Bench, *names: str, size: int = 10) -> int:
    """How long a batch for each of them waited for its answer."""
    before = bench.time.mono_ms()
    bench.put(*names, size=size)
    return bench.time.mono_ms() - before


def power_failure(bench: Bench) -> None:
    bench.machine.crash()
    bench.machine.boot()


class Held:
    """The next works of the commit pool wait until they are let go; all after them run."""

    def __init__(self, bench: Bench, count: int = 1) -> None:
        self._real = bench.machine.loop.run_in
        self._left = count
        self._held: list[Callable[[], None]] = []
        bench.machine.loop.run_in = self._run_in  # type: ignore[method-assign]

    def _run_in(self, pool: Pool, work: Work, done: Done) -> None:
        if pool == "commit" and self._left:
            self._left -= 1
            self._held.append(lambda: self._real(pool, work, done))
        else:
            self._real(pool, work, done)

    def let_go(self) -> None:
        held, self._held = self._held, []
        for run in held:
            run()


def append(bench: Bench, name: str, told: list[int], size: int = 10) -> None:
    """A batch that nobody waits for; told gets the code of its answer."""
    partition = bench.partition(name)
    bench.serial += 1
    value = b"%d:" % bench.serial + b"x" * size
    end = partition.append_own(build_batch([Record(None, value, bench.time.wall_ms())]), bench.time.wall_ms())
    if end > 0:
        partition.when_committed(end, lambda code: bench.told(told, name, value, code))


def begin_late(bench: Bench, name: str) -> list[int]:
    """A batch that a thread is to write; where the code of its answer comes."""
    told: list[int] = []
    append(bench, name, told)
    bench.time.run_until(lambda: bench.partition(name).lane.busy)
    return told


def is_whole(bench: Bench) -> bool:
    return all(bench.stored(name) == bench.answered[name] for name in bench.topics)


def test_as_many_syncs_are_in_flight_as_the_pool_has_threads() -> None:
    """More would be said to be under way while they wait for a thread."""
    assert POOL_THREADS["checkpoint"] == virtual.POOL_THREADS["checkpoint"] == SYNCS_MAX


def test_several_files_are_synced_at_once() -> None:
    bench = Bench(topics=SIX)
    begin_checkpoint(bench, FOR_EVER_MS)
    assert [bench.partition(name).lane.syncing for name in SIX] == [1] * 6


def test_a_partition_whose_file_is_being_synced_is_answered_by_the_ring() -> None:
    bench = Bench()
    begin_checkpoint(bench, FOR_EVER_MS)
    for _ in range(3):
        before = bench.syncs()
        assert took_ms(bench, *TOPICS) < SOON_MS
        assert bench.syncs() == before + 1
    bench.check()
    power_failure(bench)
    bench.check()


@pytest.mark.parametrize("seed", range(4))
def test_what_finds_no_room_waits_for_the_checkpoint_and_needs_no_sync_of_its_own(seed: int) -> None:
    bench = Bench(seed=seed)
    bench.put(*TOPICS)
    bench.put(*TOPICS)
    bench.machine.loop.slow("checkpoint", 100)
    syncs, ring, rounds, checkpoints = bench.syncs(), bench.journal.ring, 50, 0
    assert ring is not None
    longest_ms = 0
    for _ in range(rounds):
        half = ring.half
        longest_ms = max(longest_ms, took_ms(bench, *TOPICS))
        checkpoints += ring.half != half
    bench.time.run_for(100)
    assert bench.syncs() == syncs + rounds + checkpoints * len(TOPICS)
    assert longest_ms > SOON_MS, "nothing has waited here"
    bench.check()
    power_failure(bench)
    bench.check()


def test_a_checkpoint_that_never_ends_holds_nobody_for_long() -> None:
    bench = Bench()
    begin_checkpoint(bench, FOR_EVER_MS)
    fill_the_other_half(bench, "a")
    assert ROOM_WAIT_MS <= took_ms(bench, *TOPICS) < ROOM_WAIT_MS + SOON_MS
    for _ in range(3):
        assert took_ms(bench, *TOPICS) < SOON_MS
    bench.check()
    power_failure(bench)
    bench.check()


def test_few_partitions_do_not_wait_for_the_files_of_many() -> None:
    bench = Bench(topics=SIX)
    begin_checkpoint(bench, FOR_EVER_MS)
    fill_the_other_half(bench, "a")
    assert took_ms(bench, "a") < SOON_MS
    assert took_ms(bench, "a", "b") >= ROOM_WAIT_MS
    bench.check()


@pytest.mark.parametrize("is_other_free", [True, False])
def test_a_round_that_no_half_holds_waits_for_none(is_other_free: bool) -> None:
    bench = Bench()
    if is_other_free:
        bench.put(*TOPICS)
    else:
        begin_checkpoint(bench, FOR_EVER_MS)
    ring = bench.journal.ring
    assert ring is not None
    half = ring.half
    assert took_ms(bench, *TOPICS, size=12_000) < SOON_MS
    assert ring.half == half
    bench.check()


def test_after_a_failure_no_more_syncs_are_begun() -> None:
    lefts = []
    for seed in range(8):
        bench = Bench(seed=seed, topics=tuple("abcdefghijkl"))
        begin_checkpoint(bench, 20, fails="l")
        bench.time.run_until(lambda bench=bench: bench.journal.frozen)  # type: ignore[misc]
        left = sum(map(len, bench.journal.due))
        bench.time.run_for(SOON_MS)
        assert sum(map(len, bench.journal.due)) == left
        lefts.append(left)
        bench.time.run_for(10_000)
        assert bench.journal.usable
        bench.check()
    assert any(lefts)


def test_no_run_begins_while_a_thread_has_still_to_write_for_the_old_one() -> None:
    for seed in range(4):
        bench = Bench(seed=seed)
        bench.put(*TOPICS)
        bench.partition("a").lane.syncing += 1
        held = Held(bench)
        told = begin_late(bench, "a")
        bench.partition("a").lane.syncing -= 1
        bench.put("b")
        bench.machine.disk.fail("write", errno.EIO, path=JOURNAL)
        bench.put("c")
        bench.time.run_for(10_000)
        assert bench.journal.frozen
        held.let_go()
        bench.time.run_until(lambda told=told: told == [0])  # type: ignore[misc]
        power_failure(bench)
        bench.check()


def test_who_waits_for_room_goes_on_when_the_checkpoint_fails() -> None:
    for seed in range(8):
        bench = Bench(seed=seed)
        begin_checkpoint(bench, 200, fails="c")
        fill_the_other_half(bench, "a")
        assert took_ms(bench, "a", "b") < ROOM_WAIT_MS
        bench.time.run_until(lambda bench=bench: bench.journal.frozen)  # type: ignore[misc]
        bench.time.run_for(10_000)
        bench.check()
        power_failure(bench)
        bench.check()


def test_rounds_that_a_thread_has_to_write_do_not_take_all_threads() -> None:
    bench = Bench(topics=SIX)
    begin_checkpoint(bench, FOR_EVER_MS)
    bench.partition("f").lane.syncing -= 1  # f's file alone is not being synced
    late = []
    for name in TOPICS[:LATE_MAX]:
        held = Held(bench)
        late.append((held, begin_late(bench, name)))
    told: list[int] = []
    append(bench, "d", told)
    append(bench, "e", told)
    for _ in range(3):
        assert took_ms(bench, "f") < SOON_MS
    assert not told
    for held, _ in late:
        held.let_go()
    bench.time.run_until(lambda: told == [0, 0] and all(answers == [0] for _, answers in late))
    bench.check()


def test_a_large_batch_waits_for_the_sync_of_its_file_and_holds_no_thread_meanwhile() -> None:
    bench = Bench(topics=SIX)
    begin_checkpoint(bench, 300)
    lane = bench.partition("a").lane
    assert lane.syncing
    told: list[int] = []
    append(bench, "a", told, size=SMALL_BYTES)
    while lane.syncing:
        assert not lane.busy and not told
        assert took_ms(bench, "b") < SOON_MS
    bench.time.run_until(lambda: told == [0])
    bench.check()
    power_failure(bench)
    bench.check()


# -- what a crash finds


def planted(plant: Plant) -> pytest.MarkDecorator:
    """The test is run twice, the second time with that fault in the code, which it must find."""
    faults = [None, pytest.param(plant, marks=pytest.mark.patches)]
    return pytest.mark.parametrize("plant", faults, indirect=True)


@pytest.fixture
def plant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Plant | None:
    fault: Plant | None = request.param
    if fault is not None:
        fault(monkeypatch)
    return fault


def keeps_all(history: Callable[[Bench], None]) -> bool:
    """Whether a power failure at its end takes nothing that was answered, whatever the seed."""
    whole = []
    for seed in range(8):
        bench = Bench(seed=seed)
        history(bench)
        power_failure(bench)
        whole.append(is_whole(bench))
    return all(whole)


def used_again_when_the_first_has_ended(patch: pytest.MonkeyPatch) -> None:
    real = JournalCommitter._sync_one

    def sync_one(self: JournalCommitter, owed: object, half: int | None) -> None:
        real(self, owed, half)  # type: ignore[arg-type]
        if half is not None and self._journal.ring is not None:
            self._journal.ring.paid(half)

    patch.setattr(JournalCommitter, "_sync_one", sync_one)


@planted(used_again_when_the_first_has_ended)
def test_a_half_is_not_used_again_before_the_last_of_its_files_is_synced(plant: Plant | None) -> None:
    def history(bench: Bench) -> None:
        begin_checkpoint(bench, FOR_EVER_MS)
        for _ in range(2 * ROUNDS_OF_A_HALF):
            bench.put("a", "b")

    assert keeps_all(history) == (plant is None)


def a_half_is_paid_before_its_last_write(patch: pytest.MonkeyPatch) -> None:
    real, written = JournalCommitter._write_late, JournalCommitter._late_written

    def write_late(self: JournalCommitter, half: int, lanes: list[Lane]) -> Late:
        late = real(self, half, lanes)
        self._late[half] -= 1
        return late

    def late_written(self: JournalCommitter, late: Late, told: list[list[File] | WorldError]) -> None:
        self._late[late.half] += 1
        written(self, late, told)

    patch.setattr(JournalCommitter, "_write_late", write_late)
    patch.setattr(JournalCommitter, "_late_written", late_written)


@planted(a_half_is_paid_before_its_last_write)
def test_a_half_is_not_used_again_before_a_thread_has_written_its_last_round(plant: Plant | None) -> None:
    def history(bench: Bench) -> None:
        bench.put(*TOPICS)
        bench.partition("a").lane.syncing += 1
        held = Held(bench)
        told = begin_late(bench, "a")
        bench.partition("a").lane.syncing -= 1
        for _ in range(3 * ROUNDS_OF_A_HALF):
            bench.put("b", "c")
        held.let_go()
        bench.time.run_until(lambda: told == [0])

    assert keeps_all(history) == (plant is None)


def what_a_thread_wrote_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    real = journal_committer.write_each

    def write_each(lanes: list[Lane]) -> list[list[File] | WorldError]:
        return [[] for _ in real(lanes)]

    patch.setattr(journal_committer, "write_each", write_each)


@planted(what_a_thread_wrote_is_not_synced)
def test_what_a_thread_wrote_is_synced_before_its_half_is_used_again(plant: Plant | None) -> None:
    def history(bench: Bench) -> None:
        bench.put(*TOPICS)
        for _ in range(2 * ROUNDS_OF_A_HALF):
            bench.put("b", "c")
        bench.partition("a").lane.syncing += 1
        bench.put("a")  # its file is named nowhere else
        bench.partition("a").lane.syncing -= 1
        for _ in range(3 * ROUNDS_OF_A_HALF):
            bench.put("b", "c")

    assert keeps_all(history) == (plant is None)


@pytest.mark.parametrize("fails", [None, "a", "c"])
@pytest.mark.parametrize("how", ["the power goes", "SIGKILL"])
def test_a_crash_at_any_step_of_a_checkpoint_loses_nothing(how: str, fails: str | None) -> None:
    """Also of one of whose syncs fails."""
    for steps in range(0, 90, 3):
        bench = Bench(seed=steps)
        begin_checkpoint(bench, 20, fails)
        for _ in range(steps):
            for name in TOPICS:
                if not bench.partition(name).lane.busy:
                    append(bench, name, [])
            bench.time.step()
        if how == "SIGKILL":
            bench.machine.kill()
            bench.machine.boot()
        else:
            power_failure(bench)
        for name in TOPICS:  # what nobody was told of may be there too
            answered = bench.answered[name]
            assert [value for value in bench.stored(name) if value in answered] == answered
