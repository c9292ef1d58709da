"""Which records of a refused batch are named, and that a broken batch has none."""

import pytest

from barnabas.config.effective import BrokerOptions, TopicOptions, topic_options
from barnabas.records.faults import FAULTS_MAX, record_faults
from barnabas.records.record import Record, build_batch

NOW_MS = 1 << 40
HOUR_MS = 3_600_000


def options(**overrides: str) -> TopicOptions:
    named = {name.replace("_", "."): value for name, value in overrides.items()}
    return topic_options(named, BrokerOptions({}))


COMPACTED = options(cleanup_policy="compact")
LIMITED = options(message_timestamp_before_max_ms=str(HOUR_MS), message_timestamp_after_max_ms=str(HOUR_MS))


def places(batch: bytes, of: TopicOptions) -> list[int]:
    padded = b"before" + batch + b"behind"
    return [index for index, _ in record_faults(padded, 6, len(batch), of, NOW_MS)]


def batch(*records: tuple[bytes | None, int], codec: str = "none") -> bytes:
    return build_batch([Record(key, b"v", stamp) for key, stamp in records], codec=codec)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_without_a_key_and_outside_the_limits_are_named(codec: str) -> None:
    keys = batch((b"k", NOW_MS), (None, NOW_MS), (b"", NOW_MS), (None, NOW_MS), codec=codec)
    assert (places(keys, COMPACTED), places(keys, LIMITED)) == ([1, 3], [])
    stamps = batch(
        *[(None, NOW_MS + away) for away in (0, HOUR_MS, HOUR_MS + 1, -HOUR_MS, -HOUR_MS - 1)], codec=codec
    )
    assert places(stamps, LIMITED) == [2, 4]


def test_times_are_free_without_one_and_where_the_broker_sets_them() -> None:
    assert places(batch((b"k", -1), (b"k", -1)), LIMITED) == []
    appended = options(message_timestamp_type="LogAppendTime", message_timestamp_after_max_ms="1")
    assert places(batch((b"k", NOW_MS + HOUR_MS)), appended) == []


@pytest.mark.parametrize("size", [0, 60, 61, 70])
def test_a_batch_cut_short_names_no_record(size: int) -> None:
    assert places(batch((None, NOW_MS), (None, NOW_MS))[:size], COMPACTED) == []


def test_two_batches_and_damaged_records_name_no_record() -> None:
    whole = batch((None, NOW_MS), (None, NOW_MS))
    assert places(whole + whole, COMPACTED) == []
    assert places(whole[:-1] + b"\x01", COMPACTED) == []


def test_so_many_are_named_and_the_records_behind_them_are_not_looked_at() -> None:
    many = batch(*[(None, NOW_MS)] * (FAULTS_MAX + 1), codec="gzip")
    assert places(many, COMPACTED) == list(range(FAULTS_MAX))
