"""DeleteRecords, field by field, as Apache Kafka 4.3 was seen to answer. timeout_ms: test_time_limits too."""

import pytest
from covers import covers
from rawclient import RawClient
from reading import fetch_one, fill, list_one, values_of

from barnabas import errors
from barnabas.wire.messages import delete_records, find_coordinator

Asked = tuple[str, int, int]


def request(*asked: Asked, timeout_ms: int = 5000) -> delete_records.DeleteRecordsRequest:
    """One entry of the request for each (topic, partition, offset)."""
    return delete_records.DeleteRecordsRequest(
        topics=[
            delete_records.DeleteRecordsTopic(
                name=topic,
                partitions=[delete_records.DeleteRecordsPartition(partition_index=index, offset=offset)],
            )
            for topic, index, offset in asked
        ],
        timeout_ms=timeout_ms,
    )


def rows(client: RawClient, *asked: Asked, version: int = 2) -> list[tuple[str, int, int, int]]:
    answer = client.call(delete_records, request(*asked), version)
    return [
        (topic.name, part.partition_index, part.low_watermark, part.error_code)
        for topic in answer.topics
        for part in topic.partitions
    ]


@pytest.fixture
def topic(client: RawClient, request: pytest.FixtureRequest) -> str:
    """Two partitions; five records in the second."""
    name = str(request.node.originalname[5:45])
    client.create_topic(name, partitions=2)
    fill(client, name, *[b"%d" % number for number in range(5)], partition=1)
    return name


@covers(
    "DeleteRecords",
    "request.topics.name",
    "request.topics.partitions.partition_index",
    "request.topics.partitions.offset",
    "response.topics.name",
    "response.topics.partitions.partition_index",
    "response.topics.partitions.low_watermark",
    "timeout_ms",
    "throttle_time_ms=default",
)
def test_records_below_the_offset_are_gone(client: RawClient, topic: str) -> None:
    for version, offset in ((0, 1), (1, 2), (2, 3)):
        assert rows(client, (topic, 1, offset), version=version) == [(topic, 1, offset, 0)]
        assert list_one(client, topic, -2, partition_index=1).offset == offset
    assert values_of(fetch_one(client, topic, partition=1, fetch_offset=3)) == [b"3", b"4"]
    assert fetch_one(client, topic, partition=1, fetch_offset=2).error_code == errors.OFFSET_OUT_OF_RANGE


def test_the_log_start_never_goes_back(client: RawClient, topic: str) -> None:
    assert rows(client, (topic, 1, 3)) == [(topic, 1, 3, 0)]
    assert rows(client, (topic, 1, 1)) == [(topic, 1, 3, 0)]
    assert list_one(client, topic, -2, partition_index=1).offset == 3


@covers("DeleteRecords", "request.topics.partitions.offset")
def test_minus_one_means_the_high_watermark(client: RawClient, topic: str) -> None:
    assert rows(client, (topic, 1, -1), (topic, 0, -1)) == [(topic, 1, 5, 0), (topic, 0, 0, 0)]
    assert list_one(client, topic, -2, partition_index=1).offset == 5


@covers("DeleteRecords", "OFFSET_OUT_OF_RANGE", "response.topics.partitions.error_code")
def test_offsets_that_are_not_there_are_out_of_range(client: RawClient, topic: str) -> None:
    for offset in (6, -2, 1 << 40):
        assert rows(client, (topic, 1, offset)) == [(topic, 1, -1, errors.OFFSET_OUT_OF_RANGE)]
    assert list_one(client, topic, -2, partition_index=1).offset == 0


@covers("DeleteRecords", "UNKNOWN_TOPIC_OR_PARTITION")
def test_what_is_not_there_is_unknown(client: RawClient, topic: str) -> None:
    for name, index in ((topic, 2), (topic, -1), ("nowhere", 0)):
        assert rows(client, (name, index, 0)) == [(name, index, -1, errors.UNKNOWN_TOPIC_OR_PARTITION)]


@covers("DeleteRecords", "POLICY_VIOLATION")
def test_a_compacted_topic_keeps_its_records(client: RawClient) -> None:
    client.create_topic("compacted-alone", cleanup_policy="compact")
    client.create_topic("compacted-and-cut", cleanup_policy="compact,delete")
    assert rows(client, ("compacted-alone", 0, 0)) == [("compacted-alone", 0, -1, errors.POLICY_VIOLATION)]
    assert rows(client, ("compacted-and-cut", 0, 0)) == [("compacted-and-cut", 0, 0, 0)]


@covers("DeleteRecords", "INVALID_TOPIC_EXCEPTION")
def test_internal_topics_keep_their_records(client: RawClient) -> None:
    place = find_coordinator.FindCoordinatorRequest(key="any")
    assert client.call(find_coordinator, place, 3).error_code == 0
    refused = ("__consumer_offsets", 0, -1, errors.INVALID_TOPIC_EXCEPTION)
    assert rows(client, ("__consumer_offsets", 0, 0)) == [refused]


def test_of_a_partition_named_twice_the_last_offset_counts(client: RawClient, topic: str) -> None:
    assert rows(client, (topic, 1, 3), (topic, 0, 0), (topic, 1, 2)) == [(topic, 1, 2, 0), (topic, 0, 0, 0)]
    assert rows(client, (topic, 1, 4), (topic, 1, 99)) == [(topic, 1, -1, errors.OFFSET_OUT_OF_RANGE)]
    assert list_one(client, topic, -2, partition_index=1).offset == 2
