"""Damaged batches through Produce v12: each kind has its code, and nothing of it reaches the log."""

import struct
from collections.abc import Callable
from typing import Final

import pytest
from covers import covers
from rawclient import RawClient, batch_of, produce_request

import barnabas
from barnabas.records.batch import crc32c
from barnabas.wire.messages import init_producer_id, list_offsets, produce

CORRUPT: Final = 2
INVALID: Final = 87
SIZE_AT, MAGIC_AT, CRC_AT, ATTRIBUTES_AT, DELTA_AT, COUNT_AT, RECORDS_AT = 8, 16, 17, 21, 23, 57, 61
GOOD: Final = batch_of([b"first value", b"second value"])


def sealed(batch: bytearray) -> bytes:
    """With a checksum that fits, so that only the damage meant is found."""
    batch[CRC_AT:ATTRIBUTES_AT] = struct.pack(">I", crc32c(memoryview(batch)[ATTRIBUTES_AT:]))
    return bytes(batch)


def put(at: int, layout: str, value: int, *, seal: bool = True) -> Callable[[], bytes]:
    def made() -> bytes:
        batch = bytearray(GOOD)
        struct.pack_into(layout, batch, at, value)
        return sealed(batch) if seal else bytes(batch)

    return made


def flipped(at: int) -> Callable[[], bytes]:
    def made() -> bytes:
        batch = bytearray(GOOD)
        batch[at] ^= 0x01
        return bytes(batch)

    return made


def sized(body: bytes, count: int = 1) -> bytes:
    """A header with a fitting length and count in front of any records."""
    batch = bytearray(GOOD[:RECORDS_AT]) + body
    struct.pack_into(">i", batch, SIZE_AT, len(batch) - 12)
    struct.pack_into(">i", batch, DELTA_AT, count - 1)
    struct.pack_into(">i", batch, COUNT_AT, count)
    return sealed(batch)


DAMAGE: Final[dict[str, tuple[int, Callable[[], bytes]]]] = {
    "bad checksum": (CORRUPT, flipped(CRC_AT)),
    "flipped value byte": (CORRUPT, flipped(len(GOOD) - 3)),
    "negative length": (CORRUPT, put(SIZE_AT, ">i", -1)),
    "length zero": (CORRUPT, put(SIZE_AT, ">i", 0)),
    "magic 3": (CORRUPT, put(MAGIC_AT, "b", 3)),
    "garbage": (CORRUPT, lambda: bytes(range(1, 200)) * 2),
    "cut short": (INVALID, lambda: GOOD[:-5]),
    "cut in the header": (INVALID, lambda: GOOD[:30]),
    "cut before the magic": (INVALID, lambda: GOOD[:10]),
    "length too large": (INVALID, put(SIZE_AT, ">i", len(GOOD))),
    "count too high": (INVALID, put(COUNT_AT, ">i", 3)),
    "count too low": (INVALID, put(COUNT_AT, ">i", 1)),
    "count negative": (INVALID, put(COUNT_AT, ">i", -1)),
    "count huge": (INVALID, put(COUNT_AT, ">i", 2**31 - 1)),
    "wrong last offset delta": (INVALID, put(DELTA_AT, ">i", 5)),
    "control batch": (INVALID, put(ATTRIBUTES_AT, ">h", 0x20)),
    "magic 1": (INVALID, put(MAGIC_AT, "b", 1)),
    "magic 0": (INVALID, put(MAGIC_AT, "b", 0)),
    "two batches": (INVALID, lambda: GOOD + GOOD),
    "no records": (INVALID, lambda: sized(b"", 0)),
    "empty": (INVALID, lambda: b""),
    "unknown codec": (INVALID, put(ATTRIBUTES_AT, ">h", 7)),
    "record length too long": (INVALID, lambda: sized(b"\x7e\0\0\0\x01\x02v\0")),
    "record length too short": (INVALID, lambda: sized(b"\x02\0\0\0\x01\x02v\0")),
    "record length negative": (INVALID, lambda: sized(b"\x01\0\0\0\x01\x02v\0")),
    "key longer than its record": (INVALID, lambda: sized(b"\x0e\0\0\0\x7e\x02v\0")),
    "key length below null": (INVALID, lambda: sized(b"\x0e\0\0\0\x03\x02v\0")),
    "value longer than its record": (INVALID, lambda: sized(b"\x0e\0\0\0\x01\x7ev\0")),
    "header count negative": (INVALID, lambda: sized(b"\x0e\0\0\0\x01\x02v\x01")),
    "header count huge": (INVALID, lambda: sized(b"\x0e\0\0\0\x01\x02v\x7e")),
    "bytes behind the last record": (INVALID, lambda: sized(b"\x0e\0\0\0\x01\x02v\0surplus")),
    "varint without end": (INVALID, lambda: sized(b"\xff" * 40)),
    "transactional without a transactional id": (53, put(ATTRIBUTES_AT, ">h", 0x10)),
}


@pytest.fixture
def topic(broker: barnabas.Broker, request: pytest.FixtureRequest) -> str:
    name = f"damaged-{abs(hash(request.node.nodeid))}"
    broker.create_topic(name)
    return name


def end_offset(client: RawClient, topic: str) -> int:
    ask = list_offsets.ListOffsetsRequest(
        topics=[
            list_offsets.ListOffsetsTopic(
                name=topic, partitions=[list_offsets.ListOffsetsPartition(timestamp=-1)]
            )
        ]
    )
    offset: int = client.call(list_offsets, ask, 5).topics[0].partitions[0].offset
    return offset


CLAIMS: Final = {
    "bad checksum": covers("Produce", "CORRUPT_MESSAGE"),
    "control batch": covers("Produce", "INVALID_RECORD"),
    "transactional without a transactional id": covers("Produce", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=CLAIMS.get(kind, ())) for kind in DAMAGE])
def test_damage_has_its_code_and_leaves_the_log_clean(client: RawClient, topic: str, kind: str) -> None:
    code, made = DAMAGE[kind]
    assert client.produce(topic, made()).error_code == code
    assert end_offset(client, topic) == 0
    after = client.produce(topic, GOOD)
    assert (after.error_code, after.base_offset) == (0, 0)


@covers("Produce", "topic_data.partition_data.records=null", "INVALID_RECORD")
def test_null_records_are_invalid(client: RawClient, topic: str) -> None:
    """Apache Kafka never answers this one; a listed difference."""
    assert client.produce(topic, None).error_code == INVALID


def test_plain_bytes_under_a_codec_flag_are_refused_where_records_are_opened(
    client: RawClient, broker: barnabas.Broker
) -> None:
    client.create_topic("opened", cleanup_policy="compact")
    for codec in (1, 2, 3, 4):
        batch = bytearray(GOOD)
        struct.pack_into(">h", batch, ATTRIBUTES_AT, codec)
        assert client.produce("opened", sealed(batch)).error_code == INVALID


def test_a_compacted_topic_wants_keys(client: RawClient) -> None:
    client.create_topic("keyed", cleanup_policy="compact")
    assert client.produce("keyed", GOOD).error_code == INVALID


@covers("Produce", "MESSAGE_TOO_LARGE", "responses.partition_responses.error_message")
def test_a_batch_above_the_topics_limit_is_too_large(client: RawClient) -> None:
    client.create_topic("small", max_message_bytes="1000")
    assert client.produce("small", batch_of([b"x" * 2000])).error_code == 10
    assert client.produce("small", batch_of([b"x" * 500])).error_code == 0


@covers("Produce", "INVALID_TIMESTAMP")
def test_a_timestamp_far_ahead_is_invalid(client: RawClient) -> None:
    client.create_topic("timely", message_timestamp_after_max_ms="3600000")
    assert client.produce("timely", batch_of([b"v"], timestamp=2**62)).error_code == 32


@covers("Produce", "UNSUPPORTED_COMPRESSION_TYPE")
def test_zstd_before_version_7_is_unsupported(client: RawClient, topic: str) -> None:
    batch = batch_of([b"v"], codec="zstd")
    assert client.produce(topic, batch, version=6).error_code == 76
    assert client.produce(topic, batch, version=7).error_code == 0


@covers("Produce", "acks", "INVALID_REQUIRED_ACKS", "responses.partition_responses.error_code")
@pytest.mark.parametrize("acks", [2, -2, 127, -32_768])
def test_acks_that_do_not_exist(client: RawClient, topic: str, acks: int) -> None:
    assert client.produce(topic, GOOD, acks=acks).error_code == 21
    assert end_offset(client, topic) == 0


def test_a_partition_named_twice_is_invalid_for_both(client: RawClient, topic: str) -> None:
    ask = produce_request(topic, GOOD)
    ask.topic_data[0].partition_data *= 2
    answers = client.call(produce, ask, 12).responses[0].partition_responses
    assert {answer.error_code for answer in answers} == {INVALID}
    ask = produce_request(topic, GOOD)
    ask.topic_data *= 2
    topics = client.call(produce, ask, 12).responses
    assert {answer.error_code for each in topics for answer in each.partition_responses} == {INVALID}
    assert end_offset(client, topic) == 0


def test_one_bad_partition_does_not_hurt_its_neighbour(client: RawClient) -> None:
    client.create_topic("neighbours", partitions=2)
    ask = produce_request("neighbours", GOOD[:-1] + b"?")
    ask.topic_data[0].partition_data += (
        produce_request("neighbours", GOOD, partition=1).topic_data[0].partition_data
    )
    bad, good = client.call(produce, ask, 12).responses[0].partition_responses
    assert (bad.error_code, good.error_code, good.base_offset) == (CORRUPT, 0, 0)


@covers(
    "Produce",
    "topic_data.partition_data.index",
    "responses.partition_responses.index",
    "UNKNOWN_TOPIC_OR_PARTITION",
)
def test_unknown_topics_and_partitions(client: RawClient, topic: str) -> None:
    assert client.produce(topic, GOOD, partition=7).error_code == 3
    assert client.produce(topic, GOOD, partition=-1).error_code == 3
    assert client.produce("nowhere", GOOD).error_code == 3


class Sequenced:
    """An idempotent producer by hand."""

    def __init__(self, client: RawClient, topic: str) -> None:
        self.client = client
        self.topic = topic
        ask = init_producer_id.InitProducerIdRequest(transactional_id=None, producer_id=-1, producer_epoch=-1)
        answer = client.call(init_producer_id, ask, 4)
        assert answer.error_code == 0
        self.id: int = answer.producer_id
        self.epoch: int = answer.producer_epoch

    def send(self, sequence: int, epoch: int | None = None, count: int = 1) -> tuple[int, int]:
        batch = batch_of(
            [b"value"] * count,
            producer_id=self.id,
            producer_epoch=self.epoch if epoch is None else epoch,
            base_sequence=sequence,
        )
        answer = self.client.produce(self.topic, batch)
        return answer.error_code, answer.base_offset


def test_retries_of_the_last_five_batches_get_their_offsets(client: RawClient, topic: str) -> None:
    producer = Sequenced(client, topic)
    for sequence in range(7):
        assert producer.send(sequence) == (0, sequence)
    for sequence in range(2, 7):
        assert producer.send(sequence) == (0, sequence)
    assert end_offset(client, topic) == 7


@covers("Produce", "OUT_OF_ORDER_SEQUENCE_NUMBER")
def test_older_and_later_sequences_are_out_of_order(client: RawClient, topic: str) -> None:
    producer = Sequenced(client, topic)
    for sequence in range(7):
        producer.send(sequence)
    assert producer.send(1)[0] == 45
    assert producer.send(8)[0] == 45
    assert producer.send(5, count=2)[0] == 45
    assert producer.send(7) == (0, 7)


@covers("Produce", "INVALID_PRODUCER_EPOCH")
def test_epochs(client: RawClient, topic: str) -> None:
    producer = Sequenced(client, topic)
    assert producer.send(0, epoch=3) == (0, 0)
    assert producer.send(1, epoch=2)[0] == 47
    assert producer.send(1, epoch=4)[0] == 45
    assert producer.send(0, epoch=4) == (0, 1)
    assert producer.send(1, epoch=3)[0] == 47


def test_a_sequence_wraps_to_zero(client: RawClient, topic: str) -> None:
    producer = Sequenced(client, topic)
    assert producer.send(2**31 - 2, count=2)[0] == 0
    assert producer.send(0) == (0, 2)


def test_a_batch_may_wrap_inside(client: RawClient, topic: str) -> None:
    producer = Sequenced(client, topic)
    assert producer.send(2**31 - 1, count=3)[0] == 0
    assert producer.send(2) == (0, 3)


def test_a_retry_in_the_same_burst_is_one_batch(client: RawClient, topic: str) -> None:
    """The first is appended and perhaps not yet committed when its retry comes."""
    producer = Sequenced(client, topic)
    batch = batch_of([b"v"], producer_id=producer.id, producer_epoch=producer.epoch, base_sequence=0)
    for _ in range(4):
        client.post(produce, produce_request(topic, batch), 12)
    for _ in range(4):
        frame = client.read_frame()
        assert frame is not None
        answer = produce.decode_response(frame, 5, 12).responses[0].partition_responses[0]
        assert (answer.error_code, answer.base_offset) == (0, 0)
    assert end_offset(client, topic) == 1
