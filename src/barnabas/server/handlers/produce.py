"""Produce (0), v3-13. Appends one batch a partition and answers as acks asks.

Behaviour  Partitions are independent: each has its own code. acks=0 is never answered; an error then closes the
           connection, as in Kafka. acks=1 and acks=all both wait for the committer: with one replica they are the same.
           Where compression.type changes the codec, a batch may be appended, or refused, some time later; so may any
           large one be refused, for it is opened to name the records at fault.
           A partition named twice is INVALID_RECORD for both batches' partition.
Versions   v0-2 are advertised and refused (KAFKA-18659). v7: zstd allowed. v8: record errors and message.
           v10: who leads the partition instead, and where that broker is (KIP-951). v13: topics by id (KIP-516).
Not done   Transactions: a transactional batch is refused until they are built. A transactional id alone means nothing.
"""

from typing import Final

from mypy_extensions import i64

from barnabas import errors
from barnabas.partitions.open import Led
from barnabas.partitions.partition import Appended, Commit, Partition, Pending, Refused
from barnabas.partitions.recompression import Waiting, refuse
from barnabas.partitions.waits import Parked
from barnabas.records.faults import OF_RECORDS, Fault
from barnabas.records.validate import validate_produced
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller, Closed
from barnabas.wire.messages import produce as message
from barnabas.wire.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from barnabas.wire.primitives import NO_ITEMS, Records

NO_OFFSET: Final = -1
LEADER_SINCE: Final = 10
TRANSACTIONAL_BIT: Final = 0x10
ATTRIBUTES_LOW_AT: Final = 22
BATCH_BYTES_MIN: Final = 61
ANSWER_BYTES: Final = 140
"""Of a partition's answer or a topic's, as long as it is not written: 1,400 partitions were 170 KB, interpreted 229, and 46 written."""


class Producing(Parked):
    """A Produce whose batches are being appended, and then until all of them are committed. It does not keep the request."""

    __slots__ = ("_broker", "_caller", "_held_bytes", "_left", "_now_ms", "_response", "_version", "failed")

    def __init__(self, broker: Broker, version: int, caller: Caller) -> None:
        super().__init__()
        self._broker = broker
        self._version = version
        self._caller = caller
        self._now_ms = broker.turn.now_ms()
        self._response: ProduceResponse | None = None
        """Once all partitions are in it."""
        self._left = 0
        self._held_bytes = 0
        self.failed = False
        """A batch was refused at once."""

    def held_bytes(self) -> int:
        """Counted when somebody asks first: all others have their answer before."""
        if self._held_bytes == 0 and self._response is not None:
            topics = self._response.responses
            answers = len(topics) + sum([len(topic.partition_responses) for topic in topics])
            self._held_bytes = answers * ANSWER_BYTES
        return self._held_bytes

    # -- appending

    def answers_of(
        self, topic: TopicProduceData, ask: ProduceRequest, bad: int
    ) -> list[PartitionProduceResponse]:
        """bad: an error of the whole request."""
        by_id = self._version >= 13
        partitions = self._broker.partitions
        leaders = partitions.by_id(topic.topic_id) if by_id else partitions.by_name(topic.name)
        if leaders is None and not bad:
            bad = errors.UNKNOWN_TOPIC_ID if by_id else errors.UNKNOWN_TOPIC_OR_PARTITION
        return [self._answer_of(asked, ask, leaders, bad) for asked in topic.partition_data]

    def _answer_of(
        self, asked: PartitionProduceData, ask: ProduceRequest, leaders: Led | None, bad: int
    ) -> PartitionProduceResponse:
        """bad: an error of the whole topic."""
        answer = PartitionProduceResponse(asked.index, 0, NO_OFFSET, NO_OFFSET, NO_OFFSET, NO_ITEMS)
        if bad or leaders is None:
            answer.error_code = bad
        elif not 0 <= asked.index < len(leaders):
            answer.error_code = errors.UNKNOWN_TOPIC_OR_PARTITION
        else:
            partition = leaders[asked.index]
            if partition is None:
                answer.error_code = errors.NOT_LEADER_OR_FOLLOWER
            else:
                appended = append(self._broker, partition, ask, asked, self._version, self._now_ms)
                fill(answer, appended, partition)
                if appended.code == 0:
                    if ask.acks != 0 and appended.end_offset > partition.high_watermark:
                        self._left += 1
                        partition.wait_for(Answering(appended.end_offset, self, answer))
                elif isinstance(appended, Pending):
                    answer.error_code = 0
                    if ask.acks != 0:
                        self._wait_for_append(appended, partition, answer)
                    else:
                        close_if_refused(appended, self._caller)
                elif isinstance(appended, Refused):
                    name_records(answer, appended.faults, partition)
        if answer.error_code:
            self.failed = True
            explain(answer, self._version)
        return answer

    # -- waiting

    def _wait_for_append(
        self, pending: Pending, partition: Partition, answer: PartitionProduceResponse
    ) -> None:
        """A thread has the batch: then it is appended, or refused as any other."""
        self._left += 1

        def go_on(appended: Appended) -> None:
            fill(answer, appended, partition)
            if appended.code == 0:
                partition.wait_for(Answering(appended.end_offset, self, answer))
                return
            if isinstance(appended, Refused):
                name_records(answer, appended.faults, partition)
            explain(answer, self._version)
            self.settle(answer, 0)

        pending.then(go_on)

    def answer(self, response: ProduceResponse) -> ProduceResponse | Parked:
        """The response when nothing is left to wait for, else this."""
        self._response = response
        return self if self._left else response

    def settle(self, answer: PartitionProduceResponse, code: int) -> None:
        if code:
            answer.error_code = code
            answer.base_offset = answer.log_append_time_ms = answer.log_start_offset = NO_OFFSET
        self._left -= 1
        if self._left == 0 and self._response is not None:
            self.complete(self._response)


class Answering(Commit):
    """The answer of one partition waits for its commit."""

    __slots__ = ("_answer", "_producing")

    def __init__(self, end_offset: i64, producing: Producing, answer: PartitionProduceResponse) -> None:
        super().__init__(end_offset)
        self._producing = producing
        self._answer = answer

    def committed(self, code: int) -> None:
        self._producing.settle(self._answer, code)


def handle(
    broker: Broker, ask: ProduceRequest, version: int, caller: Caller
) -> ProduceResponse | Parked | None:
    producing = Producing(broker, version, caller)
    bad = refusal(ask)
    response = ProduceResponse(
        [
            TopicProduceResponse(topic.name, topic.topic_id, producing.answers_of(topic, ask, bad))
            for topic in ask.topic_data
        ],
        0,
        NO_ITEMS,
    )
    if producing.failed and version >= LEADER_SINCE:
        name_leaders(broker, response, caller.listener)
    if ask.acks == 0:
        if producing.failed:
            raise Closed("a batch of an acks=0 Produce was refused")
        return None
    return producing.answer(response)


def close_if_refused(pending: Pending, caller: Caller) -> None:
    """As for acks=0 that is refused at once: nothing is answered, so the producer is told by the end of the connection."""
    pending.then(lambda appended: caller.connection.close() if appended.code else None)


def name_leaders(broker: Broker, response: ProduceResponse, listener: str) -> None:
    """Where to go with what came to the wrong broker: a client need not ask for metadata first."""
    named: set[int] = set()
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code == errors.NOT_LEADER_OR_FOLLOWER:
                leader, epoch = broker.topics.leader_of(topic.name, topic.topic_id, answer.index)
                answer.current_leader = LeaderIdAndEpoch(leader, epoch)
                named.add(leader)
    response.node_endpoints = [
        NodeEndpoint(known.node_id, known.host, known.port, known.rack)
        for known in (broker.topics.advertised(listener) if named else ())
        if known.node_id in named
    ]


def refusal(ask: ProduceRequest) -> int:
    """An error of the whole request: it is given for each partition."""
    if ask.acks not in (-1, 0, 1):
        return errors.INVALID_REQUIRED_ACKS
    return errors.INVALID_RECORD if names_one_twice(ask.topic_data) else 0


def names_one_twice(topics: list[TopicProduceData]) -> bool:
    """A partition has one batch in a request, also when its topic is listed twice."""
    if len(topics) == 1:
        asked = topics[0].partition_data
        return len(asked) > 1 and len({each.index for each in asked}) != len(asked)
    named = {(topic.name, topic.topic_id, each.index) for topic in topics for each in topic.partition_data}
    return len(named) != sum(len(topic.partition_data) for topic in topics)


def append(
    broker: Broker,
    partition: Partition,
    ask: ProduceRequest,
    asked: PartitionProduceData,
    version: int,
    now_ms: int,
) -> Appended:
    records = asked.records
    if records is None:
        return Appended(errors.INVALID_RECORD)
    if partition.topic == "__consumer_offsets":
        return Appended(errors.INVALID_TOPIC_EXCEPTION)
    start = records.start
    if records.size >= BATCH_BYTES_MIN and records.content[start + ATTRIBUTES_LOW_AT] & TRANSACTIONAL_BIT:
        return refuse_transactional(broker, partition, ask, records, version, now_ms)
    appended = partition.append(records.content, start, records.size, version, now_ms)
    if appended.code and appended.code in OF_RECORDS and ask.acks != 0:
        return refuse_known(broker, partition, records, version, now_ms, appended.code)
    return appended


def refuse_known(
    broker: Broker, partition: Partition, records: Records, version: int, now_ms: int, code: int
) -> Appended:
    """With the records at fault."""
    batch = Waiting(records.content, records.start, records.size, version, now_ms)
    return refuse(batch, partition.options, lambda: code, broker.loop, broker.partitions.uncommitted)


def refuse_transactional(
    broker: Broker, partition: Partition, ask: ProduceRequest, records: Records, version: int, now_ms: int
) -> Appended:
    """The bit is believed only of a batch that is whole. Where nobody is told the code, nobody looks."""
    named = ask.transactional_id is not None
    code = errors.INVALID_TXN_STATE if named else errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if ask.acks == 0:
        return Appended(code)
    batch = Waiting(records.content, records.start, records.size, version, now_ms)
    options = partition.options

    def judge() -> int:
        header = validate_produced(batch.content, batch.start, batch.size, options, version, now_ms)
        return header if isinstance(header, int) else code

    return refuse(batch, options, judge, broker.loop, broker.partitions.uncommitted)


def fill(answer: PartitionProduceResponse, appended: Appended, partition: Partition) -> None:
    answer.error_code = appended.code
    if appended.code == 0:
        answer.base_offset = appended.base_offset
        answer.log_append_time_ms = appended.log_append_time
        answer.log_start_offset = partition.log.log_start_offset


def name_records(answer: PartitionProduceResponse, faults: list[Fault], partition: Partition) -> None:
    if faults:
        answer.record_errors = [BatchIndexAndErrorMessage(index, text) for index, text in faults]
        answer.log_start_offset = partition.log.log_start_offset


def explain(answer: PartitionProduceResponse, version: int) -> None:
    """Text that a client shows; only for errors a producer cannot know from the code alone."""
    if version >= 8 and answer.error_code in TEXTS:
        answer.error_message = TEXTS[answer.error_code]


TEXTS: Final = {
    errors.INVALID_RECORD: "The batch breaks a rule of the record format (or of a compacted topic: a key is needed).",
    errors.INVALID_TIMESTAMP: "A timestamp lies outside message.timestamp.before.max.ms and .after.max.ms.",
    errors.MESSAGE_TOO_LARGE: "The batch is larger than max.message.bytes of the topic.",
    errors.INVALID_TOPIC_EXCEPTION: "Clients may not write to internal topics.",
    errors.INVALID_TXN_STATE: "Transactions are not served by this broker.",
}


class Produce(Api):
    def decode(self, frame: bytes, body_at: i64, version: i64) -> ProduceRequest:
        return message.decode_request(frame, body_at, version)

    def handle(
        self, broker: Broker, ask: ProduceRequest, version: int, caller: Caller
    ) -> ProduceResponse | Parked | None:
        return handle(broker, ask, version, caller)


API = Produce(
    0,
    message,
    handle,
    codes=(
        errors.INVALID_REQUIRED_ACKS,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.UNKNOWN_TOPIC_ID,
        errors.INVALID_TOPIC_EXCEPTION,
        errors.CORRUPT_MESSAGE,
        errors.INVALID_RECORD,
        errors.INVALID_TIMESTAMP,
        errors.MESSAGE_TOO_LARGE,
        errors.UNSUPPORTED_COMPRESSION_TYPE,
        errors.OUT_OF_ORDER_SEQUENCE_NUMBER,
        errors.INVALID_PRODUCER_EPOCH,
        errors.INVALID_TXN_STATE,
        errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        errors.NOT_LEADER_OR_FOLLOWER,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
