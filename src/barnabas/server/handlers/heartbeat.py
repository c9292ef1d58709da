"""Heartbeat (12), v0-4. Says that a member lives, and tells it of a rebalance. Rules: coordinators/group/classic.py."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import heartbeat as message
from barnabas.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


def handle(broker: Broker, ask: HeartbeatRequest, version: int, caller: Caller) -> HeartbeatResponse | Parked:
    return broker.groups.heartbeat(ask, version, caller)


API = Api(
    12,
    message,
    handle,
    codes=(
        errors.INVALID_GROUP_ID,
        errors.NOT_COORDINATOR,
        errors.UNKNOWN_MEMBER_ID,
        errors.FENCED_INSTANCE_ID,
        errors.ILLEGAL_GENERATION,
        errors.REBALANCE_IN_PROGRESS,
    ),
)
