"""ListOffsets (2), v1-11. Where a time lies in a partition.

Behaviour  -1 latest (high watermark, or LSO under read_committed), -2 earliest, -3 the record with the greatest timestamp
           (v7, KIP-734), -4 earliest local (v8, as earliest: nothing is tiered), -5 last tiered (v9: -1, none),
           -6 earliest pending upload (v11: -1, none). A time: the first record at or after it, else offset -1.
           A partition named twice is INVALID_REQUEST, once. Of large requests a slice a turn; times are looked for in threads.
Versions   v2: isolation level. v4: leader epoch. v6: flexible. v10: timeout.
"""

from collections import Counter
from collections.abc import Generator
from typing import Final

from barnabas import errors
from barnabas.log.log import Log
from barnabas.log.times import Found, first_of_greatest, first_since
from barnabas.partitions.partition import READ_COMMITTED, Partition
from barnabas.partitions.waits import Parked
from barnabas.ports import WorldError
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.server.stepwise import Steps, in_thread
from barnabas.wire.messages import list_offsets as message
from barnabas.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6

SINCE: Final = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
"""Special timestamps and the version that brought them: before it they are INVALID_REQUEST... of an unknown version."""

LEADER_EPOCH_SINCE: Final = 4
REFUSED: Final = 0
"""What is counted of a partition that is named too often and has had its one answer."""


def handle(broker: Broker, ask: ListOffsetsRequest, version: int, caller: Caller) -> Steps:
    response = ListOffsetsResponse()
    counts = Counter(
        (topic.name, asked.partition_index) for topic in ask.topics for asked in topic.partitions
    )
    yield None
    for topic in ask.topics:
        answers = ListOffsetsTopicResponse(name=topic.name)
        response.topics.append(answers)
        for asked in topic.partitions:
            count = counts[topic.name, asked.partition_index]
            if count == REFUSED:
                continue
            if count > 1:
                counts[topic.name, asked.partition_index] = REFUSED
                answer = refused(asked, errors.INVALID_REQUEST)
            else:
                partition = broker.partitions.get(topic.name, asked.partition_index)
                if partition is None:
                    answer = refused(asked, broker.partitions.missing_code(topic.name, asked.partition_index))
                else:
                    answer = yield from find(broker, partition, asked, ask.isolation_level, version)
            answers.partitions.append(answer)
            yield None
    return response


def refused(asked: ListOffsetsPartition, code: int) -> ListOffsetsPartitionResponse:
    return ListOffsetsPartitionResponse(partition_index=asked.partition_index, error_code=code)


def find(
    broker: Broker, partition: Partition, asked: ListOffsetsPartition, isolation: int, version: int
) -> Steps:
    if not partition.readable:
        return refused(asked, errors.KAFKA_STORAGE_ERROR)
    code = partition.epoch_code(asked.current_leader_epoch)
    if code:
        return refused(asked, code)
    timestamp = asked.timestamp
    if timestamp < 0 and version < SINCE.get(timestamp, 1 if timestamp in (LATEST, EARLIEST) else 1 << 15):
        return refused(asked, errors.UNSUPPORTED_VERSION)
    upto = partition.last_stable_offset if isolation == READ_COMMITTED else partition.high_watermark
    answer = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
    log = partition.log
    if timestamp == LATEST:
        answer.offset, answer.leader_epoch = upto, partition.epoch
    elif timestamp in (EARLIEST, EARLIEST_LOCAL):
        answer.offset = log.log_start_offset
        answer.leader_epoch = log.epochs.epoch_of(log.log_start_offset, partition.epoch)
    elif timestamp not in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        try:
            found = yield from find_time(broker, log, timestamp, upto)
        except WorldError as error:
            if partition.log is log:  # else what failed is no longer its log
                partition.failed(error, readable=False)
            return refused(asked, errors.KAFKA_STORAGE_ERROR)
        if found is not None:
            answer.timestamp, answer.offset, answer.leader_epoch = found
    if version < LEADER_EPOCH_SINCE:
        answer.leader_epoch = -1
    return answer


def find_time(
    broker: Broker, log: Log, timestamp: int, upto: int
) -> Generator[Parked | None, None, Found | None]:
    """Raises WorldError."""
    search = first_of_greatest(log, upto) if timestamp == MAX_TIMESTAMP else first_since(log, timestamp, upto)
    try:
        look = next(search)
        while True:
            look = search.send((yield from in_thread(broker.loop, look)))
    except StopIteration as end:
        found: Found | None = end.value
        return found


API = Api(
    2,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.NOT_LEADER_OR_FOLLOWER,
        errors.UNSUPPORTED_VERSION,
        errors.FENCED_LEADER_EPOCH,
        errors.UNKNOWN_LEADER_EPOCH,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
