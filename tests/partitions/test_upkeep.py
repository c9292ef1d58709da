"""The node's own clockwork on virtual time: compaction of internal topics, retention, recovery points."""

import errno

import pytest
from compacting import much_is_compacted, offsets_topic

from barnabas import errors
from barnabas.cluster import changes
from barnabas.partitions import upkeep
from barnabas.partitions.partition import Partition
from barnabas.records.record import Record, all_records, build_batch
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import POOL_THREADS, VirtualTime
from barnabas.wire.messages.delete_topics import DeleteTopicState

OPTIONS = {
    "listeners": "PLAINTEXT://127.0.0.1:9092",
    "barnabas.metrics.port": "-1",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.segment.bytes": str(1024 * 1024),
    "log.retention.ms": "3600000",
    "log.roll.ms": "60000",
}


def booted(**options: str) -> VirtualMachine:
    time = VirtualTime(3)
    machine = VirtualMachine(time, Wire(time), OPTIONS | options)
    machine.boot()
    return machine


def test_the_offsets_topic_stays_as_small_as_its_keys() -> None:
    machine = booted()
    partition = offsets_topic(machine)
    much_is_compacted(machine, partition)
    content = b"".join(segment.file.read(0, segment.size) for segment in partition.log.segments)
    assert {record.key for record in all_records(content)} == {b"key-0", b"key-1", b"key-2"}


def test_retention_deletes_old_segments_and_their_files_later() -> None:
    machine = booted()
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(4):
        batch = build_batch([Record(None, b"v", machine.time.wall_ms())])
        partition.append(batch, 0, len(batch), 9, machine.time.wall_ms())
        machine.time.run_for(90_000)
    assert len(partition.log.segments) == 4
    machine.time.run_for(3_900_000)
    assert partition.log.log_start_offset >= 3
    machine.time.run_for(120_000)
    assert not [name for name in machine.disk.list(partition.log.folder) if name.endswith(".deleted")]


def test_a_recovery_point_follows_within_a_minute_and_outlives_a_crash() -> None:
    machine = booted()
    machine.make_topics("t")
    partition = machine.partition("t")
    batch = build_batch([Record(None, b"v", machine.time.wall_ms())] * 5)
    partition.append(batch, 0, len(batch), 9, machine.time.wall_ms())
    machine.time.run_for(65_000)
    assert partition.log.recovery_point == 5
    machine.crash()
    machine.boot()
    again = machine.node.partitions.get("t", 0)
    assert again is not None and again.high_watermark == 5 and again.log.recovery_point == 5


def append(machine: VirtualMachine, partition: Partition, size: int) -> None:
    batch = build_batch([Record(None, b"v" * size, machine.time.wall_ms())])
    assert partition.append(batch, 0, len(batch), 9, machine.time.wall_ms()).code == 0


CACHE = {"barnabas.durability": "cache", "log.segment.bytes": "1048576"}


def test_under_cache_a_roll_brings_a_recovery_point_and_the_file_that_grows_is_not_synced() -> None:
    machine = booted(**CACHE)
    machine.time.run_for(1_500)
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(5):
        append(machine, partition, 500_000)
    machine.disk.fail("sync", errno.EIO, times=1 << 30, path="00000000000000000004.log")
    machine.time.run_for(3_000)
    assert [segment.base_offset for segment in partition.log.segments] == [0, 2, 4]
    assert partition.log.recovery_point == 4
    assert not partition.offline
    machine.crash()  # what is below the recovery point was synced: else the start finds damage there
    machine.disk.heal()
    machine.boot()
    again = machine.node.partitions.get("t", 0)
    assert again is not None and not again.offline
    assert again.log.recovery_point == 4 and again.high_watermark >= 4


def test_under_cache_many_bytes_alone_bring_no_recovery_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync of the file that grows would keep the disk busy all the time."""
    monkeypatch.setattr(upkeep, "RECOVERY_POINT_BYTES", 10_000)
    for durability, expected in (("cache", 0), ("sync", 2)):
        machine = booted(**{"barnabas.durability": durability})
        machine.make_topics("t")
        partition = machine.partition("t")
        for _ in range(2):
            append(machine, partition, 10_000)
        machine.time.run_for(3_000)
        assert partition.log.recovery_point == expected, durability


def test_a_write_waits_for_no_recovery_point_of_others() -> None:
    """Syncs of a gigabyte each, more of them than a pool has threads."""
    machine = booted(**CACHE)
    names = [f"t{number}" for number in range(6)]
    machine.make_topics(*names, "t")
    for name in names:
        partition = machine.partition(name)
        for _ in range(3):
            append(machine, partition, 500_000)
    machine.time.run_for(100)
    for pool in POOL_THREADS:
        machine.loop.slow(pool, 10_000_000)
    machine.time.run_for(3_000)
    machine.loop.slow("commit", None)
    first = machine.partition("t")
    append(machine, first, 10)  # its folder and file are made in a thread
    machine.time.run_for(100)
    assert first.high_watermark == 1


def damaged_below_its_recovery_point() -> VirtualMachine:
    """Topics t and u with one synced record each; the one of t was changed on the disk."""
    machine = booted()
    machine.make_topics("t", "u")
    for name in ("t", "u"):
        partition = machine.partition(name)
        batch = build_batch([Record(None, b"value", machine.time.wall_ms())])
        partition.append(batch, 0, len(batch), 9, machine.time.wall_ms())
    machine.time.run_for(65_000)
    path = "/var/data/t-0/00000000000000000000.log"
    file = machine.disk.open(path)
    file.write(70, [b"\xff"])
    file.sync()
    machine.crash()
    return machine


def files_of(machine: VirtualMachine) -> dict[str, bytes]:
    folder = "/var/data/t-0"
    return {name: machine.disk.read_all(f"{folder}/{name}") for name in machine.disk.list(folder)}


def machine_with_two_segments() -> tuple[VirtualMachine, Partition]:
    machine = booted()
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(2):
        batch = build_batch([Record(None, b"old", machine.time.wall_ms())])
        partition.append(batch, 0, len(batch), 9, machine.time.wall_ms())
        machine.time.run_for(61_000)
    return machine, partition


def assert_clock_goes(machine: VirtualMachine) -> None:
    ticked: list[bool] = []
    machine.node.waits.call_after(1_000, lambda: ticked.append(True))
    machine.time.run_for(2_000)
    assert ticked


def test_old_files_that_cannot_be_removed_stop_no_clock() -> None:
    machine, partition = machine_with_two_segments()
    machine.disk.fail("unlink", errno.EIO, times=1 << 30, path=".deleted")
    machine.time.run_for(4_000_000)
    assert partition.log_start_offset == 2
    assert_clock_goes(machine)


def test_a_deleted_folder_that_cannot_be_removed_stops_no_clock() -> None:
    machine, partition = machine_with_two_segments()
    machine.disk.fail("unlink", errno.EIO, times=1 << 30)
    for _ in machine.node.partitions.closing("t", partition.topic_id):
        pass
    machine.time.run_for(61_000)
    assert_clock_goes(machine)


def test_segments_whose_deletion_failed_go_the_next_time() -> None:
    machine, partition = machine_with_two_segments()
    machine.disk.fail("unlink", errno.EIO, times=1, path="leader-epoch-checkpoint")
    machine.time.run_for(4_500_000)
    assert partition.log_start_offset == 2
    assert "00000000000000000000.log" not in machine.disk.list(partition.log.folder)


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_a_damaged_partition_stays_as_it_is_over_every_stop(end: str) -> None:
    machine = damaged_below_its_recovery_point()
    before = files_of(machine)
    for count in range(1, 4):
        machine.boot()
        damaged, whole = machine.node.partitions.get("t", 0), machine.node.partitions.get("u", 0)
        assert damaged is not None and damaged.offline
        assert damaged.plan_fetch(0, 1 << 20, 0, True, -1).code == errors.KAFKA_STORAGE_ERROR
        assert whole is not None and not whole.offline and whole.high_watermark == count
        batch = build_batch([Record(None, b"value", machine.time.wall_ms())])
        whole.append(batch, 0, len(batch), 9, machine.time.wall_ms())
        machine.time.run_for(65_000)  # the checkpoints are written anew
        if end == "stop":
            assert not machine.stop(), "a start that trusts every file would serve the damage"
        else:
            machine.crash()
        assert files_of(machine) == before


def test_a_deleted_topics_checkpoints_are_not_met_by_its_namesake() -> None:
    machine = booted()
    time = machine.time

    def make() -> None:
        machine.make_topics("t")

    def fill(count: int) -> None:
        partition = machine.partition("t")
        for _ in range(count):
            batch = build_batch([Record(None, b"v", time.wall_ms())])
            partition.append(batch, 0, len(batch), 9, time.wall_ms())

    make()
    fill(9)
    time.run_for(65_000)
    gone: list[object] = []
    ask = DeleteTopicState(name="t")
    machine.node.topics.submit(
        lambda image: changes.delete_topics(image, [ask], machine.node.topics.rules(), 6), [], gone.append
    )
    time.run_until(lambda: bool(gone))
    time.run_for(1_000)
    make()
    fill(2)
    time.run_for(1_000)
    machine.crash()
    machine.boot()
    partition = machine.node.partitions.get("t", 0)
    assert partition is not None and not partition.offline
    assert (partition.log_start_offset, partition.high_watermark) == (0, 2)


@pytest.mark.parametrize("seed", range(8))
def test_of_two_log_starts_at_once_the_later_is_what_a_crash_leaves(seed: int) -> None:
    """Each was answered when its checkpoint was written: an older one must not be renamed over it."""
    time = VirtualTime(seed)
    machine = VirtualMachine(time, Wire(time), OPTIONS)
    machine.boot()
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(5):
        batch = build_batch([Record(None, b"v", time.wall_ms())])
        partition.append(batch, 0, len(batch), 9, time.wall_ms())
    time.run_until(lambda: partition.high_watermark == 5)
    written: list[object] = []
    for offset in range(1, 5):
        partition.log.advance_log_start(offset)
        machine.node.upkeep.write_checkpoints(written.append)
    time.run_until(lambda: len(written) == 4)
    assert written == [None] * 4
    machine.crash()
    machine.boot()
    again = machine.node.partitions.get("t", 0)
    assert again is not None and again.log_start_offset == 4


@pytest.mark.parametrize("seed", range(12))
def test_a_namesake_of_a_deleted_topic_loses_nothing_to_its_checkpoints(seed: int) -> None:
    """The power fails before a checkpoint without the deleted topic is on disk: its recovery point lies there still."""
    time = VirtualTime(seed)
    machine = VirtualMachine(time, Wire(time), OPTIONS)
    machine.boot()

    def make(batches: int) -> None:
        machine.make_topics("t")
        partition = machine.partition("t")
        for _ in range(batches):
            batch = build_batch([Record(None, b"v", time.wall_ms())])
            partition.append(batch, 0, len(batch), 9, time.wall_ms())
        time.run_until(lambda: partition.high_watermark == batches)

    make(9)
    time.run_for(65_000)  # a recovery point of 9 is on disk
    gone: list[object] = []
    ask = DeleteTopicState(name="t")
    rules = machine.node.topics.rules()
    machine.node.topics.submit(lambda image: changes.delete_topics(image, [ask], rules, 6), [], gone.append)
    time.run_until(lambda: bool(gone))
    make(2)
    machine.crash()
    machine.boot()
    partition = machine.node.partitions.get("t", 0)
    assert partition is not None and not partition.offline
    assert partition.high_watermark == 2
