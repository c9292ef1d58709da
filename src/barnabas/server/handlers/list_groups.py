"""ListGroups (16), v0-5. The groups of this broker. Rules: coordinators/group/coordinator.py. v4: states filter. v5: types filter."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import list_groups as message
from barnabas.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse


def handle(
    broker: Broker, ask: ListGroupsRequest, version: int, caller: Caller
) -> ListGroupsResponse | Parked:
    return broker.groups.list_groups(ask, version, caller)


API = Api(
    16,
    message,
    handle,
    codes=(errors.COORDINATOR_LOAD_IN_PROGRESS,),
)
