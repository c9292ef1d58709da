"""What a partition knows of each producer: epochs, sequences, its last five batches (KIP-98, KIP-360).

Rules     A batch equal in epoch and sequences to one of the last five is a retry and gets that one's offsets.
          Older epoch: INVALID_PRODUCER_EPOCH. A newer epoch begins at sequence 0. Otherwise the first sequence follows
          the last (2^31-1 is followed by 0). A producer nobody knows may begin anywhere: its state may have expired.
Snapshot  NNN.snapshot, Kafka's ProducerSnapshot v1: int16 version, uint32 CRC-32C of what follows, entries.
          State as of offset NNN. Truth is the log: a missing or damaged snapshot is rebuilt by replay. Kafka writes an
          entry for the last batch of each producer; ours has one for each batch that is kept, oldest first, so that
          retries of several batches in flight are known after a restart. Kafka's reader takes the last of an id.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from barnabas import errors
from barnabas.records.batch import BatchHeader, crc32c
from barnabas.wire.internal import producer_snapshot as message
from barnabas.wire.internal.producer_snapshot import ProducerEntry, ProducerSnapshot
from barnabas.wire.primitives import Malformed

BATCHES_KEPT: Final = 5
SNAPSHOT_VERSION: Final = 1
CRC_AT: Final = 2
ENTRIES_AT: Final = 6
NO_SEQUENCE: Final = -1


class Duplicate:
    """A retry of a batch that has its offsets already."""

    __slots__ = ("base_offset", "end_offset", "log_append_time")

    def __init__(self, base_offset: int, end_offset: int, log_append_time: int) -> None:
        self.base_offset = base_offset
        self.end_offset = end_offset
        self.log_append_time = log_append_time


@mypyc_attr(free_list_len=1)
class Kept:
    """One of the last batches of a producer."""

    __slots__ = ("base_offset", "first_sequence", "last_offset", "last_sequence", "timestamp")

    def __init__(
        self, first_sequence: int, last_sequence: int, base_offset: int, last_offset: int, timestamp: int
    ) -> None:
        self.first_sequence = first_sequence
        self.last_sequence = last_sequence
        self.base_offset = base_offset
        self.last_offset = last_offset
        self.timestamp = timestamp


class Producer:
    """One producer id."""

    __slots__ = ("batches", "epoch", "last_used_ms", "producer_id")

    def __init__(self, producer_id: int, epoch: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.batches: list[Kept] = []
        """The last BATCHES_KEPT, oldest first."""
        self.last_used_ms = 0

    def add(self, kept: Kept) -> None:
        self.batches.append(kept)
        if len(self.batches) > BATCHES_KEPT:
            self.batches.pop(0)

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def last_timestamp(self) -> int:
        return self.batches[-1].timestamp if self.batches else -1


class ProducerState:
    """All producers of one partition."""

    __slots__ = ("by_id",)

    first_unstable_offset: int | None = None
    """Where the first open transaction begins: none is ever open, for transactions are not served."""

    def __init__(self) -> None:
        self.by_id: dict[int, Producer] = {}

    def check(self, header: BatchHeader) -> Duplicate | int | None:
        """None: append it. A retry, or an error code."""
        producer = self.by_id.get(header.producer_id)
        if header.base_sequence < 0 or header.producer_epoch < 0:
            return errors.INVALID_RECORD
        if producer is None:
            return None
        if header.producer_epoch < producer.epoch:
            return errors.INVALID_PRODUCER_EPOCH
        first = header.base_sequence
        if header.producer_epoch > producer.epoch:
            return None if first == 0 else errors.OUT_OF_ORDER_SEQUENCE_NUMBER
        if first == (producer.last_sequence + 1) & 0x7FFFFFFF:
            return None
        last = header.last_sequence
        for kept in producer.batches:
            if kept.first_sequence == first and kept.last_sequence == last:
                return Duplicate(kept.base_offset, kept.last_offset + 1, kept.timestamp)
        return errors.OUT_OF_ORDER_SEQUENCE_NUMBER

    def update(self, header: BatchHeader, base_offset: int, now_ms: int) -> None:
        """A batch of a producer was appended at base_offset."""
        producer = self.by_id.get(header.producer_id)
        if producer is None:
            producer = self.by_id[header.producer_id] = Producer(header.producer_id, header.producer_epoch)
        elif producer.epoch != header.producer_epoch:
            producer.epoch = header.producer_epoch
            producer.batches.clear()
        producer.last_used_ms = now_ms
        producer.add(
            Kept(
                header.base_sequence,
                header.last_sequence,
                base_offset,
                base_offset + header.last_offset_delta,
                header.max_timestamp,
            )
        )

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget producers unused for expiration_ms; returns how many."""
        old = [key for key, producer in self.by_id.items() if now_ms - producer.last_used_ms > expiration_ms]
        for key in old:
            del self.by_id[key]
        return len(old)

    def tails(self) -> set[tuple[int, int, int]]:
        """Producer id, epoch and last sequence of each producer's newest batch."""
        return {
            (producer.producer_id, producer.epoch, producer.last_sequence) for producer in self.by_id.values()
        }

    def to_bytes(self) -> bytes:
        entries = [
            entry
            for producer in self.by_id.values()
            for entry in ([_entry(producer, kept) for kept in producer.batches] or [_entry(producer, None)])
        ]
        body = message.encode(ProducerSnapshot(crc=0, producer_entries=entries), SNAPSHOT_VERSION)
        content = bytearray(SNAPSHOT_VERSION.to_bytes(2, "big") + body)
        content[CRC_AT:ENTRIES_AT] = crc32c(memoryview(content)[ENTRIES_AT:]).to_bytes(4, "big")
        return bytes(content)

    @classmethod
    def load(cls, content: bytes, now_ms: int) -> "ProducerState | None":
        """None when the snapshot is damaged."""
        if len(content) < ENTRIES_AT or int.from_bytes(content[:CRC_AT], "big") != SNAPSHOT_VERSION:
            return None
        if crc32c(memoryview(content)[ENTRIES_AT:]) != int.from_bytes(content[CRC_AT:ENTRIES_AT], "big"):
            return None
        try:
            snapshot = message.decode(content, CRC_AT, SNAPSHOT_VERSION)
        except Malformed:
            return None
        state = cls()
        for entry in snapshot.producer_entries:
            producer = state.by_id.get(entry.producer_id)
            if producer is None or producer.epoch != entry.epoch:
                producer = state.by_id[entry.producer_id] = Producer(entry.producer_id, entry.epoch)
            producer.last_used_ms = now_ms
            if entry.last_offset >= 0 and entry.last_sequence >= 0:
                first = (entry.last_sequence - entry.offset_delta) & 0x7FFFFFFF
                producer.add(
                    Kept(
                        first,
                        entry.last_sequence,
                        entry.last_offset - entry.offset_delta,
                        entry.last_offset,
                        entry.timestamp,
                    )
                )
        return state


def _entry(producer: Producer, kept: Kept | None) -> ProducerEntry:
    return ProducerEntry(
        producer_id=producer.producer_id,
        epoch=producer.epoch,
        last_sequence=NO_SEQUENCE if kept is None else kept.last_sequence,
        last_offset=-1 if kept is None else kept.last_offset,
        offset_delta=0 if kept is None else kept.last_offset - kept.base_offset,
        timestamp=-1 if kept is None else kept.timestamp,
        coordinator_epoch=-1,
        current_txn_first_offset=-1,
    )
