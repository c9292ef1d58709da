"""Opening partitions: a disk that fails for a moment costs a moment."""

import errno
from typing import Any

import pytest

from barnabas.cluster.changes import delete_topics
from barnabas.ids import ZERO_UUID
from barnabas.partitions.open import REOPEN_AFTER_MS
from barnabas.partitions.waits import Parked
from barnabas.records.record import Record, build_batch
from barnabas.testing.disk import Kind
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime
from barnabas.wire.messages.create_topics import CreatableTopic
from barnabas.wire.messages.delete_topics import DeleteTopicState
from barnabas.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from barnabas.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)

STATIC = {
    "listeners": "PLAINTEXT://127.0.0.1:9092",
    "barnabas.metrics.port": "-1",
    "offsets.topic.num.partitions": "1",
}


def machine_with_three_records(log_start: int = 0, then_ms: int = 65_000) -> VirtualMachine:
    """Stopped by a power failure, after its recovery point or before."""
    time = VirtualTime(1)
    machine = VirtualMachine(time, Wire(time), STATIC)
    machine.boot()
    machine.make_topics("t")
    partition = machine.partition("t")
    for _ in range(3):
        batch = build_batch([Record(None, b"value", time.wall_ms())])
        partition.append(batch, 0, len(batch), 9, time.wall_ms())
    time.run_until(lambda: partition.high_watermark == 3)
    partition.log.advance_log_start(log_start)
    time.run_for(then_ms)
    machine.crash()
    return machine


@pytest.mark.parametrize("kind", ["open", "read", "sync"])
def test_a_partition_that_could_not_be_read_is_loaded_when_the_disk_works_again(kind: Kind) -> None:
    # Only what lies above the recovery point is synced once more.
    machine = machine_with_three_records(then_ms=1_000 if kind == "sync" else 65_000)
    machine.disk.fail(kind, errno.EIO, times=3, path="t-0/0000")
    machine.boot()
    assert machine.partition("t").offline
    machine.time.run_for(8 * REOPEN_AFTER_MS)
    partition = machine.partition("t")
    assert (partition.offline, partition.readable, partition.high_watermark) == (False, True, 3)
    assert partition.plan_fetch(0, 1 << 20, 0, True, -1).size > 0


def test_checkpoints_keep_what_they_say_of_a_partition_that_is_not_loaded() -> None:
    machine = machine_with_three_records(log_start=2)
    machine.disk.fail("read", errno.EIO, times=1_000, path="t-0/0000")
    machine.boot()
    machine.node.upkeep.write_checkpoints()
    machine.time.run_for(1_000)
    machine.crash()
    machine.disk.heal()
    machine.boot()
    assert machine.partition("t").log_start_offset == 2


class Asking:
    """Somebody who asks the coordinator."""

    client_id = "c"
    host = "/127.0.0.1"


def committed(machine: VirtualMachine) -> int:
    """What OffsetFetch gives, an error code below zero."""
    ask = OffsetFetchRequest(
        groups=[OffsetFetchRequestGroup("g", topics=[OffsetFetchRequestTopics("t", partition_indexes=[0])])]
    )
    replies: list[Any] = []
    answer = machine.node.groups.offset_fetch(ask, 8, Asking())
    answer.then(replies.append) if isinstance(answer, Parked) else replies.append(answer)
    machine.time.run_until(lambda: bool(replies))
    (group,) = replies[0].groups
    return -group.error_code or group.topics[0].partitions[0].committed_offset


@pytest.mark.parametrize("after", range(6))
def test_a_coordinator_whose_log_cannot_be_read_for_a_moment_loads_it_later(after: int) -> None:
    machine = machine_with_three_records()
    machine.boot()
    made: list[int] = []
    machine.node.topics.ensure_offsets_topic(made.append)
    machine.time.run_until(lambda: bool(made))
    part = OffsetCommitRequestPartition(0, 3, -1, "")
    machine.node.groups.offset_commit(
        OffsetCommitRequest("g", -1, "", None, -1, [OffsetCommitRequestTopic("t", partitions=[part])]),
        8,
        Asking(),
    )
    machine.time.run_for(1_000)
    machine.crash()
    machine.disk.fail("read", errno.EIO, after=after, path="__consumer_offsets-0/0000")
    machine.boot()
    machine.time.run_for(8 * REOPEN_AFTER_MS)
    assert committed(machine) == 3


def test_the_folder_of_a_deleted_topic_is_not_a_new_topics_of_that_name() -> None:
    machine = machine_with_three_records()
    machine.boot()
    old = machine.partition("t")
    machine.disk.fail("rename", errno.EIO, times=1, path="t-0")
    topics = machine.node.topics
    told: list[object] = []
    topics.submit(
        lambda image: delete_topics(image, [DeleteTopicState("t", ZERO_UUID)], topics.rules(), 6),
        [("t", ZERO_UUID)],
        told.append,
    )
    machine.time.run_until(lambda: bool(told))
    assert machine.disk.exists(old.log.folder), "it could not be renamed"
    topics.create_automatically(["t"], told.append)
    machine.time.run_until(lambda: len(told) == 2)
    new = machine.partition("t")
    assert (new.topic_id != old.topic_id, new.offline, new.log.end_offset) == (True, False, 0)
    (stray,) = [name for name in machine.disk.list("/var/data") if name.endswith("-stray")]
    assert machine.disk.exists(f"/var/data/{stray}/partition.metadata")


def test_a_large_topic_is_made_and_deleted_in_slices_and_is_served_whole_when_that_is_answered() -> None:
    """Between two slices others are served; who asks for what is being opened waits for it."""
    time = VirtualTime(1)
    machine = VirtualMachine(time, Wire(time), STATIC)
    machine.boot()
    topics, partitions = machine.node.topics, machine.node.partitions
    made: list[object] = []
    topics.create(
        [CreatableTopic(name="large", num_partitions=1_000, replication_factor=1)], False, made.append
    )
    seen = []
    settled: list[int] = []
    while not made:
        time.step()
        seen.append(partitions.count())
        if 0 < partitions.count() < 1_000 and not settled:
            settled.append(-1)
            assert not topics.when_settled(["large"], 1_000, lambda: settled.append(partitions.count())), (
                "it is not there yet"
            )
    assert [count for count in seen if 0 < count < 1_000], "it came in one slice"
    assert partitions.count() == 1_000 and settled == [-1, 1_000]
    gone: list[object] = []
    topics.submit(
        lambda image: delete_topics(image, [DeleteTopicState("large", ZERO_UUID)], topics.rules(), 6),
        [("large", ZERO_UUID)],
        gone.append,
    )
    # Made anew before the old one's last partition is closed: the steps come one after the other.
    again: list[object] = []
    topics.create([CreatableTopic(name="large", num_partitions=3, replication_factor=1)], False, again.append)
    time.run_until(lambda: bool(gone) and bool(again))
    assert partitions.count() == 3
    new = machine.node.cluster.image.topics["large"]
    assert {each.topic_id for each in partitions.of_topic("large")} == {new.topic_id}
