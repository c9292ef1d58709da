"""OffsetFetch (9), v1-10. How far a group had read. Rules: coordinators/group/offsets.py. v8: several groups. v10: topics by id."""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import offset_fetch as message
from barnabas.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse


def handle(
    broker: Broker, ask: OffsetFetchRequest, version: int, caller: Caller
) -> OffsetFetchResponse | Parked:
    return broker.groups.offset_fetch(ask, version, caller)


API = Api(
    9,
    message,
    handle,
    codes=(
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.UNKNOWN_TOPIC_ID,
    ),
)
