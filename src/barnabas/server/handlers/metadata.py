"""Metadata (3), v0-13. Who leads what.

Behaviour  null topics: all of them (v0: an empty list means all too). An unknown topic is created when the broker's
           auto.create.topics.enable and the request allow it, and named only when its partitions serve (decision 24),
           so a client never meets NOT_LEADER on a fresh topic.
Versions   v1: rack, controller, internal flag. v2: cluster id. v4: allow_auto_topic_creation. v5: offline replicas.
           v7: leader epoch. v8: authorized operations. v10: topic ids. v12: topics by id, which before are INVALID_REQUEST.
"""

from typing import Final

from barnabas import errors
from barnabas.cluster.changes import METADATA_TOPIC, topic_name_fault
from barnabas.cluster.image import Image, PartitionImage, Topic
from barnabas.cluster.placing import epoch_of
from barnabas.ids import ZERO_UUID
from barnabas.partitions.waits import Parked
from barnabas.server import rights
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import metadata as message
from barnabas.wire.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})

BY_ID_SINCE: Final = 12
SETTLE_MS: Final = 1_000
"""How long a topic that is asked for by name may be kept back until all workers serve it."""


def handle(broker: Broker, ask: MetadataRequest, version: int, caller: Caller) -> MetadataResponse | Parked:
    if not readable(ask, version):
        return refused(ask)
    wanted = asked_for(ask)
    missing = [
        name for name, _ in wanted if name and name not in broker.image.topics and name != METADATA_TOPIC
    ]
    parked = Parked()
    may_create = ask.allow_auto_topic_creation or version < 4
    if not missing or not may_create or not broker.options.get_bool("auto.create.topics.enable"):
        names = [name for name, _ in wanted]
        if broker.topics.when_settled(
            names, SETTLE_MS, lambda: parked.complete(answer(broker, ask, wanted, version, caller, {}))
        ):
            return answer(broker, ask, wanted, version, caller, {})
        return parked
    broker.topics.create_automatically(
        missing, lambda codes: parked.complete(answer(broker, ask, wanted, version, caller, codes))
    )
    return parked


def readable(ask: MetadataRequest, version: int) -> bool:
    """Every topic has a name or, where topics go by ids, an id."""
    if version < BY_ID_SINCE:
        return all(topic.name is not None and topic.topic_id == ZERO_UUID for topic in ask.topics or ())
    return all(topic.name is not None or topic.topic_id != ZERO_UUID for topic in ask.topics or ())


def refused(ask: MetadataRequest) -> MetadataResponse:
    """Of what is asked like this Kafka tells neither brokers nor any topic."""
    return MetadataResponse(
        topics=[
            unknown(topic.name or "", topic.topic_id, errors.INVALID_REQUEST) for topic in ask.topics or ()
        ]
    )


def asked_for(ask: MetadataRequest) -> list[tuple[str, bytes]]:
    """Names or ids, each once. One id is enough and names do not count: it is a request by ids."""
    topics = ask.topics or ()
    ids = dict.fromkeys(topic.topic_id for topic in topics if topic.topic_id != ZERO_UUID)
    if ids:
        return [("", topic_id) for topic_id in ids]
    return [(name, ZERO_UUID) for name in dict.fromkeys(topic.name or "" for topic in topics)]


def answer(
    broker: Broker,
    ask: MetadataRequest,
    wanted: list[tuple[str, bytes]],
    version: int,
    caller: Caller,
    codes: dict[str, int],
) -> MetadataResponse:
    image = broker.image
    response = MetadataResponse(
        cluster_id=image.cluster_id,
        controller_id=broker.topics.controller_id,
        brokers=[
            MetadataResponseBroker(node_id=known.node_id, host=known.host, port=known.port, rack=known.rack)
            for known in broker.topics.advertised(caller.listener)
        ],
    )
    if ask.include_cluster_authorized_operations:
        response.cluster_authorized_operations = rights.CLUSTER_OPERATIONS
    everything = ask.topics is None or (version == 0 and not ask.topics)
    if everything:
        response.topics = [describe(broker, topic, version, ask) for topic in image.topics.values()]
        return response
    for name, topic_id in wanted:
        by_id = topic_id != ZERO_UUID
        topic = image.topics_by_id.get(topic_id) if by_id else image.topics.get(name)
        if topic is not None:
            response.topics.append(describe(broker, topic, version, ask))
        elif by_id:
            response.topics.append(unknown(None, topic_id, errors.UNKNOWN_TOPIC_ID))
        else:
            described = unknown(name, ZERO_UUID, codes.get(name, 0) or missing_code(name))
            if ask.include_topic_authorized_operations:
                described.topic_authorized_operations = rights.TOPIC_OPERATIONS
            response.topics.append(described)
    return response


def missing_code(name: str) -> int:
    return errors.INVALID_TOPIC_EXCEPTION if topic_name_fault(name) else errors.UNKNOWN_TOPIC_OR_PARTITION


def unknown(name: str | None, topic_id: bytes, code: int) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        error_code=code, name=name, topic_id=topic_id, is_internal=name in INTERNAL_TOPICS, partitions=[]
    )


def describe(broker: Broker, topic: Topic, version: int, ask: MetadataRequest) -> MetadataResponseTopic:
    described = MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[
            describe_partition(broker.image, partition, index)
            for index, partition in enumerate(topic.partitions)
        ],
    )
    if ask.include_topic_authorized_operations:
        described.topic_authorized_operations = rights.TOPIC_OPERATIONS
    return described


def describe_partition(image: Image, partition: PartitionImage, index: int) -> MetadataResponsePartition:
    """Its leader may be on its way back: no other is named until one has taken over."""
    is_led = partition.leader in image.brokers
    return MetadataResponsePartition(
        error_code=0 if is_led else errors.LEADER_NOT_AVAILABLE,
        partition_index=index,
        leader_id=partition.leader if is_led else -1,
        leader_epoch=epoch_of(image, partition),
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        offline_replicas=[replica for replica in partition.replicas if replica not in image.brokers],
    )


API = Api(
    3,
    message,
    handle,
    codes=(
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.UNKNOWN_TOPIC_ID,
        errors.LEADER_NOT_AVAILABLE,
        errors.INVALID_TOPIC_EXCEPTION,
        errors.INVALID_REPLICATION_FACTOR,
        errors.INVALID_REQUEST,
        errors.POLICY_VIOLATION,
    ),
)
