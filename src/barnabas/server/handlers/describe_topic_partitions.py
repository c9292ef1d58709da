"""DescribeTopicPartitions (75), v0. Partitions of topics by name, page by page (KIP-966).

Behaviour  Topics are answered in the order of their names. No names: all topics. A page has at most
           response_partition_limit partitions (at least one), and never more than max.request.partition.size.limit;
           the cursor names the partition with which the next page begins: of a topic that is asked for, not below 0.
"""

from barnabas import errors
from barnabas.cluster.image import PartitionImage, Topic
from barnabas.cluster.placing import epoch_of
from barnabas.server import rights
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.server.handlers.metadata import INTERNAL_TOPICS, missing_code
from barnabas.wire.messages import describe_topic_partitions as message
from barnabas.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    ResponseCursor,
)


def handle(
    broker: Broker, ask: DescribeTopicPartitionsRequest, version: int, caller: Caller
) -> DescribeTopicPartitionsResponse:
    topics = broker.image.topics
    names = sorted({topic.name for topic in ask.topics} if ask.topics else set(topics))
    cursor, first = ask.cursor, 0
    if cursor is not None:
        if cursor.partition_index < 0 or (ask.topics and cursor.topic_name not in names):
            return refuse(ask)
        names = [name for name in names if name >= cursor.topic_name]
        first = cursor.partition_index if cursor.topic_name in names[:1] else 0
    left = min(
        broker.options.get_int("max.request.partition.size.limit"), max(ask.response_partition_limit, 1)
    )
    response = DescribeTopicPartitionsResponse()
    for name in names:
        if left == 0:
            response.next_cursor = ResponseCursor(topic_name=name, partition_index=0)
            break
        topic = topics.get(name)
        if topic is None:
            response.topics.append(missing(name))
            continue
        page = describe(broker, topic, first, left)
        response.topics.append(page)
        left -= len(page.partitions)
        behind = first + len(page.partitions)
        first = 0
        if behind < len(topic.partitions):
            response.next_cursor = ResponseCursor(topic_name=name, partition_index=behind)
            break
    return response


def refuse(ask: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """The cursor is at fault: every topic asked for says so."""
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(name=topic.name, error_code=errors.INVALID_REQUEST)
            for topic in ask.topics
        ]
    )


def missing(name: str) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=name,
        error_code=missing_code(name),
        is_internal=name in INTERNAL_TOPICS,
        topic_authorized_operations=rights.TOPIC_OPERATIONS,
    )


def describe(broker: Broker, topic: Topic, first: int, count: int) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        topic_authorized_operations=rights.TOPIC_OPERATIONS,
        partitions=[
            describe_partition(broker, partition, index)
            for index, partition in enumerate(topic.partitions[first : first + count], first)
        ],
    )


def describe_partition(
    broker: Broker, partition: PartitionImage, index: int
) -> DescribeTopicPartitionsResponsePartition:
    brokers = broker.image.brokers
    is_led = partition.leader in brokers
    return DescribeTopicPartitionsResponsePartition(
        error_code=0 if is_led else errors.LEADER_NOT_AVAILABLE,
        partition_index=index,
        leader_id=partition.leader if is_led else -1,
        leader_epoch=epoch_of(broker.image, partition),
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        eligible_leader_replicas=[],
        last_known_elr=[],
        offline_replicas=[replica for replica in partition.replicas if replica not in brokers],
    )


API = Api(
    75,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.INVALID_TOPIC_EXCEPTION,
        errors.LEADER_NOT_AVAILABLE,
    ),
)
