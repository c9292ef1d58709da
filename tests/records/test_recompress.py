"""A batch in another codec has the same records (records/recompress.py)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas import errors
from barnabas.config.effective import BrokerOptions, TopicOptions, topic_options
from barnabas.records.batch import BatchHeader, check_crc, read_header
from barnabas.records.recompress import opens_within, recompressed
from barnabas.records.record import Record, batches, build_batch, records_of

NOW_MS = 1_700_000_000_000
TARGETS = ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")
BYTES = st.one_of(st.none(), st.binary(max_size=60), st.just(b"long" * 5_000))
RECORDS = st.lists(
    st.builds(
        Record,
        BYTES,
        BYTES,
        st.integers(NOW_MS - 10_000, NOW_MS),
        st.lists(st.tuples(st.text(max_size=3), BYTES), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


def options(target: str, **more: str) -> TopicOptions:
    named = {name.replace("_", "."): value for name, value in more.items()}
    return topic_options({"compression.type": target, **named}, BrokerOptions({}))


def recode(batch: bytes, target: str, **more: str) -> bytes | int:
    framed = b"before" + batch + b"behind"
    return recompressed(framed, 6, len(batch), options(target, **more), 12, NOW_MS)


def told(header: BatchHeader) -> list[Any]:
    """What must stay as it was, whatever the codec."""
    return [
        getattr(header, name)
        for name in ("last_offset_delta", "base_timestamp", "max_timestamp", "record_count", "base_sequence")
    ] + [header.producer_id, header.producer_epoch, header.attributes & ~7]


@given(RECORDS, st.integers(0, 4), st.sampled_from(TARGETS))
def test_the_records_stay_and_the_codec_is_the_topics(records: list[Record], codec: int, target: str) -> None:
    batch = build_batch(records, codec=codec, producer_id=7, producer_epoch=1, base_sequence=5)
    made = recode(batch, target)
    assert isinstance(made, bytes)
    ((header, at),) = batches(made)
    before = read_header(batch, 0)
    assert (at, header.size) == (0, len(made)) and check_crc(made, 0, len(made), header.crc)
    assert header.codec == (codec if target == "producer" else TARGETS.index(target) - 1)
    assert told(header) == told(before)
    assert list(records_of(made, header, 0)) == list(records_of(batch, before, 0))
    assert recode(made, target) == made


@pytest.mark.parametrize(
    ("target", "low", "high"), [("gzip", "1", "9"), ("lz4", "1", "12"), ("zstd", "1", "19")]
)
def test_a_higher_level_makes_less(target: str, low: str, high: str) -> None:
    text = b" ".join(b"%d %d" % (number, number * 7919 % 1009) for number in range(4_000))
    sizes = []
    for level in (low, high):
        made = recode(
            build_batch([Record(None, text, NOW_MS)]), target, **{f"compression_{target}_level": level}
        )
        assert isinstance(made, bytes)
        sizes.append(len(made))
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("level", ["-131072", "-5", "22"])
def test_every_level_that_zstd_may_have_is_taken(level: str) -> None:
    batch = build_batch([Record(None, b"value " * 100, NOW_MS)])
    made = recode(batch, "zstd", compression_zstd_level=level)
    assert isinstance(made, bytes)
    assert list(records_of(made, read_header(made, 0), 0)) == list(
        records_of(batch, read_header(batch, 0), 0)
    )


def test_a_timestamp_outside_the_limits_is_found_in_what_was_compressed() -> None:
    """In the middle, where neither base nor max timestamp tells of it."""
    stamps = (NOW_MS, NOW_MS - 100_000, NOW_MS)
    batch = build_batch([Record(None, b"v", stamp) for stamp in stamps], codec=1)
    assert recode(batch, "lz4", message_timestamp_before_max_ms="50000") == errors.INVALID_TIMESTAMP
    by_broker = {"message_timestamp_before_max_ms": "50000", "message_timestamp_type": "LogAppendTime"}
    assert isinstance(recode(batch, "lz4", **by_broker), bytes)


@pytest.mark.parametrize("codec", range(5))
def test_how_much_a_batch_opens_to_is_known_before_it_is_opened(codec: int) -> None:
    small = build_batch([Record(None, b"x" * 1_000, NOW_MS)], codec=codec)
    large = build_batch([Record(None, b"x" * 100_000, NOW_MS)], codec=codec)
    assert opens_within(small, 0, len(small), 4096)
    assert not opens_within(large, 0, len(large), 4096)
    assert opens_within(b"short", 0, 5, 4096), "and is refused there"
