"""DeleteRecords (21), v0-2. Moves log start forward, never back. -1 means the high watermark.

The new log start is in the checkpoint before the answer (decision 17); segments below it go with retention. timeout_ms
bounds that wait: REQUEST_TIMED_OUT then says that the start has moved but may not outlast a crash. A broker of Kafka's
without followers waits for nothing, so even a time of 0 succeeds there: WAIT_MS_MIN lets it succeed here.
"""

from typing import Final

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.ports import WorldError
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.server.handlers.metadata import INTERNAL_TOPICS
from barnabas.wire.messages import delete_records as message
from barnabas.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

TO_HIGH_WATERMARK: Final = -1
NO_OFFSET: Final = -1
WAIT_MS_MIN: Final = 1_000


def handle(
    broker: Broker, ask: DeleteRecordsRequest, version: int, caller: Caller
) -> DeleteRecordsResponse | Parked:
    wanted: dict[str, dict[int, DeleteRecordsPartition]] = {}
    for topic in ask.topics:
        for asked in topic.partitions:
            wanted.setdefault(topic.name, {})[asked.partition_index] = asked
    response = DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=name, partitions=[advance(broker, name, asked) for asked in by_index.values()]
            )
            for name, by_index in wanted.items()
        ]
    )
    moved = [part for topic in response.topics for part in topic.partitions if part.error_code == 0]
    if not moved:
        return response
    parked = Parked()

    def written(error: WorldError | None) -> None:
        if parked.reply is not None:
            return
        timer.cancel()
        if error is not None:
            for part in moved:
                part.error_code, part.low_watermark = errors.KAFKA_STORAGE_ERROR, NO_OFFSET
        parked.complete(response)

    def late() -> None:
        for part in moved:
            part.error_code = errors.REQUEST_TIMED_OUT
        parked.complete(response)

    timer = broker.waits.call_after(max(ask.timeout_ms, WAIT_MS_MIN), late)
    broker.write_checkpoints(written)
    return parked


def advance(broker: Broker, topic: str, asked: DeleteRecordsPartition) -> DeleteRecordsPartitionResult:
    result = DeleteRecordsPartitionResult(partition_index=asked.partition_index, low_watermark=NO_OFFSET)
    partition = broker.partitions.get(topic, asked.partition_index)
    if partition is None:
        result.error_code = broker.partitions.missing_code(topic, asked.partition_index)
        return result
    options = partition.options
    offset = partition.high_watermark if asked.offset == TO_HIGH_WATERMARK else asked.offset
    if topic in INTERNAL_TOPICS:
        result.error_code = errors.INVALID_TOPIC_EXCEPTION
    elif not options.cleanup_delete and options.cleanup_compact:
        result.error_code = errors.POLICY_VIOLATION
    elif partition.offline:
        result.error_code = errors.KAFKA_STORAGE_ERROR
    elif offset < 0 or offset > partition.high_watermark:
        result.error_code = errors.OFFSET_OUT_OF_RANGE
    else:
        try:
            partition.log.advance_log_start(offset)
            result.low_watermark = partition.log.log_start_offset
        except WorldError as error:
            partition.failed(error)
            result.error_code = errors.KAFKA_STORAGE_ERROR
    return result


API = Api(
    21,
    message,
    handle,
    codes=(
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.NOT_LEADER_OR_FOLLOWER,
        errors.INVALID_TOPIC_EXCEPTION,
        errors.OFFSET_OUT_OF_RANGE,
        errors.POLICY_VIOLATION,
        errors.REQUEST_TIMED_OUT,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
