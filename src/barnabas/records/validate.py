"""What a leader checks of a producer's batch before it gives it offsets. Every kind of damage has Kafka's code.

2 CORRUPT_MESSAGE     a length, magic or checksum that cannot be
87 INVALID_RECORD     counts and deltas that disagree, damaged records of an uncompressed batch, a control batch, no or
                      several batches, a record without key on a compacted topic, an unknown codec (Kafka: -1, a
                      listed difference), compressed bytes that do not open where they are opened
32 INVALID_TIMESTAMP  a record of a walked batch outside message.timestamp.before/after.max.ms (-1, no timestamp, never
                      is); of one that is not walked, base or max timestamp; the flag of log append time
10 MESSAGE_TOO_LARGE  76 UNSUPPORTED_COMPRESSION_TYPE (zstd before Produce v7)

Records of uncompressed batches are walked, whatever the build; compressed ones are opened only where semantics need it
(compacted topics, barnabas.validate=records): a listed difference. Max timestamp is the producer's word, bounded but not
computed: computing it would mean a new checksum.
"""

from typing import Final

from mypy_extensions import i64

from barnabas import errors
from barnabas.config.effective import TopicOptions
from barnabas.records.batch import (
    CODEC_MASK,
    CONTROL,
    HEAD_BYTES,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAGIC,
    MAGIC_AT,
    OVERHEAD_BYTES,
    BatchHeader,
    crc32c,
    part_of,
)
from barnabas.records.compression import ZSTD, CannotDecompress, decompress
from barnabas.records.record import read_varint

CODEC_MAX: Final = 4
ZSTD_SINCE: Final = 7
NO_TIMESTAMP: Final = -1
LENGTH_MIN: Final = 14
"""Kafka calls a smaller length impossible before it knows the magic: the overhead of the oldest format."""
BROKERS_OWN: Final = CONTROL | LOG_APPEND_TIME
"""Attributes that brokers alone set."""
INT_SHIFT_MAX: Final = 28
LONG_SHIFT_MAX: Final = 63
STAMP_MAX: Final = (1 << 64) - 1

KEYLESS: Final = 1
FAR: Final = 2
BROKEN: Final = 4


def validate_produced(
    content: bytes, start: i64, size: i64, options: TopicOptions, version: int, now_ms: int
) -> BatchHeader | int:
    """The header of the one good batch in content, or an error code."""
    if size < HEADER_BYTES:
        return short_code(content, start, size)
    header = BatchHeader(content, start)
    if header.size != size or header.magic != MAGIC:
        return misfit_code(header)
    if size > options.max_message_bytes:
        return errors.MESSAGE_TOO_LARGE
    covered = part_of(content, start + HEAD_BYTES, start + size)
    if crc32c(covered) != header.crc:
        return errors.CORRUPT_MESSAGE
    header.covered = covered
    count = header.record_count
    if count <= 0 or header.last_offset_delta != count - 1:
        return errors.INVALID_RECORD
    attributes = header.attributes
    if attributes & BROKERS_OWN:
        return errors.INVALID_RECORD if attributes & CONTROL else errors.INVALID_TIMESTAMP
    codec = attributes & CODEC_MASK
    if codec > CODEC_MAX:
        return errors.INVALID_RECORD
    if codec == ZSTD and version < ZSTD_SINCE:
        return errors.UNSUPPORTED_COMPRESSION_TYPE
    stamp_max = STAMP_MAX
    if not options.timestamp_type_log_append:
        stamp_max = stamp_allowance(header, options, now_ms)
        if stamp_max < 0:
            return errors.INVALID_TIMESTAMP
    if codec == 0:
        flaws = walk_records(content, start + HEADER_BYTES, start + size, count, stamp_max)
        if flaws == 0:
            return header
        return flaws_code(flaws, header, options, now_ms, content, start + HEADER_BYTES) or header
    if options.opens_compressed:
        opened = open_records(content, start, header, options, now_ms)
        return opened if isinstance(opened, int) else header
    return header


def short_code(content: bytes, start: int, size: int) -> int:
    """Fewer bytes than a header. Kafka looks for what cannot be as far as the bytes go, then finds no batch."""
    if (
        size >= OVERHEAD_BYTES
        and int.from_bytes(content[start + 8 : start + 12], "big", signed=True) < LENGTH_MIN
    ):
        return errors.CORRUPT_MESSAGE
    if size > MAGIC_AT and content[start + MAGIC_AT] > MAGIC:
        return errors.CORRUPT_MESSAGE
    return errors.INVALID_RECORD


def misfit_code(header: BatchHeader) -> int:
    """A batch of another magic, or that does not end where the record set ends."""
    if not 0 <= header.magic <= MAGIC or header.size < OVERHEAD_BYTES + LENGTH_MIN:
        return errors.CORRUPT_MESSAGE
    if header.magic == MAGIC and header.size < HEADER_BYTES:
        return errors.CORRUPT_MESSAGE
    return errors.INVALID_RECORD


def stamp_allowance(header: BatchHeader, options: TopicOptions, now_ms: int) -> int:
    """The greatest zigzag timestamp delta that is inside the limits whatever its sign; -1: the header is outside."""
    newest = now_ms + options.timestamp_after_max_ms
    if header.max_timestamp > newest:
        return -1
    base = header.base_timestamp
    if base == NO_TIMESTAMP:
        return 0
    above = newest - base
    if above < 0:
        return -1
    if (
        options.timestamp_before_unlimited
    ):  # as by default; a sum with 2^63-1 would cost more than all the rest
        return above << 1
    below = base - now_ms + options.timestamp_before_max_ms
    if below < 0:
        return -1
    return (above if above < below else below) << 1


def flaws_code(
    flaws: int, header: BatchHeader, options: TopicOptions, now_ms: int, body: bytes, at: int
) -> int:
    """The error code of what walk_records found, 0 for nothing that matters here."""
    if flaws & BROKEN or (flaws & KEYLESS and options.cleanup_compact):
        return errors.INVALID_RECORD
    if flaws & FAR and any_outside(header, options, now_ms, body, at):
        return errors.INVALID_TIMESTAMP
    return 0


def any_outside(header: BatchHeader, options: TopicOptions, now_ms: int, body: bytes, at: int) -> bool:
    """Whether any record of a walked body has a timestamp outside the limits; the exact and slower look."""
    oldest = now_ms - options.timestamp_before_max_ms
    newest = now_ms + options.timestamp_after_max_ms
    for _ in range(header.record_count):
        size, at = read_varint(body, at)
        delta, _ = read_varint(body, at + 1)
        timestamp = header.base_timestamp + delta
        if timestamp != NO_TIMESTAMP and not oldest <= timestamp <= newest:
            return True
        at += size
    return False


def open_records(
    content: bytes, start: int, header: BatchHeader, options: TopicOptions, now_ms: int
) -> bytes | int:
    """The records of a compressed batch whose header is good, opened and walked, or the error code of what is wrong."""
    packed = memoryview(content)[start + HEADER_BYTES : start + header.size]
    try:
        body = decompress(header.codec, packed)
    except CannotDecompress:
        return errors.INVALID_RECORD
    by_producer = not options.timestamp_type_log_append
    stamp_max = stamp_allowance(header, options, now_ms) if by_producer else STAMP_MAX
    flaws = walk_records(body, 0, len(body), header.record_count, stamp_max)
    return flaws_code(flaws, header, options, now_ms, body, 0) or body


def max_timestamp(header: BatchHeader, body: bytes) -> int:
    """The greatest timestamp of walked records, ms."""
    newest = 0
    at = 0
    for number in range(header.record_count):
        size, at = read_varint(body, at)
        delta, _ = read_varint(body, at + 1)
        if delta > newest or number == 0:
            newest = delta
        at += size
    return header.base_timestamp + newest


def walk_records(content: bytes, at: i64, end: i64, count: i64, stamp_max: int) -> int:
    """The flaws of at..end, which count records with offset deltas 0, 1, … should fill exactly; 0 when there are none.

    KEYLESS: one has no key. FAR: one's zigzag timestamp delta is above stamp_max. BROKEN stands alone.
    Numbers of two bytes, such as most lengths are, are read in line: it saves a third of the time.
    """
    flaws = 0
    try:
        for delta in range(count):
            size: i64 = content[at]
            at += 1
            if size >= 0x80:
                size += (content[at] << 7) - 0x80
                at += 1
                if size >= 0x4000:
                    size, at = long_varint(content, at, size, 14)
            behind = at + (size >> 1)
            if size & 1 or behind > end:
                return BROKEN
            stamp: int = content[at + 1]
            at += 2
            if stamp >= 0x80:
                stamp += (content[at] << 7) - 0x80
                at += 1
                if stamp >= 0x4000:
                    stamp, at = long_varint(content, at, stamp, 14, LONG_SHIFT_MAX)
            if stamp > stamp_max:
                flaws |= FAR
            number: i64 = content[at]
            at += 1
            if number >= 0x80:
                number += (content[at] << 7) - 0x80
                at += 1
                if number >= 0x4000:
                    number, at = long_varint(content, at, number, 14)
            if number != delta << 1:
                return BROKEN
            number = content[at]
            at += 1
            if number >= 0x80:
                number += (content[at] << 7) - 0x80
                at += 1
                if number >= 0x4000:
                    number, at = long_varint(content, at, number, 14)
            if number == 1:
                flaws |= KEYLESS
            elif number & 1:
                return BROKEN
            else:
                at += number >> 1
            number = content[at]
            at += 1
            if number >= 0x80:
                number += (content[at] << 7) - 0x80
                at += 1
                if number >= 0x4000:
                    number, at = long_varint(content, at, number, 14)
            if number != 1:
                if number & 1:
                    return BROKEN
                at += number >> 1
            if content[at] == 0:
                at += 1
            else:
                at = skip_headers(content, at)
            if at != behind:
                return BROKEN
    except IndexError:
        return BROKEN
    return flaws if at == end else BROKEN


def long_varint(
    content: bytes, at: i64, begun: int, shift: int = 7, shift_max: int = INT_SHIFT_MAX
) -> tuple[int, i64]:
    """The raw (zigzag) value of a varint whose first shift bits have been read; IndexError when it is too long."""
    value = begun & ((1 << shift) - 1)
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > STAMP_MAX:
                raise IndexError
            return value, at
        shift += 7
        if shift > shift_max:
            raise IndexError


def skip_headers(content: bytes, at: i64) -> i64:
    """Where a record's headers end; IndexError when they cannot be."""
    count: i64 = content[at]
    at += 1
    if count >= 0x80:
        count, at = long_varint(content, at, count)
    if count & 1:
        raise IndexError
    for _nth in range(count >> 1):
        for nullable in (False, True):
            size: i64 = content[at]
            at += 1
            if size >= 0x80:
                size, at = long_varint(content, at, size)
            if size & 1:
                if not nullable or size != 1:
                    raise IndexError
            else:
                at += size >> 1
                if at > len(content):
                    raise IndexError
    return at
