"""A producer's batch in the codec that its topic asks for (`compression.type`), as Kafka makes it.

R1  One batch becomes one batch with the same records: offsets, timestamps, producer, sequence and flags stay.
R2  A batch that is of the codec already stays as it came, whatever level its producer took.
R3  Records are opened, and so checked as those of a batch that was sent plain: what does not open is INVALID_RECORD.
R4  max.message.bytes holds before and after. The max timestamp is that of the records, for a new checksum is made anyway.
Nothing here knows a partition: it runs in a thread, on bytes.
"""

from barnabas import errors
from barnabas.config.effective import AS_SENT, TopicOptions
from barnabas.records.batch import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    HEADER,
    HEADER_BYTES,
    OVERHEAD_BYTES,
    BatchHeader,
    seal,
)
from barnabas.records.compression import NONE, CannotDecompress, compress, decompress
from barnabas.records.validate import max_timestamp, open_records, validate_produced


def named_codec(content: bytes, start: int, size: int) -> int:
    """The codec that the header of a batch names, before anything of it has been checked; NONE of what has no header."""
    return content[start + ATTRIBUTES_AT + 1] & CODEC_MASK if size >= HEADER_BYTES else NONE


def opens_within(content: bytes, start: int, size: int, limit: int) -> bool:
    """Whether the records of an unchecked batch take at most limit bytes when they are opened."""
    codec = named_codec(content, start, size)
    if codec == NONE:
        return size <= limit
    try:
        decompress(codec, memoryview(content)[start + HEADER_BYTES : start + size], limit)
    except CannotDecompress:
        return False
    return True


def recompressed(
    content: bytes, start: int, size: int, options: TopicOptions, version: int, now_ms: int
) -> bytes | int:
    """The one batch in content as the topic keeps it, or the error code of what is wrong with it."""
    header = validate_produced(content, start, size, options, version, now_ms)
    if isinstance(header, int):
        return header
    codec = options.compression_codec
    if codec in (AS_SENT, header.codec):
        return content[start : start + size]
    records = _records(content, start, header, options, now_ms)
    if isinstance(records, int):
        return records
    packed = compress(codec, records, options.compression_level)
    if HEADER_BYTES + len(packed) > options.max_message_bytes:
        return errors.MESSAGE_TOO_LARGE
    return _batch(header, codec, packed, max_timestamp(header, records))


def _records(
    content: bytes, start: int, header: BatchHeader, options: TopicOptions, now_ms: int
) -> bytes | int:
    """Those that were sent plain have been walked already."""
    if header.codec == NONE:
        return content[start + HEADER_BYTES : start + header.size]
    return open_records(content, start, header, options, now_ms)


def _batch(header: BatchHeader, codec: int, packed: bytes, newest: int) -> bytes:
    head = HEADER.pack(
        header.base_offset,
        HEADER_BYTES + len(packed) - OVERHEAD_BYTES,
        header.leader_epoch,
        header.magic,
        0,
        (header.attributes & ~CODEC_MASK) | codec,
        header.last_offset_delta,
        header.base_timestamp,
        newest,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.record_count,
    )
    batch = bytearray(head + packed)
    seal(batch)
    return bytes(batch)
