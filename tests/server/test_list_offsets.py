"""ListOffsets, field by field, as Apache Kafka 4.3 was seen to answer. Leader epochs: test_leader_epochs."""

from collections.abc import Iterator
from typing import Any

import pytest
from covers import covers
from rawclient import RawClient, batch_of
from reading import list_one

import barnabas
from barnabas import errors
from barnabas.wire.messages import list_offsets

TOPIC = "listed"
NEWEST = (1 << 40) + 5
TIMES = [1 << 40, NEWEST, (1 << 40) + 2]
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = (
    -1,
    -2,
    -3,
    -4,
    -5,
    -6,
)


@pytest.fixture(scope="module", autouse=True)
def filled(broker: barnabas.Broker) -> Iterator[None]:
    """Three records whose times do not rise, in partition 1; none in partition 0."""
    with RawClient(broker.bootstrap) as client:
        client.create_topic(TOPIC, partitions=2, retention_ms="-1")
        for stamp in TIMES:
            assert client.produce(TOPIC, batch_of([b"v"], timestamp=stamp), partition=1).error_code == 0
    yield


def listed(client: RawClient, timestamp: int, version: int = 11, **fields: Any) -> tuple[int, int]:
    part = list_one(client, TOPIC, timestamp, version, partition_index=1, **fields)
    assert part.error_code == 0
    return part.offset, part.timestamp


@covers(
    "ListOffsets",
    "request.topics.name",
    "request.topics.partitions.timestamp",
    "request.topics.partitions.partition_index",
    "response.topics.name",
    "response.topics.partitions.partition_index",
    "response.topics.partitions.offset",
    "response.topics.partitions.timestamp=default",
    "throttle_time_ms=default",
)
@pytest.mark.parametrize("version", [2, 5, 11])
def test_the_ends_of_a_log(client: RawClient, version: int) -> None:
    assert listed(client, LATEST, version) == (3, -1)
    assert listed(client, EARLIEST, version) == (0, -1)
    parts = [list_offsets.ListOffsetsPartition(partition_index=index, timestamp=LATEST) for index in (1, 0)]
    ask = list_offsets.ListOffsetsRequest(topics=[list_offsets.ListOffsetsTopic(TOPIC, parts)])
    (topic,) = client.call(list_offsets, ask, version).topics
    assert topic.name == TOPIC
    assert [(part.partition_index, part.offset) for part in topic.partitions] == [(1, 3), (0, 0)]


@covers("ListOffsets", "request.topics.partitions.timestamp", "response.topics.partitions.timestamp")
@pytest.mark.parametrize("version", [1, 4, 11])
def test_a_time_is_the_first_record_at_or_behind_it(client: RawClient, version: int) -> None:
    assert listed(client, 0, version) == (0, TIMES[0])
    assert listed(client, TIMES[0], version) == (0, TIMES[0])
    assert listed(client, TIMES[0] + 1, version) == (1, NEWEST)
    assert listed(client, NEWEST, version) == (1, NEWEST)
    assert listed(client, NEWEST + 1, version) == (-1, -1)


@covers("ListOffsets", "response.topics.partitions.leader_epoch=default")
def test_before_v4_no_leader_epoch_is_told(client: RawClient) -> None:
    assert list_one(client, TOPIC, 0, 3, partition_index=1).leader_epoch == -1
    assert list_one(client, TOPIC, NEWEST + 1, 11, partition_index=1).leader_epoch == -1


@covers("ListOffsets", "request.topics.partitions.timestamp", "UNSUPPORTED_VERSION")
@pytest.mark.parametrize(
    ("timestamp", "since", "found"),
    [
        (MAX_TIMESTAMP, 7, (1, NEWEST)),
        (EARLIEST_LOCAL, 8, (0, -1)),
        (LATEST_TIERED, 9, (-1, -1)),
        (EARLIEST_PENDING_UPLOAD, 11, (-1, -1)),
    ],
)
def test_special_times_have_their_versions(
    client: RawClient, timestamp: int, since: int, found: tuple[int, int]
) -> None:
    assert listed(client, timestamp, since) == found
    early = list_one(client, TOPIC, timestamp, since - 1, partition_index=1)
    assert (early.error_code, early.offset) == (errors.UNSUPPORTED_VERSION, -1)


def test_times_that_mean_nothing_are_unsupported(client: RawClient) -> None:
    for timestamp in (-7, -(1 << 63)):
        assert list_one(client, TOPIC, timestamp).error_code == errors.UNSUPPORTED_VERSION


def test_of_an_empty_log_no_record_is_found(client: RawClient) -> None:
    for timestamp, offset in ((LATEST, 0), (EARLIEST, 0), (MAX_TIMESTAMP, -1), (5, -1)):
        part = list_one(client, TOPIC, timestamp)
        assert (part.error_code, part.offset, part.timestamp) == (0, offset, -1)


@covers("ListOffsets", "isolation_level", "isolation_level=default")
def test_without_transactions_both_isolation_levels_list_the_same(client: RawClient) -> None:
    for timestamp in (LATEST, EARLIEST, MAX_TIMESTAMP, TIMES[0] + 1):
        assert listed(client, timestamp, isolation=0) == listed(client, timestamp, isolation=1)


@covers("ListOffsets", "replica_id", "timeout_ms", "timeout_ms=default")
def test_neither_who_asks_nor_how_long_makes_a_difference(client: RawClient) -> None:
    """Nothing is tiered, so no answer takes time; followers list as consumers do."""
    for replica_id, timeout_ms in ((-1, 0), (-2, 1), (-3, -1), (1, 60_000), (5, 0)):
        part = list_offsets.ListOffsetsPartition(partition_index=1, timestamp=LATEST)
        ask = list_offsets.ListOffsetsRequest(
            replica_id=replica_id,
            topics=[list_offsets.ListOffsetsTopic(TOPIC, [part])],
            timeout_ms=timeout_ms,
        )
        assert client.call(list_offsets, ask, 11).topics[0].partitions[0].offset == 3


@covers("ListOffsets", "response.topics.partitions.error_code", "UNKNOWN_TOPIC_OR_PARTITION")
def test_what_is_not_there_is_unknown(client: RawClient) -> None:
    for topic, index in ((TOPIC, 2), (TOPIC, -1), ("nowhere", 0)):
        part = list_one(client, topic, LATEST, partition_index=index)
        assert (part.error_code, part.partition_index) == (errors.UNKNOWN_TOPIC_OR_PARTITION, index)


@covers("ListOffsets", "INVALID_REQUEST")
def test_a_partition_named_twice_is_refused_once(client: RawClient) -> None:
    def part(index: int, timestamp: int) -> list_offsets.ListOffsetsPartition:
        return list_offsets.ListOffsetsPartition(partition_index=index, timestamp=timestamp)

    topic = list_offsets.ListOffsetsTopic(TOPIC, [part(1, LATEST), part(0, LATEST), part(1, EARLIEST)])
    answer = client.call(list_offsets, list_offsets.ListOffsetsRequest(topics=[topic]), 11)
    rows = [(each.partition_index, each.error_code, each.offset) for each in answer.topics[0].partitions]
    assert rows == [(1, errors.INVALID_REQUEST, -1), (0, 0, 0)]
