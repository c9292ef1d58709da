"""Produce, field by field: what each means, as Apache Kafka 4.3 was seen to take and give it. Bad batches: test_damaged_batches."""

import time

import pytest
from administering import topic_of
from covers import covers
from rawclient import RawClient, batch_of, produce_request
from reading import fetch_one, values_of
from trouble import hold

import barnabas
from barnabas import errors
from barnabas.records.record import Record, build_batch
from barnabas.wire.messages import delete_records, metadata, produce

OTHER_ID = b"9" * 16
TRANSACTIONAL = batch_of([b"v"], producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
DAY_MS = 86_400_000


def keyed(*records: tuple[bytes | None, int], codec: str = "none") -> bytes:
    return build_batch([Record(key, b"v", stamp, ()) for key, stamp in records], codec=codec)


# -- the request


@covers("Produce", "acks", "acks=default")
def test_acks_0_is_not_answered_and_written_all_the_same(client: RawClient) -> None:
    client.create_topic("mute")
    client.post(produce, produce_request("mute", batch_of([b"mute"]), acks=0), 12)
    answer = client.produce("mute", batch_of([b"told"]), acks=1)
    assert (answer.error_code, answer.base_offset) == (0, 1)
    assert values_of(fetch_one(client, "mute")) == [b"mute", b"told"]


def test_an_error_under_acks_0_closes_the_connection(client: RawClient) -> None:
    client.post(produce, produce_request("nowhere", batch_of([b"v"]), acks=0), 12)
    assert client.is_closed_by_peer()


@covers("Produce", "timeout_ms", "timeout_ms=default")
def test_the_time_limit_matters_to_no_lone_replica(client: RawClient) -> None:
    for timeout_ms in (0, -1, 1):
        ask = produce_request("plain", batch_of([b"v"]))
        ask.timeout_ms = timeout_ms
        assert client.call(produce, ask, 12).responses[0].partition_responses[0].error_code == 0


@covers("Produce", "transactional_id", "INVALID_TXN_STATE", "responses.partition_responses.error_message")
def test_a_transactional_id_matters_to_transactional_batches_alone(client: RawClient) -> None:
    for transactional_id in ("tx", ""):
        for batch, code in ((batch_of([b"v"]), 0), (TRANSACTIONAL, errors.INVALID_TXN_STATE)):
            ask = produce_request("plain", batch)
            ask.transactional_id = transactional_id
            (part,) = client.call(produce, ask, 12).responses[0].partition_responses
            assert (part.error_code, part.error_message is None) == (code, code == 0)


@covers(
    "Produce",
    "topic_data.name",
    "topic_data.partition_data.index",
    "topic_data.partition_data.records",
    "responses.name",
    "responses.partition_responses.index",
)
def test_each_batch_goes_to_the_partition_that_is_named(client: RawClient) -> None:
    client.create_topic("named", partitions=2)
    for index, value in ((1, b"one"), (0, b"zero")):
        response = client.call(produce, produce_request("named", batch_of([value]), partition=index), 12)
        assert response.responses[0].name == "named"
        assert response.responses[0].partition_responses[0].index == index
        assert values_of(fetch_one(client, "named", partition=index)) == [value]


@covers("Produce", "topic_data.topic_id", "responses.topic_id", "UNKNOWN_TOPIC_ID")
def test_since_v13_topics_go_by_their_id(client: RawClient) -> None:
    client.create_topic("by-id")
    topic_id = topic_of(client, "by-id").topic_id
    for wanted, code in (
        (topic_id, 0),
        (OTHER_ID, errors.UNKNOWN_TOPIC_ID),
        (bytes(16), errors.UNKNOWN_TOPIC_ID),
    ):
        ask = produce_request("", batch_of([b"v"]))
        ask.topic_data[0].topic_id = wanted
        (answer,) = client.call(produce, ask, 13).responses
        assert (answer.topic_id, answer.partition_responses[0].error_code) == (wanted, code)


@covers("Produce", "INVALID_TOPIC_EXCEPTION")
def test_clients_do_not_write_to_internal_topics(client: RawClient) -> None:
    name = metadata.MetadataRequestTopic(name="__consumer_offsets")
    assert client.call(metadata, metadata.MetadataRequest(topics=[name]), 12).topics[0].error_code == 0
    assert client.produce("__consumer_offsets", batch_of([b"v"])).error_code == errors.INVALID_TOPIC_EXCEPTION


# -- the response


@covers(
    "Produce",
    "responses.partition_responses.base_offset",
    "responses.partition_responses.log_append_time_ms=default",
    "responses.partition_responses.error_message=default",
    "responses.partition_responses.record_errors.batch_index=default",
    "throttle_time_ms=default",
)
def test_the_base_offset_is_that_of_the_batchs_first_record(client: RawClient) -> None:
    client.create_topic("bases")
    for version, size, base in ((3, 2, 0), (5, 3, 2), (8, 1, 5), (12, 1, 6)):
        answer = client.produce("bases", batch_of([b"v"] * size), version=version)
        assert (answer.error_code, answer.base_offset) == (0, base)


@covers("Produce", "responses.partition_responses.log_append_time_ms")
def test_the_append_time_is_told_where_the_broker_sets_it(client: RawClient) -> None:
    client.create_topic("stamped", message_timestamp_type="LogAppendTime")
    before_ms = time.time_ns() // 1_000_000
    stamp = client.produce("stamped", batch_of([b"v"], timestamp=1000)).log_append_time_ms
    assert before_ms <= stamp <= time.time_ns() // 1_000_000
    assert fetch_one(client, "stamped").records.size > 0


@covers("Produce", "responses.partition_responses.log_start_offset")
def test_the_log_start_is_told_since_v5(client: RawClient) -> None:
    client.create_topic("starts")
    client.produce("starts", batch_of([b"v"] * 3))
    part = delete_records.DeleteRecordsPartition(partition_index=0, offset=2)
    topic = delete_records.DeleteRecordsTopic(name="starts", partitions=[part])
    ask = delete_records.DeleteRecordsRequest(topics=[topic], timeout_ms=5000)
    assert client.call(delete_records, ask, 2).topics[0].partitions[0].error_code == 0
    assert client.produce("starts", batch_of([b"v"]), version=4).log_start_offset == -1
    assert client.produce("starts", batch_of([b"v"]), version=5).log_start_offset == 2


@covers(
    "Produce",
    "responses.partition_responses.record_errors.batch_index",
    "responses.partition_responses.record_errors.batch_index_error_message",
    "responses.partition_responses.error_message",
    "responses.partition_responses.log_start_offset",
    "INVALID_RECORD",
)
@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_records_without_a_key_are_named(client: RawClient, codec: str) -> None:
    client.create_topic(f"keys-{codec}", cleanup_policy="compact")
    batch = keyed((b"k", -1), (None, -1), (b"k", -1), (None, -1), codec=codec)
    answer = client.produce(f"keys-{codec}", batch, version=8)
    assert (answer.error_code, answer.base_offset) == (errors.INVALID_RECORD, -1)
    assert [each.batch_index for each in answer.record_errors] == [1, 3]
    assert all("key" in each.batch_index_error_message for each in answer.record_errors)
    assert (answer.log_start_offset, answer.error_message is None) == (0, False)
    assert client.produce(f"keys-{codec}", batch, version=7).error_code == errors.INVALID_RECORD


@covers("Produce", "responses.partition_responses.record_errors.batch_index", "INVALID_TIMESTAMP")
def test_records_outside_the_time_limits_are_named(client: RawClient) -> None:
    client.create_topic("limits", cleanup_policy="compact", message_timestamp_after_max_ms="3600000")
    now_ms = time.time_ns() // 1_000_000
    answer = client.produce("limits", keyed((b"k", now_ms), (b"k", now_ms + DAY_MS), (None, now_ms)))
    assert answer.error_code == errors.INVALID_TIMESTAMP
    assert [each.batch_index for each in answer.record_errors] == [1, 2]
    assert str(now_ms + DAY_MS) in answer.record_errors[0].batch_index_error_message


@covers("Produce", "responses.partition_responses.record_errors.batch_index=default", "INVALID_RECORD")
def test_of_a_broken_batch_no_record_is_named(client: RawClient) -> None:
    client.create_topic("broken", cleanup_policy="compact")
    whole = keyed((None, -1))
    for batch in (whole[:-1], whole + whole):
        answer = client.produce("broken", batch)
        assert (answer.error_code, answer.record_errors) == (errors.INVALID_RECORD, [])


@covers(
    "Produce",
    "responses.partition_responses.current_leader.leader_id=default",
    "responses.partition_responses.current_leader.leader_epoch=default",
    "node_endpoints.node_id=default",
    "node_endpoints.host=default",
    "node_endpoints.port=default",
    "node_endpoints.rack=default",
    "NOT_LEADER_OR_FOLLOWER",
)
def test_who_waits_for_a_deleted_topic_is_told_that_nobody_leads_it(
    client: RawClient, broker: barnabas.Broker
) -> None:
    client.create_topic("deleted")
    hold(broker, "deleted")
    client.post(produce, produce_request("deleted", batch_of([b"v"])), 12)
    with RawClient(broker.bootstrap) as other:
        other.delete_topic("deleted")
    frame = client.read_frame()
    assert frame is not None
    response = produce.decode_response(frame, 5, 12)
    (part,) = response.responses[0].partition_responses
    assert (part.error_code, part.base_offset) == (errors.NOT_LEADER_OR_FOLLOWER, -1)
    assert (part.log_start_offset, part.current_leader, response.node_endpoints) == (-1, None, [])
