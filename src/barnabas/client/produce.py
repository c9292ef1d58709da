"""A producer: records by partition into batches, sent in order, idempotent unless acks is 0 or 1.

Order and no doubles hold because a partition has one batch under way, and a batch that is tried again keeps its sequence.
"""

from typing import Final

from barnabas import errors
from barnabas.client.cluster import TRIES_MAX, Address, Cluster, Refused, Unreachable
from barnabas.records.record import Record, build_batch
from barnabas.wire.messages import produce
from barnabas.wire.messages.init_producer_id import InitProducerIdRequest
from barnabas.wire.primitives import Records

BATCH_BYTES: Final = 256 * 1024
HELD_BYTES_MAX: Final = 32 << 20
"""Over all partitions: a topic may have thousands, each with a batch that is not full."""

RECORD_BYTES_OVERHEAD: Final = 32
TIMEOUT_MS: Final = 30_000
MURMUR_SEED: Final = 0x9747B28C
MURMUR_FACTOR: Final = 0x5BD1E995
SEQUENCES: Final = 1 << 31
TOO_LARGE: Final = frozenset({errors.MESSAGE_TOO_LARGE, errors.RECORD_LIST_TOO_LARGE})
"""The topic's limit may be below our batches: halves are sent, down to single records."""

MAY_BE_STORED: Final = frozenset({errors.REQUEST_TIMED_OUT, errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND})


def murmur2(key: bytes) -> int:
    """The 32-bit hash by which Kafka's clients place a key (MurmurHash2 with Kafka's seed)."""
    size = len(key)
    hashed = (MURMUR_SEED ^ size) & 0xFFFFFFFF
    whole = size & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * MURMUR_FACTOR & 0xFFFFFFFF
        word = (word ^ word >> 24) * MURMUR_FACTOR & 0xFFFFFFFF
        hashed = (hashed * MURMUR_FACTOR & 0xFFFFFFFF) ^ word
    if size > whole:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * MURMUR_FACTOR & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * MURMUR_FACTOR & 0xFFFFFFFF
    return hashed ^ hashed >> 15


def partition_of(key: bytes, count: int) -> int:
    """Where every client of Kafka puts a key."""
    return (murmur2(key) & 0x7FFFFFFF) % count


class Producer:
    """Writes to one topic. flush() makes sure; close is not needed.

    sent_records were acknowledged (with acks 0: sent). unanswered_records went out when the broker was lost: of these
    alone nobody knows whether they are stored.
    """

    def __init__(self, cluster: Cluster, topic: str, *, acks: int = -1, codec: str = "none") -> None:
        """acks: -1 all, 1, 0. Raises Refused when the topic does not exist and is not made by asking for it."""
        self._cluster = cluster
        self._topic = topic
        self._acks = acks
        self.acknowledged = acks != 0
        self.idempotent = acks == -1
        self._codec = codec
        self._count = cluster.partitions(topic, create=True)
        self._held: dict[int, list[Record]] = {}
        self._held_bytes: dict[int, int] = {}
        self._held_bytes_sum = 0
        self._sequences: dict[int, int] = {}
        self._turn = 0
        self._producer_id, self._producer_epoch = self._identity() if self.idempotent else (-1, -1)
        self.sent_records = 0
        self.unanswered_records = 0

    @property
    def held_records(self) -> int:
        """Taken and not acknowledged."""
        return sum(len(records) for records in self._held.values())

    def _identity(self) -> tuple[int, int]:
        ask = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=TIMEOUT_MS)
        code = errors.NONE
        for _ in range(TRIES_MAX):
            reply = self._cluster.ask(22, ask)
            code = reply.error_code
            if code == errors.NONE:
                return reply.producer_id, reply.producer_epoch
            if code not in errors.RETRIABLE:
                break
            self._cluster.pause()
        raise Refused(code, "no producer id")

    def add(self, record: Record, partition: int | None = None) -> None:
        """Take a record; sends when a batch is full. A key chooses the partition, else batches take turns."""
        if partition is None:
            partition = self._turn if record.key is None else partition_of(record.key, self._count)
        elif not 0 <= partition < self._count:
            raise Refused(
                errors.UNKNOWN_TOPIC_OR_PARTITION,
                f"{self._topic} has {self._count} partitions, no {partition}",
            )
        size = RECORD_BYTES_OVERHEAD + len(record.key or b"") + len(record.value or b"")
        size += sum(len(name) + len(content or b"") for name, content in record.headers)
        if self._held_bytes.get(partition, 0) + size > BATCH_BYTES:
            self._send(partition)
        if self._held_bytes_sum + size > HELD_BYTES_MAX:
            self.flush()
        self._held.setdefault(partition, []).append(record)
        self._held_bytes[partition] = self._held_bytes.get(partition, 0) + size
        self._held_bytes_sum += size

    def flush(self) -> None:
        """Everything taken so far is acknowledged when this returns."""
        for partition in sorted(self._held):
            self._send(partition)

    def _send(self, partition: int) -> None:
        """What is held for a partition stays held until it is acknowledged, so that flush() after an error tries it again.

        Only an idempotent batch may be: any other that was sent may be stored already, and is let go.
        """
        records = self._held.get(partition, [])
        count = len(records)
        try:
            while records:
                try:
                    self._send_batch(partition, records[:count])
                except Refused as error:
                    if error.code not in TOO_LARGE or count == 1:
                        raise
                    count = (count + 1) // 2
                else:
                    del records[:count]
        finally:
            if not self.idempotent:
                del records[: self.unanswered_records]
        self._let_go(partition)

    def _let_go(self, partition: int) -> None:
        self._held.pop(partition, None)
        self._held_bytes_sum -= self._held_bytes.pop(partition, 0)

    def _send_batch(self, partition: int, records: list[Record]) -> None:
        sequence = self._sequences.get(partition, 0) if self.idempotent else -1
        batch = build_batch(
            records,
            codec=self._codec,
            producer_id=self._producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=sequence,
        )
        self.unanswered_records = len(records)
        try:
            self._deliver(partition, batch)
        except Refused as error:
            if error.code not in MAY_BE_STORED:
                self.unanswered_records = 0
            raise
        self.unanswered_records = 0
        if sequence >= 0:
            self._sequences[partition] = (sequence + len(records)) % SEQUENCES
        self._turn = (partition + 1) % self._count
        self.sent_records += len(records)

    def _deliver(self, partition: int, batch: bytes) -> None:
        row = produce.PartitionProduceData(index=partition, records=Records(batch))
        ask = produce.ProduceRequest(
            acks=self._acks,
            timeout_ms=TIMEOUT_MS,
            topic_data=[produce.TopicProduceData(name=self._topic, partition_data=[row])],
        )
        leader: Address | None = None
        sent = False
        for attempt in range(TRIES_MAX):
            try:
                leader = None
                leader = self._cluster.leader(self._topic, partition)
                reply = self._cluster.ask(0, ask, leader, answered=self._acks != 0)
            except Unreachable as error:
                sent |= error.sent and leader is not None
                if (sent and not self.idempotent) or attempt == TRIES_MAX - 1:
                    if not sent:
                        self.unanswered_records = 0
                    raise
            else:
                if reply is None:
                    return
                result = reply.responses[0].partition_responses[0]
                if result.error_code in (errors.NONE, errors.DUPLICATE_SEQUENCE_NUMBER):
                    return
                if result.error_code not in errors.RETRIABLE or attempt == TRIES_MAX - 1:
                    raise Refused(result.error_code, f"{self._topic}[{partition}]", result.error_message)
            self._cluster.stale(self._topic)
            self._cluster.pause()
