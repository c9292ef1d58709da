"""OffsetDelete (47), v0. Forgets offsets of a group, topic by topic. Rules: coordinators/group/offsets.py (KIP-496)."""

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


API = Api(47, message, handle)
