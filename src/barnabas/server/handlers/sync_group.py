"""SyncGroup (14), v0-5. Hands out what the leader assigned. Rules: coordinators/group/classic.py. Parks until the leader's assignment is durable."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import sync_group as message
from barnabas.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse


def handle(broker: Broker, ask: SyncGroupRequest, version: int, caller: Caller) -> SyncGroupResponse | Parked:
    return broker.groups.sync_group(ask, version, caller)


API = Api(
    14,
    message,
    handle,
    codes=(
        errors.INVALID_GROUP_ID,
        errors.NOT_COORDINATOR,
        errors.REBALANCE_IN_PROGRESS,
        errors.UNKNOWN_MEMBER_ID,
        errors.FENCED_INSTANCE_ID,
        errors.ILLEGAL_GENERATION,
        errors.INCONSISTENT_GROUP_PROTOCOL,
    ),
)
