"""What a broker says of partitions that another broker leads, and of those whose leader is not there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from administering import topic_of
from covers import covers
from rawclient import RawClient, batch_of, produce_request
from reading import epoch_one, fetch_all, list_one, wanted

import barnabas
from barnabas import errors
from barnabas.adapters.files import OsFiles
from barnabas.cluster import changes
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerImage,
    BrokerRegistered,
    BrokerRemoved,
    Endpoint,
    Fact,
    PartitionImage,
    TopicSet,
)
from barnabas.log.checkpoints import write_all
from barnabas.wire.messages import (
    create_topics,
    delete_records,
    describe_cluster,
    describe_producers,
    describe_topic_partitions,
    find_coordinator,
    heartbeat,
    metadata,
    produce,
)

OURS, THEIRS, GONE = 0, 1, 2
HERE, THERE, AWAY = 5, 7, 3
REIGN = 90
ADDRESS = ("other.example", 19093, "rack-7")
TOPIC = "shared"


def other(node_id: int) -> BrokerImage:
    host, port, rack = ADDRESS
    return BrokerImage(node_id, (Endpoint("PLAINTEXT", host, port),), rack, REIGN)


def change(broker: barnabas.Broker, *facts: Fact) -> None:
    """As if another broker had changed the metadata."""
    cluster = broker._node.cluster
    broker._call(lambda done: cluster.submit(lambda _: Decision(None, facts), lambda _, error: done(error)))


@pytest.fixture(scope="module")
def broker() -> Iterator[barnabas.Broker]:
    """Three brokers, of which this one runs. Partition 1 is another's, partition 2 that of one that has gone."""
    with barnabas.Broker(config={"node.id": HERE, "offsets.topic.num.partitions": 4}) as running:
        cluster = running._node.cluster
        for node_id in (THERE, AWAY):
            running._call(
                lambda done, node_id=node_id: cluster.submit(
                    lambda image: changes.register_broker(image, other(node_id)), lambda _, error: done(error)
                )
            )
        with RawClient(running.bootstrap) as client:
            assignments = [
                create_topics.CreatableReplicaAssignment(partition_index=index, broker_ids=[node_id])
                for index, node_id in enumerate((HERE, THERE, AWAY))
            ]
            topic = create_topics.CreatableTopic(
                name=TOPIC, num_partitions=-1, replication_factor=-1, assignments=assignments
            )
            ask = create_topics.CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
            assert client.call(create_topics, ask, 7).topics[0].error_code == 0
        change(running, BrokerRemoved(AWAY))
        yield running


@covers(
    "Metadata",
    "LEADER_NOT_AVAILABLE",
    "topics.partitions.offline_replicas",
    "topics.partitions.leader_epoch",
    "response.controller_id",
)
def test_metadata_names_the_leader_that_is_there(broker: barnabas.Broker, client: RawClient) -> None:
    ask = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name=TOPIC)])
    answer = client.call(metadata, ask, 12)
    assert {known.node_id: (known.host, known.port, known.rack) for known in answer.brokers}[THERE] == ADDRESS
    assert answer.controller_id == HERE, "the lowest id of those that are there"
    parts = answer.topics[0].partitions
    reign = broker._node.partitions.reign
    assert [(part.error_code, part.leader_id, part.leader_epoch) for part in parts] == [
        (0, HERE, reign),
        (0, THERE, REIGN),
        (errors.LEADER_NOT_AVAILABLE, -1, 0),
    ]
    assert [(part.replica_nodes, part.offline_replicas) for part in parts] == [
        ([HERE], []),
        ([THERE], []),
        ([AWAY], [AWAY]),
    ]


@covers(
    "DescribeTopicPartitions",
    "LEADER_NOT_AVAILABLE",
    "topics.partitions.offline_replicas",
    "topics.partitions.leader_epoch",
)
def test_a_partition_without_a_leader_is_described_as_such(client: RawClient) -> None:
    ask = describe_topic_partitions.DescribeTopicPartitionsRequest(
        topics=[describe_topic_partitions.TopicRequest(name=TOPIC)]
    )
    parts = client.call(describe_topic_partitions, ask, 0).topics[0].partitions
    assert [(part.leader_id, part.error_code, part.offline_replicas) for part in parts[1:]] == [
        (THERE, 0, []),
        (-1, errors.LEADER_NOT_AVAILABLE, [AWAY]),
    ]
    assert parts[1].leader_epoch == REIGN


def test_the_cluster_has_its_other_brokers(client: RawClient) -> None:
    answer = client.call(describe_cluster, describe_cluster.DescribeClusterRequest(), 2)
    assert (answer.controller_id, {known.broker_id for known in answer.brokers}) == (HERE, {HERE, THERE})


@covers(
    "Produce",
    "NOT_LEADER_OR_FOLLOWER",
    "responses.partition_responses.current_leader.leader_id",
    "responses.partition_responses.current_leader.leader_epoch",
    "node_endpoints.node_id",
    "node_endpoints.host",
    "node_endpoints.port",
    "node_endpoints.rack",
)
def test_a_batch_for_another_leader_is_sent_there(client: RawClient) -> None:
    for version in (9, 10, 12, 13):
        answer, part = produced(client, THERE, version)
        assert (part.error_code, part.base_offset) == (errors.NOT_LEADER_OR_FOLLOWER, -1)
        if version < 10:
            assert (part.current_leader, answer.node_endpoints) == (None, [])
            continue
        assert (part.current_leader.leader_id, part.current_leader.leader_epoch) == (THERE, REIGN)
        assert [endpoint(each) for each in answer.node_endpoints] == [(THERE, *ADDRESS)]


def produced(client: RawClient, leader: int, version: int) -> tuple[Any, Any]:
    index = {HERE: OURS, THERE: THEIRS, AWAY: GONE}[leader]
    ask = produce_request(TOPIC, batch_of([b"x"]), partition=index)
    if version >= 13:
        ask.topic_data[0].topic_id = topic_of(client, TOPIC).topic_id
    answer = client.call(produce, ask, version)
    return answer, answer.responses[0].partition_responses[0]


def endpoint(told: Any) -> tuple[int, str, int, str]:
    return told.node_id, told.host, told.port, told.rack


def test_nobody_is_named_for_a_partition_without_a_leader(client: RawClient) -> None:
    answer, part = produced(client, AWAY, 12)
    assert part.error_code == errors.NOT_LEADER_OR_FOLLOWER
    assert (part.current_leader.leader_id, part.current_leader.leader_epoch) == (-1, -1)
    assert answer.node_endpoints == []


def test_own_partitions_are_served_beside_those_of_others(client: RawClient) -> None:
    answer, part = produced(client, HERE, 12)
    assert (part.error_code, answer.node_endpoints) == (0, [])


@covers(
    "Fetch",
    "NOT_LEADER_OR_FOLLOWER",
    "response.responses.partitions.current_leader.leader_id",
    "response.responses.partitions.current_leader.leader_epoch",
    "node_endpoints.host",
    "node_endpoints.rack",
)
def test_a_fetch_from_another_leader_is_sent_there(client: RawClient) -> None:
    for version in (12, 15, 16, 18):
        parts = [wanted(partition=index) for index in (OURS, THEIRS, GONE)]
        answer = fetch_all(client, TOPIC, *parts, version=version)
        ours, theirs, gone = answer.responses[0].partitions
        assert ours.error_code == 0
        assert (theirs.error_code, gone.error_code) == (errors.NOT_LEADER_OR_FOLLOWER,) * 2
        assert (theirs.high_watermark, theirs.records.size) == (-1, 0)
        if version < 16:
            assert (theirs.current_leader, answer.node_endpoints) == (None, [])
            continue
        assert (theirs.current_leader.leader_id, theirs.current_leader.leader_epoch) == (THERE, REIGN)
        assert gone.current_leader is None or gone.current_leader.leader_id == -1
        assert [endpoint(each) for each in answer.node_endpoints] == [(THERE, *ADDRESS)]


@covers("ListOffsets", "NOT_LEADER_OR_FOLLOWER")
def test_offsets_of_another_leader_are_not_listed(client: RawClient) -> None:
    assert list_one(client, TOPIC, -1, partition_index=THEIRS).error_code == errors.NOT_LEADER_OR_FOLLOWER
    unknown = list_one(client, TOPIC, -1, partition_index=3)
    assert unknown.error_code == errors.UNKNOWN_TOPIC_OR_PARTITION


@covers("OffsetForLeaderEpoch", "NOT_LEADER_OR_FOLLOWER")
def test_epochs_of_another_leader_are_not_told(client: RawClient) -> None:
    part = epoch_one(client, TOPIC, partition=THEIRS, leader_epoch=0)
    assert part.error_code == errors.NOT_LEADER_OR_FOLLOWER


@covers("DeleteRecords", "NOT_LEADER_OR_FOLLOWER")
def test_records_of_another_leader_are_not_deleted(client: RawClient) -> None:
    part = delete_records.DeleteRecordsPartition(partition_index=THEIRS, offset=-1)
    ask = delete_records.DeleteRecordsRequest(
        topics=[delete_records.DeleteRecordsTopic(name=TOPIC, partitions=[part])], timeout_ms=1_000
    )
    (result,) = client.call(delete_records, ask, 2).topics[0].partitions
    assert (result.error_code, result.low_watermark) == (errors.NOT_LEADER_OR_FOLLOWER, -1)


@covers("DescribeProducers", "NOT_LEADER_OR_FOLLOWER")
def test_producers_of_another_leader_are_not_described(client: RawClient) -> None:
    ask = describe_producers.DescribeProducersRequest(
        topics=[describe_producers.TopicRequest(name=TOPIC, partition_indexes=[THEIRS])]
    )
    (part,) = client.call(describe_producers, ask, 0).topics[0].partitions
    assert part.error_code == errors.NOT_LEADER_OR_FOLLOWER
    assert part.error_message == f"Another broker leads partition 1 of topic '{TOPIC}'."


def test_groups_are_shared_among_the_brokers(broker: barnabas.Broker, client: RawClient) -> None:
    groups = [f"group-{at}" for at in range(40)]
    ask = find_coordinator.FindCoordinatorRequest(key_type=0, coordinator_keys=groups)
    found = client.call(find_coordinator, ask, 6).coordinators
    assert {each.error_code for each in found} == {0}
    by_node = {each.node_id: each for each in found}
    assert set(by_node) == {HERE, THERE}
    assert (by_node[THERE].host, by_node[THERE].port) == ADDRESS[:2]
    codes = {}
    for each in (by_node[HERE], by_node[THERE]):
        beat = heartbeat.HeartbeatRequest(group_id=each.key, generation_id=1, member_id="m")
        codes[each.node_id] = client.call(heartbeat, beat, 4).error_code
    assert codes == {HERE: errors.UNKNOWN_MEMBER_ID, THERE: errors.NOT_COORDINATOR}


def test_a_partition_that_gets_another_leader_is_closed_and_one_that_is_given_is_opened(
    broker: barnabas.Broker, client: RawClient
) -> None:
    client.create_topic("moving", 2)
    leaders = [part.leader_id for part in topic_of(client, "moving").partitions]
    assert sorted(leaders) == [HERE, THERE]
    mine, others = leaders.index(HERE), leaders.index(THERE)
    assert client.produce("moving", batch_of([b"a"]), partition=mine).error_code == 0
    topic = broker._node.cluster.image.topics["moving"]
    swapped = changes.Topic(topic.name, topic.topic_id, topic.partitions[::-1], topic.overrides)
    change(broker, changes.TopicSet(swapped))
    assert client.produce("moving", batch_of([b"a"]), partition=mine).error_code == (
        errors.NOT_LEADER_OR_FOLLOWER
    )
    assert client.produce("moving", batch_of([b"b"]), partition=others).error_code == 0
    assert broker._node.partitions.count() == sum(1 for _ in broker._node.partitions.all())
    client.delete_topic("moving")


def test_what_comes_from_another_leader_is_opened_by_the_checkpoints_as_they_are_by_then(
    tmp_path: Path,
) -> None:
    """Who was stopped for long hears of a broker that was removed and has returned as of one that registered anew."""
    with (
        barnabas.Broker(tmp_path, config={"node.id": HERE}, topics={TOPIC: 1}) as running,
        RawClient(running.bootstrap) as client,
    ):
        for _ in range(5):
            assert client.produce(TOPIC, batch_of([b"value"])).error_code == 0
        ours = running._node.cluster.image.topics[TOPIC]
        theirs = replace(ours, partitions=(PartitionImage(THERE, 0, (THERE,), (THERE,)),))
        change(running, BrokerRegistered(other(THERE)), TopicSet(theirs))
        write_all(OsFiles(), str(tmp_path), {(TOPIC, 0): 5}, {(TOPIC, 0): 3}, {TOPIC: ours.topic_id})
        change(running, BrokerRegistered(replace(other(THERE), reign=REIGN + 1)), TopicSet(ours))
        assert list_one(client, TOPIC, -2).offset == 3
