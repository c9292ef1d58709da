"""AlterConfigs (33), v0-2. Sets the options of a resource to exactly these. Rules: cluster/config_changes.py.

How it is answered: server/altering.py.
"""

from collections.abc import Sequence

from barnabas.cluster import config_changes
from barnabas.cluster.config_changes import ConfigResult
from barnabas.partitions.waits import Parked
from barnabas.server.altering import CODES, alter
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
    return alter(broker, ask, config_changes.alter_configs, answer)


def answer(results: Sequence[ConfigResult]) -> AlterConfigsResponse:
    return AlterConfigsResponse(
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


API = Api(33, message, handle, CODES)
