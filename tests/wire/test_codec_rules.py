"""Rules of the codec that hold across messages: what a version cannot carry, tags, defaults, nulls, planned records."""

from typing import Any

import pytest
from wire_samples import KINDS, Kind, for_each

from barnabas.ports import FileRange
from barnabas.wire.messages import (
    api_versions,
    create_topics,
    delete_topics,
    fetch,
    find_coordinator,
    metadata,
    produce,
)
from barnabas.wire.primitives import Malformed, Records, join

UNKNOWN_TAG = b"\x01\xe4\x01\x03abc"
"""One tag, number 228, of three bytes."""


FLEXIBLE = [kind for kind in KINDS if kind.is_flexible]


def bare(kind: Kind) -> bytes:
    """A message of defaults: its last byte is its empty tagged section."""
    encoded = kind.encode(kind.default())
    assert encoded[-1] == 0
    return encoded


@for_each(FLEXIBLE)
def test_an_unknown_tagged_field_is_skipped(kind: Kind) -> None:
    encoded = bare(kind)
    assert kind.decode(encoded[:-1] + UNKNOWN_TAG) == kind.decode(encoded)


@for_each(FLEXIBLE)
def test_a_tag_that_runs_past_the_end_is_malformed(kind: Kind) -> None:
    closed = bare(kind)
    with pytest.raises(Malformed):
        kind.decode(closed[:-1] + UNKNOWN_TAG[:-1])
    with pytest.raises(Malformed):
        kind.decode(closed[:-1] + b"\x01\xe4\x01\xff\xff\xff\xff\x07abc")


def test_a_known_tag_of_the_wrong_size_is_malformed() -> None:
    encoded = api_versions.encode_response(api_versions.ApiVersionsResponse(finalized_features_epoch=7), 3)
    assert encoded.endswith(b"\x01\x01\x08" + bytes(7) + b"\x07")
    with pytest.raises(Malformed):
        api_versions.decode_response(encoded.replace(b"\x01\x01\x08", b"\x01\x01\x07"), 0, 3)


def test_a_value_that_the_version_cannot_carry_is_refused() -> None:
    request = find_coordinator.FindCoordinatorRequest(key_type=1, key="t")
    assert find_coordinator.encode_request(request, 1) == b"\x00\x01t\x01"
    with pytest.raises(ValueError, match="key_type does not exist in version 0"):
        find_coordinator.encode_request(request, 0)


def test_an_ignorable_value_that_the_version_cannot_carry_is_left_out() -> None:
    response = api_versions.ApiVersionsResponse(throttle_time_ms=100)
    assert api_versions.encode_response(response, 0) == api_versions.encode_response(
        api_versions.ApiVersionsResponse(), 0
    )


def test_null_is_refused_where_the_version_has_none() -> None:
    request = metadata.MetadataRequest(topics=None)
    assert metadata.decode_request(metadata.encode_request(request, 1), 0, 1).topics is None
    with pytest.raises(ValueError, match="topics may not be null in version 0"):
        metadata.encode_request(request, 0)
    with pytest.raises(Malformed):
        metadata.decode_request(b"\xff\xff\xff\xff", 0, 0)
    topic = delete_topics.DeleteTopicState(name=None, topic_id=bytes(range(16)))
    asked = delete_topics.DeleteTopicsRequest(topics=[topic])
    assert delete_topics.decode_request(delete_topics.encode_request(asked, 6), 0, 6) == asked


def test_defaults_are_those_of_kafka() -> None:
    request = fetch.FetchRequest()
    assert (request.max_bytes, request.session_epoch, request.rack_id) == (0x7FFFFFFF, -1, "")
    topic = create_topics.CreatableTopicResult()
    assert (topic.num_partitions, topic.replication_factor, topic.configs) == (-1, -1, [])
    assert produce.ProduceRequest().transactional_id is None
    assert create_topics.CreateTopicsRequest().timeout_ms == 60000


def test_lists_of_defaults_are_not_shared() -> None:
    fetch.FetchRequest().topics.append(fetch.FetchTopic())
    assert fetch.FetchRequest().topics == []
    configs = create_topics.CreatableTopicResult().configs
    assert configs is not None
    configs.append(create_topics.CreatableTopicConfigs())
    assert create_topics.CreatableTopicResult().configs == []


def test_text_that_is_not_utf_8_is_read_with_replacements_as_in_kafka() -> None:
    decoded = find_coordinator.decode_request(b"\x00\x03a\xffb\x00", 0, 1)
    assert decoded.key == "a\ufffdb"


def test_a_string_longer_than_the_protocol_allows_is_refused() -> None:
    with pytest.raises(ValueError, match="32768 bytes"):
        find_coordinator.encode_request(find_coordinator.FindCoordinatorRequest(key="x" * 32768), 0)
    with pytest.raises(Malformed):
        find_coordinator.decode_request(b"\x81\x80\x02" + b"x" * 32768 + b"\x00\x00", 0, 3)


def test_an_integer_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError):
        fetch.encode_request(fetch.FetchRequest(max_wait_ms=1 << 31), 4)


@pytest.mark.parametrize("version", [3, 8, 9, 13])
def test_records_of_a_request_are_a_run_of_the_frame_itself(version: int) -> None:
    partition = produce.PartitionProduceData(index=1, records=Records(b"batch bytes"))
    topic = produce.TopicProduceData(partition_data=[partition])
    frame = produce.encode_request(produce.ProduceRequest(topic_data=[topic]), version)
    records = produce.decode_request(frame, 0, version).topic_data[0].partition_data[0].records
    assert records is not None
    assert records.content is frame
    assert frame[records.start : records.start + records.size] == b"batch bytes"


class HeldFile:
    """A file whose bytes are given; only read() is asked of it."""

    path = "held"

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, position: int, size: int) -> bytes:
        return self.content[position : position + size]


@pytest.mark.parametrize("version", range(fetch.VERSION_MIN, fetch.VERSION_MAX + 1))
def test_a_planned_response_stands_for_the_bytes_of_the_encoded_one(version: int) -> None:
    held: Any = HeldFile(b"0123456789" * 10)
    sent = FileRange(held, 5, 20)
    planned = Records(size=20, planned=sent)
    plain = Records(b"56789012345678901234")

    def response(records: list[Records | None]) -> fetch.FetchResponse:
        partitions = [
            fetch.PartitionData(partition_index=number, high_watermark=9, records=each)
            for number, each in enumerate(records)
        ]
        return fetch.FetchResponse(responses=[fetch.FetchableTopicResponse(partitions=partitions)])

    nothing = Records(b"")
    pieces = fetch.plan_response(response([planned, nothing, plain, planned]), version)
    assert join(pieces) == fetch.encode_response(response([plain, nothing, plain, plain]), version)
    assert [piece for piece in pieces if isinstance(piece, FileRange)] == [sent] * 2
    assert fetch.encode_response(response([planned]), version) == fetch.encode_response(
        response([plain]), version
    )
