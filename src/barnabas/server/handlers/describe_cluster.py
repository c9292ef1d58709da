"""DescribeCluster (60), v0-2. Cluster id, controller (the broker with the lowest id) and brokers.

Versions   v1: endpoint type; only brokers can be described here. v2: fenced brokers (there are none).
"""

from typing import Final

from barnabas import errors
from barnabas.server import rights
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import describe_cluster as message
from barnabas.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

BROKERS: Final = 1
CONTROLLERS: Final = 2


def handle(
    broker: Broker, ask: DescribeClusterRequest, version: int, caller: Caller
) -> DescribeClusterResponse:
    if ask.endpoint_type != BROKERS:
        known = ask.endpoint_type == CONTROLLERS
        return DescribeClusterResponse(
            error_code=errors.MISMATCHED_ENDPOINT_TYPE if known else errors.UNSUPPORTED_ENDPOINT_TYPE,
            error_message="This listener describes brokers only." if known else "Unknown endpoint type.",
        )
    response = DescribeClusterResponse(
        cluster_id=broker.image.cluster_id,
        controller_id=broker.topics.controller_id,
        endpoint_type=BROKERS,
        brokers=[
            DescribeClusterBroker(broker_id=known.node_id, host=known.host, port=known.port, rack=known.rack)
            for known in broker.topics.advertised(caller.listener)
        ],
    )
    if ask.include_cluster_authorized_operations:
        response.cluster_authorized_operations = rights.CLUSTER_OPERATIONS
    return response


API = Api(
    60,
    message,
    handle,
    codes=(
        errors.MISMATCHED_ENDPOINT_TYPE,
        errors.UNSUPPORTED_ENDPOINT_TYPE,
    ),
)
