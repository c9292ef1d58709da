"""The committer with a journal, on virtual time and a disk that forgets: H1-H5 of partitions/journal_committer.py and node_journal.py."""

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest
from journal_bench import ROUNDS_OF_A_HALF, TOPICS, Bench

from barnabas.cluster.image import PartitionImage
from barnabas.log.journal import JOURNAL, prepare, read_rounds, read_run_id
from barnabas.partitions import node_journal
from barnabas.partitions.journal_committer import SMALL_BYTES
from barnabas.partitions.node_journal import THAW_AFTER_MS
from barnabas.ports import Files, RingFile, WorldError
from barnabas.records.record import Record, build_batch
from barnabas.testing.disk import Kind
from barnabas.testing.machine import ROOT

Prepare = Callable[[Files, str, bytes, int], RingFile | None]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_small_batches_of_many_partitions_share_one_sync(bench: Bench) -> None:
    assert bench.journal.usable
    bench.put(*TOPICS)  # the first append makes a folder, which is synced too
    before = bench.syncs()
    bench.put(*TOPICS)
    assert bench.syncs() == before + 1
    bench.check()


def test_a_large_batch_goes_to_its_file_and_the_small_ones_behind_it_keep_their_place(bench: Bench) -> None:
    before = bench.journal.ring.place(0)[1]
    bench.put("a", size=SMALL_BYTES)
    assert bench.journal.ring.place(0)[1] == before + 1, "only our own look took a number"
    bench.put("a", "b")
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_what_the_files_lost_comes_back_from_the_journal(bench: Bench) -> None:
    for _ in range(5):
        bench.put(*TOPICS)
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_it_goes_round_many_times_and_a_power_failure_at_any_round_loses_nothing() -> None:
    for rounds in range(0, 5 * ROUNDS_OF_A_HALF, 3):
        bench = Bench(seed=rounds)
        for number in range(rounds):
            bench.put(*TOPICS[: 1 + number % 3])
        bench.machine.crash()
        bench.machine.boot()
        bench.check()


def test_while_a_half_is_being_synced_nobody_waits_for_it(bench: Bench) -> None:
    """Rounds are quicker than the checkpoint here: what finds no room goes to the files."""
    for number in range(6 * ROUNDS_OF_A_HALF):
        bench.put(TOPICS[number % 3], TOPICS[(number + 1) % 3])
    assert bench.journal.usable
    bench.check()


def test_a_journal_that_cannot_be_written_is_given_up_and_nothing_is_lost(bench: Bench) -> None:
    bench.put(*TOPICS)
    bench.machine.disk.fail("write", errno.EIO, path=JOURNAL)
    bench.put(*TOPICS)
    assert bench.journal.frozen
    bench.put(*TOPICS)
    bench.check()
    assert len(bench.answered["b"]) == 3
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("seed", range(4))
def test_a_failed_checkpoint_loses_nothing_that_was_answered(seed: int) -> None:
    """The page cache has let go of what the sync should have written: the journal has it."""
    bench = Bench(seed=seed)
    bench.machine.disk.fail("sync", errno.EIO, path="a-0")
    for _ in range(2 * ROUNDS_OF_A_HALF):
        bench.put(*TOPICS)
    assert bench.journal.frozen
    bench.time.run_for(10_000)
    assert not bench.partition("a").offline
    bench.put(*TOPICS)
    bench.check()
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("kind", ["write", "sync"])
def test_a_file_that_cannot_be_written_is_cut_and_goes_on(bench: Bench, kind: Kind) -> None:
    bench.put(*TOPICS)
    bench.machine.disk.fail(kind, errno.EIO, path="a-0")
    bench.put("a", "b", size=100 if kind == "write" else SMALL_BYTES)
    assert bench.partition("a").offline and not bench.partition("b").offline
    bench.time.run_for(10_000)
    bench.put(*TOPICS)
    bench.check()
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_a_clean_stop_leaves_a_journal_that_says_nothing(bench: Bench) -> None:
    bench.put(*TOPICS)
    assert bench.machine.stop()
    bench.machine.boot()
    bench.check()
    assert bench.machine.disk.read_all(f"{ROOT}/{JOURNAL}")[:4] == bytes(4)


def test_no_journal_where_none_is_wanted() -> None:
    bench = Bench(journal_bytes=0)
    for _ in range(10):
        bench.put(*TOPICS)
    assert not bench.machine.disk.exists(f"{ROOT}/{JOURNAL}")
    bench.check()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("segment_bytes", ["150", "100000"])
def test_what_is_synced_has_no_hole_before_it_that_the_cache_left(seed: int, segment_bytes: str) -> None:
    """Recovery would cut at the hole, and what had been durable behind it would go too."""
    bench = Bench(seed=seed)
    bench.set("a", barnabas_durability="cache", segment_bytes=segment_bytes)
    for _ in range(6):
        bench.put("a")
    bench.set("a", barnabas_durability="sync", segment_bytes=segment_bytes)
    for _ in range(3):
        bench.put("a")
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("seed", range(8))
def test_durable_answers_stay_so_when_the_cache_takes_over_and_a_sync_fails(seed: int) -> None:
    bench = Bench(seed=seed)
    bench.put("a")
    bench.put("a")
    bench.set("a", barnabas_durability="cache", flush_ms="1")
    bench.machine.disk.fail("sync", errno.EIO, path="a-0/0000")
    bench.partition("a").append_own(build_batch([Record(None, b"cached", 1)]), 1)
    bench.time.run_for(15_000)
    assert not bench.partition("a").offline
    bench.machine.crash()
    bench.machine.boot()
    assert bench.stored("a")[:3] == bench.answered["a"]


@pytest.mark.parametrize("seed", range(8))
def test_durable_answers_stay_so_when_the_cache_takes_over_and_a_write_fails(seed: int) -> None:
    """The new epoch ends what the journal says of this partition: the closed segments must be on the disk by then."""
    bench = Bench(seed=seed)
    bench.set("a", segment_bytes="150")
    for _ in range(4):
        bench.put("a")
    bench.set("a", barnabas_durability="cache")
    bench.machine.disk.fail("write", errno.EIO, path="a-0/0000")
    bench.put("a")
    assert bench.partition("a").offline
    bench.time.run_for(5_000)
    assert not bench.partition("a").offline
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_the_last_of_two_changes_counts_however_quickly_they_come(bench: Bench) -> None:
    partition = bench.partition("a")
    end = partition.append_own(build_batch([Record(None, b"first", 1)]), 1)
    bench.set("a", barnabas_durability="cache")
    bench.set("a", barnabas_durability="sync")
    bench.time.run_until(lambda: partition.high_watermark == end)
    bench.answered["a"].append(b"first")
    before = bench.syncs()
    bench.put("a")
    assert bench.syncs() > before, "answered without a sync"


@pytest.mark.parametrize("journal_bytes", [0, 4096 * 17])
def test_a_topic_that_is_flushed_at_every_batch_loses_none_when_a_sync_fails(journal_bytes: int) -> None:
    """flush.messages makes answers durable, whatever barnabas.durability says."""
    bench = Bench(journal_bytes)
    bench.set("a", barnabas_durability="cache", flush_messages="1", flush_ms="1")
    bench.put("a")
    bench.put("a")
    bench.machine.disk.fail("sync", errno.EIO, path="a-0/0000")
    bench.time.run_for(15_000)
    assert not bench.partition("a").offline
    bench.check()
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("seed", range(8))
def test_a_failed_sync_of_a_partition_that_failed_already_is_heard(seed: int) -> None:
    """A read fails while a job is on its way, and then the job's sync: the second error alone says what is in doubt."""
    bench = Bench(seed=seed)
    bench.put("a")
    bench.put("a")
    partition = bench.partition("a")
    partition.append_own(build_batch([Record(None, b"x" * SMALL_BYTES, 1)]), 1)
    bench.time.run_until(lambda: partition.lane.busy)
    bench.machine.disk.fail("sync", errno.EIO, path="a-0/0000")
    partition.failed(WorldError("a read failed"), readable=False)
    bench.time.run_for(15_000)
    assert not partition.offline
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("seed", range(4))
def test_a_partition_waits_for_a_sync_of_its_file_before_it_goes_on(seed: int) -> None:
    """Of two syncs at once only one may be told of the error: here the one that comes later is."""
    bench = Bench(seed=seed)
    bench.put("a")
    bench.put("a")
    partition = bench.partition("a")
    lane = partition.lane
    lane.syncing += 1
    partition.failed(WorldError("a read failed"), readable=False)
    bench.time.run_for(3_000)
    assert partition.offline and partition.lane is lane
    lane.syncing -= 1
    bench.time.run_for(3_000)
    assert not partition.offline
    bench.check()


@pytest.mark.parametrize("begun", ["in a thread", "on the loop"])
def test_what_is_appended_after_a_change_to_sync_waits_for_a_sync(bench: Bench, begun: str) -> None:
    """Although a batch that the page cache is to have is still in the lane when the change takes effect."""
    partition = bench.partition("a")
    bench.set("a", barnabas_durability="cache")
    bench.put("a")
    lane = partition.lane
    if begun == "in a thread":
        lane.syncing += 1

    def append(value: bytes) -> int:
        return partition.append_own(build_batch([Record(None, value, 1)]), 1)

    end = append(b"cached")
    told: list[int] = []
    partition.when_committed(end, lambda _: told.append(append(b"cached, too")))
    bench.set("a", barnabas_durability="sync")
    partition.when_committed(end, lambda _: told.append(append(b"synced")))
    bench.time.run_until(lambda: partition.high_watermark == end + 2)
    assert told == [end + 1, end + 2]
    bench.machine.crash()
    bench.machine.boot()
    assert bench.stored("a")[-1] == b"synced"


# -- H5


def freeze(bench: Bench, *, times: int = 1) -> None:
    """A checkpoint fails: the journal alone has what was answered of a; of b and c the files were not synced."""
    bench.machine.disk.fail("sync", errno.EIO, path="a-0/0000", times=times)
    for _ in range(2 * ROUNDS_OF_A_HALF):
        bench.put(*TOPICS)
    assert bench.journal.frozen


def check_answered(bench: Bench) -> None:
    """Of a, one that nobody was told of may be there too."""
    for name in TOPICS:
        answered = bench.answered[name]
        assert [value for value in bench.stored(name) if value in answered] == answered


def run_id(bench: Bench) -> bytes | None:
    return read_run_id(bench.machine.disk.read_all(f"{ROOT}/{JOURNAL}"))


@pytest.mark.parametrize("seed", range(8))
def test_a_frozen_journal_is_used_again_when_all_it_had_is_synced(seed: int) -> None:
    bench = Bench(seed=seed)
    freeze(bench)
    before = run_id(bench)
    bench.time.run_for(10_000)
    assert bench.journal.usable
    assert run_id(bench) != before
    bench.put(*TOPICS)  # a's new file is made
    syncs = bench.syncs()
    bench.put(*TOPICS)
    assert bench.syncs() == syncs + 1
    bench.check()
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def in_the_old_run(files: Files, state: str, run_id: bytes, size: int) -> RingFile | None:
    """Planted: the ring begins at its first place again, and block 0 stays as it was."""
    found = read_run_id(files.read_all(f"{state}/{JOURNAL}"))
    return prepare(files, state, found or run_id, size)


def before_it_is_void(files: Files, state: str, run_id: bytes, size: int) -> RingFile | None:
    """Planted: the new run is used, and a crash finds the old one in block 0."""
    if read_run_id(files.read_all(f"{state}/{JOURNAL}")) is None:
        return prepare(files, state, run_id, size)
    return files.open_ring(f"{state}/{JOURNAL}", size)


@pytest.mark.parametrize(
    "planted",
    [None, *(pytest.param(each, marks=pytest.mark.patches) for each in (in_the_old_run, before_it_is_void))],
)
def test_a_thawed_ring_keeps_what_comes_and_forgets_what_was(
    planted: Prepare | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some laps, so that rounds of the old run lie behind those of the new one."""
    whole = []
    for seed in range(8):
        bench = Bench(seed=seed)
        for _ in range(5 * ROUNDS_OF_A_HALF):
            bench.put(*TOPICS)
        freeze(bench)
        with monkeypatch.context() as patch:
            if planted is not None:
                patch.setattr(node_journal, "prepare", planted)
            bench.time.run_for(10_000)
        assert bench.journal.usable
        for _ in range(3):
            bench.put(*TOPICS)
        bench.machine.crash()
        bench.machine.boot()
        whole.append(all(bench.stored(name) == bench.answered[name] for name in TOPICS))
    assert all(whole) == (planted is None)


def test_a_file_that_nobody_writes_any_more_is_synced_before_the_ring_thaws(bench: Bench) -> None:
    bench.put(*TOPICS)  # a first batch goes to its file, which is made
    bench.put("c")
    bench.machine.disk.fail("write", errno.EIO, path=JOURNAL)
    bench.put("a")
    bench.time.run_for(10_000)
    assert bench.journal.usable
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("seed", range(4))
def test_a_power_failure_at_any_moment_of_a_thaw_loses_nothing(seed: int) -> None:
    for after_ms in range(0, 6_000, 250):
        bench = Bench(seed=seed)
        freeze(bench)
        bench.time.run_for(after_ms)
        bench.put("b")
        bench.machine.crash()
        bench.machine.boot()
        check_answered(bench)


def test_after_a_failed_write_of_the_ring_too(bench: Bench) -> None:
    bench.put(*TOPICS)
    bench.machine.disk.fail("write", errno.EIO, path=JOURNAL, times=2)
    bench.put(*TOPICS)
    assert bench.journal.frozen
    bench.time.run_for(10_000)
    assert bench.journal.usable, "the second failure was that of block 0"
    bench.put(*TOPICS)
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_what_the_ring_could_not_take_is_answered_when_its_file_is_synced() -> None:
    for seed in range(8):
        bench = Bench(seed=seed)
        bench.put(*TOPICS)
        bench.machine.disk.fail("write", errno.EIO, path=JOURNAL)
        bench.put(*TOPICS)
        assert bench.journal.frozen
        bench.machine.crash()
        bench.machine.boot()
        bench.check()


def test_it_stays_frozen_while_a_partition_waits_to_be_restored_from_it(bench: Bench) -> None:
    bench.machine.disk.fail("read", errno.EIO, path=JOURNAL, times=10_000)
    freeze(bench)
    bench.time.run_for(60_000)
    assert bench.journal.frozen and bench.partition("a").offline
    bench.machine.disk.heal()
    bench.time.run_for(120_000)
    assert bench.journal.usable and not bench.partition("a").offline
    bench.check()
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_it_stays_frozen_while_one_of_its_files_is_not_synced(bench: Bench) -> None:
    """No partition is in doubt: it was the ring that could not be written."""
    bench.put(*TOPICS)
    bench.machine.disk.fail("write", errno.EIO, path=JOURNAL)
    bench.put("a")
    bench.machine.loop.slow("checkpoint", 3_600_000)
    bench.time.run_for(20_000)
    assert bench.journal.frozen and not any(bench.partition(name).offline for name in TOPICS)
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_a_partition_that_is_deleted_holds_up_no_thaw(bench: Bench) -> None:
    bench.machine.disk.fail("read", errno.EIO, path=JOURNAL, times=10_000)
    freeze(bench)
    bench.time.run_for(5_000)
    assert bench.journal.frozen
    partition = bench.partition("a")
    for _ in bench.machine.node.partitions.closing("a", partition.topic_id):
        pass
    bench.time.run_for(60_000)
    assert bench.journal.usable


def move(bench: Bench, name: str) -> None:
    """Another node leads it from now on."""
    topic = bench.machine.node.cluster.image.topics[name]
    elsewhere = PartitionImage(99, 1_000, (99,), (99,))
    for _ in bench.machine.node.partitions.opening(replace(topic, partitions=(elsewhere,))):
        pass


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("is_failing", [True, False])
def test_what_is_the_only_copy_of_a_partition_that_moved_away_is_kept_and_the_ring_thaws(
    seed: int, is_failing: bool
) -> None:
    """Whoever loads it next takes it up: here the same node, after a power failure."""
    bench = Bench(seed=seed)
    bench.machine.disk.fail("read", errno.EIO, path=JOURNAL, times=10_000)
    freeze(bench)
    bench.time.run_for(5_000)
    assert bench.journal.frozen and bench.partition("a").lane.in_doubt
    move(bench, "a")
    if is_failing:
        bench.time.run_for(60_000)
        assert bench.journal.frozen, "it has the only copy"
    bench.machine.disk.heal()
    bench.time.run_for(120_000)
    assert bench.journal.usable
    bench.put("b", "c")
    bench.machine.crash()
    bench.machine.boot()
    check_answered(bench)


@pytest.mark.parametrize("seed", range(4))
def test_a_sync_that_fails_after_its_partition_moved_away_puts_it_in_doubt(seed: int) -> None:
    bench = Bench(seed=seed)
    bench.put(*TOPICS)
    bench.put(*TOPICS)
    move(bench, "a")
    bench.machine.disk.fail("sync", errno.EIO, path="a-0/0000")
    for _ in range(2 * ROUNDS_OF_A_HALF):
        bench.put("b", "c")
    assert bench.journal.frozen
    bench.time.run_for(20_000)
    assert bench.journal.usable
    bench.put("b", "c")
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_each_failure_makes_the_next_wait_longer(bench: Bench) -> None:
    waits_ms = []
    for _ in range(4):
        freeze(bench)
        frozen_ms = bench.time.mono_ms()
        bench.time.run_until(lambda: bench.journal.usable)
        waits_ms.append(bench.time.mono_ms() - frozen_ms)
        bench.put(*TOPICS)
    assert waits_ms[0] < THAW_AFTER_MS + 5_000
    for number, wait_ms in enumerate(waits_ms):
        assert wait_ms >= THAW_AFTER_MS * 2**number
    bench.check()


def test_a_node_that_stops_waits_for_the_write_that_begins_a_run(bench: Bench) -> None:
    """It would come after the folder was given to another process, and void that one's journal."""
    freeze(bench)
    bench.machine.loop.slow("read", 4_000)
    journal = bench.journal
    bench.time.run_until(lambda: journal.is_renewing)
    assert bench.machine.stop()
    assert not journal.is_renewing
    bench.machine.boot()
    bench.check()


def test_when_a_node_stops_no_run_begins_any_more(bench: Bench) -> None:
    freeze(bench)
    bench.time.run_until(lambda: not bench.journal.is_needed())
    before = run_id(bench)
    bench.machine.loop.slow("commit", 60_000)  # the checkpoints take that long
    assert bench.machine.stop()
    assert run_id(bench) == before


def test_what_was_frozen_is_not_read_any_more(bench: Bench) -> None:
    freeze(bench)
    bench.time.run_for(10_000)
    assert read_rounds(bench.machine.disk.open(f"{ROOT}/{JOURNAL}")) == []
