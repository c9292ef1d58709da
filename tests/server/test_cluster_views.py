"""DescribeCluster, DescribeTopicPartitions and DescribeLogDirs by field and code, as Apache Kafka 4.3 was seen to answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from administering import NOT_ASKED, topic_of
from covers import covers
from rawclient import RawClient, batch_of

import barnabas
from barnabas import errors
from barnabas.ports import WorldError
from barnabas.server import rights
from barnabas.wire.messages import (
    describe_cluster,
    describe_log_dirs,
    describe_topic_partitions,
    find_coordinator,
)
from barnabas.wire.messages.describe_log_dirs import DescribableLogDirTopic
from barnabas.wire.messages.describe_topic_partitions import Cursor, TopicRequest

NODE_ID = 7


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[barnabas.Broker]:
    """On disk, with a rack."""
    folder = tmp_path_factory.mktemp("data")
    config = {"node.id": NODE_ID, "broker.rack": "rack-1", "offsets.topic.num.partitions": 1}
    with barnabas.Broker(data=folder, config=config, topics={"a": 3, "b": 2}) as running:
        yield running


# -- DescribeCluster -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
@covers(
    "DescribeCluster",
    "request.include_cluster_authorized_operations=default",
    "response.error_code=default",
    "response.error_message=default",
    "response.cluster_id",
    "response.controller_id",
    "response.brokers.broker_id",
    "response.brokers.host",
    "response.brokers.port",
    "response.brokers.rack",
    "response.cluster_authorized_operations=default",
    "response.throttle_time_ms=default",
)
def test_the_cluster_is_this_broker(broker: barnabas.Broker, client: RawClient, version: int) -> None:
    answer = client.call(describe_cluster, describe_cluster.DescribeClusterRequest(), version)
    assert (answer.error_code, answer.error_message, answer.controller_id) == (0, None, NODE_ID)
    assert len(answer.cluster_id) == 22
    (known,) = answer.brokers
    assert f"{known.host}:{known.port}" == broker.bootstrap
    assert (known.broker_id, known.rack) == (NODE_ID, "rack-1")
    assert answer.cluster_authorized_operations == NOT_ASKED


@covers(
    "DescribeCluster",
    "request.include_fenced_brokers",
    "request.endpoint_type=default",
    "response.brokers.is_fenced=default",
    "response.endpoint_type=default",
)
def test_no_broker_is_fenced(client: RawClient) -> None:
    fenced = describe_cluster.DescribeClusterRequest(include_fenced_brokers=True)
    answer = client.call(describe_cluster, fenced, 2)
    assert [known.is_fenced for known in answer.brokers] == [False]
    assert answer == client.call(describe_cluster, describe_cluster.DescribeClusterRequest(), 2)


@covers(
    "DescribeCluster",
    "request.include_cluster_authorized_operations",
    "response.cluster_authorized_operations",
)
def test_what_may_be_done_to_the_cluster_is_told_when_asked_for(client: RawClient) -> None:
    ask = describe_cluster.DescribeClusterRequest(include_cluster_authorized_operations=True)
    for version in range(3):
        answer = client.call(describe_cluster, ask, version)
        assert answer.cluster_authorized_operations == rights.CLUSTER_OPERATIONS


@pytest.mark.parametrize(
    ("endpoint_type", "code"),
    [
        pytest.param(
            2, "MISMATCHED_ENDPOINT_TYPE", marks=covers("DescribeCluster", "MISMATCHED_ENDPOINT_TYPE")
        ),
        pytest.param(
            0, "UNSUPPORTED_ENDPOINT_TYPE", marks=covers("DescribeCluster", "UNSUPPORTED_ENDPOINT_TYPE")
        ),
        pytest.param(
            3, "UNSUPPORTED_ENDPOINT_TYPE", marks=covers("DescribeCluster", "UNSUPPORTED_ENDPOINT_TYPE")
        ),
    ],
)
@covers("DescribeCluster", "request.endpoint_type", "response.error_code", "response.error_message")
def test_only_brokers_can_be_described(client: RawClient, endpoint_type: int, code: str) -> None:
    for version in (1, 2):
        ask = describe_cluster.DescribeClusterRequest(endpoint_type=endpoint_type)
        answer = client.call(describe_cluster, ask, version)
        assert errors.name_of(answer.error_code) == code
        assert answer.error_message
        assert (answer.cluster_id, answer.controller_id, answer.brokers) == ("", -1, [])


# -- DescribeTopicPartitions -----------------------------------------------------------------------


def page(client: RawClient, *names: str, cursor: tuple[str, int] | None = None, limit: int = 2000) -> Any:
    ask = describe_topic_partitions.DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None if cursor is None else Cursor(topic_name=cursor[0], partition_index=cursor[1]),
    )
    return client.call(describe_topic_partitions, ask, 0)


def indexes(answer: Any) -> dict[str, list[int]]:
    return {topic.name: [part.partition_index for part in topic.partitions] for topic in answer.topics}


def next_of(answer: Any) -> tuple[str, int] | None:
    found = answer.next_cursor
    return None if found is None else (found.topic_name, found.partition_index)


@covers(
    "DescribeTopicPartitions",
    "request.topics.name",
    "request.response_partition_limit=default",
    "request.cursor=default",
    "response.topics.error_code=default",
    "response.topics.name",
    "response.topics.topic_id",
    "response.topics.is_internal=default",
    "response.topics.partitions.error_code=default",
    "response.topics.partitions.partition_index",
    "response.topics.partitions.leader_id",
    "response.topics.partitions.leader_epoch",
    "response.topics.partitions.replica_nodes",
    "response.topics.partitions.isr_nodes",
    "response.topics.partitions.eligible_leader_replicas",
    "response.topics.partitions.last_known_elr",
    "response.topics.partitions.offline_replicas=default",
    "response.topics.topic_authorized_operations",
    "response.next_cursor=default",
    "response.throttle_time_ms=default",
)
def test_topics_come_in_the_order_of_their_names_each_once(client: RawClient) -> None:
    answer = page(client, "b", "a", "a")
    assert indexes(answer) == {"a": [0, 1, 2], "b": [0, 1]}
    assert list(indexes(answer)) == ["a", "b"]
    assert next_of(answer) is None
    first = answer.topics[0]
    assert first.topic_id == topic_of(client, "a").topic_id
    assert (first.is_internal, first.topic_authorized_operations) == (False, rights.TOPIC_OPERATIONS)
    part = first.partitions[0]
    assert (part.leader_id, part.replica_nodes, part.isr_nodes) == (NODE_ID, [NODE_ID], [NODE_ID])
    assert part.leader_epoch == topic_of(client, "a").partitions[0].leader_epoch
    assert (part.eligible_leader_replicas, part.last_known_elr, part.offline_replicas) == ([], [], [])


@covers("DescribeTopicPartitions", "response.topics.is_internal")
def test_no_names_are_all_topics_internal_ones_too(client: RawClient) -> None:
    place = find_coordinator.FindCoordinatorRequest(key="g")
    assert client.call(find_coordinator, place, 3).error_code == 0
    answer = page(client)
    internal = {topic.name: topic.is_internal for topic in answer.topics}
    assert internal["__consumer_offsets"] and not internal["a"]
    assert list(internal) == sorted(internal)


@covers(
    "DescribeTopicPartitions",
    "request.response_partition_limit",
    "request.cursor.topic_name",
    "request.cursor.partition_index",
    "request.cursor.partition_index=default",
    "response.next_cursor.topic_name",
    "response.next_cursor.partition_index",
)
def test_pages_follow_their_cursors_to_the_end(client: RawClient) -> None:
    pages, cursor = [], None
    while True:
        answer = page(client, "a", "b", cursor=cursor, limit=3)
        pages.append(indexes(answer))
        cursor = next_of(answer)
        if cursor is None:
            break
    assert pages == [{"a": [0, 1, 2]}, {"b": [0, 1]}]
    answer = page(client, "a", "b", limit=2)
    assert (indexes(answer), next_of(answer)) == ({"a": [0, 1]}, ("a", 2))
    answer = page(client, "a", "b", cursor=("a", 2), limit=2)
    assert (indexes(answer), next_of(answer)) == ({"a": [2], "b": [0]}, ("b", 1))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_at_least_one_partition(client: RawClient, limit: int) -> None:
    answer = page(client, "a", "b", limit=limit)
    assert (indexes(answer), next_of(answer)) == ({"a": [0]}, ("a", 1))


def test_a_page_has_no_more_than_the_broker_allows() -> None:
    config = {"max.request.partition.size.limit": 2}
    with barnabas.Broker(config=config, topics={"a": 3}) as broker, RawClient(broker.bootstrap) as client:
        answer = page(client, "a")
        assert (indexes(answer), next_of(answer)) == ({"a": [0, 1]}, ("a", 2))


def test_a_cursor_behind_the_last_partition_leads_to_the_next_topic(client: RawClient) -> None:
    answer = page(client, "a", "b", cursor=("a", 9))
    assert (indexes(answer), next_of(answer)) == ({"a": [], "b": [0, 1]}, None)


def test_a_topic_that_is_gone_can_be_what_a_cursor_names(client: RawClient) -> None:
    assert indexes(page(client, cursor=("aa", 1))) == {"b": [0, 1]}, "all topics were asked for"
    answer = page(client, "a", "absent", limit=3)
    assert (indexes(answer), next_of(answer)) == ({"a": [0, 1, 2]}, ("absent", 0))
    (row,) = page(client, "a", "absent", cursor=("absent", 0)).topics
    assert row.error_code == errors.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("cursor", [("a", -1), ("aa", 0), ("z", 0)])
@covers("DescribeTopicPartitions", "INVALID_REQUEST")
def test_a_cursor_that_does_not_fit_refuses_every_topic(client: RawClient, cursor: tuple[str, int]) -> None:
    answer = page(client, "b", "a", cursor=cursor)
    assert [(row.name, row.error_code) for row in answer.topics] == [
        (name, errors.INVALID_REQUEST) for name in ("b", "a")
    ]
    assert {(row.topic_id, row.topic_authorized_operations) for row in answer.topics} == {
        (bytes(16), NOT_ASKED)
    }


@covers(
    "DescribeTopicPartitions",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "INVALID_TOPIC_EXCEPTION",
    "response.topics.error_code",
)
def test_what_is_not_there_is_said_in_its_place(client: RawClient) -> None:
    answer = page(client, "b", "absent", "in valid")
    assert [(row.name, errors.name_of(row.error_code)) for row in answer.topics] == [
        ("absent", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("b", "NONE"),
        ("in valid", "INVALID_TOPIC_EXCEPTION"),
    ]
    missing = answer.topics[0]
    assert (missing.topic_id, missing.partitions) == (bytes(16), [])
    assert missing.topic_authorized_operations == rights.TOPIC_OPERATIONS, "as in Kafka"


# -- DescribeLogDirs -------------------------------------------------------------------------------


def log_dir(
    client: RawClient, *asked: tuple[str, list[int]], everything: bool = False, version: int = 5
) -> Any:
    topics = [DescribableLogDirTopic(topic=name, partitions=given) for name, given in asked]
    ask = describe_log_dirs.DescribeLogDirsRequest(topics=None if everything else topics)
    answer = client.call(describe_log_dirs, ask, version)
    assert answer.error_code == 0
    (result,) = answer.results
    return result


def sizes(result: Any) -> dict[str, dict[int, int]]:
    return {
        topic.name: {part.partition_index: part.partition_size for part in topic.partitions}
        for topic in result.topics
    }


@pytest.mark.parametrize("version", range(1, 6))
@covers(
    "DescribeLogDirs",
    "request.topics.topic",
    "request.topics.partitions",
    "response.results.error_code=default",
    "response.results.log_dir",
    "response.results.topics.name",
    "response.results.topics.partitions.partition_index",
    "response.results.topics.partitions.partition_size",
    "response.results.topics.partitions.offset_lag=default",
    "response.results.topics.partitions.is_future_key=default",
    "response.throttle_time_ms=default",
)
def test_a_partitions_size_is_that_of_its_files(
    broker: barnabas.Broker, client: RawClient, version: int
) -> None:
    assert client.produce("a", batch_of([b"x" * 100]), partition=1).error_code == 0
    result = log_dir(client, ("a", [1, 2]), version=version)
    folder = Path(result.log_dir)
    assert sizes(result) == {"a": {1: (folder / "a-1" / f"{0:020}.log").stat().st_size, 2: 0}}


@covers("DescribeLogDirs", "response.results.total_bytes", "response.results.usable_bytes")
def test_the_disk_tells_its_size_since_version_4(client: RawClient) -> None:
    result = log_dir(client, ("a", [0]))
    assert 0 < result.usable_bytes < result.total_bytes
    old = log_dir(client, ("a", [0]), version=3)
    assert (old.usable_bytes, old.total_bytes) == (-1, -1)


@covers(
    "DescribeLogDirs",
    "request.topics=null",
    "response.error_code=default",
    "response.results.is_cordoned=default",
)
def test_null_topics_are_all_and_none_are_none(client: RawClient) -> None:
    found = sizes(log_dir(client, everything=True))
    assert {name: list(parts) for name, parts in found.items() if name in "ab"} == {
        "a": [0, 1, 2],
        "b": [0, 1],
    }
    assert sizes(log_dir(client)) == {}


def test_what_is_not_there_is_left_out_and_what_is_named_twice_is_told_once(client: RawClient) -> None:
    result = log_dir(client, ("a", [1, 0]), ("absent", [0]), ("a", [0, 9]), ("b", []))
    assert [(topic.name, [part.partition_index for part in topic.partitions]) for topic in result.topics] == [
        ("a", [0, 1])
    ]


@covers("DescribeLogDirs", "KAFKA_STORAGE_ERROR", "response.results.error_code")
def test_a_disk_that_cannot_be_asked_is_said(
    broker: barnabas.Broker, client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> tuple[int, int]:
        raise WorldError("the disk is gone")

    monkeypatch.setattr(broker._node.broker, "disk_bytes", gone)
    result = log_dir(client, everything=True)
    assert (errors.name_of(result.error_code), result.topics) == ("KAFKA_STORAGE_ERROR", [])
    assert (result.total_bytes, result.usable_bytes) == (-1, -1)
