"""InitProducerId and DescribeProducers, field by field, as Apache Kafka 4.3 was seen to answer."""

from typing import Any

import pytest
from administering import broken_store
from covers import covers
from rawclient import RawClient, batch_of

import barnabas
from barnabas import errors
from barnabas.cluster.changes import PRODUCER_ID_BLOCK
from barnabas.wire.messages import describe_producers, init_producer_id

TRANSACTION_MS = 60_000


def init(client: RawClient, version: int = 5, **fields: Any) -> tuple[int, int, int]:
    ask = init_producer_id.InitProducerIdRequest(**{"transactional_id": None, **fields})
    answer = client.call(init_producer_id, ask, version)
    assert answer.throttle_time_ms == 0
    return answer.error_code, answer.producer_id, answer.producer_epoch


# -- InitProducerId


@covers(
    "InitProducerId",
    "transactional_id=null",
    "request.producer_id=default",
    "request.producer_epoch=default",
    "response.error_code=default",
    "response.producer_id",
    "response.producer_epoch=default",
    "throttle_time_ms=default",
)
def test_each_producer_gets_an_id_of_its_own(client: RawClient) -> None:
    answers = [init(client, version) for version in (0, 2, 3, 4, 5)]
    assert {(code, epoch) for code, _, epoch in answers} == {(0, 0)}
    ids = [producer_id for _, producer_id, _ in answers]
    assert ids == sorted(set(ids)) and ids[0] >= 0


@covers("InitProducerId", "request.producer_id", "request.producer_epoch", "transaction_timeout_ms")
def test_who_had_an_id_gets_a_new_one_all_the_same(client: RawClient) -> None:
    code, first, epoch = init(client)
    assert (code, epoch) == (0, 0)
    for fields in (
        {"producer_id": first, "producer_epoch": epoch},
        {"producer_id": first, "producer_epoch": 7},
        {"producer_id": -5, "producer_epoch": -5},
        {"transaction_timeout_ms": -1},
    ):
        code, producer_id, epoch = init(client, **fields)
        assert (code, producer_id > first, epoch) == (0, True, 0)


@covers(
    "InitProducerId",
    "request.producer_id",
    "request.producer_epoch",
    "response.error_code",
    "response.producer_epoch",
    "INVALID_REQUEST",
)
def test_an_id_without_an_epoch_and_an_epoch_without_an_id_are_invalid(client: RawClient) -> None:
    for version in (3, 5):
        for fields in ({"producer_id": 5}, {"producer_id": 0}, {"producer_epoch": 5}):
            assert init(client, version, **fields) == (errors.INVALID_REQUEST, -1, -1)


@covers(
    "InitProducerId", "transactional_id", "transaction_timeout_ms", "INVALID_REQUEST", "UNSUPPORTED_VERSION"
)
def test_a_transactional_id_is_refused_for_good(client: RawClient) -> None:
    """Not served here: a listed difference. An empty one is invalid in Kafka, too."""
    for version in (0, 5):
        for name, code in (("", errors.INVALID_REQUEST), ("tx", errors.UNSUPPORTED_VERSION)):
            answer = init(client, version, transactional_id=name, transaction_timeout_ms=TRANSACTION_MS)
            assert answer == (code, -1, -1)


@covers("InitProducerId", "COORDINATOR_LOAD_IN_PROGRESS")
def test_while_the_store_gives_no_ids_a_producer_is_to_ask_again(
    client: RawClient, broker: barnabas.Broker
) -> None:
    code, last, _ = init(client)
    assert code == 0
    with broken_store(broker):
        answers = [init(client) for _ in range(PRODUCER_ID_BLOCK + 1)]
    handed_out = [answer for answer in answers if answer[0] == 0]
    assert len(handed_out) < PRODUCER_ID_BLOCK
    assert set(answers[len(handed_out) :]) == {(errors.COORDINATOR_LOAD_IN_PROGRESS, -1, -1)}
    code, after, _ = init(client)
    assert (code, after > last + len(handed_out)) == (0, True)


# -- DescribeProducers


def described(client: RawClient, *topics: tuple[str, list[int]]) -> Any:
    asked = [describe_producers.TopicRequest(name, indexes) for name, indexes in topics]
    return client.call(describe_producers, describe_producers.DescribeProducersRequest(topics=asked), 0)


@covers(
    "DescribeProducers",
    "request.topics.name",
    "request.topics.partition_indexes",
    "response.topics.name",
    "response.topics.partitions.partition_index",
    "response.topics.partitions.error_code=default",
    "response.topics.partitions.active_producers.producer_id",
    "response.topics.partitions.active_producers.producer_epoch",
    "response.topics.partitions.active_producers.last_sequence",
    "response.topics.partitions.active_producers.last_timestamp",
    "response.topics.partitions.active_producers.coordinator_epoch",
    "response.topics.partitions.active_producers.current_txn_start_offset=default",
    "throttle_time_ms=default",
)
def test_each_producer_of_a_partition_is_described(client: RawClient) -> None:
    client.create_topic("producers", partitions=2)
    stamp_ms = 1 << 40
    for producer_id, epoch, sequence, count, stamp in ((1004, 2, 7, 2, stamp_ms), (1005, 0, 0, 1, -1)):
        batch = batch_of(
            [b"v"] * count, stamp, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence
        )
        assert client.produce("producers", batch, partition=1).error_code == 0
    answer = described(client, ("producers", [1, 0]))
    assert [topic.name for topic in answer.topics] == ["producers"]
    one, zero = answer.topics[0].partitions
    assert (one.partition_index, one.error_code, one.error_message) == (1, 0, None)
    assert (zero.partition_index, zero.active_producers) == (0, [])
    assert [
        (
            each.producer_id,
            each.producer_epoch,
            each.last_sequence,
            each.last_timestamp,
            each.coordinator_epoch,
            each.current_txn_start_offset,
        )
        for each in one.active_producers
    ] == [(1004, 2, 8, stamp_ms, -1, -1), (1005, 0, 0, -1, -1, -1)]


@covers("DescribeProducers", "response.topics.partitions.active_producers.last_sequence")
def test_only_the_newest_epoch_of_a_producer_is_described(client: RawClient) -> None:
    client.create_topic("epochs-of-producers")
    for epoch, sequence in ((0, 0), (0, 1), (3, 0)):
        batch = batch_of([b"v"], producer_id=7, producer_epoch=epoch, base_sequence=sequence)
        assert client.produce("epochs-of-producers", batch).error_code == 0
    (part,) = described(client, ("epochs-of-producers", [0])).topics[0].partitions
    (producer,) = part.active_producers
    assert (producer.producer_epoch, producer.last_sequence) == (3, 0)


@covers(
    "DescribeProducers",
    "response.topics.partitions.error_code",
    "response.topics.partitions.error_message",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "INVALID_TOPIC_EXCEPTION",
)
@pytest.mark.parametrize("other", ["plain", "nowhere"])
def test_what_is_not_there_has_no_producers(client: RawClient, other: str) -> None:
    unknown, invalid = errors.UNKNOWN_TOPIC_OR_PARTITION, errors.INVALID_TOPIC_EXCEPTION
    answer = described(client, (other, [9, -1]), ("in valid", [0]), ("", [0]))
    parts = [part for topic in answer.topics for part in topic.partitions]
    assert [part.error_code for part in parts] == [unknown, unknown, invalid, invalid]
    assert all(part.error_message and not part.active_producers for part in parts)


def test_no_partitions_are_no_question(client: RawClient) -> None:
    assert described(client).topics == []
    assert described(client, ("plain", [])).topics[0].partitions == []
