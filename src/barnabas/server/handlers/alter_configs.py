"""AlterConfigs (33), v0-2. Sets the options of a resource to exactly these. Rules: cluster/config_changes.py.

Answered when the change is durable and acts here. Levels of loggers live in RAM: they are back at their start value after
a restart, as in Kafka.
"""

from collections.abc import Sequence

from barnabas import errors
from barnabas.cluster import config_changes
from barnabas.cluster.config_changes import ConfigResult, Node
from barnabas.partitions.waits import Parked
from barnabas.ports import WorldError
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import alter_configs as message
from barnabas.wire.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)


def handle(broker: Broker, ask: AlterConfigsRequest, version: int, caller: Caller) -> Parked:
    parked = Parked()
    node = Node(broker.node_id, broker.options)

    def told(results: Sequence[ConfigResult] | None, error: WorldError | None) -> None:
        if results is None:
            text = error.what if error is not None else None
            results = [
                ConfigResult(each.resource_type, each.resource_name, errors.KAFKA_STORAGE_ERROR, text)
                for each in ask.resources
            ]
        elif not ask.validate_only:
            broker.use_levels(results)
        parked.complete(
            AlterConfigsResponse(
                responses=[
                    AlterConfigsResourceResponse(
                        error_code=each.code,
                        error_message=each.message,
                        resource_type=each.resource_type,
                        resource_name=each.resource_name,
                    )
                    for each in results
                ]
            )
        )

    broker.cluster.submit(
        lambda image: config_changes.alter_configs(image, ask.resources, node, ask.validate_only), told
    )
    return parked


API = Api(33, message, handle)
