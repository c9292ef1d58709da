"""Batches a producer could send, good and bad, each with the code it deserves; Kafka 4.3's own code where it differs.

Every KAFKA code was asked of Apache Kafka 4.3.0 through Produce v12.
"""

from collections.abc import Iterator
from struct import pack_into
from typing import Final

from librt.strings import BytesWriter

from barnabas import errors
from barnabas.records.batch import CODECS, HEADER_BYTES, LENGTH_AT, seal
from barnabas.records.record import Record, build_batch, write_varint

NOW_MS: Final = 1_700_000_000_000

PLAIN: Final = "plain"
COMPACT: Final = "compact"
APPEND_TIME: Final = "append-time"
NARROW_TIME: Final = "narrow-time"
SMALL: Final = "small"
SMALL_BYTES: Final = 1000
TOPICS: Final[dict[str, dict[str, str]]] = {
    SMALL: {"max.message.bytes": str(SMALL_BYTES)},
    PLAIN: {},
    COMPACT: {"cleanup.policy": "compact"},
    APPEND_TIME: {"message.timestamp.type": "LogAppendTime"},
    NARROW_TIME: {"message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "60000"},
}

KAFKA_CODES: Final = {
    "junk behind the batch": 0,
    "key length -2": 0,
    "value length -2": 0,
    "header value length -2": 0,
    "offset delta 1 in the first record": 0,
    "length varint of 6 bytes": -1,
    "key length varint that wraps to 1": 0,
    "header's greatest too new, records are not": 0,
    "log append time flag": 0,
    "epoch -1": 0,
    "codec 5": -1,
    "codec 6": -1,
    "codec 7": -1,
    "gzip flag on plain bytes": -1,
    "zstd flag on plain bytes": -1,
    "count too high, compressed and not opened": 87,
    "gzip flag on plain bytes, not opened": -1,
}
"""Where Kafka answers otherwise: the differences that docs/differences.md explains."""


class Case:
    """One record set for a topic of a kind, our code for it and Apache Kafka's."""

    def __init__(self, name: str, topic: str, content: bytes, code: int, version: int = 12) -> None:
        self.name = name
        self.topic = topic
        self.content = content
        self.code = code
        self.kafka = KAFKA_CODES.get(name, code)
        self.version = version

    def __repr__(self) -> str:
        return f"{self.topic}: {self.name}"


def varint(value: int) -> bytes:
    out = BytesWriter()
    write_varint(out, value)
    return out.getvalue()


def good(
    now_ms: int, codec: str = "none", count: int = 3, key: bytes | None = b"k", **batch: object
) -> bytes:
    records = [Record(key, b"value %d" % n, now_ms + n, (("h", b"x"),)) for n in range(count)]
    return build_batch(records, codec=codec, **batch)  # type: ignore[arg-type]


def field(batch: bytes, at: int, layout: str, value: int, *, sealed: bool = True) -> bytes:
    """The batch with one number changed, and the checksum made good unless sealed is false."""
    out = bytearray(batch)
    pack_into(layout, out, at, value)
    if sealed:
        seal(out)
    return bytes(out)


def with_body(batch: bytes, body: bytes, count: int | None = None) -> bytes:
    """The batch with other bytes in place of its records."""
    out = bytearray(batch[:HEADER_BYTES] + body)
    pack_into(">i", out, LENGTH_AT, len(out) - 12)
    if count is not None:
        pack_into(">i", out, 57, count)
        pack_into(">i", out, 23, count - 1)
    seal(out)
    return bytes(out)


def one_record(rest: bytes, size: int | None = None) -> bytes:
    """A record of these bytes behind its length."""
    return varint(len(rest) if size is None else size) + rest


def body_cases(now_ms: int) -> Iterator[tuple[str, bytes]]:
    """Single records that are broken inside."""
    batch = good(now_ms, count=1)

    def of(*parts: bytes, size: int | None = None) -> bytes:
        return with_body(batch, one_record(b"".join(parts), size), 1)

    head, zero, null = b"\x00\x00\x00", b"\x00", varint(-1)
    key = varint(1) + b"k"
    yield "record length too large", of(head, key, key, zero, size=50)
    yield "record length too small", of(head, key, key, zero, size=4)
    yield "record length negative", of(head, key, key, zero, size=-5)
    yield "key length too large", of(head, varint(50), b"k", key, zero)
    yield "key length -2", of(head, varint(-2), key, zero)
    yield "value length too large", of(head, key, varint(50), b"v", zero)
    yield "value length -2", of(head, key, varint(-2), zero)
    yield "offset delta 1 in the first record", of(b"\x00\x00\x02", key, key, zero)
    yield "header count negative", of(head, key, key, varint(-1))
    yield "header count too large", of(head, key, key, varint(3))
    yield "header without a name", of(head, key, key, varint(1), null, key)
    yield "header value runs out", of(head, key, key, varint(1), key, varint(9), b"v")
    yield "header value length -2", of(head, key, key, varint(1), key, varint(-2))
    yield "bytes behind the headers", of(head, key, key, zero, b"junk")
    yield "timestamp varint of 11 bytes", of(b"\x00", b"\x80" * 10 + b"\x00", b"\x00", key, key, zero)
    yield "offset varint of 6 bytes", of(b"\x00\x00", b"\x80" * 5 + b"\x00", key, key, zero)
    yield "key length varint of 6 bytes", of(head, b"\x82\x80\x80\x80\x80\x00", b"k", key, zero)
    yield (
        "length varint of 6 bytes",
        with_body(batch, b"\x8e\x80\x80\x80\x80\x00" + head + key + null + zero, 1),
    )
    yield "key length varint that wraps to 1", of(head, b"\x82\x80\x80\x80\x70", b"k", key, zero)


def count_cases(now_ms: int) -> Iterator[tuple[str, bytes]]:
    batch = good(now_ms)
    yield "record count too high", field(batch, 57, ">i", 4)
    yield "record count too low", field(batch, 57, ">i", 2)
    yield "record count and delta too high", field(field(batch, 57, ">i", 4), 23, ">i", 3)
    yield "record count and delta too low", field(field(batch, 57, ">i", 2), 23, ">i", 1)
    yield "record count negative", field(batch, 57, ">i", -1)
    yield "record count 0", field(batch, 57, ">i", 0)
    yield "last offset delta too high", field(batch, 23, ">i", 3)
    yield "last offset delta negative", field(batch, 23, ">i", -1)
    yield "no records at all", with_body(batch, b"", 0)
    yield "control batch", field(batch, 21, ">h", 0x20)
    yield "two batches", batch + batch
    yield "cut in the records", batch[:-5]
    yield "cut in the header", batch[:40]
    yield "cut in the length", batch[:10]
    yield "empty", b""
    yield "length too large", field(batch, LENGTH_AT, ">i", len(batch) - 12 + 7)
    yield "magic 1", field(batch, 16, ">b", 1)
    yield "magic 0", field(batch, 16, ">b", 0)
    yield "junk behind the batch", batch + b"junk"


def corrupt_cases(now_ms: int) -> Iterator[tuple[str, bytes]]:
    batch = good(now_ms)
    yield "checksum wrong", field(batch, 17, ">I", 12345, sealed=False)
    yield "value flipped", batch[:-8] + bytes([batch[-8] ^ 1]) + batch[-7:]
    yield "length 0", field(batch, LENGTH_AT, ">i", 0)
    yield "length negative", field(batch, LENGTH_AT, ">i", -5)
    yield "length 48", field(batch, LENGTH_AT, ">i", 48)
    yield "magic 3", field(batch, 16, ">b", 3)
    yield "magic -1", field(batch, 16, ">b", -1)
    yield "magic 3 and length too large", field(field(batch, 16, ">b", 3), LENGTH_AT, ">i", 5000)
    yield "short, length negative", field(batch, LENGTH_AT, ">i", -5, sealed=False)[:40]
    yield "short, length 0", field(batch, LENGTH_AT, ">i", 0, sealed=False)[:40]
    yield "short, magic 3", field(batch, 16, ">b", 3, sealed=False)[:40]


def good_cases(now_ms: int) -> Iterator[tuple[str, str, bytes]]:
    for codec in CODECS:
        yield f"good {codec}", PLAIN, good(now_ms, codec)
        yield f"good {codec}", COMPACT, good(now_ms, codec)
    yield "no keys", PLAIN, good(now_ms, key=None)
    yield "old timestamps", PLAIN, good(1000)
    yield "attribute bit 7", PLAIN, field(good(now_ms), 21, ">h", 0x80)
    yield (
        "record attributes set",
        PLAIN,
        with_body(good(now_ms, count=1), one_record(b"\x07\x00\x00\x01\x01\x00"), 1),
    )
    yield "any timestamp", APPEND_TIME, good(1000)
    yield "delete horizon flag", PLAIN, field(good(now_ms), 21, ">h", 0x40)
    yield "a header with a null value", PLAIN, build_batch([Record(b"k", None, now_ms, (("h", None),))])
    yield "timestamp -1", NARROW_TIME, good_at(-1)


def good_at(timestamp: int) -> bytes:
    return build_batch([Record(b"k", b"v", timestamp)])


def time_cases(now_ms: int) -> Iterator[tuple[str, str, bytes, int]]:
    def batch(first: int, second: int, greatest: int | None = None) -> bytes:
        out = build_batch([Record(b"k", b"v", first), Record(b"k", b"v", second)])
        return out if greatest is None else field(out, 35, ">q", greatest)

    hour, bad = 3_600_000, errors.INVALID_TIMESTAMP
    yield "first too old", NARROW_TIME, batch(now_ms - hour, now_ms), bad
    yield "second too old", NARROW_TIME, batch(now_ms, now_ms - hour), bad
    yield "second too new", NARROW_TIME, batch(now_ms, now_ms + hour), bad
    yield "first too new", NARROW_TIME, batch(now_ms + hour, now_ms), bad
    yield "too new, header says it is not", NARROW_TIME, batch(now_ms, now_ms + hour, greatest=now_ms), bad
    yield "too new, header says -1", NARROW_TIME, batch(now_ms, now_ms + hour, greatest=-1), bad
    yield "too old, header says -1", NARROW_TIME, batch(now_ms - hour, now_ms, greatest=-1), bad
    yield (
        "header's greatest too new, records are not",
        NARROW_TIME,
        batch(now_ms, now_ms, greatest=now_ms + hour),
        bad,
    )
    yield "second -1", NARROW_TIME, batch(now_ms, -1), 0
    yield "first -1", NARROW_TIME, batch(-1, now_ms), 0
    yield "first -1, second too new", NARROW_TIME, batch(-1, now_ms + hour), bad
    yield "second too old by a little", NARROW_TIME, batch(now_ms - 59_000, now_ms - 61_000), bad
    yield "far apart and inside", NARROW_TIME, batch(now_ms - 50_000, now_ms + 50_000), 0
    yield "far apart and inside, backward", NARROW_TIME, batch(now_ms + 50_000, now_ms - 50_000), 0
    yield "far future", PLAIN, batch(now_ms, now_ms + 48 * hour), bad
    yield "flag of log append time", APPEND_TIME, good(now_ms, log_append_time=True), bad
    yield "log append time flag", PLAIN, good(now_ms, log_append_time=True), bad


def producer_cases(now_ms: int) -> Iterator[tuple[str, str, bytes, int]]:
    refused = errors.INVALID_RECORD
    yield "sequence -1", PLAIN, good(now_ms, producer_id=7001, producer_epoch=0, base_sequence=-1), refused
    yield "epoch -1", PLAIN, good(now_ms, producer_id=7002, producer_epoch=-1, base_sequence=0), refused
    yield "sequence -2", PLAIN, good(now_ms, producer_id=7003, producer_epoch=0, base_sequence=-2), refused
    yield (
        "no producer but a sequence",
        PLAIN,
        good(now_ms, producer_id=-1, producer_epoch=0, base_sequence=5),
        0,
    )
    yield "producer -2", PLAIN, good(now_ms, producer_id=-2, producer_epoch=0, base_sequence=5), 0


def codec_cases(now_ms: int) -> Iterator[tuple[str, str, bytes, int]]:
    plain, refused = good(now_ms), errors.INVALID_RECORD
    for number in (5, 6, 7):
        yield f"codec {number}", PLAIN, field(plain, 21, ">h", number), refused
    yield "gzip flag on plain bytes", COMPACT, field(plain, 21, ">h", 1), refused
    yield "zstd flag on plain bytes", COMPACT, field(plain, 21, ">h", 4), refused
    yield "gzip flag on plain bytes, not opened", PLAIN, field(plain, 21, ">h", 1), 0
    yield "count too high, compressed", COMPACT, more(good(now_ms, "gzip")), refused
    yield "count too high, compressed and not opened", PLAIN, more(good(now_ms, "gzip")), 0
    for codec in CODECS:
        yield f"no key, {codec}", COMPACT, good(now_ms, codec, key=None), refused


def size_cases(now_ms: int) -> Iterator[tuple[str, str, bytes, int]]:
    batch = build_batch([Record(b"k", b"v" * SMALL_BYTES, now_ms)])
    yield "larger than a batch may be", SMALL, batch, errors.MESSAGE_TOO_LARGE
    yield "larger and damaged", SMALL, field(batch, 17, ">I", 1, sealed=False), errors.MESSAGE_TOO_LARGE
    yield "small enough", SMALL, good(now_ms), 0


def more(batch: bytes) -> bytes:
    return field(field(batch, 57, ">i", 4), 23, ">i", 3)


def cases(now_ms: int = NOW_MS) -> list[Case]:
    out = [Case(name, topic, content, 0) for name, topic, content in good_cases(now_ms)]
    for broken in (count_cases, body_cases):
        out += [Case(name, PLAIN, content, errors.INVALID_RECORD) for name, content in broken(now_ms)]
    out += [Case(name, PLAIN, content, errors.CORRUPT_MESSAGE) for name, content in corrupt_cases(now_ms)]
    for kind in (time_cases, producer_cases, codec_cases, size_cases):
        out += [Case(*case) for case in kind(now_ms)]
    out.append(Case("zstd before v7", PLAIN, good(now_ms, "zstd"), errors.UNSUPPORTED_COMPRESSION_TYPE, 6))
    return out


def encode_all(records: list[Record]) -> bytes:
    """The records of a batch as they lie in it."""
    return build_batch(records)[HEADER_BYTES:]
