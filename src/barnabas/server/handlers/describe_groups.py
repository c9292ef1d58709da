"""DescribeGroups (15), v0-6. State and members of groups. Rules: coordinators/group/coordinator.py; authorized operations are added here."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server import rights
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import describe_groups as message
from barnabas.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse


def handle(
    broker: Broker, ask: DescribeGroupsRequest, version: int, caller: Caller
) -> DescribeGroupsResponse | Parked:
    answer = broker.groups.describe_groups(ask, version, caller)
    if isinstance(answer, DescribeGroupsResponse) and ask.include_authorized_operations:
        for group in answer.groups:
            if group.error_code == 0:
                group.authorized_operations = rights.GROUP_OPERATIONS
    return answer


API = Api(
    15,
    message,
    handle,
    codes=(
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.GROUP_ID_NOT_FOUND,
    ),
)
