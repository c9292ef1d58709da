"""JoinGroup (11), v0-9. Enters a group, or begins its next generation. Rules: coordinators/group/classic.py. Parks until the rebalance completes."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import join_group as message
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse


def handle(broker: Broker, ask: JoinGroupRequest, version: int, caller: Caller) -> JoinGroupResponse | Parked:
    return broker.groups.join_group(ask, version, caller)


API = Api(
    11,
    message,
    handle,
    codes=(
        errors.INVALID_GROUP_ID,
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.INVALID_SESSION_TIMEOUT,
        errors.MEMBER_ID_REQUIRED,
        errors.UNKNOWN_MEMBER_ID,
        errors.FENCED_INSTANCE_ID,
        errors.INCONSISTENT_GROUP_PROTOCOL,
        errors.GROUP_MAX_SIZE_REACHED,
        errors.UNKNOWN_SERVER_ERROR,
    ),
)
