"""DeleteGroups (42), v0-2. Forgets groups and their offsets. Rules: coordinators/group/coordinator.py. Only empty groups go."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import delete_groups as message
from barnabas.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse


def handle(
    broker: Broker, ask: DeleteGroupsRequest, version: int, caller: Caller
) -> DeleteGroupsResponse | Parked:
    return broker.groups.delete_groups(ask, version, caller)


API = Api(
    42,
    message,
    handle,
    codes=(
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.GROUP_ID_NOT_FOUND,
        errors.NON_EMPTY_GROUP,
    ),
)
