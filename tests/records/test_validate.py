"""What a leader makes of every kind of batch: the codes of damage.py, and that no flipped bit or cut slips through."""

import pytest
from damage import COMPACT, NOW_MS, PLAIN, TOPICS, Case, cases, encode_all, good
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabas import errors
from barnabas.config.effective import BrokerOptions, TopicOptions, topic_options
from barnabas.log.producer_state import ProducerState
from barnabas.records.batch import (
    CRC_AT,
    HEADER,
    HEADER_BYTES,
    LENGTH_AT,
    MAGIC_AT,
    OVERHEAD_BYTES,
    BatchHeader,
)
from barnabas.records.record import BadRecord, Record, build_batch, records_of
from barnabas.records.validate import BROKEN, FAR, KEYLESS, STAMP_MAX, validate_produced, walk_records

AROUND = b"around"
VERSION = 12


def options_of(topic: str) -> TopicOptions:
    return topic_options(TOPICS[topic], BrokerOptions({}))


def code_of(content: bytes, topic: str = PLAIN, version: int = VERSION) -> int:
    """The code a producer gets, with other bytes around the record set as in a frame."""
    frame = AROUND + content + AROUND
    verdict = validate_produced(frame, len(AROUND), len(content), options_of(topic), version, NOW_MS)
    if isinstance(verdict, int):
        return verdict
    if verdict.producer_id >= 0:
        state = ProducerState().check(verdict)
        return state if isinstance(state, int) else 0
    return 0


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_every_kind_of_batch_gets_its_code(case: Case) -> None:
    assert code_of(case.content, case.topic, case.version) == case.code


def test_a_good_batch_comes_back_as_its_header() -> None:
    batch = good(NOW_MS)
    header = validate_produced(AROUND + batch, len(AROUND), len(batch), options_of(PLAIN), VERSION, NOW_MS)
    assert isinstance(header, BatchHeader)
    assert (header.size, header.record_count, header.last_offset_delta) == (len(batch), 3, 2)


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("topic", [PLAIN, COMPACT])
def test_a_flipped_bit_is_caught_outside_what_the_leader_writes(codec: str, topic: str) -> None:
    batch = good(NOW_MS, codec)
    unchecked = [*range(LENGTH_AT), *range(LENGTH_AT + 4, MAGIC_AT)]
    for bit in range(len(batch) * 8):
        flipped = bytearray(batch)
        flipped[bit // 8] ^= 1 << bit % 8
        code = code_of(bytes(flipped), topic)
        if bit // 8 in unchecked:
            assert code == 0
        else:
            assert code in (errors.CORRUPT_MESSAGE, errors.INVALID_RECORD)
        if bit // 8 >= CRC_AT:
            assert code == errors.CORRUPT_MESSAGE


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_a_cut_at_any_byte_is_caught(codec: str) -> None:
    batch = good(NOW_MS, codec)
    for size in range(len(batch)):
        assert code_of(batch[:size]) == errors.INVALID_RECORD


def test_compressed_batches_are_opened_where_the_topic_asks() -> None:
    broken = next(case for case in cases() if case.name == "count too high, compressed and not opened")
    asks = topic_options({"barnabas.validate": "records"}, BrokerOptions({}))
    assert code_of(broken.content) == 0
    verdict = validate_produced(broken.content, 0, len(broken.content), asks, VERSION, NOW_MS)
    assert verdict == errors.INVALID_RECORD


EXTREMES = st.sampled_from([-(1 << 63), (1 << 63) - 1, -(1 << 31), (1 << 31) - 1, -1, 0, 1])


@given(
    numbers=st.tuples(*[st.integers(-(1 << 63), (1 << 63) - 1) | EXTREMES] * 13),
    before=st.binary(max_size=70),
    behind=st.binary(max_size=3),
)
def test_every_field_is_read_where_its_layout_has_it(
    numbers: tuple[int, ...], before: bytes, behind: bytes
) -> None:
    """Beside the struct that writes batches; the header may lie anywhere in a frame."""
    bits = (64, 32, 32, 8, 32, 16, 32, 64, 64, 64, 16, 32, 32)
    fields = [signed(number, width) for number, width in zip(numbers, bits, strict=True)]
    fields[4] &= 0xFFFFFFFF
    found = BatchHeader(before + HEADER.pack(*fields) + behind, len(before))
    assert [
        found.base_offset,
        found.size - OVERHEAD_BYTES,
        found.leader_epoch,
        found.magic,
        found.crc,
        found.attributes,
        found.last_offset_delta,
        found.base_timestamp,
        found.max_timestamp,
        found.producer_id,
        found.producer_epoch,
        found.base_sequence,
        found.record_count,
    ] == fields


def signed(number: int, width: int) -> int:
    """The lowest bits of a number, as one with a sign."""
    low = number & ((1 << width) - 1)
    return low - (1 << width) if low >> (width - 1) else low


@pytest.mark.parametrize("missing", range(1, HEADER_BYTES + 1))
def test_a_header_that_is_cut_is_an_error(missing: int) -> None:
    with pytest.raises(IndexError):
        BatchHeader(AROUND + good(NOW_MS)[: HEADER_BYTES - missing], len(AROUND))


@pytest.mark.parametrize("before_max_ms", [3_600_000, (1 << 63) - 2, (1 << 63) - 1])
@pytest.mark.parametrize("age_ms", [0, 3_599_000, 3_601_000, 1 << 40])
def test_a_limit_of_age_holds_unless_it_is_none(before_max_ms: int, age_ms: int) -> None:
    limited = topic_options({"message.timestamp.before.max.ms": str(before_max_ms)}, BrokerOptions({}))
    batch = good(NOW_MS - age_ms)
    verdict = validate_produced(batch, 0, len(batch), limited, VERSION, NOW_MS)
    assert isinstance(verdict, BatchHeader) == (age_ms <= before_max_ms)
    if isinstance(verdict, int):
        assert verdict == errors.INVALID_TIMESTAMP


RECORDS = st.lists(
    st.builds(
        Record,
        st.none() | st.binary(max_size=80),
        st.none() | st.binary(max_size=80),
        st.integers(-1, 1 << 45),
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=10,
)


def test_numbers_of_every_width_pass_the_walk() -> None:
    """Lengths, deltas and counts of one to three bytes, and timestamp deltas of one to ten."""
    stamps = [0, *(sign << bits for bits in range(0, 62, 3) for sign in (1, -1)), *range(9000)]
    wide = Record(b"k" * 9000, b"v" * 9000, 0, [("h" * 70, b"x" * 70)] * 70)
    records = [wide, *(Record(b"k" * (stamp % 100 // 98 * 70), b"v", stamp) for stamp in stamps)]
    body = encode_all(records)
    assert walk_records(body, 0, len(body), len(records), STAMP_MAX) == 0
    assert walk_records(body, 0, len(body), len(records) - 1, STAMP_MAX) == BROKEN


@settings(max_examples=80, deadline=None)
@given(records=RECORDS)
def test_whatever_the_builder_makes_passes_the_walk(records: list[Record]) -> None:
    body = encode_all(records)
    keyless = KEYLESS if any(record.key is None for record in records) else 0
    assert walk_records(AROUND + body, len(AROUND), len(AROUND + body), len(records), STAMP_MAX) == keyless


@settings(max_examples=80, deadline=None)
@given(records=RECORDS, limit=st.integers(0, 1 << 46))
def test_the_walk_finds_a_timestamp_that_is_far_from_the_first(records: list[Record], limit: int) -> None:
    body = encode_all(records)
    far = any(abs(record.timestamp - records[0].timestamp) > limit for record in records)
    flaws = walk_records(body, 0, len(body), len(records), limit << 1)
    assert bool(flaws & FAR) == far


@settings(max_examples=150, deadline=None)
@given(records=RECORDS, damage=st.data())
def test_the_walk_and_the_reader_agree_on_what_is_broken(
    records: list[Record], damage: st.DataObject
) -> None:
    """Two readers of one format, written apart: what passes the walk opens, and what opens in order passes it."""
    batch = bytearray(build_batch(records))
    at = damage.draw(st.integers(61, len(batch) - 1))
    batch[at] = damage.draw(st.integers(0, 255))
    flaws = walk_records(bytes(batch), 61, len(batch), len(records), STAMP_MAX)
    try:
        offsets = [record.offset for record in records_of(bytes(batch), BatchHeader(bytes(batch), 0), 0)]
    except BadRecord:
        assert flaws == BROKEN
    else:
        assert (flaws == BROKEN) == (offsets != list(range(len(records))))


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=120), count=st.integers(1, 5))
def test_the_walk_ends_on_any_bytes(body: bytes, count: int) -> None:
    flaws = walk_records(body, 0, len(body), count, 0)
    assert flaws == BROKEN or not flaws & BROKEN
    assert walk_records(body, 0, len(body), len(body) + 1, 0) == BROKEN
