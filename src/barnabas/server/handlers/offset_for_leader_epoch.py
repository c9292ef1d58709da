"""OffsetForLeaderEpoch (23), v2-4. Where a leader epoch ended, so that a client can tell a truncated log (KIP-320).

Behaviour  Answers the greatest epoch at or below the asked one and the offset behind its last record; the current epoch
           ends at the high watermark. An epoch older than all that are known: itself, and where the oldest begins. One that is
           yet to come, and -1: epoch and offset -1.
Versions   v3: replica id (consumers: -1 or -2). v4: flexible.
"""

from barnabas import errors
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import offset_for_leader_epoch as message
from barnabas.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)


def handle(
    broker: Broker, ask: OffsetForLeaderEpochRequest, version: int, caller: Caller
) -> OffsetForLeaderEpochResponse:
    response = OffsetForLeaderEpochResponse()
    for topic in ask.topics:
        result = OffsetForLeaderTopicResult(topic=topic.topic)
        response.topics.append(result)
        for asked in topic.partitions:
            answer = EpochEndOffset(partition=asked.partition)
            result.partitions.append(answer)
            partition = broker.partitions.get(topic.topic, asked.partition)
            if partition is None:
                answer.error_code = broker.partitions.missing_code(topic.topic, asked.partition)
                continue
            code = partition.epoch_code(asked.current_leader_epoch)
            if not partition.readable:
                code = errors.KAFKA_STORAGE_ERROR
            if code:
                answer.error_code = code
            else:
                answer.leader_epoch, answer.end_offset = partition.epoch_end(asked.leader_epoch)
    return response


API = Api(
    23,
    message,
    handle,
    codes=(
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.NOT_LEADER_OR_FOLLOWER,
        errors.FENCED_LEADER_EPOCH,
        errors.UNKNOWN_LEADER_EPOCH,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
