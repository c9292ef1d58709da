"""OffsetCommit (8), v2-10. Keeps how far a group has read. Rules: coordinators/group/offsets.py. v10: topics by id."""

from barnabas import errors
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


API = Api(
    8,
    message,
    handle,
    codes=(
        errors.NOT_COORDINATOR,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
        errors.GROUP_ID_NOT_FOUND,
        errors.UNKNOWN_MEMBER_ID,
        errors.FENCED_INSTANCE_ID,
        errors.ILLEGAL_GENERATION,
        errors.REBALANCE_IN_PROGRESS,
        errors.OFFSET_METADATA_TOO_LARGE,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.UNKNOWN_TOPIC_ID,
    ),
)
