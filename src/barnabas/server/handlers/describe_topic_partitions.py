"""DescribeTopicPartitions (75), v0. Partitions of topics by name, page by page (KIP-966).

Behaviour  Topics are answered in the order of their names. No names: all topics. A page has at most
           response_partition_limit partitions, and never more than max.request.partition.size.limit; the cursor names
           the partition with which the next page begins.
"""

from barnabas import errors
from barnabas.cluster.image import Topic
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
    first = 0
    if ask.cursor is not None:
        if ask.cursor.partition_index < 0:
            return DescribeTopicPartitionsResponse()
        names = [name for name in names if name >= ask.cursor.topic_name]
        if names and names[0] == ask.cursor.topic_name:
            first = ask.cursor.partition_index
    limit = broker.options.get_int("max.request.partition.size.limit")
    left = min(limit, ask.response_partition_limit) if ask.response_partition_limit > 0 else limit
    response = DescribeTopicPartitionsResponse()
    for name in names:
        topic = topics.get(name)
        if topic is None:
            response.topics.append(
                DescribeTopicPartitionsResponseTopic(
                    name=name, error_code=missing_code(name) or errors.UNKNOWN_TOPIC_OR_PARTITION
                )
            )
            continue
        if left == 0:
            response.next_cursor = ResponseCursor(topic_name=name, partition_index=0)
            return response
        page = describe(broker, topic, first, left)
        response.topics.append(page)
        left -= len(page.partitions)
        behind = first + len(page.partitions)
        first = 0
        if behind < len(topic.partitions):
            response.next_cursor = ResponseCursor(topic_name=name, partition_index=behind)
            return response
    return response


def describe(broker: Broker, topic: Topic, first: int, count: int) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        topic_authorized_operations=rights.TOPIC_OPERATIONS,
        partitions=[
            DescribeTopicPartitionsResponsePartition(
                partition_index=index,
                leader_id=partition.leader,
                leader_epoch=broker.partitions.epoch_of(topic.name, index),
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                eligible_leader_replicas=None,
                last_known_elr=None,
            )
            for index, partition in enumerate(topic.partitions[first : first + count], first)
        ],
    )


API = Api(
    75,
    message,
    handle,
    codes=(
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.INVALID_TOPIC_EXCEPTION,
    ),
)
