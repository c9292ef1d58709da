"""CreatePartitions (37), v0-3. Adds partitions to topics. Rules: cluster/changes.py. Answered when the new partitions serve.

Behaviour  timeout_ms: server/topics.py, T3; validate_only has no shorter way.
"""

from barnabas import errors
from barnabas.cluster import changes
from barnabas.cluster.changes import TopicResult
from barnabas.ids import ZERO_UUID
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import create_partitions as message
from barnabas.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopicResult,
)


def handle(broker: Broker, ask: CreatePartitionsRequest, version: int, caller: Caller) -> Parked:
    parked = Parked()

    def told(results: list[TopicResult]) -> None:
        parked.complete(
            CreatePartitionsResponse(
                results=[
                    CreatePartitionsTopicResult(
                        name=each.name or "", error_code=each.code, error_message=each.message
                    )
                    for each in results
                ]
            )
        )

    broker.topics.submit(
        lambda image: changes.create_partitions(image, ask.topics, ask.validate_only),
        [(topic.name, ZERO_UUID) for topic in ask.topics],
        told,
        ask.timeout_ms,
    )
    return parked


API = Api(
    37,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.INVALID_PARTITIONS,
        errors.INVALID_REPLICA_ASSIGNMENT,
        errors.POLICY_VIOLATION,
        errors.REQUEST_TIMED_OUT,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
