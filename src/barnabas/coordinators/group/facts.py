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

Key = OffsetCommitKey | GroupMetadataKey


def _prefixed(number: int, body: bytes) -> bytes:
    return number.to_bytes(2, "big") + body


def offset_fact(group: str, topic: str, index: int, value: OffsetCommitValue | None) -> Record:
    """A committed offset, or its end. An explicit expiry can only be written as version 1, as Kafka does."""
    key = _prefixed(OFFSET, offset_commit_key.encode(OffsetCommitKey(group, topic, index), 0))
    if value is None:
        return Record(key, None)
    version = OFFSET_VERSION if value.expire_timestamp < 0 else OFFSET_VERSION_WITH_EXPIRY
    return Record(key, _prefixed(version, offset_commit_value.encode(value, version)))


def group_fact(group: str, value: GroupMetadataValue | None) -> Record:
    """A group's generation, members and assignments, or its end."""
    key = _prefixed(GROUP, group_metadata_key.encode(GroupMetadataKey(group), 0))
    if value is None:
        return Record(key, None)
    return Record(key, _prefixed(GROUP_VERSION, group_metadata_value.encode(value, GROUP_VERSION)))


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
