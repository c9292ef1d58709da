"""What waits for the disk happens in a pool: the loop syncs no file and no folder while it serves."""

import errno
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from compacting import much_is_compacted, offsets_topic

from barnabas.cluster import changes
from barnabas.partitions.data_folder import DataFolder
from barnabas.partitions.journal_committer import JOBS_MAX
from barnabas.partitions.partition import Partition
from barnabas.partitions.slices import SLICE_STEPS
from barnabas.records.record import Record, build_batch
from barnabas.server.handlers.delete_records import advance
from barnabas.testing.disk import Kind, VirtualDisk, VirtualFile
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from barnabas.wire.messages.delete_records import DeleteRecordsPartition
from barnabas.wire.messages.delete_topics import DeleteTopicState

OPTIONS = {
    "listeners": "PLAINTEXT://127.0.0.1:9092",
    "barnabas.metrics.port": "-1",
    "log.retention.ms": "3600000",
    "log.roll.ms": "60000",
    "log.segment.delete.delay.ms": "1000",
}
SYNCS = ((VirtualFile, "sync"), (VirtualDisk, "sync_folder"), (VirtualDisk, "remove_folder"))


class Watch:
    """Where the loop itself was when it waited for the disk."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self._working = False
        real = VirtualLoop._finish

        def finish(loop: VirtualLoop, pool: Any, job: int, work: Callable[[], object], done: Any) -> None:
            def watched() -> object:
                self._working = True
                try:
                    return work()
                finally:
                    self._working = False

            real(loop, pool, job, watched, done)

        patch.setattr(VirtualLoop, "_finish", finish)
        self.also(patch, SYNCS)

    def also(self, patch: pytest.MonkeyPatch, calls: tuple[tuple[type, str], ...]) -> None:
        for owner, name in calls:
            patch.setattr(owner, name, self._watching(getattr(owner, name), name))

    def _watching(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            if not self._working:
                self.seen.append(name + "\n" + "".join(traceback.format_stack(limit=6)))
            return real(*given)

        return call


def append(machine: VirtualMachine, partition: Partition) -> None:
    batch = build_batch([Record(None, b"v" * 100, machine.time.wall_ms())])
    assert partition.append(batch, 0, len(batch), 9, machine.time.wall_ms()).code == 0


def delete_topic(machine: VirtualMachine) -> None:
    gone: list[object] = []
    ask, rules = DeleteTopicState(name="t"), machine.node.topics.rules()
    machine.node.topics.submit(lambda image: changes.delete_topics(image, [ask], rules, 6), [], gone.append)
    machine.time.run_until(lambda: bool(gone))


@pytest.mark.parametrize("durability", ["cache", "sync"])
def test_the_loop_syncs_nothing_while_it_serves(durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime(5)
    machine = VirtualMachine(time, Wire(time), {**OPTIONS, "barnabas.durability": durability})
    machine.boot()
    watch = Watch(monkeypatch)
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(3):  # a first append, two rolls, recovery points
        append(machine, partition)
        time.run_for(61_000)
    assert partition.high_watermark == 3 and len(partition.log.segments) == 3
    assert partition.log.recovery_point == 3
    assert advance(machine.node.broker, "t", DeleteRecordsPartition(0, 1)).error_code == 0
    time.run_for(3_900_000)  # retention takes all of it
    assert partition.log.log_start_offset == 3 and partition.log.size_bytes == 0
    folder = partition.log.folder
    assert len([name for name in machine.disk.list(folder) if ".log" in name]) == 1
    append(machine, partition)
    time.run_for(100)
    assert partition.high_watermark == 4
    delete_topic(machine)
    time.run_for(120_000)
    assert not [name for name in machine.disk.list("/var/data") if name.startswith("t-0")]
    assert watch.seen == []


@pytest.mark.parametrize("seed", range(10))
def test_a_topic_deleted_at_its_first_append_leaves_nothing_to_its_namesake(seed: int) -> None:
    """The thread that makes the folder ends before the folder goes, and nobody takes the name before that."""
    time = VirtualTime(seed)
    machine = VirtualMachine(time, Wire(time), OPTIONS)
    machine.boot()
    ids = []
    for _ in range(3):
        machine.make_topics("t")
        partition = machine.partition("t")
        time.run_until(lambda partition=partition: not partition.offline)  # type: ignore[misc]
        ids.append(partition.topic_id)
        append(machine, partition)
        if len(ids) < 3:
            delete_topic(machine)
    time.run_for(100)
    assert len(set(ids)) == 3 and partition.high_watermark == 1
    machine.crash()
    machine.boot()
    again = machine.node.partitions.get("t", 0)
    assert again is not None and again.topic_id == ids[2] and again.high_watermark == 1


def test_the_recovery_points_of_many_partitions_begin_a_few_jobs_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = VirtualTime(5)
    machine = VirtualMachine(time, Wire(time), {**OPTIONS, "num.partitions": str(5 * JOBS_MAX)})
    machine.boot()
    machine.make_topics("t")
    partitions = list(machine.node.partitions.of_topic("t"))
    begun = [0]
    real = VirtualLoop.run_in

    def counted(*given: Any) -> None:
        begun[0] += 1
        real(*given)

    monkeypatch.setattr(VirtualLoop, "run_in", counted)
    most = 0
    for partition in partitions:
        append(machine, partition)
    end_ms = time.mono_ms() + 70_000
    while time.mono_ms() < end_ms:
        begun[0] = 0
        assert time.step()
        most = max(most, begun[0])
    assert all(partition.log.recovery_point == 1 for partition in partitions)
    assert JOBS_MAX // 2 < most <= SLICE_STEPS


def watched(
    monkeypatch: pytest.MonkeyPatch, seed: int = 5, **options: str
) -> tuple[VirtualMachine, Partition, Watch]:
    """A machine with topic t, which has two records, and who watches its loop."""
    time = VirtualTime(seed)
    machine = VirtualMachine(
        time, Wire(time), {**OPTIONS, **{name.replace("_", "."): value for name, value in options.items()}}
    )
    machine.boot()
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(2):
        append(machine, partition)
        time.run_until(lambda: not partition.is_committing)
    return machine, partition, Watch(monkeypatch)


NAMES_TOO = (*SYNCS, (VirtualFile, "truncate"), (VirtualDisk, "rename"), (VirtualDisk, "unlink"))


@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("durability", ["cache", "sync"])
def test_a_failed_write_is_mended_off_the_loop_and_readers_read_on(
    durability: str, seed: int, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, partition, watch = watched(monkeypatch, seed, barnabas_durability=durability)
    watch.also(monkeypatch, NAMES_TOO)
    epoch = partition.epoch
    machine.disk.fail(kind, errno.EIO, path="t-0/0000")
    append(machine, partition)
    if kind == "sync" and durability == "cache":
        machine.node.upkeep._sync(partition)
    machine.time.run_until(lambda: partition.offline)
    kept = partition.high_watermark
    while partition.offline:
        assert machine.time.step()
        plan = partition.plan_fetch(0, 1 << 20, 0, True, -1)
        assert plan.code == 0 and plan.high_watermark == kept
        assert len(partition.read_bytes(0, 1 << 20)) == plan.size
    assert watch.seen == []
    assert partition.epoch > epoch and partition.high_watermark == kept == partition.log.end_offset
    append(machine, partition)
    machine.time.run_until(lambda: not partition.is_committing)
    assert partition.high_watermark == kept + 1


@pytest.mark.parametrize("kind", ["open", "truncate", "sync", "unlink", "sync_folder", "rename", "read"])
@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize("durability", ["cache", "sync"])
def test_what_fails_while_it_is_mended_is_tried_again(
    durability: str, after: int, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A roll has begun when the write fails, so the cut takes a whole file away."""
    machine, partition, _ = watched(monkeypatch, after, barnabas_durability=durability)
    machine.time.run_for(61_000)  # log.roll.ms
    machine.disk.fail("write", errno.EIO, path="t-0/0000", after=after % 2)
    append(machine, partition)
    append(machine, partition)
    machine.time.run_until(lambda: partition.offline or not partition.is_committing)
    if not partition.offline:
        append(machine, partition)
        machine.time.run_until(lambda: partition.offline)
    kept = partition.high_watermark
    machine.disk.fail(kind, errno.EIO, path="t-0", after=after)
    machine.time.run_until(lambda: not partition.offline, limit_ms=30_000)
    machine.disk.heal()
    assert partition.high_watermark == kept == partition.log.end_offset
    append(machine, partition)
    machine.time.run_until(lambda: not partition.is_committing)
    machine.crash()
    machine.boot()
    again = machine.partition("t")
    assert again.high_watermark == kept + 1 or durability == "cache"


@pytest.mark.parametrize("end", ["deleted", "stopped", "killed"])
@pytest.mark.parametrize("steps", range(0, 24, 3))
def test_what_ends_while_it_is_mended_ends_well(
    end: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, partition, _ = watched(monkeypatch, barnabas_durability="sync")
    machine.loop.slow("commit", 50)
    machine.disk.fail("write", errno.EIO, path="t-0/0000")
    append(machine, partition)
    machine.time.run_until(lambda: partition.offline)
    machine.time.run_for(1_000)
    machine.time.run_for(8 * steps)
    if end == "deleted":
        delete_topic(machine)
        machine.time.run_for(120_000)
        assert not [name for name in machine.disk.list("/var/data") if name.startswith("t-0")]
        return
    if end == "stopped":
        machine.stop()
    else:
        machine.crash()
    machine.boot()
    again = machine.partition("t")
    machine.time.run_until(lambda: not again.offline)
    assert again.high_watermark == 2
    append(machine, again)
    machine.time.run_until(lambda: not again.is_committing)
    assert again.high_watermark == 3


def test_a_compaction_is_installed_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, _, watch = watched(
        monkeypatch, offsets_topic_num_partitions="1", offsets_topic_segment_bytes=str(1 << 20)
    )
    partition = offsets_topic(machine)
    watch.also(monkeypatch, NAMES_TOO)
    much_is_compacted(machine, partition)
    assert watch.seen == []


def test_a_stop_syncs_off_the_loop_and_only_what_was_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, partition, watch = watched(monkeypatch, num_partitions="40")
    partitions = list(machine.node.partitions.of_topic("t"))
    for each in partitions:
        append(machine, each)
    machine.time.run_for(65_000)
    append(machine, partition)
    before = machine.disk.calls["sync"]
    mark = DataFolder.close
    syncs: list[int] = []

    def closed(folder: DataFolder, clean: bool) -> None:
        syncs.append(machine.disk.calls["sync"] - before)
        assert watch.seen == [] and clean
        mark(folder, clean)

    monkeypatch.setattr(DataFolder, "close", closed)
    assert machine.stop()
    assert 0 < syncs[0] < 20
    machine.boot()
    assert [each.high_watermark for each in machine.node.partitions.of_topic("t")] == [4] + [1] * 39
