"""CreateTopics, DeleteTopics and CreatePartitions by field and code. Codes and their order: Apache Kafka 4.3, as observed."""

from typing import Any

import pytest
from administering import TOPIC, broken_store, exists, new_topic, settings_of, topic_of
from covers import covers
from rawclient import RawClient, batch_of

import barnabas
from barnabas import errors
from barnabas.wire.messages import create_partitions, create_topics, delete_topics
from barnabas.wire.messages.create_partitions import CreatePartitionsAssignment, CreatePartitionsTopic
from barnabas.wire.messages.create_topics import CreatableReplicaAssignment, CreatableTopicConfig
from barnabas.wire.messages.delete_topics import DeleteTopicState

WAIT_MS = 30_000
DYNAMIC_TOPIC, DEFAULT = 1, 5


def create(client: RawClient, *topics: Any, version: int = 7, validate_only: bool = False) -> list[Any]:
    ask = create_topics.CreateTopicsRequest(
        topics=list(topics), timeout_ms=WAIT_MS, validate_only=validate_only
    )
    return list(client.call(create_topics, ask, version).topics)


# -- CreateTopics ----------------------------------------------------------------------------------


@covers(
    "CreateTopics",
    "request.topics.name",
    "request.topics.num_partitions",
    "request.topics.replication_factor",
    "request.topics.configs.name",
    "request.topics.configs.value",
    "response.topics.name",
    "response.topics.topic_id",
    "response.topics.error_code=default",
    "response.topics.error_message",
    "response.topics.topic_config_error_code=default",
    "response.topics.num_partitions",
    "response.topics.replication_factor",
    "response.topics.configs.name",
    "response.topics.configs.value",
    "response.topics.configs.read_only=default",
    "response.topics.configs.config_source",
    "response.topics.configs.is_sensitive=default",
    "response.throttle_time_ms=default",
)
def test_a_topic_is_made_as_it_was_asked_for_and_serves_at_once(client: RawClient) -> None:
    ask = new_topic("made", 3, configs=[CreatableTopicConfig(name="retention.ms", value="60000")])
    (row,) = create(client, ask)
    assert (row.name, row.error_code, row.error_message) == ("made", 0, None)
    assert (row.num_partitions, row.replication_factor) == (3, 1)
    told = {config.name: (config.value, config.config_source) for config in row.configs}
    assert told["retention.ms"] == ("60000", DYNAMIC_TOPIC)
    assert told["segment.bytes"][1] == DEFAULT
    assert "internal.segment.bytes" not in told
    shown = topic_of(client, "made")
    assert (shown.topic_id, len(shown.partitions)) == (row.topic_id, 3)
    assert settings_of(client, TOPIC, "made", "retention.ms")["retention.ms"].value == "60000"
    assert client.produce("made", batch_of([b"a"]), partition=2).error_code == 0


def test_minus_one_takes_the_brokers_defaults() -> None:
    config = {"num.partitions": 4, "default.replication.factor": 1}
    with barnabas.Broker(config=config) as broker, RawClient(broker.bootstrap) as client:
        (row,) = create(client, new_topic("defaults", -1, -1))
        assert (row.num_partitions, row.replication_factor) == (4, 1)
        assert len(topic_of(client, "defaults").partitions) == 4


@covers(
    "CreateTopics",
    "request.topics.assignments.partition_index",
    "request.topics.assignments.broker_ids",
)
def test_partitions_assigned_by_hand_need_not_be_in_order(client: RawClient) -> None:
    assignments = [CreatableReplicaAssignment(partition_index=at, broker_ids=[1]) for at in (1, 0)]
    (row,) = create(client, new_topic("assigned", -1, -1, assignments=assignments))
    assert (row.error_code, row.num_partitions, row.replication_factor) == (0, 2, 1)
    shown = topic_of(client, "assigned").partitions
    assert [(part.partition_index, part.replica_nodes) for part in shown] == [(0, [1]), (1, [1])]


@covers("CreateTopics", "validate_only")
def test_what_is_only_validated_is_told_in_full_and_not_made(client: RawClient) -> None:
    (row,) = create(client, new_topic("only-checked", 5), validate_only=True)
    assert (row.error_code, row.num_partitions, len(row.configs) > 20) == (0, 5, True)
    assert row.topic_id == bytes(16)
    (fault,) = create(client, new_topic("plain"), validate_only=True)
    assert fault.error_code == errors.TOPIC_ALREADY_EXISTS
    assert not exists(client, "only-checked")


@pytest.mark.parametrize("version", range(2, 8))
def test_older_versions_say_less(client: RawClient, version: int) -> None:
    good, bad = create(client, new_topic(f"by-version-{version}", 2), new_topic("in valid"), version=version)
    assert (good.error_code, bad.error_code) == (0, errors.INVALID_TOPIC_EXCEPTION)
    assert bad.error_message is not None and "in valid" in bad.error_message
    assert good.num_partitions == (2 if version >= 5 else -1)
    assert bool(good.configs) == (version >= 5)
    assert (good.topic_id != bytes(16)) == (version >= 7)
    assert (bad.num_partitions, bad.replication_factor, bad.configs, bad.topic_id) == (-1, -1, [], bytes(16))


def replicas(*assigned: tuple[int, list[int]]) -> list[CreatableReplicaAssignment]:
    return [CreatableReplicaAssignment(partition_index=at, broker_ids=ids) for at, ids in assigned]


def setting(name: str, value: str | None) -> list[CreatableTopicConfig]:
    return [CreatableTopicConfig(name=name, value=value)]


REFUSED_TOPICS = [
    (new_topic("__cluster_metadata"), "INVALID_REQUEST"),
    (new_topic("t", 2, -1, assignments=replicas((0, [1]))), "INVALID_REQUEST"),
    (new_topic("t", -1, 1, assignments=replicas((0, [1]))), "INVALID_REQUEST"),
    (new_topic(""), "INVALID_TOPIC_EXCEPTION"),
    (new_topic("x" * 250), "INVALID_TOPIC_EXCEPTION"),
    (new_topic("plain"), "TOPIC_ALREADY_EXISTS"),
    (new_topic("t", configs=setting("retention.ms", "soon")), "INVALID_CONFIG"),
    (new_topic("t", configs=setting("no.such.option", "1")), "INVALID_CONFIG"),
    (new_topic("t", 0), "INVALID_PARTITIONS"),
    (new_topic("t", -2), "INVALID_PARTITIONS"),
    (new_topic("t", 1, 0), "INVALID_REPLICATION_FACTOR"),
    (new_topic("t", 1, -2), "INVALID_REPLICATION_FACTOR"),
    (new_topic("t", -1, -1, assignments=replicas((1, [1]))), "INVALID_REPLICA_ASSIGNMENT"),
    (new_topic("t", -1, -1, assignments=replicas((0, [1]), (0, [1]))), "INVALID_REPLICA_ASSIGNMENT"),
    (new_topic("t", -1, -1, assignments=replicas((0, [9]))), "INVALID_REPLICA_ASSIGNMENT"),
    (new_topic("t", -1, -1, assignments=replicas((0, [1, 1]))), "INVALID_REPLICA_ASSIGNMENT"),
    (new_topic("t", 10_001), "POLICY_VIOLATION"),
]


@pytest.mark.parametrize(
    ("ask", "code"),
    [pytest.param(ask, code, marks=covers("CreateTopics", code)) for ask, code in REFUSED_TOPICS],
)
@covers("CreateTopics", "response.topics.error_code")
def test_a_topic_that_cannot_be_is_refused_and_its_neighbour_made(
    client: RawClient, ask: Any, code: str
) -> None:
    (alone,) = create(client, ask)
    assert (alone.name, errors.name_of(alone.error_code)) == (ask.name, code)
    assert alone.error_message
    if code != "POLICY_VIOLATION":  # Kafka counts the partitions of the whole request
        neighbour = f"neighbour-{REFUSED_TOPICS.index((ask, code))}"
        refused, made = create(client, ask, new_topic(neighbour))
        assert (errors.name_of(refused.error_code), made.error_code) == (code, 0)


@covers("CreateTopics", "request.topics.configs.value=null", "INVALID_CONFIG")
def test_an_option_without_a_value_is_refused(client: RawClient) -> None:
    (row,) = create(client, new_topic("t", configs=setting("retention.ms", None)))
    assert (row.error_code, exists(client, "t")) == (errors.INVALID_CONFIG, False)
    assert "retention.ms" in row.error_message


def test_a_name_asked_for_twice_is_refused_once(client: RawClient) -> None:
    rows = create(client, new_topic("twin"), new_topic("other"), new_topic("twin"))
    assert [(row.name, row.error_code) for row in rows] == [("twin", errors.INVALID_REQUEST), ("other", 0)]
    assert not exists(client, "twin")


@covers("CreateTopics", "KAFKA_STORAGE_ERROR")
def test_a_store_that_fails_is_said_for_every_topic_asked_for(
    broker: barnabas.Broker, client: RawClient
) -> None:
    with broken_store(broker):
        rows = create(client, new_topic("lost-1"), new_topic("lost-2"))
    assert [(row.name, row.error_code) for row in rows] == [
        (name, errors.KAFKA_STORAGE_ERROR) for name in ("lost-1", "lost-2")
    ]
    assert not exists(client, "lost-1")


# -- DeleteTopics ----------------------------------------------------------------------------------


def delete(client: RawClient, *states: DeleteTopicState) -> list[Any]:
    ask = delete_topics.DeleteTopicsRequest(topics=list(states), timeout_ms=WAIT_MS)
    return list(client.call(delete_topics, ask, 6).responses)


def delete_by_name(client: RawClient, *names: str, version: int = 5) -> list[Any]:
    ask = delete_topics.DeleteTopicsRequest(topic_names=list(names), timeout_ms=WAIT_MS)
    return list(client.call(delete_topics, ask, version).responses)


@covers(
    "DeleteTopics",
    "request.topics.name",
    "response.responses.name",
    "response.responses.topic_id",
    "response.responses.error_code=default",
    "response.responses.error_message=default",
    "response.throttle_time_ms=default",
)
def test_a_topic_goes_by_its_name(client: RawClient) -> None:
    client.create_topic("by-name", 2)
    topic_id = topic_of(client, "by-name").topic_id
    (row,) = delete(client, DeleteTopicState(name="by-name"))
    assert (row.name, row.topic_id, row.error_code, row.error_message) == ("by-name", topic_id, 0, None)
    assert not exists(client, "by-name")


@covers("DeleteTopics", "request.topics.topic_id", "request.topics.name=default")
def test_a_topic_goes_by_its_id_and_the_answer_names_it(client: RawClient) -> None:
    client.create_topic("by-id")
    topic_id = topic_of(client, "by-id").topic_id
    (row,) = delete(client, DeleteTopicState(topic_id=topic_id))
    assert (row.name, row.topic_id, row.error_code) == ("by-id", topic_id, 0)
    assert not exists(client, "by-id")
    client.create_topic("by-id")
    assert topic_of(client, "by-id").topic_id != topic_id


@pytest.mark.parametrize("version", range(1, 6))
@covers("DeleteTopics", "topic_names")
def test_topics_by_name_before_ids_were(client: RawClient, version: int) -> None:
    name = f"old-{version}"
    client.create_topic(name)
    rows = {row.name: row for row in delete_by_name(client, name, "absent", version=version)}
    assert rows[name].error_code == 0
    assert rows["absent"].error_code == errors.UNKNOWN_TOPIC_OR_PARTITION
    assert (rows["absent"].error_message is not None) == (version >= 5)
    assert not exists(client, name)


ID = b"\x01" * 16
REFUSED_DELETIONS = [
    ([DeleteTopicState(name="absent")], "UNKNOWN_TOPIC_OR_PARTITION", ("absent", bytes(16))),
    ([DeleteTopicState(topic_id=ID)], "UNKNOWN_TOPIC_ID", (None, ID)),
    (
        [DeleteTopicState(name="plain"), DeleteTopicState(name="plain")],
        "INVALID_REQUEST",
        ("plain", bytes(16)),
    ),
    ([DeleteTopicState(topic_id=ID), DeleteTopicState(topic_id=ID)], "INVALID_REQUEST", (None, ID)),
    ([DeleteTopicState(name="plain", topic_id=ID)], "INVALID_REQUEST", ("plain", ID)),
    ([DeleteTopicState()], "INVALID_REQUEST", (None, bytes(16))),
]


@pytest.mark.parametrize(
    ("states", "code", "named"),
    [pytest.param(*row, marks=covers("DeleteTopics", row[1])) for row in REFUSED_DELETIONS],
)
@covers("DeleteTopics", "response.responses.error_code", "response.responses.error_message")
def test_what_cannot_be_deleted_is_said_once(
    client: RawClient, states: list[DeleteTopicState], code: str, named: tuple[str | None, bytes]
) -> None:
    (row,) = delete(client, *states)
    assert (errors.name_of(row.error_code), (row.name, row.topic_id)) == (code, named)
    assert row.error_message
    assert exists(client, "plain")


def test_each_entry_that_names_nothing_is_said(client: RawClient) -> None:
    rows = delete(client, DeleteTopicState(), DeleteTopicState(name="absent"), DeleteTopicState())
    assert sorted(errors.name_of(row.error_code) for row in rows) == [
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "UNKNOWN_TOPIC_OR_PARTITION",
    ]


def test_a_topic_named_and_given_by_id_is_refused(client: RawClient) -> None:
    topic_id = topic_of(client, "plain").topic_id
    (row,) = delete(client, DeleteTopicState(name="plain"), DeleteTopicState(topic_id=topic_id))
    assert (row.error_code, row.name, row.topic_id) == (errors.INVALID_REQUEST, "plain", topic_id)
    assert exists(client, "plain")


@covers("DeleteTopics", "TOPIC_DELETION_DISABLED", "INVALID_REQUEST")
def test_where_deletion_is_off_nothing_goes_however_short_the_time() -> None:
    config = {"delete.topic.enable": False}
    with barnabas.Broker(config=config, topics={"kept": 1}) as broker, RawClient(broker.bootstrap) as client:
        (row,) = delete(client, DeleteTopicState(name="kept"))
        assert row.error_code == errors.TOPIC_DELETION_DISABLED
        hasty = delete_topics.DeleteTopicsRequest(topics=[DeleteTopicState(name="kept")], timeout_ms=0)
        assert client.call(delete_topics, hasty, 6).responses == [row]
        for version in (1, 2):
            (old,) = delete_by_name(client, "kept", version=version)
            assert old.error_code == errors.INVALID_REQUEST, "the code came with v3"
        assert exists(client, "kept")


@covers("DeleteTopics", "KAFKA_STORAGE_ERROR")
def test_a_store_that_fails_keeps_the_topics(broker: barnabas.Broker, client: RawClient) -> None:
    topic_id = topic_of(client, "plain").topic_id
    with broken_store(broker):
        rows = delete(client, DeleteTopicState(topic_id=topic_id), DeleteTopicState(name="absent"))
    assert [(row.name, row.topic_id) for row in rows] == [(None, topic_id), ("absent", bytes(16))]
    assert {row.error_code for row in rows} == {errors.KAFKA_STORAGE_ERROR}
    assert exists(client, "plain")


# -- CreatePartitions ------------------------------------------------------------------------------


def grow(client: RawClient, *topics: Any, version: int = 3, validate_only: bool = False) -> list[Any]:
    ask = create_partitions.CreatePartitionsRequest(
        topics=list(topics), timeout_ms=WAIT_MS, validate_only=validate_only
    )
    return list(client.call(create_partitions, ask, version).results)


def growth(name: str, count: int, *assigned: list[int]) -> CreatePartitionsTopic:
    assignments = [CreatePartitionsAssignment(broker_ids=ids) for ids in assigned]
    return CreatePartitionsTopic(name=name, count=count, assignments=assignments or None)


@pytest.mark.parametrize("version", range(4))
@covers(
    "CreatePartitions",
    "request.topics.name",
    "request.topics.count",
    "request.topics.assignments=null",
    "response.results.name",
    "response.results.error_code=default",
    "response.results.error_message=default",
    "response.throttle_time_ms=default",
)
def test_new_partitions_serve_when_the_answer_comes(client: RawClient, version: int) -> None:
    name = f"growing-{version}"
    client.create_topic(name, 1)
    (row,) = grow(client, growth(name, 3), version=version)
    assert (row.name, row.error_code, row.error_message) == (name, 0, None)
    assert [part.partition_index for part in topic_of(client, name).partitions] == [0, 1, 2]
    assert client.produce(name, batch_of([b"a"]), partition=2).error_code == 0


@covers("CreatePartitions", "request.topics.assignments.broker_ids")
def test_new_partitions_go_where_they_are_assigned(client: RawClient) -> None:
    client.create_topic("placed", 1)
    (row,) = grow(client, growth("placed", 3, [1], [1]))
    assert row.error_code == 0
    assert [part.replica_nodes for part in topic_of(client, "placed").partitions] == [[1], [1], [1]]


@covers("CreatePartitions", "validate_only")
def test_a_growth_that_is_only_validated_does_not_happen(client: RawClient) -> None:
    client.create_topic("stays", 1)
    rows = grow(client, growth("stays", 2), growth("absent", 2), validate_only=True)
    assert [row.error_code for row in rows] == [0, errors.UNKNOWN_TOPIC_OR_PARTITION]
    assert len(topic_of(client, "stays").partitions) == 1


REFUSED_GROWTHS = [
    ([growth("absent", 2)], "UNKNOWN_TOPIC_OR_PARTITION"),
    ([growth("plain", 2)], "INVALID_PARTITIONS"),
    ([growth("plain", 1)], "INVALID_PARTITIONS"),
    ([growth("plain", 0)], "INVALID_PARTITIONS"),
    ([growth("plain", 4, [1])], "INVALID_REPLICA_ASSIGNMENT"),
    ([growth("plain", 3, [9])], "INVALID_REPLICA_ASSIGNMENT"),
    ([growth("plain", 3, [1, 1])], "INVALID_REPLICA_ASSIGNMENT"),
    ([growth("plain", 3), growth("plain", 4)], "INVALID_REQUEST"),
    ([growth("plain", 10_003)], "POLICY_VIOLATION"),
]


@pytest.mark.parametrize(
    ("asks", "code"),
    [pytest.param(asks, code, marks=covers("CreatePartitions", code)) for asks, code in REFUSED_GROWTHS],
)
@covers("CreatePartitions", "response.results.error_code")
def test_a_growth_that_cannot_be_changes_nothing(client: RawClient, asks: list[Any], code: str) -> None:
    (row,) = grow(client, *asks)
    assert (row.name, errors.name_of(row.error_code)) == (asks[0].name, code)
    assert (row.error_message is None) == (code == "UNKNOWN_TOPIC_OR_PARTITION"), "null there, as in Kafka"
    assert len(topic_of(client, "plain").partitions) == 2


@covers("CreatePartitions", "KAFKA_STORAGE_ERROR", "response.results.error_message")
def test_a_store_that_fails_grows_nothing(broker: barnabas.Broker, client: RawClient) -> None:
    with broken_store(broker):
        rows = grow(client, growth("plain", 3), growth("absent", 3))
    assert [(row.name, row.error_code) for row in rows] == [
        (name, errors.KAFKA_STORAGE_ERROR) for name in ("plain", "absent")
    ]
    assert len(topic_of(client, "plain").partitions) == 2
