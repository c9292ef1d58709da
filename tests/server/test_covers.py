"""A claim that nothing bears out fails its test, and one that cannot be fails the import."""

import pytest
from covers import Traffic, claims_of, covers
from rawclient import RawClient, batch_of, produce_request

from barnabas import errors
from barnabas.wire.messages import produce
from barnabas.wire.messages.fetch import FetchRequest, FetchResponse
from barnabas.wire.messages.metadata import MetadataRequest
from barnabas.wire.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse


@pytest.mark.parametrize(
    ("api", "name"),
    [
        ("Consume", "acks"),
        ("Produce", "ack"),
        ("Produce", "topic_data.index"),
        ("Produce", "acks=1"),
        ("Produce", "acks=null"),
        ("Produce", "INVALID_ACKS"),
        ("Produce", "NONE"),
        ("Metadata", "topics.name"),
    ],
)
def test_what_nobody_knows_is_no_claim(api: str, name: str) -> None:
    with pytest.raises(LookupError):
        covers(api, name)


def unmet(traffic: Traffic, api: str, *names: str) -> int:
    return len(traffic.unmet(claims_of(api, names)))


def test_a_request_field_is_covered_by_a_value_that_is_not_its_default() -> None:
    traffic = Traffic()
    assert unmet(traffic, "Produce", "acks", "acks=default") == 2
    traffic.sent(0, 9, produce_request("t", None, acks=0))
    assert unmet(traffic, "Produce", "acks", "acks=default") == 1
    traffic.sent(0, 9, produce_request("t", None, acks=1))
    assert unmet(traffic, "Produce", "acks", "acks=default", "topic_data.name") == 0
    assert (
        unmet(traffic, "Produce", "topic_data.partition_data.index", "topic_data.partition_data.records") == 2
    )


def test_a_field_counts_only_in_versions_that_have_it() -> None:
    traffic = Traffic()
    traffic.sent(1, 10, FetchRequest(rack_id="a"))
    assert unmet(traffic, "Fetch", "rack_id") == 1
    traffic.sent(1, 11, FetchRequest(rack_id="a"))
    assert unmet(traffic, "Fetch", "rack_id") == 0


def test_null_is_not_the_default_of_an_array() -> None:
    traffic = Traffic()
    traffic.sent(3, 12, MetadataRequest(topics=[]))
    assert unmet(traffic, "Metadata", "request.topics=null") == 1
    assert unmet(traffic, "Metadata", "request.topics=default", "request.topics") == 1
    traffic.sent(3, 0, MetadataRequest(topics=None))
    assert unmet(traffic, "Metadata", "request.topics=null") == 1
    traffic.sent(3, 12, MetadataRequest(topics=None))
    assert unmet(traffic, "Metadata", "request.topics=default", "request.topics=null", "request.topics") == 0


def test_a_response_field_is_default_only_when_it_never_differs() -> None:
    traffic = Traffic()
    traffic.received(1, 12, FetchResponse())
    assert unmet(traffic, "Fetch", "response.session_id=default") == 0
    assert unmet(traffic, "Fetch", "response.session_id") == 1
    traffic.received(1, 12, FetchResponse(session_id=5))
    assert unmet(traffic, "Fetch", "response.session_id=default") == 1
    assert unmet(traffic, "Fetch", "response.session_id") == 0


def test_a_code_is_looked_for_at_every_depth() -> None:
    traffic = Traffic()
    part = PartitionProduceResponse(error_code=errors.CORRUPT_MESSAGE)
    traffic.received(0, 9, ProduceResponse(responses=[TopicProduceResponse(partition_responses=[part])]))
    assert unmet(traffic, "Produce", "CORRUPT_MESSAGE", "INVALID_RECORD") == 1
    assert unmet(traffic, "Fetch", "CORRUPT_MESSAGE") == 1


@covers("Produce", "acks", "CORRUPT_MESSAGE", "responses.partition_responses.base_offset=default")
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="both claims about the response are false")
def test_a_false_claim_fails_its_test(client: RawClient) -> None:
    assert client.call(produce, produce_request("plain", batch_of([b"a"])), 9).responses
    assert client.call(produce, produce_request("plain", batch_of([b"b"])), 9).responses


@covers("Produce", "acks", "responses.partition_responses.index", "UNKNOWN_TOPIC_OR_PARTITION")
def test_a_true_claim_passes(client: RawClient) -> None:
    assert client.call(produce, produce_request("plain", batch_of([b"a"]), partition=9), 9).responses
