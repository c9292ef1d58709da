"""Metadata, field by field, as Apache Kafka 4.3 was seen to answer. Leader epochs: test_leader_epochs."""

from collections.abc import Iterator
from typing import Any

import pytest
from administering import NOT_ASKED, topic_of
from covers import covers
from rawclient import RawClient

import barnabas
from barnabas import errors
from barnabas.wire.messages import find_coordinator, metadata

NODE_ID = 7
OTHER_ID = b"9" * 16
TOPIC_OPERATIONS = 3576
"""Bits of READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS (KIP-430)."""
CLUSTER_OPERATIONS = 8096
"""Bits of CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS and IDEMPOTENT_WRITE."""


@pytest.fixture(scope="module")
def broker() -> Iterator[barnabas.Broker]:
    config = {"node.id": NODE_ID, "broker.rack": "rack-1", "offsets.topic.num.partitions": 1}
    with barnabas.Broker(topics={"plain": 2, "other": 1}, config=config) as running:
        yield running


def asked(client: RawClient, *names: str | bytes | None, version: int = 13, **fields: Any) -> Any:
    """Text asks by name, bytes by id."""
    topics = [
        metadata.MetadataRequestTopic(topic_id=name, name=None)
        if isinstance(name, bytes)
        else metadata.MetadataRequestTopic(name=name)
        for name in names
    ]
    return client.call(metadata, metadata.MetadataRequest(topics=topics, **fields), version)


def rows(answer: Any) -> list[tuple[str | None, int]]:
    return [(topic.name, topic.error_code) for topic in answer.topics]


# -- the cluster


@covers(
    "Metadata",
    "brokers.node_id",
    "brokers.host",
    "brokers.port",
    "brokers.rack",
    "cluster_id",
    "controller_id",
    "throttle_time_ms=default",
    "response.error_code=default",
)
def test_the_broker_and_the_cluster_are_told(client: RawClient, broker: barnabas.Broker) -> None:
    ids = set()
    for version in (3, 8, 13):
        answer = asked(client, version=version)
        (node,) = answer.brokers
        assert (node.node_id, f"{node.host}:{node.port}", node.rack) == (NODE_ID, broker.bootstrap, "rack-1")
        assert (answer.controller_id, answer.error_code) == (NODE_ID, 0)
        ids.add(answer.cluster_id)
    (cluster_id,) = ids
    assert len(cluster_id) == 22


def test_old_versions_tell_less(client: RawClient) -> None:
    v0, v1 = asked(client, version=0), asked(client, version=1)
    assert (v0.brokers[0].rack, v0.controller_id) == (None, -1)
    assert (v1.brokers[0].rack, v1.controller_id, v1.cluster_id) == ("rack-1", NODE_ID, None)


# -- which topics


@covers("Metadata", "request.topics=null", "request.topics=default")
def test_null_means_all_topics_and_an_empty_list_means_none(client: RawClient) -> None:
    for version in (1, 13):
        everything = client.call(metadata, metadata.MetadataRequest(topics=None), version)
        assert {"plain", "other"} <= {topic.name for topic in everything.topics}
        assert asked(client, version=version).topics == []
    assert {"plain", "other"} <= {topic.name for topic in asked(client, version=0).topics}


@covers(
    "Metadata",
    "request.topics.name",
    "response.topics.name",
    "response.topics.topic_id",
    "response.topics.error_code=default",
    "response.topics.partitions.error_code=default",
    "response.topics.partitions.partition_index",
    "response.topics.partitions.leader_id",
    "response.topics.partitions.replica_nodes",
    "response.topics.partitions.isr_nodes",
    "response.topics.partitions.offline_replicas=default",
    "response.topics.is_internal=default",
)
def test_a_topic_is_told_with_its_partitions(client: RawClient) -> None:
    ids = set()
    for version in (5, 10, 13):
        (topic,) = asked(client, "plain", version=version).topics
        assert (topic.name, topic.error_code, topic.is_internal) == ("plain", 0, False)
        assert [
            (each.partition_index, each.error_code, each.leader_id, each.replica_nodes, each.isr_nodes)
            for each in topic.partitions
        ] == [(index, 0, NODE_ID, [NODE_ID], [NODE_ID]) for index in (0, 1)]
        assert [each.offline_replicas for each in topic.partitions] == [[], []]
        ids.add(topic.topic_id)
    assert len(ids - {bytes(16)}) == 1


@covers("Metadata", "request.topics.topic_id", "request.topics.name=null", "UNKNOWN_TOPIC_ID")
@pytest.mark.parametrize("version", [12, 13])
def test_since_v12_topics_go_by_their_id_too(client: RawClient, version: int) -> None:
    topic_id = topic_of(client, "plain").topic_id
    answer = asked(client, topic_id, OTHER_ID, version=version)
    assert rows(answer) == [("plain", 0), (None, errors.UNKNOWN_TOPIC_ID)]
    assert [topic.topic_id for topic in answer.topics] == [topic_id, OTHER_ID]


@covers("Metadata", "request.topics.topic_id")
def test_beside_an_id_names_do_not_count(client: RawClient) -> None:
    topic_id = topic_of(client, "plain").topic_id
    assert rows(asked(client, "other", topic_id, "in valid")) == [("plain", 0)]
    both = metadata.MetadataRequestTopic(topic_id=topic_id, name="other")
    assert rows(client.call(metadata, metadata.MetadataRequest(topics=[both]), 13)) == [("plain", 0)]


@covers("Metadata", "request.topics.topic_id", "request.topics.name=null", "INVALID_REQUEST")
def test_what_names_a_topic_in_no_way_is_refused_whole(client: RawClient) -> None:
    """Before v12 topics have names alone. Since then Kafka answers UNKNOWN_SERVER_ERROR: a listed difference."""
    topic_id = topic_of(client, "plain").topic_id
    for version, wrong in ((10, topic_id), (11, topic_id), (11, None), (12, None), (13, None)):
        answer = asked(client, wrong, "other", version=version)
        assert rows(answer) == [("", errors.INVALID_REQUEST), ("other", errors.INVALID_REQUEST)]
        assert answer.brokers == []


def test_a_topic_asked_for_twice_is_told_once(client: RawClient) -> None:
    topic_id = topic_of(client, "plain").topic_id
    assert rows(asked(client, "plain", "plain")) == [("plain", 0)]
    assert rows(asked(client, topic_id, topic_id)) == [("plain", 0)]
    assert len(asked(client, "in valid", "in valid").topics) == 1


# -- topics that are not there


@covers(
    "Metadata",
    "allow_auto_topic_creation",
    "allow_auto_topic_creation=default",
    "response.topics.error_code",
    "UNKNOWN_TOPIC_OR_PARTITION",
)
def test_a_topic_is_made_only_where_the_request_allows_it(client: RawClient) -> None:
    for _ in range(2):
        answer = asked(client, "not-yet", allow_auto_topic_creation=False)
        assert rows(answer) == [("not-yet", errors.UNKNOWN_TOPIC_OR_PARTITION)]
        assert answer.topics[0].partitions == []
    assert rows(asked(client, "not-yet")) == [("not-yet", 0)]
    assert rows(asked(client, "not-yet", allow_auto_topic_creation=False)) == [("not-yet", 0)]
    assert rows(asked(client, "old-client", version=3)) == [("old-client", 0)]


@covers("Metadata", "INVALID_TOPIC_EXCEPTION")
def test_names_that_no_topic_may_have_are_invalid(client: RawClient) -> None:
    for allowed in (True, False):
        for name in ("in valid", "", "x" * 250, ".."):
            answer = asked(client, name, allow_auto_topic_creation=allowed)
            assert rows(answer) == [(name, errors.INVALID_TOPIC_EXCEPTION)]


def test_the_topic_of_the_cluster_itself_is_unknown(client: RawClient) -> None:
    answer = asked(client, "__cluster_metadata")
    assert rows(answer) == [("__cluster_metadata", errors.UNKNOWN_TOPIC_OR_PARTITION)]


@covers("Metadata", "INVALID_TOPIC_EXCEPTION")
def test_a_name_that_differs_by_a_dot_is_not_made(client: RawClient) -> None:
    """Kafka says UNKNOWN_TOPIC_OR_PARTITION for ever: a listed difference."""
    assert rows(asked(client, "dots.and_lines")) == [("dots.and_lines", 0)]
    assert rows(asked(client, "dots_and.lines")) == [("dots_and.lines", errors.INVALID_TOPIC_EXCEPTION)]


@covers("Metadata", "UNKNOWN_TOPIC_OR_PARTITION", "INVALID_REPLICATION_FACTOR", "POLICY_VIOLATION")
def test_options_say_whether_and_how_a_topic_is_made() -> None:
    for config, code in (
        ({"auto.create.topics.enable": "false"}, errors.UNKNOWN_TOPIC_OR_PARTITION),
        (
            {"default.replication.factor": "3", "barnabas.replication": "exact"},
            errors.INVALID_REPLICATION_FACTOR,
        ),
        ({"num.partitions": "10001"}, errors.POLICY_VIOLATION),
        ({"num.partitions": "3", "default.replication.factor": "3"}, 0),
    ):
        with barnabas.Broker(config=config) as broker, RawClient(broker.bootstrap) as client:
            (topic,) = asked(client, "wanted").topics
            assert (topic.error_code, len(topic.partitions)) == (code, 0 if code else 3)


@covers("Metadata", "response.topics.is_internal")
def test_internal_topics_are_told_as_such(client: RawClient) -> None:
    place = find_coordinator.FindCoordinatorRequest(key="any")
    assert client.call(find_coordinator, place, 3).error_code == 0
    answer = asked(client, "__consumer_offsets", "__transaction_state", allow_auto_topic_creation=False)
    assert [(topic.error_code, topic.is_internal) for topic in answer.topics] == [
        (0, True),
        (errors.UNKNOWN_TOPIC_OR_PARTITION, True),
    ]


# -- rights


@covers(
    "Metadata",
    "include_topic_authorized_operations",
    "response.topics.topic_authorized_operations",
)
@pytest.mark.parametrize("version", [8, 13])
def test_what_one_may_do_with_a_topic_is_told_on_request(client: RawClient, version: int) -> None:
    names = ("plain", "nowhere", "in valid")
    quiet = {"allow_auto_topic_creation": False}
    for include, bits in ((True, TOPIC_OPERATIONS), (False, NOT_ASKED)):
        answer = asked(client, *names, version=version, include_topic_authorized_operations=include, **quiet)
        assert [topic.topic_authorized_operations for topic in answer.topics] == [bits] * 3
    if version >= 12:
        answer = asked(client, OTHER_ID, version=version, include_topic_authorized_operations=True)
        assert answer.topics[0].topic_authorized_operations == NOT_ASKED


@covers(
    "Metadata",
    "include_cluster_authorized_operations",
    "response.cluster_authorized_operations",
)
@pytest.mark.parametrize("version", [8, 10])
def test_what_one_may_do_with_the_cluster_is_told_on_request(client: RawClient, version: int) -> None:
    for include, bits in ((True, CLUSTER_OPERATIONS), (False, NOT_ASKED)):
        answer = asked(client, version=version, include_cluster_authorized_operations=include)
        assert answer.cluster_authorized_operations == bits
