"""Metadata (3), v0-13. Who leads what.

Behaviour  null topics: all of them (v0: an empty list means all too). An unknown topic is created when the broker's
           auto.create.topics.enable and the request allow it, and named only when its partitions serve (decision 24),
           so a client never meets NOT_LEADER on a fresh topic.
Versions   v1: rack, controller, internal flag. v2: cluster id. v4: allow_auto_topic_creation. v5: offline replicas.
           v7: leader epoch. v8: authorized operations. v10: topic ids. v12: topics by id, which before are INVALID_REQUEST.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final, cast

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
from barnabas.server.stepwise import ITEMS_A_STEP, Steps
from barnabas.wire.messages import metadata as message
from barnabas.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})

BY_ID_SINCE: Final = 12
SETTLE_MS: Final = 1_000
"""How long a topic that is asked for by name may be kept back until all workers serve it."""


def handle(broker: Broker, ask: MetadataRequest, version: int, caller: Caller) -> Steps:
    topics = ask.topics or ()
    ids: dict[bytes, None] = {}
    names: dict[str, None] = {}
    for at, topic in enumerate(topics):
        if not at % ITEMS_A_STEP:
            yield None
        if not is_readable(topic, version):
            return (yield from refused(topics))
        if topic.topic_id != ZERO_UUID:
            ids[topic.topic_id] = None
        else:
            names[topic.name or ""] = None
    if ids:  # one id is enough and names do not count: it is a request by ids
        names.clear()
    missing: list[str] = []
    if (ask.allow_auto_topic_creation or version < 4) and broker.options.get_bool(
        "auto.create.topics.enable"
    ):
        missing = yield from without_topic(broker.image, names)
    parked = Parked()
    codes: dict[str, int] = {}
    if missing:
        broker.topics.create_automatically(missing, parked.complete)
        yield parked
        codes = cast(dict[str, int], parked.reply)
    elif not broker.topics.when_settled(names, SETTLE_MS, lambda: parked.complete(True)):
        yield parked
    response = head(broker, ask, caller)
    if ask.topics is None or (version == 0 and not ask.topics):
        yield from describe_all(broker.image, response, ask)
    elif ids:
        yield from describe_by_id(broker.image, response, ids, ask)
    else:
        yield from describe_by_name(broker.image, response, names, ask, codes)
    return response


def is_readable(topic: MetadataRequestTopic, version: int) -> bool:
    """A topic has a name or, where topics go by ids, an id."""
    if version < BY_ID_SINCE:
        return topic.name is not None and topic.topic_id == ZERO_UUID
    return topic.name is not None or topic.topic_id != ZERO_UUID


def refused(topics: Sequence[MetadataRequestTopic]) -> Steps:
    """Of what is asked like this Kafka tells neither brokers nor any topic."""
    response = MetadataResponse()
    for topic in topics:
        response.topics.append(unknown(topic.name or "", topic.topic_id, errors.INVALID_REQUEST))
        yield None
    return response


def without_topic(image: Image, names: Iterable[str]) -> Generator[None, None, list[str]]:
    missing: list[str] = []
    for at, name in enumerate(names):
        if not at % ITEMS_A_STEP:
            yield
        if name and name not in image.topics and name != METADATA_TOPIC:
            missing.append(name)
    return missing


def head(broker: Broker, ask: MetadataRequest, caller: Caller) -> MetadataResponse:
    response = MetadataResponse(
        cluster_id=broker.image.cluster_id,
        controller_id=broker.topics.controller_id,
        brokers=[
            MetadataResponseBroker(node_id=known.node_id, host=known.host, port=known.port, rack=known.rack)
            for known in broker.topics.advertised(caller.listener)
        ],
    )
    if ask.include_cluster_authorized_operations:
        response.cluster_authorized_operations = rights.CLUSTER_OPERATIONS
    return response


def describe_all(image: Image, response: MetadataResponse, ask: MetadataRequest) -> Iterator[None]:
    for topic in image.topics.values():
        yield from describe(image, response, topic, ask)


def describe_by_id(
    image: Image, response: MetadataResponse, ids: Iterable[bytes], ask: MetadataRequest
) -> Iterator[None]:
    for topic_id in ids:
        topic = image.topics_by_id.get(topic_id)
        if topic is not None:
            yield from describe(image, response, topic, ask)
        else:
            response.topics.append(unknown(None, topic_id, errors.UNKNOWN_TOPIC_ID))
            yield


def describe_by_name(
    image: Image,
    response: MetadataResponse,
    names: dict[str, None],
    ask: MetadataRequest,
    codes: dict[str, int],
) -> Iterator[None]:
    for name in names:
        topic = image.topics.get(name)
        if topic is not None:
            yield from describe(image, response, topic, ask)
            continue
        described = unknown(name, ZERO_UUID, codes.get(name, 0) or missing_code(name))
        if ask.include_topic_authorized_operations:
            described.topic_authorized_operations = rights.TOPIC_OPERATIONS
        response.topics.append(described)
        yield


def missing_code(name: str) -> int:
    return errors.INVALID_TOPIC_EXCEPTION if topic_name_fault(name) else errors.UNKNOWN_TOPIC_OR_PARTITION


def unknown(name: str | None, topic_id: bytes, code: int) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        error_code=code, name=name, topic_id=topic_id, is_internal=name in INTERNAL_TOPICS, partitions=[]
    )


def describe(image: Image, response: MetadataResponse, topic: Topic, ask: MetadataRequest) -> Iterator[None]:
    described = MetadataResponseTopic(
        name=topic.name, topic_id=topic.topic_id, is_internal=topic.name in INTERNAL_TOPICS
    )
    for index, partition in enumerate(topic.partitions):
        if not index % ITEMS_A_STEP:
            yield
        described.partitions.append(describe_partition(image, partition, index))
    if ask.include_topic_authorized_operations:
        described.topic_authorized_operations = rights.TOPIC_OPERATIONS
    response.topics.append(described)


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
