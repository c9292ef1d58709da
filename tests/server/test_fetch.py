"""Fetch, field by field, as Apache Kafka 4.3 was seen to answer. Sessions: test_fetch_sessions. Epochs: test_leader_epochs."""

from collections.abc import Iterator
from typing import Any

import pytest
from administering import topic_of
from covers import covers
from rawclient import RawClient, batch_of, produce_request
from reading import fetch_all, fetch_one, fetch_request, fill, values_of, wanted
from trouble import hold

import barnabas
from barnabas import errors
from barnabas.wire.messages import delete_records, fetch, produce

TOPIC = "read"
VALUES = [b"a", b"b", b"c"]
BATCH_BYTES = len(batch_of([b"a"]))
MINUTE_MS = 60_000
OTHER_ID = b"9" * 16


@pytest.fixture(scope="module", autouse=True)
def filled(broker: barnabas.Broker) -> Iterator[None]:
    """Three batches of one record in partition 0, one in partition 1."""
    with RawClient(broker.bootstrap) as client:
        client.create_topic(TOPIC, partitions=2)
        fill(client, TOPIC, *VALUES)
        fill(client, TOPIC, b"other", partition=1)
    yield


# -- how much, and when


@covers("Fetch", "max_bytes", "response.responses.partitions.records")
def test_max_bytes_bounds_the_answer_but_for_its_first_batch(client: RawClient) -> None:
    def ask(max_bytes: int) -> list[list[bytes | None]]:
        parts = fetch_all(client, TOPIC, wanted(), wanted(partition=1), max_bytes=max_bytes)
        return [values_of(part) for part in parts.responses[0].partitions]

    assert ask(1 << 20) == [VALUES, [b"other"]]
    assert ask(3 * BATCH_BYTES) == [VALUES, []]
    assert ask(2 * BATCH_BYTES) == [VALUES[:2], []]
    for small in (1, 0):
        assert ask(small) == [VALUES[:1], []]


@covers("Fetch", "request.topics.partitions.partition_max_bytes")
def test_partition_max_bytes_bounds_one_partition(client: RawClient) -> None:
    for limit, count in ((3 * BATCH_BYTES, 3), (2 * BATCH_BYTES + 1, 2), (1, 1), (0, 1)):
        part = fetch_one(client, TOPIC, partition_max_bytes=limit)
        assert values_of(part) == VALUES[:count]
    small = wanted(partition_max_bytes=1)
    first, second = (
        fetch_all(client, TOPIC, small, wanted(partition=1, partition_max_bytes=1)).responses[0].partitions
    )
    assert (values_of(first), values_of(second)) == (VALUES[:1], [])


@covers("Fetch", "min_bytes", "max_wait_ms")
def test_a_fetch_waits_until_min_bytes_are_there(client: RawClient, broker: barnabas.Broker) -> None:
    client.create_topic("awaited")
    ask = fetch_request("awaited", min_bytes=2 * BATCH_BYTES, max_wait_ms=MINUTE_MS)
    client.post(fetch, ask, 12)
    with RawClient(broker.bootstrap) as other:
        fill(other, "awaited", b"x", b"y")
    assert values_of(next_part(client)) == [b"x", b"y"]


@covers("Fetch", "min_bytes", "max_wait_ms")
def test_a_fetch_waits_no_longer_than_max_wait_ms(client: RawClient) -> None:
    for wait_ms in (1, -1):
        part = fetch_one(client, TOPIC, min_bytes=1 << 20, max_wait_ms=wait_ms)
        assert values_of(part) == VALUES


@covers("Fetch", "min_bytes=default", "max_wait_ms")
def test_who_wants_no_bytes_does_not_wait(client: RawClient) -> None:
    part = fetch_one(client, TOPIC, fetch_offset=3, min_bytes=0, max_wait_ms=MINUTE_MS)
    assert (part.error_code, values_of(part)) == (0, [])


def next_part(client: RawClient) -> Any:
    frame = client.read_frame()
    assert frame is not None
    return fetch.decode_response(frame, 5, 12).responses[0].partitions[0]


# -- where


@covers(
    "Fetch",
    "request.topics.topic",
    "request.topics.partitions.partition",
    "request.topics.partitions.fetch_offset",
    "response.responses.topic",
    "response.responses.partitions.partition_index",
    "response.responses.partitions.high_watermark",
    "throttle_time_ms=default",
    "response.error_code=default",
)
@pytest.mark.parametrize("version", [7, 11, 12])
def test_records_come_from_the_offset_on(client: RawClient, version: int) -> None:
    for offset in range(4):
        part = fetch_one(client, TOPIC, version, fetch_offset=offset)
        assert (values_of(part), part.high_watermark) == (VALUES[offset:], 3)
    response = fetch_all(client, TOPIC, wanted(partition=1), version=version)
    assert response.responses[0].topic == TOPIC
    assert response.responses[0].partitions[0].partition_index == 1


def test_a_batch_comes_whole_also_when_the_offset_is_inside(client: RawClient) -> None:
    client.create_topic("whole")
    assert client.produce("whole", batch_of(VALUES)).error_code == 0
    assert values_of(fetch_one(client, "whole", fetch_offset=2)) == VALUES


@covers("Fetch", "request.topics.partitions.fetch_offset", "OFFSET_OUT_OF_RANGE")
def test_offsets_that_are_not_there_are_out_of_range(client: RawClient) -> None:
    for offset in (-1, 4, 1 << 40):
        part = fetch_one(client, TOPIC, fetch_offset=offset, max_wait_ms=MINUTE_MS, min_bytes=1)
        assert (part.error_code, part.records.size) == (errors.OFFSET_OUT_OF_RANGE, 0)
        assert (part.high_watermark, part.last_stable_offset, part.log_start_offset) == (-1, -1, -1)


@covers("Fetch", "response.responses.partitions.log_start_offset", "OFFSET_OUT_OF_RANGE")
def test_what_was_deleted_is_out_of_range_and_the_log_start_is_told(client: RawClient) -> None:
    client.create_topic("started")
    fill(client, "started", *VALUES)
    part = delete_records.DeleteRecordsPartition(partition_index=0, offset=2)
    topic = delete_records.DeleteRecordsTopic(name="started", partitions=[part])
    ask = delete_records.DeleteRecordsRequest(topics=[topic], timeout_ms=5000)
    assert client.call(delete_records, ask, 2).topics[0].partitions[0].error_code == 0
    read = fetch_one(client, "started", fetch_offset=2)
    assert (values_of(read), read.log_start_offset) == ([b"c"], 2)
    assert fetch_one(client, "started", fetch_offset=1).error_code == errors.OFFSET_OUT_OF_RANGE


@covers("Fetch", "UNKNOWN_TOPIC_OR_PARTITION", "response.responses.partitions.error_code")
def test_what_is_not_there_is_unknown(client: RawClient) -> None:
    for topic, index in ((TOPIC, 2), (TOPIC, -1), ("nowhere", 0)):
        part = fetch_one(client, topic, partition=index)
        assert (part.error_code, part.partition_index) == (errors.UNKNOWN_TOPIC_OR_PARTITION, index)


@covers("Fetch", "request.topics.topic_id", "response.responses.topic_id", "UNKNOWN_TOPIC_ID")
@pytest.mark.parametrize("version", [13, 18])
def test_since_v13_topics_go_by_their_id(client: RawClient, version: int) -> None:
    topic_id = topic_of(client, TOPIC).topic_id
    for asked, code in ((topic_id, 0), (OTHER_ID, errors.UNKNOWN_TOPIC_ID)):
        ask = fetch_request("", wanted())
        ask.topics[0].topic_id = asked
        (answer,) = client.call(fetch, ask, version).responses
        assert (answer.topic_id, answer.partitions[0].error_code) == (asked, code)


# -- isolation


@covers(
    "Fetch",
    "isolation_level",
    "isolation_level=default",
    "response.responses.partitions.last_stable_offset",
    "response.responses.partitions.aborted_transactions.producer_id=default",
    "response.responses.partitions.aborted_transactions.first_offset=default",
)
def test_without_transactions_both_isolation_levels_read_the_same(client: RawClient) -> None:
    for level, aborted in ((0, None), (1, [])):
        part = fetch_one(client, TOPIC, isolation_level=level)
        assert (values_of(part), part.last_stable_offset) == (VALUES, 3)
        assert part.aborted_transactions == aborted


@covers(
    "Fetch",
    "response.responses.partitions.high_watermark",
    "response.responses.partitions.last_stable_offset",
)
def test_nobody_sees_what_is_not_committed(client: RawClient, broker: barnabas.Broker) -> None:
    client.create_topic("held")
    fill(client, "held", b"seen")
    hold(broker, "held")
    client.post(produce, produce_request("held", batch_of([b"unseen"]), acks=0), 12)
    part = fetch_one(client, "held")
    client.delete_topic("held")
    assert (values_of(part), part.high_watermark, part.last_stable_offset) == ([b"seen"], 1, 1)


# -- who asks


@covers(
    "Fetch",
    "replica_id",
    "NOT_LEADER_OR_FOLLOWER",
    "response.responses.partitions.current_leader.leader_id=default",
)
def test_there_are_no_followers(client: RawClient) -> None:
    """Kafka says so to a broker that is no replica of the partition; consumers have negative ids."""
    for replica_id, code in (
        (-1, 0),
        (-2, 0),
        (-3, 0),
        (1, errors.NOT_LEADER_OR_FOLLOWER),
        (5, errors.NOT_LEADER_OR_FOLLOWER),
    ):
        part = fetch_one(client, TOPIC, replica_id=replica_id)
        assert (part.error_code, part.records.size > 0) == (code, code == 0)


@covers(
    "Fetch",
    "replica_state.replica_id",
    "replica_state.replica_epoch",
    "NOT_LEADER_OR_FOLLOWER",
    "response.responses.partitions.current_leader.leader_id",
    "response.responses.partitions.current_leader.leader_epoch",
    "node_endpoints.host=default",
)
@pytest.mark.parametrize("version", [16, 18])
def test_since_v15_a_follower_says_so_in_its_state(client: RawClient, version: int) -> None:
    epoch = topic_of(client, TOPIC).partitions[0].leader_epoch
    for replica_id, code in (
        (-1, 0),
        (-2, 0),
        (0, errors.NOT_LEADER_OR_FOLLOWER),
        (5, errors.NOT_LEADER_OR_FOLLOWER),
    ):
        state = fetch.ReplicaState(replica_id=replica_id, replica_epoch=3)
        response = fetch_all(client, TOPIC, wanted(), version=version, replica_state=state)
        (part,) = response.responses[0].partitions
        assert (part.error_code, part.records.size > 0) == (code, code == 0)
        if code:
            assert (part.current_leader.leader_id, part.current_leader.leader_epoch) == (1, epoch)
            assert response.node_endpoints == []


@covers(
    "Fetch",
    "request.topics.partitions.log_start_offset",
    "request.topics.partitions.replica_directory_id",
    "request.topics.partitions.high_watermark",
)
def test_what_only_followers_say_matters_to_no_consumer(client: RawClient) -> None:
    part = fetch_one(client, TOPIC, 18, log_start_offset=2, replica_directory_id=b"d" * 16, high_watermark=1)
    assert (values_of(part), part.log_start_offset, part.high_watermark) == (VALUES, 0, 3)


@covers(
    "Fetch",
    "cluster_id",
    "rack_id",
    "response.responses.partitions.preferred_read_replica=default",
    "response.responses.partitions.snapshot_id.end_offset=default",
    "response.responses.partitions.snapshot_id.epoch=default",
)
def test_neither_cluster_nor_rack_send_a_reader_elsewhere(client: RawClient) -> None:
    part = fetch_one(client, TOPIC, cluster_id="another", rack_id="far away")
    assert (values_of(part), part.preferred_read_replica, part.snapshot_id) == (VALUES, -1, None)
