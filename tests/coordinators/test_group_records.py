"""Facts are byte for byte what Apache Kafka 4.3 writes for the same commits (read from its own __consumer_offsets)."""

import pytest

from barnabas.coordinators.group.facts import (
    OffsetFact,
    group_fact,
    offset_fact,
    read_group,
    read_key,
    read_offset,
)
from barnabas.wire.internal.group_metadata_value import GroupMetadataValue
from barnabas.wire.internal.offset_commit_key import OffsetCommitKey
from barnabas.wire.internal.offset_commit_value import OffsetCommitValue

TOPIC_ID = bytes.fromhex("98c19f9540b74db9aa860aeb92e6b2d5")
BY_KAFKA = bytes.fromhex(
    "00040000000000000007ffffffff01000001a21054409d01001098c19f9540b74db9aa860aeb92e6b2d5"
)
BY_KAFKA_WITH_EXPIRY = bytes.fromhex("000100000000000000080000000001a2105440bc000001a2105d687c")


def test_a_commit() -> None:
    value = OffsetCommitValue(7, -1, "", 1795570286749, -1, TOPIC_ID)
    fact = offset_fact("g", "t", 0, value)
    assert fact.value == BY_KAFKA
    assert read_offset(BY_KAFKA) == value
    assert fact.key == b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00"
    assert read_key(fact.key) == OffsetCommitKey("g", "t", 0)


@pytest.mark.parametrize(
    "value",
    [
        OffsetCommitValue(7, -1, "", 1795570286749, -1, TOPIC_ID),
        OffsetCommitValue(2**63 - 1, 2**31 - 1, "ä" * 300, 0),
        OffsetCommitValue(8, 3, "note", 1795570286780, 1795570886780, TOPIC_ID),
        OffsetCommitValue(8, -1, "note", 1795570286780, 0),
    ],
)
def test_what_is_applied_at_once_is_what_a_load_reads(value: OffsetCommitValue) -> None:
    fact = offset_fact("group", "topic", 3, value)
    if isinstance(fact, OffsetFact):
        assert fact.place == read_key(fact.key or b"")
        assert fact.committed == read_offset(fact.value or b"")
    else:
        assert value.expire_timestamp >= 0, "its bytes say less than it does"


def test_a_commit_with_its_own_retention() -> None:
    value = OffsetCommitValue(8, -1, "", 1795570286780, 1795570886780)
    assert offset_fact("g", "t", 0, value).value == BY_KAFKA_WITH_EXPIRY
    assert read_offset(BY_KAFKA_WITH_EXPIRY) == value


def test_tombstones_have_no_value_and_the_same_key() -> None:
    value = GroupMetadataValue(protocol_type="consumer", generation=1, members=[])
    written = group_fact("g", value)
    assert written.value is not None and read_group(written.value) == value
    gone = group_fact("g", None)
    assert gone.value is None and gone.key == written.key == b"\x00\x02\x00\x01g"


def test_keys_of_other_kinds_of_groups_are_left_alone() -> None:
    assert read_key(b"\x00\x03\x00\x01g") is None
