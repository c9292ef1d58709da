"""Single records: for tools, tests, coordinators and compacted topics. Never on the produce or fetch path.

Layout   varint length, int8 attributes (0), varint timestamp delta, varint offset delta, varint key length (-1 null), key,
         varint value length (-1 null), value, varint header count, each: varint length, name, varint length (-1), value.
         All varints are zigzag.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from librt.strings import BytesWriter

from barnabas.records import compression
from barnabas.records.batch import (
    CODECS,
    CONTROL,
    HEADER,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAGIC,
    OVERHEAD_BYTES,
    TRANSACTIONAL,
    BatchHeader,
    read_header,
    seal,
)

Header = tuple[str, bytes | None]
NO_HEADERS: Final[tuple[Header, ...]] = ()


class BadRecord(ValueError):
    """The bytes of a record break its layout."""


class Record:
    """One record with its place: offset and timestamp (ms) are absolute."""

    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    def __init__(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp: int = -1,
        headers: Sequence[Header] = NO_HEADERS,
        offset: int = -1,
    ) -> None:
        self.key = key
        self.value = value
        self.timestamp = timestamp
        self.headers = headers
        self.offset = offset

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Record)
            and self.key == other.key
            and self.value == other.value
            and self.timestamp == other.timestamp
            and self.headers == other.headers
            and self.offset == other.offset
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Record({self.offset}, key={self.key!r}, value={self.value!r}, timestamp={self.timestamp})"


def write_varint(out: BytesWriter, value: int) -> None:
    if 0 <= value < 64:
        out.append(value << 1)
        return
    value = zigzag(value)
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)


def varint_size(value: int) -> int:
    """Bytes that write_varint writes."""
    if -64 <= value < 64:
        return 1
    value = zigzag(value)
    size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


def zigzag(value: int) -> int:
    """Small numbers for those near zero, of 64 bits without a sign."""
    return ((value << 1) ^ (value >> 63)) & 0xFFFFFFFFFFFFFFFF


def read_varint(content: bytes, at: int, bits: int = 64) -> tuple[int, int]:
    """A zigzag number of at most bits bits, and where it ends. Raises BadRecord."""
    shift = value = 0
    while True:
        if shift >= bits or at >= len(content):
            raise BadRecord("a varint that does not end")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> bits:
                raise BadRecord("a varint that is too large")
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def encode_record(record: Record, timestamp_delta: int, offset_delta: int) -> bytes:
    out = BytesWriter()
    write_record(out, record, timestamp_delta, offset_delta)
    return out.getvalue()


def write_record(out: BytesWriter, record: Record, timestamp_delta: int, offset_delta: int) -> None:
    """Its length is counted first, so that it is written once."""
    headers = [(name.encode(), content) for name, content in record.headers]
    size = 1 + varint_size(timestamp_delta) + varint_size(offset_delta)
    size += run_size(record.key) + run_size(record.value) + varint_size(len(headers))
    for name, content in headers:
        size += run_size(name) + run_size(content)
    write_varint(out, size)
    out.append(0)
    write_varint(out, timestamp_delta)
    write_varint(out, offset_delta)
    write_run(out, record.key)
    write_run(out, record.value)
    write_varint(out, len(headers))
    for name, content in headers:
        write_run(out, name)
        write_run(out, content)


def run_size(content: bytes | None) -> int:
    return 1 if content is None else varint_size(len(content)) + len(content)


def write_run(out: BytesWriter, content: bytes | None) -> None:
    if content is None:
        out.append(1)
        return
    write_varint(out, len(content))
    out.write(content)


def build_batch(
    records: Sequence[Record],
    *,
    base_offset: int = 0,
    codec: str | int = "none",
    level: int | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    leader_epoch: int = -1,
    transactional: bool = False,
    control: bool = False,
    log_append_time: bool = False,
    offsets: Sequence[int] | None = None,
    last_offset_delta: int | None = None,
) -> bytes:
    """One batch. offsets places records that are not consecutive (compaction); otherwise they follow base_offset."""
    assert records or last_offset_delta is not None, "an empty batch needs to say which offsets it spans"
    number = codec if isinstance(codec, int) else CODECS.index(codec)
    base_timestamp = records[0].timestamp if records else -1
    deltas = range(len(records)) if offsets is None else [offset - base_offset for offset in offsets]
    out = BytesWriter()
    for record, delta in zip(records, deltas, strict=True):
        write_record(out, record, record.timestamp - base_timestamp, delta)
    body = compression.compress(number, out.getvalue(), level)
    attributes = number | (TRANSACTIONAL if transactional else 0) | (CONTROL if control else 0)
    attributes |= LOG_APPEND_TIME if log_append_time else 0
    batch = bytearray(HEADER_BYTES) + body
    HEADER.pack_into(
        batch,
        0,
        base_offset,
        len(batch) - OVERHEAD_BYTES,
        leader_epoch,
        MAGIC,
        0,
        attributes,
        deltas[-1] if last_offset_delta is None else last_offset_delta,
        base_timestamp,
        max((record.timestamp for record in records), default=-1),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    seal(batch)
    return bytes(batch)


def batches(content: bytes) -> Iterator[tuple[BatchHeader, int]]:
    """Headers and positions of the whole batches in content; a torn last one is left out."""
    at = 0
    while at + HEADER_BYTES <= len(content):
        header = read_header(content, at)
        if header.size < HEADER_BYTES or at + header.size > len(content):
            return
        yield header, at
        at += header.size


def records_of(content: bytes, header: BatchHeader, at: int) -> Iterator[Record]:
    """The records of the batch at a position. Raises BadRecord or CannotDecompress."""
    if header.record_count < 0:
        raise BadRecord("a batch of fewer than no records")
    run = memoryview(content)[at + HEADER_BYTES : at + header.size]
    body = compression.decompress(header.codec, run)
    place = 0
    for _ in range(header.record_count):
        record, place = _read_record(body, place, header)
        yield record
    if place != len(body):
        raise BadRecord("bytes behind the last record of a batch")


def _read_run(content: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = read_varint(content, at, 32)
    if size == -1:
        return None, at
    if size < 0 or at + size > len(content):
        raise BadRecord("a field runs past the end of its record")
    return content[at : at + size], at + size


def _read_record(content: bytes, at: int, header: BatchHeader) -> tuple[Record, int]:
    size, at = read_varint(content, at, 32)
    end = at + size
    if size < 0 or end > len(content):
        raise BadRecord("a record runs past the end of its batch")
    timestamp_delta, at = read_varint(content, at + 1)
    offset_delta, at = read_varint(content, at, 32)
    key, at = _read_run(content, at)
    value, at = _read_run(content, at)
    count, at = read_varint(content, at, 32)
    if count < 0:
        raise BadRecord("a record with fewer than no headers")
    headers: list[Header] = []
    for _ in range(count):
        name, at = _read_run(content, at)
        if name is None:
            raise BadRecord("a header without a name")
        field, at = _read_run(content, at)
        headers.append((name.decode("utf-8", "replace"), field))
    if at != end:
        raise BadRecord("a record is shorter or longer than it says")
    stamped = header.attributes & LOG_APPEND_TIME
    timestamp = header.max_timestamp if stamped else header.base_timestamp + timestamp_delta
    return Record(key, value, timestamp, tuple(headers), header.base_offset + offset_delta), at


def all_records(content: bytes) -> Iterable[Record]:
    """Every record of every whole data batch in content, control batches left out."""
    for header, at in batches(content):
        if not header.is_control:
            yield from records_of(content, header, at)
