"""Batches that go to topics with a codec of their own, and what is told and kept of them: asked of us and of Apache Kafka.

Nothing is compared byte for byte: what a codec makes of the records is its library's affair.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from rawclient import RawClient
from reading import fetch_one

from barnabas.records.batch import (
    ATTRIBUTES_AT,
    CODECS,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAX_TIMESTAMP_AT,
    check_crc,
    seal,
)
from barnabas.records.record import Record, batches, build_batch, records_of

TARGETS: Final = ("producer", "uncompressed", *CODECS[1:])
FIRST_MS: Final = 1_700_000_000_000
RECORDS: Final = [
    Record(b"k0", b"value 0", FIRST_MS + 3, (("h", b"x"), ("none", None))),
    Record(None, b"v" * 3000, FIRST_MS, ()),
    Record(b"k2", None, FIRST_MS + 7, ()),
]
LARGE: Final = [Record(b"k", bytes([number % 251]) * 1500, FIRST_MS + number) for number in range(40)]


class Told(NamedTuple):
    """The answer to a Produce, without what only a clock knows."""

    code: int
    base_offset: int
    has_append_time: bool


class Kept(NamedTuple):
    """A batch as it is read back."""

    codec: str
    base_offset: int
    last_offset_delta: int
    first_ms: int
    max_ms: int
    attributes: int
    producer: tuple[int, int, int]
    count: int
    values: list[tuple[bytes | None, bytes | None, int, tuple[Any, ...], int]]


def send(client: RawClient, topic: str, batch: bytes) -> Told:
    answer = client.produce(topic, batch)
    return Told(answer.error_code, answer.base_offset, answer.log_append_time_ms > 0)


def kept(client: RawClient, topic: str) -> Iterator[Kept]:
    """Under LogAppendTime the broker's own times count as 1."""
    part = fetch_one(client, topic)
    content = part.records.content[part.records.start : part.records.start + part.records.size]
    for header, at in batches(content):
        assert check_crc(content, at, header.size, header.crc)
        by_broker = header.attributes & LOG_APPEND_TIME
        yield Kept(
            CODECS[header.codec],
            header.base_offset,
            header.last_offset_delta,
            header.base_timestamp,
            1 if by_broker else header.max_timestamp,
            header.attributes,
            (header.producer_id, header.producer_epoch, header.base_sequence),
            header.record_count,
            [
                (each.key, each.value, 1 if by_broker else each.timestamp, each.headers, each.offset)
                for each in records_of(content, header, at)
            ],
        )


def every_codec_to_every_other(client: RawClient, prefix: str) -> Iterator[tuple[str, object]]:
    for target in TARGETS:
        topic = f"{prefix}-to-{target}"
        client.create_topic(topic, compression_type=target)
        for records in (RECORDS, LARGE):
            for codec in range(len(CODECS)):
                yield f"{CODECS[codec]} to {target}", send(client, topic, build_batch(records, codec=codec))
        yield f"kept as {target}", list(kept(client, topic))


def sequences(client: RawClient, prefix: str) -> Iterator[tuple[str, object]]:
    topic = f"{prefix}-sequences"
    client.create_topic(topic, compression_type="zstd")

    def numbered(sequence: int, epoch: int = 0, codec: int = 1) -> bytes:
        return build_batch(
            LARGE, codec=codec, producer_id=4_000, producer_epoch=epoch, base_sequence=sequence
        )

    for name, batch in (
        ("first", numbered(0)),
        ("next, of the codec already", numbered(40, codec=4)),
        ("retry of the first", numbered(0)),
        ("a gap", numbered(200)),
        ("next", numbered(80, codec=0)),
        ("new epoch", numbered(0, epoch=1)),
        ("old epoch", numbered(120)),
    ):
        yield name, send(client, topic, batch)
    yield "kept", list(kept(client, topic))


def append_time(client: RawClient, prefix: str) -> Iterator[tuple[str, object]]:
    topic = f"{prefix}-append-time"
    client.create_topic(topic, compression_type="gzip", message_timestamp_type="LogAppendTime")
    for codec in range(len(CODECS)):
        yield CODECS[codec], send(client, topic, build_batch(RECORDS, codec=codec))
    yield "kept", list(kept(client, topic))


def sizes(client: RawClient, prefix: str) -> Iterator[tuple[str, object]]:
    """max.message.bytes holds of what is sent and of what is kept."""
    plain, packed = build_batch(LARGE), build_batch(LARGE, codec=1)
    assert len(packed) < 10_000 < len(plain)
    for target in ("uncompressed", "lz4"):
        topic = f"{prefix}-sizes-{target}"
        client.create_topic(topic, compression_type=target, max_message_bytes="10000")
        yield f"large as sent, to {target}", send(client, topic, plain)
        yield f"small as sent, to {target}", send(client, topic, packed)
        yield f"small, to {target}", send(client, topic, build_batch(RECORDS, codec=1))
        yield f"kept as {target}", [each.base_offset for each in kept(client, topic)]


def compacted(client: RawClient, prefix: str) -> Iterator[tuple[str, object]]:
    topic = f"{prefix}-compacted"
    client.create_topic(topic, compression_type="snappy", cleanup_policy="compact")
    yield "a record without a key", send(client, topic, build_batch(RECORDS, codec=1))
    yield "keys", send(client, topic, build_batch(LARGE, codec=1))
    yield "kept", [(each.codec, each.base_offset) for each in kept(client, topic)]


def a_wrong_max_timestamp(client: RawClient, prefix: str) -> Iterator[tuple[str, object]]:
    topic = f"{prefix}-max-timestamp"
    client.create_topic(topic, compression_type="gzip")
    batch = bytearray(build_batch(RECORDS))
    batch[MAX_TIMESTAMP_AT : MAX_TIMESTAMP_AT + 8] = (FIRST_MS - 50).to_bytes(8, "big")
    seal(batch)
    yield "too low", send(client, topic, bytes(batch))
    yield "kept", [each.max_ms for each in kept(client, topic)]


SCRIPTS: Final[tuple[Callable[[RawClient, str], Iterator[tuple[str, object]]], ...]] = (
    every_codec_to_every_other,
    sequences,
    append_time,
    sizes,
    compacted,
    a_wrong_max_timestamp,
)


def garbage(codec: int, size: int) -> bytes:
    """A good header and checksum over records that do not open."""
    batch = bytearray(build_batch(RECORDS)[:HEADER_BYTES] + bytes(range(256)) * (size // 256))
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[ATTRIBUTES_AT + 1] = codec
    seal(batch)
    return bytes(batch)
