"""Records and whole batches: what is built comes back, and what is broken is said to be."""

from struct import pack_into

import pytest
from damage import NOW_MS, body_cases, field, good, more, varint, with_body
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabas.records.batch import (
    CODECS,
    HEAD_BYTES,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAX_TIMESTAMP_AT,
    check_crc,
    new_head,
    read_header,
    with_log_append_time,
)
from barnabas.records.compression import CannotDecompress
from barnabas.records.record import (
    BadRecord,
    Record,
    all_records,
    batches,
    build_batch,
    read_varint,
    records_of,
)

HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple)
RECORDS = st.lists(
    st.builds(
        Record,
        st.none() | st.binary(max_size=80),
        st.none() | st.binary(max_size=80),
        st.integers(-1, 1 << 62),
        HEADERS,
    ),
    min_size=1,
    max_size=8,
)


def read(batch: bytes) -> list[Record]:
    return list(records_of(batch, read_header(batch, 0), 0))


@settings(max_examples=100, deadline=None)
@given(records=RECORDS, codec=st.sampled_from(CODECS), base_offset=st.integers(0, 1 << 62), data=st.data())
def test_what_is_built_comes_back(
    records: list[Record], codec: str, base_offset: int, data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.integers(1, 1000), min_size=len(records), max_size=len(records)))
    offsets = [base_offset + sum(gaps[:n]) for n in range(len(records))]
    batch = build_batch(records, codec=codec, base_offset=base_offset, offsets=offsets)
    header = read_header(batch, 0)
    assert check_crc(batch, 0, header.size, header.crc)
    assert (header.size, header.record_count) == (len(batch), len(records))
    assert header.next_offset == offsets[-1] + 1
    assert header.max_timestamp == max(record.timestamp for record in records)
    for record, offset in zip(records, offsets, strict=True):
        record.offset = offset
    assert read(batch) == records


@given(value=st.integers(-(1 << 63), (1 << 63) - 1))
def test_varints_come_back(value: int) -> None:
    encoded = varint(value)
    assert read_varint(b"x" + encoded, 1) == (value, len(encoded) + 1)
    if not -(1 << 31) <= value < 1 << 31:
        with pytest.raises(BadRecord):
            read_varint(encoded, 0, 32)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80" * 10 + b"\x00", b"\xff" * 9 + b"\x02"])
def test_varints_without_end_or_too_large_are_refused(content: bytes) -> None:
    with pytest.raises(BadRecord):
        read_varint(content, 0)


@pytest.mark.parametrize(
    ("name", "batch"), list(body_cases(NOW_MS)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_broken_records_are_refused(name: str, batch: bytes) -> None:
    if name == "offset delta 1 in the first record":
        assert read(batch)[0].offset == 1  # a log that was compacted has such
    else:
        with pytest.raises(BadRecord):
            read(batch)


@pytest.mark.parametrize("codec", CODECS)
def test_a_count_that_is_not_the_number_of_records_is_refused(codec: str) -> None:
    batch = good(NOW_MS, codec)
    for wrong in (
        more(batch),
        field(batch, 57, ">i", 2),
        field(batch, 57, ">i", -1),
        field(batch, 57, ">i", 0),
    ):
        with pytest.raises(BadRecord):
            read(wrong)


def test_compressed_bytes_that_do_not_open_are_refused() -> None:
    for codec in range(1, 8):
        with pytest.raises(CannotDecompress):
            read(field(good(NOW_MS), 21, ">h", codec))


def test_a_batch_that_compaction_emptied_keeps_its_offsets() -> None:
    batch = build_batch([], base_offset=40, last_offset_delta=9)
    assert read(batch) == []
    assert read_header(batch, 0).next_offset == 50


def test_batches_leaves_out_a_torn_end() -> None:
    first, second = good(NOW_MS), good(NOW_MS, "gzip", base_offset=3)
    for cut in range(1, len(second) + 1):
        assert [at for _, at in batches(first + second[:-cut])] == [0]
    assert [(header.base_offset, at) for header, at in batches(first + second)] == [(0, 0), (3, len(first))]
    assert list(batches(with_length(first, 48))) == []


def with_length(batch: bytes, length: int) -> bytes:
    out = bytearray(batch)
    pack_into(">i", out, 8, length)
    return bytes(out)


def test_all_records_leaves_out_control_batches() -> None:
    marker = build_batch([Record(b"\0\0\0\1", bytes(6), NOW_MS)], control=True)
    records = list(all_records(good(NOW_MS) + marker + good(NOW_MS, "lz4", base_offset=4)))
    assert [record.offset for record in records] == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize("codec", CODECS)
def test_log_append_time_stamps_every_record_and_the_checksum(codec: str) -> None:
    batch = good(NOW_MS, codec)
    stamped = with_log_append_time(b"around" + batch + b"around", 6, len(batch), NOW_MS + 99)
    header = read_header(stamped, 0)
    assert len(stamped) == len(batch)
    assert check_crc(stamped, 0, header.size, header.crc)
    assert header.attributes & LOG_APPEND_TIME
    assert [record.timestamp for record in read(stamped)] == [NOW_MS + 99] * 3
    assert stamped[MAX_TIMESTAMP_AT + 8 :] == batch[MAX_TIMESTAMP_AT + 8 :]


def test_the_head_is_outside_the_checksum() -> None:
    batch = good(NOW_MS)
    moved = new_head(1 << 40, len(batch), 77, read_header(batch, 0).crc) + batch[HEAD_BYTES:]
    header = read_header(moved, 0)
    assert (header.base_offset, header.leader_epoch, header.size) == (1 << 40, 77, len(batch))
    assert check_crc(moved, 0, header.size, header.crc)
    assert not check_crc(moved[:-1] + b"\xff", 0, header.size, header.crc)


@pytest.mark.parametrize(
    ("first", "count", "last"),
    [(0, 1, 0), (5, 3, 7), ((1 << 31) - 1, 1, (1 << 31) - 1), ((1 << 31) - 1, 3, 1)],
)
def test_sequences_wrap(first: int, count: int, last: int) -> None:
    batch = good(NOW_MS, count=count, producer_id=1, producer_epoch=0, base_sequence=first)
    assert read_header(batch, 0).last_sequence == last


def test_a_body_of_nothing_is_no_record() -> None:
    assert len(with_body(good(NOW_MS), b"", 1)) == HEADER_BYTES
    with pytest.raises(BadRecord):
        read(with_body(good(NOW_MS), b"", 1))
