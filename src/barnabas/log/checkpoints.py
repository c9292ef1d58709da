"""Offset checkpoints of a data folder: recovery-point-offset-checkpoint, log-start-offset-checkpoint; whose they are,
checkpoint-topic-ids; and the leader epochs of a partition, leader-epoch-checkpoint.

Layout   lines of text: version (0), count, then one entry a line: `topic partition offset`, `topic id`, or
         `epoch offset`.
K1       An offset counts only for the topic id that stands beside its topic's name: of a topic that was deleted and made
         anew, the old one's offsets may still be here. The ids are written behind the offsets, so that a crash between
         leaves new offsets that do not count yet, never old ones that do. No file of ids: a folder from before, all count.
K2       Of a topic id both offsets only rise, so of several sets (the data folder's and its owners') the greatest is right.
Crash    written beside and renamed: the old content or the new.
A file that does not parse counts as absent: recovery then scans more, or deletes nothing it need not.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from barnabas.ports import Files

RECOVERY_POINTS: Final = "recovery-point-offset-checkpoint"
LOG_STARTS: Final = "log-start-offset-checkpoint"
TOPIC_IDS: Final = "checkpoint-topic-ids"
LEADER_EPOCHS: Final = "leader-epoch-checkpoint"
VERSION: Final = "0"
Key = tuple[str, int]


def _lines(files: Files, path: str) -> list[list[str]]:
    if not files.exists(path):
        return []
    lines = files.read_all(path).decode("utf-8", "replace").split("\n")
    if len(lines) < 2 or lines[0] != VERSION or not lines[1].isdigit():
        return []
    entries = [line.split(" ") for line in lines[2 : 2 + int(lines[1])]]
    return entries if len(entries) == int(lines[1]) else []


def _write(files: Files, path: str, entries: list[str]) -> None:
    files.write_atomic(path, ("\n".join([VERSION, str(len(entries)), *entries]) + "\n").encode())


def read_offsets(files: Files, path: str) -> dict[Key, int]:
    """Offsets by topic and partition."""
    found: dict[Key, int] = {}
    for entry in _lines(files, path):
        if len(entry) != 3 or not entry[1].isdigit() or not entry[2].isdigit():
            return {}
        found[entry[0], int(entry[1])] = int(entry[2])
    return found


def write_offsets(files: Files, path: str, offsets: Mapping[Key, int]) -> None:
    _write(files, path, [f"{topic} {index} {offset}" for (topic, index), offset in offsets.items()])


class OffsetSet:
    """Both offset checkpoints of one folder, and whose they are (K1)."""

    __slots__ = ("points", "starts", "topic_ids")

    def __init__(
        self,
        points: Mapping[Key, int],
        starts: Mapping[Key, int],
        topic_ids: Mapping[str, bytes] | None,
    ) -> None:
        self.points = points
        self.starts = starts
        self.topic_ids = topic_ids

    @classmethod
    def read(cls, files: Files, folder: str) -> "OffsetSet":
        """Raises WorldError when a file is there and cannot be read."""
        ids = f"{folder}/{TOPIC_IDS}"
        return cls(
            read_offsets(files, f"{folder}/{RECOVERY_POINTS}"),
            read_offsets(files, f"{folder}/{LOG_STARTS}"),
            read_topic_ids(files, ids) if files.exists(ids) else None,
        )

    def counts(self, topic: str, topic_id: bytes) -> bool:
        return self.topic_ids is None or self.topic_ids.get(topic) == topic_id


class Offsets:
    """What the checkpoints of a data folder say together. K2."""

    def __init__(self, sets: Sequence[OffsetSet] = ()) -> None:
        self._sets = sets

    @classmethod
    def read(cls, files: Files, folders: Iterable[str]) -> "Offsets":
        """The sets of the folders, each read once. Raises WorldError."""
        return cls([OffsetSet.read(files, folder) for folder in dict.fromkeys(folders)])

    def recovery_point(self, topic: str, index: int, topic_id: bytes) -> int:
        return max((each.points.get((topic, index), 0) for each in self._of(topic, topic_id)), default=0)

    def log_start(self, topic: str, index: int, topic_id: bytes) -> int:
        return max((each.starts.get((topic, index), 0) for each in self._of(topic, topic_id)), default=0)

    def _of(self, topic: str, topic_id: bytes) -> list[OffsetSet]:
        return [each for each in self._sets if each.counts(topic, topic_id)]


def read_topic_ids(files: Files, path: str) -> dict[str, bytes]:
    """Ids by topic. What does not parse counts as nobody's."""
    return {entry[0]: bytes.fromhex(entry[1]) for entry in _lines(files, path) if _is_id(entry)}


def _is_id(entry: list[str]) -> bool:
    return len(entry) == 2 and len(entry[1]) == 32 and all(each in "0123456789abcdef" for each in entry[1])


def write_all(
    files: Files,
    root: str,
    points: Mapping[Key, int],
    starts: Mapping[Key, int],
    topic_ids: Mapping[str, bytes],
) -> None:
    """K1: the ids come last. Raises WorldError; what was written until then does no harm."""
    write_offsets(files, f"{root}/{RECOVERY_POINTS}", points)
    write_offsets(files, f"{root}/{LOG_STARTS}", starts)
    _write(
        files, f"{root}/{TOPIC_IDS}", [f"{topic} {topic_id.hex()}" for topic, topic_id in topic_ids.items()]
    )


def read_epochs(files: Files, path: str) -> list[tuple[int, int]]:
    """(epoch, start offset) in rising order."""
    found: list[tuple[int, int]] = []
    for entry in _lines(files, path):
        if len(entry) != 2 or not entry[0].isdigit() or not entry[1].isdigit():
            return []
        found.append((int(entry[0]), int(entry[1])))
    return found


def write_epochs(files: Files, path: str, epochs: list[tuple[int, int]]) -> None:
    _write(files, path, [f"{epoch} {start}" for epoch, start in epochs])
