"""What a leader checks of a producer's batch before it gives it offsets. Every kind of damage has Kafka's code.

2 CORRUPT_MESSAGE     a length, magic or checksum that cannot be
87 INVALID_RECORD     counts and deltas that disagree, damaged records of an uncompressed batch, a control batch, no or
                      several batches, a record without key on a compacted topic, an unknown codec (Kafka: -1, a
                      listed difference), compressed bytes that do not open where they are opened
10 MESSAGE_TOO_LARGE  32 INVALID_TIMESTAMP  76 UNSUPPORTED_COMPRESSION_TYPE (zstd before Produce v7)

Records of uncompressed batches are walked, whatever the build; compressed ones are opened only where semantics need it
(compacted topics, barnabas.validate=records): a listed difference.
"""

from typing import Final

from barnabas import errors
from barnabas.config.effective import TopicOptions
from barnabas.records.batch import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    CONTROL,
    HEADER_BYTES,
    MAGIC,
    BatchHeader,
    crc32c,
)
from barnabas.records.compression import ZSTD, CannotDecompress, decompress

CODEC_MAX: Final = 4
ZSTD_SINCE: Final = 7
NO_TIMESTAMP: Final = -1


def validate_produced(
    content: bytes, start: int, size: int, options: TopicOptions, version: int, now_ms: int
) -> BatchHeader | int:
    """The header of the one good batch in content, or an error code."""
    if size < HEADER_BYTES:
        return short_code(content, start, size)
    header = BatchHeader(content, start)
    if header.size != size or header.magic != MAGIC:
        if header.size < HEADER_BYTES or not 0 <= header.magic <= MAGIC:
            return errors.CORRUPT_MESSAGE
        return errors.INVALID_RECORD
    if size > options.max_message_bytes:
        return errors.MESSAGE_TOO_LARGE
    if crc32c(memoryview(content)[start + ATTRIBUTES_AT : start + size]) != header.crc:
        return errors.CORRUPT_MESSAGE
    count = header.record_count
    if count <= 0 or header.last_offset_delta != count - 1:
        return errors.INVALID_RECORD
    attributes = header.attributes
    if attributes & CONTROL:
        return errors.INVALID_RECORD
    codec = attributes & CODEC_MASK
    if codec == 0:
        keyed = walk_records(content, start + HEADER_BYTES, start + size, count)
    else:
        if codec > CODEC_MAX:
            return errors.INVALID_RECORD
        if codec == ZSTD and version < ZSTD_SINCE:
            return errors.UNSUPPORTED_COMPRESSION_TYPE
        keyed = KEYED
        if options.cleanup_compact or options.validate_records:
            keyed = open_and_walk(content, start, size, codec, count)
    if keyed == BROKEN or (keyed == KEYLESS and options.cleanup_compact):
        return errors.INVALID_RECORD
    if not options.timestamp_type_log_append and outside(header, options, now_ms):
        return errors.INVALID_TIMESTAMP
    return header


def short_code(content: bytes, start: int, size: int) -> int:
    """Fewer bytes than a header: nothing at all and a cut header are INVALID_RECORD; magic 0 and 1 too."""
    if size >= 17 and content[start + 16] > MAGIC:
        return errors.CORRUPT_MESSAGE
    return errors.INVALID_RECORD


def outside(header: BatchHeader, options: TopicOptions, now_ms: int) -> bool:
    """The header's two timestamps bound all others closely enough: base is the first record's, max the greatest."""
    if header.max_timestamp == NO_TIMESTAMP:
        return False
    return (
        header.max_timestamp - now_ms > options.timestamp_after_max_ms
        or now_ms - header.base_timestamp > options.timestamp_before_max_ms
    )


BROKEN: Final = 0
KEYED: Final = 1
KEYLESS: Final = 2


def open_and_walk(content: bytes, start: int, size: int, codec: int, count: int) -> int:
    try:
        body = decompress(codec, content[start + HEADER_BYTES : start + size])
    except CannotDecompress:
        return BROKEN
    return walk_records(body, 0, len(body), count)


def walk_records(content: bytes, at: int, end: int, count: int) -> int:
    """BROKEN unless exactly count records with offset deltas 0, 1, … fill at..end; KEYLESS when one has no key."""
    verdict = KEYED
    try:
        for delta in range(count):
            size = content[at]
            at += 1
            if size >= 0x80:
                size, at = long_varint(content, at, size)
            behind = at + (size >> 1)
            if size & 1 or behind > end:
                return BROKEN
            at += 1
            while content[at] >= 0x80:  # timestamp delta, of up to ten bytes
                at += 1
            at += 1
            number = content[at]
            at += 1
            if number >= 0x80:
                number, at = long_varint(content, at, number)
            if number != delta << 1:
                return BROKEN
            number = content[at]
            at += 1
            if number >= 0x80:
                number, at = long_varint(content, at, number)
            if number == 1:
                verdict = KEYLESS
            elif number & 1:
                return BROKEN
            else:
                at += number >> 1
            number = content[at]
            at += 1
            if number >= 0x80:
                number, at = long_varint(content, at, number)
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
    return verdict if at == end else BROKEN


def long_varint(content: bytes, at: int, first: int) -> tuple[int, int]:
    """The raw (zigzag) value of a varint whose first byte has been read."""
    value = first & 0x7F
    shift = 7
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError


def skip_headers(content: bytes, at: int) -> int:
    """Where a record's headers end; IndexError when they cannot be."""
    count = content[at]
    at += 1
    if count >= 0x80:
        count, at = long_varint(content, at, count)
    if count & 1:
        raise IndexError
    for _ in range(count >> 1):
        for nullable in (False, True):
            size = content[at]
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
