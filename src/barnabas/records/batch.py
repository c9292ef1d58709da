"""A record batch, format v2 (magic 2): KIP-98.

Layout   0  int64  base offset            8  int32  length of what follows (size = length + 12)
         12 int32  partition leader epoch 16 int8   magic, 2
         17 uint32 CRC-32C of all bytes from 21 on
         21 int16  attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
         23 int32  last offset delta      27 int64  base timestamp     35 int64 max timestamp
         43 int64  producer id            51 int16  producer epoch     53 int32 base sequence
         57 int32  record count           61 the records, compressed as one run
B1       Base offset and leader epoch lie outside the checksum: the leader writes them, in 21 new bytes before what it covers.
B2       last offset delta = record count - 1, except where compaction removed records.
"""

from struct import Struct
from typing import Final

from fastcrc import crc32
from librt.strings import (
    BytesWriter,
    read_i16_be,
    read_i32_be,
    read_i64_be,
    write_i32_be,
    write_i64_be,
)
from mypy_extensions import i64, mypyc_attr

HEADER: Final = Struct(">qiibIhiqqqhii")
HEADER_BYTES: Final = 61
HEAD_BYTES: Final = 21
LENGTH_AT: Final = 8
OVERHEAD_BYTES: Final = 12
EPOCH_AT: Final = 12
MAGIC_AT: Final = 16
CRC_AT: Final = 17
ATTRIBUTES_AT: Final = 21
LAST_OFFSET_DELTA_AT: Final = 23
BASE_TIMESTAMP_AT: Final = 27
MAX_TIMESTAMP_AT: Final = 35
PRODUCER_ID_AT: Final = 43
PRODUCER_EPOCH_AT: Final = 51
BASE_SEQUENCE_AT: Final = 53
RECORD_COUNT_AT: Final = 57
MAGIC: Final = 2

CODEC_MASK: Final = 0x07
LOG_APPEND_TIME: Final = 0x08
TRANSACTIONAL: Final = 0x10
CONTROL: Final = 0x20
DELETE_HORIZON: Final = 0x40

CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")

COPIED_MAX: Final = 4096
"""To copy a smaller run costs less than the two objects of a view of it."""
crc32c: Final = crc32.iscsi


@mypyc_attr(free_list_len=1)
class BatchHeader:
    """The 61 bytes before the records, as numbers. size is the whole batch in bytes. Raises IndexError for fewer bytes."""

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "covered",
        "crc",
        "last_offset_delta",
        "leader_epoch",
        "magic",
        "max_timestamp",
        "producer_epoch",
        "producer_id",
        "record_count",
        "size",
    )

    base_offset: i64
    leader_epoch: int
    magic: i64
    crc: int
    attributes: i64
    last_offset_delta: i64
    base_timestamp: int
    """No i64, as any 64 bits may stand here: a sum of two would wrap."""
    max_timestamp: int
    producer_id: i64
    producer_epoch: int
    base_sequence: int
    record_count: i64
    size: i64

    def __init__(self, content: bytes, at: i64) -> None:
        length: int = read_i32_be(content, at + LENGTH_AT)
        crc: int = read_i32_be(content, at + CRC_AT)
        attributes: int = read_i16_be(content, at + ATTRIBUTES_AT)
        last_offset_delta: int = read_i32_be(content, at + LAST_OFFSET_DELTA_AT)
        record_count: int = read_i32_be(content, at + RECORD_COUNT_AT)
        magic: i64 = content[at + MAGIC_AT]
        self.size = length + OVERHEAD_BYTES
        self.base_offset = read_i64_be(content, at)
        self.leader_epoch = read_i32_be(content, at + EPOCH_AT)
        self.magic = magic if magic < 0x80 else magic - 0x100
        self.crc = crc & 0xFFFFFFFF
        self.attributes = attributes
        self.last_offset_delta = last_offset_delta
        self.base_timestamp = read_i64_be(content, at + BASE_TIMESTAMP_AT)
        self.max_timestamp = read_i64_be(content, at + MAX_TIMESTAMP_AT)
        self.producer_id = read_i64_be(content, at + PRODUCER_ID_AT)
        self.producer_epoch = read_i16_be(content, at + PRODUCER_EPOCH_AT)
        self.base_sequence = read_i32_be(content, at + BASE_SEQUENCE_AT)
        self.record_count = record_count
        self.covered: bytes | memoryview | None = None
        """What the checksum covers, of a batch in which it was found right."""

    @property
    def codec(self) -> i64:
        return self.attributes & CODEC_MASK

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL != 0

    @property
    def next_offset(self) -> i64:
        """The offset behind the batch's last one."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> i64:
        """Sequences wrap from 2^31-1 to 0."""
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    def __repr__(self) -> str:
        return f"BatchHeader(offset={self.base_offset}+{self.last_offset_delta}, {self.size} bytes, epoch={self.leader_epoch})"


def read_header(content: bytes, at: i64) -> BatchHeader:
    """The header at a position that has at least HEADER_BYTES behind it; nothing is checked."""
    return BatchHeader(content, at)


def part_of(content: bytes, at: i64, end: i64) -> bytes | memoryview:
    """Those bytes, the cheaper way."""
    return content[at:end] if end - at <= COPIED_MAX else memoryview(content)[at:end]


def check_crc(content: bytes, at: int, size: int, crc: int) -> bool:
    """Whether the batch of size bytes at a position has the checksum crc."""
    return crc32c(part_of(content, at + ATTRIBUTES_AT, at + size)) == crc


def new_head(base_offset: i64, size: int, leader_epoch: int, crc: int) -> bytes:
    """The 21 bytes the leader writes before those that the checksum covers (B1)."""
    out = BytesWriter()
    write_i64_be(out, base_offset)
    write_i32_be(out, size - OVERHEAD_BYTES)
    write_i32_be(out, leader_epoch)
    out.append(MAGIC)
    write_i32_be(out, crc if crc < 0x80000000 else crc - 0x100000000)
    return out.getvalue()


def with_log_append_time(content: bytes, at: int, size: int, timestamp: int) -> bytes:
    """A copy of the batch stamped with the broker's time: attribute bit 3, max timestamp, new checksum."""
    batch = bytearray(content[at : at + size])
    attributes = int.from_bytes(batch[ATTRIBUTES_AT : ATTRIBUTES_AT + 2], "big") | LOG_APPEND_TIME
    batch[ATTRIBUTES_AT : ATTRIBUTES_AT + 2] = attributes.to_bytes(2, "big")
    batch[MAX_TIMESTAMP_AT : MAX_TIMESTAMP_AT + 8] = timestamp.to_bytes(8, "big", signed=True)
    seal(batch)
    return bytes(batch)


def seal(batch: bytearray) -> None:
    """Write the checksum of a batch that was changed in place."""
    batch[CRC_AT : CRC_AT + 4] = crc32c(memoryview(batch)[ATTRIBUTES_AT:]).to_bytes(4, "big")
