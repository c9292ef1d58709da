"""LeaveGroup (13), v0-5. Takes members out of a group. Rules: coordinators/group/classic.py. v3: several members."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import leave_group as message
from barnabas.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse


def handle(
    broker: Broker, ask: LeaveGroupRequest, version: int, caller: Caller
) -> LeaveGroupResponse | Parked:
    return broker.groups.leave_group(ask, version, caller)


API = Api(
    13,
    message,
    handle,
    codes=(
        errors.INVALID_GROUP_ID,
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.UNKNOWN_MEMBER_ID,
        errors.FENCED_INSTANCE_ID,
    ),
)
