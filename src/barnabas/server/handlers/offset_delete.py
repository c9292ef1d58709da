"""OffsetDelete (47), v0. Forgets offsets of a group, topic by topic. Rules: coordinators/group/offsets.py (KIP-496)."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import offset_delete as message
from barnabas.wire.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse


def handle(
    broker: Broker, ask: OffsetDeleteRequest, version: int, caller: Caller
) -> OffsetDeleteResponse | Parked:
    return broker.groups.offset_delete(ask, version, caller)


API = Api(
    47,
    message,
    handle,
    codes=(
        errors.INVALID_GROUP_ID,
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.GROUP_ID_NOT_FOUND,
        errors.NON_EMPTY_GROUP,
        errors.GROUP_SUBSCRIBED_TO_TOPIC,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
    ),
)
