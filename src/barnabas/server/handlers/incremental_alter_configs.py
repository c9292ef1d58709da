"""IncrementalAlterConfigs (44), v0-1. Sets, deletes, appends to and subtracts from single options (KIP-339). Rules: cluster/config_changes.py.

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
from barnabas.wire.messages import incremental_alter_configs as message
from barnabas.wire.messages.incremental_alter_configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)


def handle(broker: Broker, ask: IncrementalAlterConfigsRequest, version: int, caller: Caller) -> Parked:
    return alter(broker, ask, config_changes.incremental_alter_configs, answer)


def answer(results: Sequence[ConfigResult]) -> IncrementalAlterConfigsResponse:
    return IncrementalAlterConfigsResponse(
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


API = Api(44, message, handle, CODES)
