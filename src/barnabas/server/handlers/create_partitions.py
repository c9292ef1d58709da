"""CreatePartitions (37), v0-3. Adds partitions to topics. Rules: cluster/changes.py. Answered when the new partitions serve."""

from barnabas.cluster import changes
from barnabas.cluster.changes import TopicResult
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

    broker.topics.submit(lambda image: changes.create_partitions(image, ask.topics, ask.validate_only), told)
    return parked


API = Api(37, message, handle)
