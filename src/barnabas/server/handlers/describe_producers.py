"""DescribeProducers (61), v0. Idempotent producers a partition knows (KIP-664)."""

from barnabas import errors
from barnabas.cluster.changes import topic_name_fault
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import describe_producers as message
from barnabas.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)


def handle(
    broker: Broker, ask: DescribeProducersRequest, version: int, caller: Caller
) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[describe(broker, topic.name, index) for index in topic.partition_indexes],
            )
            for topic in ask.topics
        ]
    )


def describe(broker: Broker, topic: str, index: int) -> PartitionResponse:
    partition = broker.partitions.get(topic, index)
    if partition is None:
        code, text = missing(broker, topic, index)
        return PartitionResponse(partition_index=index, error_code=code, error_message=text)
    return PartitionResponse(
        partition_index=index,
        active_producers=[
            ProducerState(
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                last_sequence=producer.last_sequence,
                last_timestamp=producer.last_timestamp,
                coordinator_epoch=-1,
                current_txn_start_offset=-1,
            )
            for producer in partition.log.producers.by_id.values()
        ],
    )


def missing(broker: Broker, topic: str, index: int) -> tuple[int, str]:
    fault = topic_name_fault(topic)
    if fault is not None:
        return errors.INVALID_TOPIC_EXCEPTION, fault
    code = broker.partitions.missing_code(topic, index)
    if code == errors.NOT_LEADER_OR_FOLLOWER:
        return code, f"Another broker leads partition {index} of topic '{topic}'."
    return code, f"There is no partition {index} of topic '{topic}'."


API = Api(
    61,
    message,
    handle,
    codes=(
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.NOT_LEADER_OR_FOLLOWER,
        errors.INVALID_TOPIC_EXCEPTION,
    ),
)
