"""Scoreboard R6: every advertised (API, version) pair answers, and kio reads the answer to its last byte."""

from typing import Any

import pytest
from kio.index import load_response_schema
from kio.serial import entity_reader
from rawclient import RawClient, batch_of, frame_of, header_of, produce_request

import barnabas
from barnabas.server.handlers import SERVED, versions
from barnabas.wire import apis
from barnabas.wire.messages import api_versions, fetch, find_coordinator, metadata, offset_commit, produce

TOPIC = "versions"


def advertised(client: RawClient) -> dict[int, tuple[int, int]]:
    answer = client.call(api_versions, software(), 4)
    assert answer.error_code == 0
    return {row.api_key: (row.min_version, row.max_version) for row in answer.api_keys}


def software() -> Any:
    return api_versions.ApiVersionsRequest(client_software_name="raw", client_software_version="1")


PAIRS = [
    (key, version) for key in SERVED for low, high in (versions(key),) for version in range(low, high + 1)
]


@pytest.fixture(scope="module")
def filled(broker: barnabas.Broker) -> bytes:
    """A topic with records and a committed group; returns the topic's id."""
    broker.create_topic(TOPIC)
    for number in range(3):
        broker.produce(TOPIC, f"value {number}", key="key")
    with RawClient(broker.bootstrap) as client:
        place = find_coordinator.FindCoordinatorRequest(key="versions-group")
        assert client.call(find_coordinator, place, 3).error_code == 0
        ask = offset_commit.OffsetCommitRequest(
            group_id="versions-group",
            topics=[
                offset_commit.OffsetCommitRequestTopic(
                    name=TOPIC,
                    partitions=[
                        offset_commit.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
                    ],
                )
            ],
        )
        committed = client.call(offset_commit, ask, 8)
        assert committed.topics[0].partitions[0].error_code == 0
        named = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name=TOPIC)])
        topic_id: bytes = client.call(metadata, named, 12).topics[0].topic_id
    return topic_id


def request_for(key: int, version: int, topic_id: bytes) -> object:
    """A benign request with something in it, so that the answer has rows to decode."""
    name = SERVED[key]
    if name == "produce":
        ask = produce_request(TOPIC, batch_of([b"by version"]))
        ask.topic_data[0].topic_id = topic_id
        return ask
    if name == "fetch":
        return fetch.FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=1 << 20,
            session_epoch=-1,
            topics=[
                fetch.FetchTopic(
                    topic=TOPIC,
                    topic_id=topic_id,
                    partitions=[fetch.FetchPartition(partition=0, partition_max_bytes=1 << 20)],
                )
            ],
        )
    if name == "api_versions":
        return software()
    return BENIGN[name](apis.load(key), version, topic_id)


def _named(module: Any, version: int, topic_id: bytes) -> object:
    asked = module.MetadataRequestTopic(name=TOPIC)
    return module.MetadataRequest(topics=[asked])


BENIGN: dict[str, Any] = {
    "list_offsets": lambda m, v, i: m.ListOffsetsRequest(
        topics=[m.ListOffsetsTopic(name=TOPIC, partitions=[m.ListOffsetsPartition(timestamp=-1)])]
    ),
    "metadata": _named,
    "offset_commit": lambda m, v, i: m.OffsetCommitRequest(
        group_id="versions-group",
        topics=[
            m.OffsetCommitRequestTopic(
                name=TOPIC,
                topic_id=i,
                partitions=[m.OffsetCommitRequestPartition(partition_index=0, committed_offset=2)],
            )
        ],
    ),
    "offset_fetch": lambda m, v, i: (
        m.OffsetFetchRequest(
            group_id="versions-group",
            topics=[m.OffsetFetchRequestTopic(name=TOPIC, partition_indexes=[0])],
        )
        if v < 8
        else m.OffsetFetchRequest(
            groups=[
                m.OffsetFetchRequestGroup(
                    group_id="versions-group",
                    topics=[m.OffsetFetchRequestTopics(name=TOPIC, topic_id=i, partition_indexes=[0])],
                )
            ],
        )
    ),
    "find_coordinator": lambda m, v, i: (
        m.FindCoordinatorRequest(key="versions-group")
        if v < 4
        else m.FindCoordinatorRequest(coordinator_keys=["versions-group"])
    ),
    "join_group": lambda m, v, i: m.JoinGroupRequest(
        group_id=f"join-{v}",
        session_timeout_ms=6000,
        rebalance_timeout_ms=6000,
        protocol_type="consumer",
        protocols=[m.JoinGroupRequestProtocol(name="range", metadata=b"\0\0\0\0\0\0\0\0\0\0")],
    ),
    "heartbeat": lambda m, v, i: m.HeartbeatRequest(
        group_id="versions-group", generation_id=1, member_id="nobody"
    ),
    "leave_group": lambda m, v, i: (
        m.LeaveGroupRequest(group_id="versions-group", member_id="nobody")
        if v < 3
        else m.LeaveGroupRequest(group_id="versions-group", members=[m.MemberIdentity(member_id="nobody")])
    ),
    "sync_group": lambda m, v, i: m.SyncGroupRequest(
        group_id="versions-group", generation_id=1, member_id="nobody"
    ),
    "describe_groups": lambda m, v, i: m.DescribeGroupsRequest(groups=["versions-group", "absent"]),
    "list_groups": lambda m, v, i: m.ListGroupsRequest(),
    "create_topics": lambda m, v, i: m.CreateTopicsRequest(
        topics=[m.CreatableTopic(name=f"created-{v}", num_partitions=1, replication_factor=1)],
        timeout_ms=5000,
    ),
    "delete_topics": lambda m, v, i: (
        m.DeleteTopicsRequest(topic_names=["absent"], timeout_ms=5000)
        if v < 6
        else m.DeleteTopicsRequest(topics=[m.DeleteTopicState(name="absent")], timeout_ms=5000)
    ),
    "delete_records": lambda m, v, i: m.DeleteRecordsRequest(
        topics=[
            m.DeleteRecordsTopic(
                name=TOPIC, partitions=[m.DeleteRecordsPartition(partition_index=0, offset=0)]
            )
        ],
        timeout_ms=5000,
    ),
    "init_producer_id": lambda m, v, i: m.InitProducerIdRequest(
        transactional_id=None, producer_id=-1, producer_epoch=-1
    ),
    "offset_for_leader_epoch": lambda m, v, i: m.OffsetForLeaderEpochRequest(
        topics=[
            m.OffsetForLeaderTopic(
                topic=TOPIC, partitions=[m.OffsetForLeaderPartition(partition=0, leader_epoch=0)]
            )
        ]
    ),
    "describe_configs": lambda m, v, i: m.DescribeConfigsRequest(
        resources=[m.DescribeConfigsResource(resource_type=2, resource_name=TOPIC, configuration_keys=None)],
        include_synonyms=True,
        include_documentation=v >= 3,
    ),
    "alter_configs": lambda m, v, i: m.AlterConfigsRequest(
        resources=[
            m.AlterConfigsResource(
                resource_type=2,
                resource_name=TOPIC,
                configs=[m.AlterableConfig(name="retention.ms", value="60000000")],
            )
        ]
    ),
    "incremental_alter_configs": lambda m, v, i: m.IncrementalAlterConfigsRequest(
        resources=[
            m.AlterConfigsResource(
                resource_type=2,
                resource_name=TOPIC,
                configs=[m.AlterableConfig(name="retention.ms", config_operation=0, value="70000000")],
            )
        ]
    ),
    "describe_log_dirs": lambda m, v, i: m.DescribeLogDirsRequest(topics=None),
    "create_partitions": lambda m, v, i: m.CreatePartitionsRequest(
        topics=[m.CreatePartitionsTopic(name="plain", count=3 + v)], timeout_ms=5000
    ),
    "delete_groups": lambda m, v, i: m.DeleteGroupsRequest(groups_names=["absent"]),
    "offset_delete": lambda m, v, i: m.OffsetDeleteRequest(
        group_id="versions-group",
        topics=[
            m.OffsetDeleteRequestTopic(
                name="plain", partitions=[m.OffsetDeleteRequestPartition(partition_index=0)]
            )
        ],
    ),
    "describe_cluster": lambda m, v, i: m.DescribeClusterRequest(),
    "describe_producers": lambda m, v, i: m.DescribeProducersRequest(
        topics=[m.TopicRequest(name=TOPIC, partition_indexes=[0])]
    ),
    "describe_topic_partitions": lambda m, v, i: m.DescribeTopicPartitionsRequest(
        topics=[m.TopicRequest(name=TOPIC)]
    ),
}


@pytest.mark.parametrize(("key", "version"), PAIRS, ids=[f"{SERVED[k]}-v{v}" for k, v in PAIRS])
def test_answer_is_read_to_its_last_byte_by_kio(
    client: RawClient, filled: bytes, key: int, version: int
) -> None:
    module = apis.load(key)
    ask = request_for(key, version, filled)
    content = client.body_of(module, ask, version)
    decoded, size = entity_reader(load_response_schema(key, version))(content, 0)
    assert size == len(content), f"{len(content) - size} bytes are left"
    ours = module.decode_response(content, 0, version)
    assert ours == module.decode_response(module.encode_response(ours, version), 0, version)
    assert decoded is not None


def test_what_is_advertised_is_what_is_tested(client: RawClient) -> None:
    rows = advertised(client)
    assert set(rows) == set(SERVED)
    tested = {key: [v for k, v in PAIRS if k == key] for key in SERVED}
    for key, (low, high) in rows.items():
        first = 3 if key == produce.API_KEY else low
        assert tested[key] == list(range(first, high + 1)), SERVED[key]


@pytest.mark.parametrize("key", [key for key in SERVED if key != api_versions.API_KEY], ids=SERVED.get)
def test_a_version_that_is_not_advertised_closes(client: RawClient, key: int) -> None:
    """Also one that the codec knows: InitProducerId v6."""
    rows = advertised(client)
    client.send(frame_of(header_of(key, rows[key][1] + 1) + bytes(64)))
    assert client.is_closed_by_peer()


def test_benign_requests_succeed(client: RawClient, filled: bytes) -> None:
    """The rows above decode answers, not only errors."""
    read = client.call(fetch, request_for(1, 18, filled), 18)
    (part,) = read.responses[0].partitions
    assert part.error_code == 0
    assert part.records.size > 0
    for version in (3, 12, 13):
        sent = client.call(produce, request_for(0, version, filled), version)
        assert sent.responses[0].partition_responses[0].error_code == 0
