"""OffsetCommit (8), v2-10. Keeps how far a group has read. Rules: coordinators/group/offsets.py. v10: topics by id."""

from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import offset_commit as message
from barnabas.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse


def handle(
    broker: Broker, ask: OffsetCommitRequest, version: int, caller: Caller
) -> OffsetCommitResponse | Parked:
    return broker.groups.offset_commit(ask, version, caller)


API = Api(8, message, handle)
