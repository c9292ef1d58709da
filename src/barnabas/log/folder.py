"""Names inside a data folder, as Kafka has them.

A partition's folder is topic-N. `topic-N.<32 hex>-delete` is on its way out, `-stray` is one no topic claims.
partition.metadata  version: 0, topic_id: <22 characters of base64>
meta.properties     version=1, cluster.id, node.id, directory.id
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from barnabas.ports import Files

CLEAN_MARK: Final = ".kafka_cleanshutdown"
LOCK: Final = ".lock"
METADATA: Final = "meta.properties"
PARTITION_METADATA: Final = "partition.metadata"
LOG_SUFFIX: Final = ".log"
INDEX_SUFFIX: Final = ".index"
TIME_INDEX_SUFFIX: Final = ".timeindex"
SNAPSHOT_SUFFIX: Final = ".snapshot"
DELETED_SUFFIX: Final = ".deleted"
CLEANED_SUFFIX: Final = ".cleaned"
SWAP_SUFFIX: Final = ".swap"
_PARTITION: Final = re.compile(r"(?P<topic>.+)-(?P<index>\d+)\Z")
_LEFT: Final = re.compile(r".+-(?P<index>\d+)\.[0-9a-f]{32}-(?:delete|stray)\Z")


def partition_folder(root: str, topic: str, index: int) -> str:
    return f"{root}/{topic}-{index}"


def deleted_folder(root: str, topic: str, index: int, uuid: bytes) -> str:
    """Kafka keeps such a name within 255 bytes by cutting the topic's name."""
    suffix = f"-{index}.{uuid.hex()}-delete"
    return f"{root}/{topic[: 255 - len(suffix)]}{suffix}"


def parse_left(name: str) -> int | None:
    """The partition of a folder on its way out, or of one that no topic claims; None for all other names."""
    match = _LEFT.match(name)
    return int(match["index"]) if match else None


def parse_partition(name: str) -> tuple[str, int] | None:
    """Topic and partition of a folder's name; None for all other names."""
    match = _PARTITION.match(name)
    return (match["topic"], int(match["index"])) if match else None


def segment_name(base_offset: int, suffix: str) -> str:
    return f"{base_offset:020d}{suffix}"


def uuid_text(uuid: bytes) -> str:
    """Kafka's way of writing a uuid: base64url without padding."""
    return urlsafe_b64encode(uuid).rstrip(b"=").decode()


def uuid_bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")


def write_partition_metadata(files: Files, folder: str, topic_id: bytes) -> None:
    files.write_atomic(
        f"{folder}/{PARTITION_METADATA}", f"version: 0\ntopic_id: {uuid_text(topic_id)}\n".encode()
    )


def read_topic_id(files: Files, folder: str) -> bytes | None:
    """The topic a partition's folder belongs to; None when the file is absent or unreadable."""
    path = f"{folder}/{PARTITION_METADATA}"
    if not files.exists(path):
        return None
    match = re.search(rb"topic_id: *([A-Za-z0-9_\-]{22})\s*$", files.read_all(path), re.M)
    return uuid_bytes(match[1].decode()) if match else None


def is_of(files: Files, folder: str, topic_id: bytes) -> bool:
    """Whether a partition's folder, if it is there, is this topic's: no namesake's, as far as it says whose it is."""
    return read_topic_id(files, folder) in (topic_id, None)
