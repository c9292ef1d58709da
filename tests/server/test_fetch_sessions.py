"""Fetch sessions (KIP-227) over the wire: what is opened, told again, forgotten, refused and closed."""

from typing import Any

import pytest
from administering import topic_of
from covers import covers
from rawclient import RawClient, batch_of, produce_request
from reading import fetch_all, fetch_request, fill, values_of, wanted

from barnabas import errors
from barnabas.server.handlers.fetch import WITH_RECORDS_MAX
from barnabas.wire.messages import fetch, produce


@pytest.fixture
def topic(client: RawClient, request: pytest.FixtureRequest) -> str:
    name = request.node.originalname[5:40]
    client.create_topic(name, partitions=2)
    return str(name)


def opened(client: RawClient, topic: str, version: int = 12) -> int:
    response = fetch_all(client, topic, wanted(), wanted(partition=1), session_epoch=0, version=version)
    assert response.error_code == 0
    session_id: int = response.session_id
    assert session_id != 0
    return session_id


def again(client: RawClient, session_id: int, epoch: int, version: int = 12, **fields: Any) -> Any:
    ask = fetch.FetchRequest(**{"max_bytes": 1 << 20, **fields}, session_id=session_id, session_epoch=epoch)
    return client.call(fetch, ask, version)


def told(response: Any) -> dict[int, list[bytes | None]]:
    """Partition → values, of an answer about one topic at most."""
    assert response.error_code == 0
    return {part.partition_index: values_of(part) for each in response.responses for part in each.partitions}


@covers("Fetch", "request.session_id", "session_epoch", "response.session_id")
def test_a_session_tells_only_what_is_new(client: RawClient, topic: str) -> None:
    session_id = opened(client, topic)
    assert told(again(client, session_id, 1)) == {}
    fill(client, topic, b"a", partition=1)
    assert told(again(client, session_id, 2)) == {1: [b"a"]}


@covers("Fetch", "request.topics.partitions.fetch_offset", "session_epoch")
def test_a_partition_named_again_is_read_from_there(client: RawClient, topic: str) -> None:
    fill(client, topic, b"a", b"b")
    session_id = opened(client, topic)
    moved = fetch_request(topic, wanted(fetch_offset=1), session_id=session_id, session_epoch=1)
    assert told(client.call(fetch, moved, 12)) == {0: [b"b"]}
    assert told(again(client, session_id, 2)) == {0: [b"b"]}


@covers("Fetch", "request.max_bytes", "session_epoch")
def test_of_partitions_that_always_have_more_each_has_its_turn(client: RawClient, topic: str) -> None:
    for index in (0, 1):
        fill(client, topic, b"%d" % index, partition=index)
    session_id = opened(client, topic)
    answers = [told(again(client, session_id, epoch, max_bytes=1)) for epoch in range(1, 5)]
    assert answers == [{0: [b"0"]}, {1: [b"1"]}, {0: [b"0"]}, {1: [b"1"]}]
    assert list(told(again(client, session_id, 5))) == [0, 1]


@covers("Fetch", "forgotten_topics_data.topic", "forgotten_topics_data.partitions")
def test_a_forgotten_partition_is_told_no_more(client: RawClient, topic: str) -> None:
    session_id = opened(client, topic)
    gone = fetch.ForgottenTopic(topic=topic, partitions=[1])
    assert told(again(client, session_id, 1, forgotten_topics_data=[gone])) == {}
    for index in (0, 1):
        fill(client, topic, b"a", partition=index)
    assert told(again(client, session_id, 2)) == {0: [b"a"]}


@covers("Fetch", "forgotten_topics_data.topic_id", "forgotten_topics_data.partitions")
def test_since_v13_topics_are_forgotten_by_their_id(client: RawClient, topic: str) -> None:
    session_id = opened(client, topic, 13)
    gone = fetch.ForgottenTopic(topic_id=topic_of(client, topic).topic_id, partitions=[1])
    assert told(again(client, session_id, 1, 13, forgotten_topics_data=[gone])) == {}
    for index in (0, 1):
        fill(client, topic, b"a", partition=index)
    assert told(again(client, session_id, 2, 13)) == {0: [b"a"]}


@covers("Fetch", "request.session_id", "session_epoch", "response.error_code", "INVALID_FETCH_SESSION_EPOCH")
def test_an_epoch_out_of_turn_is_refused_and_the_session_lives(client: RawClient, topic: str) -> None:
    session_id = opened(client, topic)
    for epoch in (2, 7):
        refused = again(client, session_id, epoch)
        assert (refused.error_code, refused.session_id) == (errors.INVALID_FETCH_SESSION_EPOCH, 0)
    assert again(client, session_id, 1).error_code == 0
    assert again(client, session_id, 1).error_code == errors.INVALID_FETCH_SESSION_EPOCH


@covers("Fetch", "request.session_id", "FETCH_SESSION_ID_NOT_FOUND")
def test_a_session_that_nobody_opened_is_not_found(client: RawClient) -> None:
    for session_id in (12345, 0):
        assert again(client, session_id, 3).error_code == errors.FETCH_SESSION_ID_NOT_FOUND


@covers("Fetch", "session_epoch=default", "response.session_id", "FETCH_SESSION_ID_NOT_FOUND")
def test_the_final_epoch_closes_a_session(client: RawClient, topic: str) -> None:
    session_id = opened(client, topic)
    closed = fetch_all(client, topic, session_id=session_id, session_epoch=-1)
    assert (closed.error_code, closed.session_id) == (0, 0)
    assert again(client, session_id, 1).error_code == errors.FETCH_SESSION_ID_NOT_FOUND


@covers("Fetch", "session_epoch=default", "response.session_id=default")
def test_without_a_session_everything_is_told_each_time(client: RawClient, topic: str) -> None:
    for _ in range(2):
        response = fetch_all(client, topic, wanted(), wanted(partition=1))
        assert (told(response), response.session_id) == ({0: [], 1: []}, 0)


@covers("Fetch", "FETCH_SESSION_TOPIC_ID_ERROR")
def test_a_session_of_names_takes_no_ids_and_the_other_way_round(client: RawClient, topic: str) -> None:
    for version, other in ((12, 13), (13, 12)):
        session_id = opened(client, topic, version)
        assert again(client, session_id, 1, other).error_code == errors.FETCH_SESSION_TOPIC_ID_ERROR


def test_of_very_many_partitions_with_records_some_wait_for_the_next_fetch(client: RawClient) -> None:
    """Nor does the answer wait for bytes that have no room in it."""
    late, count = 10, WITH_RECORDS_MAX + 10
    client.create_topic("very-wide", partitions=count)
    ask = produce_request("very-wide", batch_of([b"v"]))
    (first,) = ask.topic_data[0].partition_data
    ask.topic_data[0].partition_data = [
        produce.PartitionProduceData(index=index, records=first.records) for index in range(count)
    ]
    answers = client.call(produce, ask, 12).responses[0].partition_responses
    assert all(answer.error_code == 0 for answer in answers)

    every = [wanted(partition=index) for index in range(count)]
    eager = {"min_bytes": 1 << 20, "max_wait_ms": 2**31 - 1}
    response = fetch_all(client, "very-wide", *every, session_epoch=0, **eager)
    values = [values_of(part) for part in response.responses[0].partitions]
    assert values == [[b"v"]] * WITH_RECORDS_MAX + [[]] * late
    assert {part.high_watermark for part in response.responses[0].partitions} == {1}

    rest = told(again(client, response.session_id, 1, **eager))
    assert [rest[index] for index in range(WITH_RECORDS_MAX, count)] == [[b"v"]] * late
