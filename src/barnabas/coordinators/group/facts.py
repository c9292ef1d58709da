"""Records of __consumer_offsets, in Kafka's own format, so that its tools read ours and ours read theirs.

Key      int16 type, then the key's fields: 0 and 1 an offset commit, 2 a classic group's metadata.
Value    int16 version, then the value's fields; null removes what the key names.
Keys of other types (KIP-848 and later groups) are passed over.
"""

from typing import Final

from barnabas.records.record import Record
from barnabas.wire.internal import (
    group_metadata_key,
    group_metadata_value,
    offset_commit_key,
    offset_commit_value,
)
from barnabas.wire.internal.group_metadata_key import GroupMetadataKey
from barnabas.wire.internal.group_metadata_value import GroupMetadataValue
from barnabas.wire.internal.offset_commit_key import OffsetCommitKey
from barnabas.wire.internal.offset_commit_value import OffsetCommitValue

OFFSET: Final = 1
LEGACY_OFFSET: Final = 0
GROUP: Final = 2
OFFSET_VERSION: Final = 4
OFFSET_VERSION_WITH_EXPIRY: Final = 1
GROUP_VERSION: Final = 3
OFFSET_KEY: Final = b"\x00\x01"
OFFSET_VALUE: Final = b"\x00\x04"
GROUP_KEY: Final = b"\x00\x02"
GROUP_VALUE: Final = b"\x00\x03"

Key = OffsetCommitKey | GroupMetadataKey


class OffsetFact(Record):
    """A committed offset that keeps what its bytes say: who applies it where it was made need not read them."""

    __slots__ = ("committed", "place")

    def __init__(
        self, key: bytes, value: bytes, place: OffsetCommitKey, committed: OffsetCommitValue
    ) -> None:
        super().__init__(key, value)
        self.place = place
        self.committed = committed


def offset_fact(group: str, topic: str, index: int, value: OffsetCommitValue | None) -> Record:
    """A committed offset, or its end. An explicit expiry can only be written as version 1, as Kafka does."""
    place = OffsetCommitKey(group, topic, index)
    key = OFFSET_KEY + offset_commit_key.encode(place, 0)
    if value is None:
        return Record(key, None)
    if value.expire_timestamp < 0:
        return OffsetFact(key, OFFSET_VALUE + offset_commit_value.encode(value, OFFSET_VERSION), place, value)
    version = OFFSET_VERSION_WITH_EXPIRY  # which says less than the value does
    return Record(key, version.to_bytes(2, "big") + offset_commit_value.encode(value, version))


def group_fact(group: str, value: GroupMetadataValue | None) -> Record:
    """A group's generation, members and assignments, or its end."""
    key = GROUP_KEY + group_metadata_key.encode(GroupMetadataKey(group), 0)
    if value is None:
        return Record(key, None)
    return Record(key, GROUP_VALUE + group_metadata_value.encode(value, GROUP_VERSION))


def read_key(content: bytes) -> Key | None:
    """None for a key of another kind of group."""
    kind = int.from_bytes(content[:2], "big")
    if kind in (OFFSET, LEGACY_OFFSET):
        return offset_commit_key.decode(content, 2, 0)
    if kind == GROUP:
        return group_metadata_key.decode(content, 2, 0)
    return None


def read_offset(content: bytes) -> OffsetCommitValue:
    return offset_commit_value.decode(content, 2, int.from_bytes(content[:2], "big"))


def read_group(content: bytes) -> GroupMetadataValue:
    return group_metadata_value.decode(content, 2, int.from_bytes(content[:2], "big"))
