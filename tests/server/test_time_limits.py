"""timeout_ms of the requests that change topics, as Apache Kafka 4.3 was seen to treat it; what must wait, on virtual time."""

from collections.abc import Callable
from typing import Any

import pytest
from administering import topic_of
from covers import TRAFFIC, covers
from rawclient import RawClient

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.ports import WorldError
from barnabas.server.handlers import delete_records as handler
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime
from barnabas.wire.messages import create_partitions, create_topics, delete_records, delete_topics

STATIC = {"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1"}
OTHER_ID = b"1" * 16
NOBODY: Any = None  # the handler does not look at who asks


# -- no time at all: seen on Apache Kafka 4.3 with 0, -1 and -2^31 ----------------------------------


@pytest.mark.parametrize("timeout_ms", [0, -1, -(2**31)])
@covers("CreateTopics", "timeout_ms", "REQUEST_TIMED_OUT")
def test_topics_without_time_are_not_made(client: RawClient, timeout_ms: int) -> None:
    names = ["no-time", "in valid", "twice", "twice"]
    for validate_only in (True, False):
        ask = create_topics.CreateTopicsRequest(
            topics=[
                create_topics.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
                for name in names
            ],
            timeout_ms=timeout_ms,
            validate_only=validate_only,
        )
        answer = client.call(create_topics, ask, 7)
        assert [(row.name, row.error_code, row.error_message) for row in answer.topics] == [
            (name, errors.REQUEST_TIMED_OUT, None) for name in names
        ]
        assert [row.topic_id for row in answer.topics] == [bytes(16)] * 4
    assert topic_of(client, "no-time").error_code == errors.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("timeout_ms", [pytest.param(-1, marks=covers("CreatePartitions", "timeout_ms")), 0])
@covers("CreatePartitions", "REQUEST_TIMED_OUT")
def test_partitions_without_time_are_not_made(client: RawClient, timeout_ms: int) -> None:
    for validate_only in (True, False):
        ask = create_partitions.CreatePartitionsRequest(
            topics=[
                create_partitions.CreatePartitionsTopic(name=name, count=5, assignments=None)
                for name in ("plain", "absent")
            ],
            timeout_ms=timeout_ms,
            validate_only=validate_only,
        )
        answer = client.call(create_partitions, ask, 3)
        assert [(row.name, row.error_code, row.error_message) for row in answer.results] == [
            (name, errors.REQUEST_TIMED_OUT, None) for name in ("plain", "absent")
        ]
    assert len(topic_of(client, "plain").partitions) == 2


@pytest.mark.parametrize("timeout_ms", [pytest.param(-1, marks=covers("DeleteTopics", "timeout_ms")), 0])
@covers("DeleteTopics", "REQUEST_TIMED_OUT")
def test_topics_without_time_are_not_removed(client: RawClient, timeout_ms: int) -> None:
    topic_id = topic_of(client, "plain").topic_id
    asked = [(None, topic_id), ("absent", bytes(16)), ("twice", bytes(16)), ("twice", bytes(16))]
    asked.append(("both", OTHER_ID))
    ask = delete_topics.DeleteTopicsRequest(
        topics=[delete_topics.DeleteTopicState(name=name, topic_id=given) for name, given in asked],
        timeout_ms=timeout_ms,
    )
    answer = client.call(delete_topics, ask, 6)
    assert [(row.name, row.topic_id) for row in answer.responses] == asked
    assert {(row.error_code, row.error_message) for row in answer.responses} == {
        (errors.REQUEST_TIMED_OUT, None)
    }
    named = delete_topics.DeleteTopicsRequest(topic_names=["plain"], timeout_ms=timeout_ms)
    (row,) = client.call(delete_topics, named, 5).responses
    assert row.error_code == errors.REQUEST_TIMED_OUT
    assert topic_of(client, "plain").error_code == 0


@covers("DeleteRecords", "timeout_ms")
def test_records_are_deleted_even_without_time(client: RawClient) -> None:
    """Nothing waits for followers here, nor on one broker of Kafka's."""
    client.create_topic("brief")
    for timeout_ms in (-1, 0, 1):
        ask = delete_records.DeleteRecordsRequest(topics=[trimmed("brief", 0)], timeout_ms=timeout_ms)
        (part,) = client.call(delete_records, ask, 2).topics[0].partitions
        assert (part.error_code, part.low_watermark) == (0, 0)


def trimmed(topic: str, offset: int) -> delete_records.DeleteRecordsTopic:
    part = delete_records.DeleteRecordsPartition(partition_index=0, offset=offset)
    return delete_records.DeleteRecordsTopic(name=topic, partitions=[part])


# -- what waits, on virtual time -------------------------------------------------------------------


@pytest.fixture
def machine() -> VirtualMachine:
    """A node whose metadata store is at work for some hundred milliseconds."""
    time = VirtualTime(5)
    booted = VirtualMachine(time, Wire(time), STATIC)
    booted.boot()
    for _ in range(200):
        booted.loop.run_in("metadata", lambda: None, lambda result, error: None)
    return booted


def create(machine: VirtualMachine, name: str, timeout_ms: int) -> list[tuple[int, int]]:
    """What will be answered: (code, milliseconds from now)."""
    answers: list[tuple[int, int]] = []
    asked_ms = machine.time.mono_ms()
    machine.node.topics.create(
        [create_topics.CreatableTopic(name=name, num_partitions=1, replication_factor=1)],
        False,
        lambda results: answers.append((results[0].code, machine.time.mono_ms() - asked_ms)),
        timeout_ms,
    )
    return answers


def test_a_change_that_does_not_begin_in_time_is_answered_then_and_never_made(
    machine: VirtualMachine,
) -> None:
    begun = create(machine, "begun", 50)
    waits = create(machine, "waits", 50)
    patient = create(machine, "patient", 30_000)
    machine.time.run_until(lambda: bool(waits))
    assert waits == [(errors.REQUEST_TIMED_OUT, 50)]
    assert begun == patient == []
    machine.time.run_until(lambda: bool(begun and patient))
    assert begun[0][0] == patient[0][0] == 0
    assert begun[0][1] > 50, "what has begun is answered when it is durable"
    machine.time.run_for(60_000)
    assert set(machine.node.cluster.image.topics) == {"begun", "patient"}
    assert (len(begun), len(waits), len(patient)) == (1, 1, 1)


@covers("DeleteRecords", "REQUEST_TIMED_OUT")
@pytest.mark.parametrize(("timeout_ms", "after_ms"), [(0, 1_000), (1, 1_000), (2_500, 2_500)])
def test_a_log_start_that_is_not_on_disk_in_time_is_said_to_be_late(
    machine: VirtualMachine, timeout_ms: int, after_ms: int
) -> None:
    made = create(machine, "t", 30_000)
    machine.time.run_until(lambda: bool(made))
    written: list[Callable[[WorldError | None], None]] = []
    broker = machine.node.broker
    broker.write_checkpoints = written.append
    ask = delete_records.DeleteRecordsRequest(
        topics=[trimmed("t", 0), trimmed("absent", 0)], timeout_ms=timeout_ms
    )
    answers: list[Any] = []
    parked = handler.handle(broker, ask, 2, NOBODY)
    assert isinstance(parked, Parked)
    parked.then(list.append, answers)
    machine.time.run_for(after_ms - 1)
    assert answers == []
    machine.time.run_for(1)
    TRAFFIC.received(delete_records.API_KEY, 2, answers[0])
    late, absent = (topic.partitions[0] for topic in answers[0].topics)
    assert (late.error_code, late.low_watermark) == (errors.REQUEST_TIMED_OUT, 0), "it has moved"
    assert absent.error_code == errors.UNKNOWN_TOPIC_OR_PARTITION
    written[0](None)
    assert len(answers) == 1


def test_a_log_start_on_disk_is_answered_once(machine: VirtualMachine) -> None:
    made = create(machine, "t", 30_000)
    machine.time.run_until(lambda: bool(made))
    ask = delete_records.DeleteRecordsRequest(topics=[trimmed("t", 0)], timeout_ms=1)
    answers: list[Any] = []
    parked = handler.handle(machine.node.broker, ask, 2, NOBODY)
    assert isinstance(parked, Parked)
    parked.then(list.append, answers)
    machine.time.run_for(60_000)
    assert [part.error_code for topic in answers[0].topics for part in topic.partitions] == [0]
    assert len(answers) == 1
