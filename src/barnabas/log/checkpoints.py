"""Offset checkpoints of a data folder: recovery-point-offset-checkpoint, log-start-offset-checkpoint; whose they are,
checkpoint-topic-ids; and the leader epochs of a partition, leader-epoch-checkpoint.

Layout   lines of text: version (0), count, then one entry a line: `topic partition offset`, `topic id`, or
         `epoch offset`.
K1       An offset counts only for the topic id that stands beside its topic's name: of a topic that was deleted and made
         anew, the old one's offsets may still be here. The ids are written behind the offsets, so that a crash between
         leaves new offsets that do not count yet, never old ones that do. No file of ids: a folder from before, all count.
K2       Of a topic id both offsets only rise, so of several sets (the data folder's and its owners') the greatest is right.
Crash    written beside and renamed: the old content or the new.
A file that does not parse counts as absent: recovery then scans more, or deletes nothing it need not. A journal alone needs
them as they were written (take_up.py J5).
"""

import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from barnabas.ports import Files, WorldError

RECOVERY_POINTS: Final = "recovery-point-offset-checkpoint"
LOG_STARTS: Final = "log-start-offset-checkpoint"
TOPIC_IDS: Final = "checkpoint-topic-ids"
LEADER_EPOCHS: Final = "leader-epoch-checkpoint"
VERSION: Final = "0"
Key = tuple[str, int]


def _lines(files: Files, path: str) -> list[list[str]] | None:
    """The entries; [] of a file that is absent, None of one that does not parse. Raises WorldError when it cannot be read."""
    try:
        content = files.read_all(path)
    except WorldError as error:
        if error.errno == errno.ENOENT:
            return []
        raise
    lines = content.decode("utf-8", "replace").split("\n")
    if len(lines) < 2 or lines[0] != VERSION or not lines[1].isdigit():
        return None
    entries = [line.split(" ") for line in lines[2 : 2 + int(lines[1])]]
    return entries if len(entries) == int(lines[1]) else None


def _write(files: Files, path: str, entries: list[str]) -> None:
    files.write_atomic(path, ("\n".join([VERSION, str(len(entries)), *entries]) + "\n").encode())


def _offsets(files: Files, path: str) -> dict[Key, int] | None:
    """Offsets by topic and partition; None when the file does not parse."""
    lines = _lines(files, path)
    if lines is None or not all(_is_offset(entry) for entry in lines):
        return None
    return {(topic, int(index)): int(offset) for topic, index, offset in lines}


def _is_offset(entry: list[str]) -> bool:
    return len(entry) == 3 and entry[1].isdigit() and entry[2].isdigit()


def read_offsets(files: Files, path: str) -> dict[Key, int]:
    """Offsets by topic and partition."""
    return _offsets(files, path) or {}


def write_offsets(files: Files, path: str, offsets: Mapping[Key, int]) -> None:
    _write(files, path, [f"{topic} {index} {offset}" for (topic, index), offset in offsets.items()])


class OffsetSet:
    """Both offset checkpoints of one folder, and whose they are (K1)."""

    __slots__ = ("points", "starts", "topic_ids", "unusable")

    def __init__(
        self,
        points: Mapping[Key, int],
        starts: Mapping[Key, int],
        topic_ids: Mapping[str, bytes] | None,
        unusable: str = "",
    ) -> None:
        self.points = points
        self.starts = starts
        self.topic_ids = topic_ids
        self.unusable = unusable
        """Path of a file that says where recovery points are and does not parse."""

    @classmethod
    def read(cls, files: Files, folder: str) -> "OffsetSet":
        """In the reverse order of writing, for another process may be at it (K1). Raises WorldError when a file is there and
        cannot be read.
        """
        ids, points = f"{folder}/{TOPIC_IDS}", f"{folder}/{RECOVERY_POINTS}"
        unusable = ""
        topic_ids = None
        if files.exists(ids):
            lines = _lines(files, ids)
            if lines is None or not all(_is_id(entry) for entry in lines):
                unusable = ids
            topic_ids = _ids_of(lines or [])
        starts = read_offsets(files, f"{folder}/{LOG_STARTS}")
        offsets = _offsets(files, points)
        if offsets is None:
            unusable = points
        return cls(offsets or {}, starts, topic_ids, unusable)

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

    @property
    def unusable(self) -> str:
        """Path of a file that says where recovery points are and does not parse, or ""."""
        return next((each.unusable for each in self._sets if each.unusable), "")

    @property
    def are_anyones(self) -> bool:
        """Whether a set has offsets and does not say whose they are: it is from before there were ids."""
        return any(each.topic_ids is None and bool(each.points or each.starts) for each in self._sets)

    def merged(self, topic_ids: Mapping[str, bytes]) -> OffsetSet:
        """One set for these topics."""
        points: dict[Key, int] = {}
        starts: dict[Key, int] = {}
        for each in self._sets:
            for found, offsets in ((points, each.points), (starts, each.starts)):
                for key, offset in offsets.items():
                    topic_id = topic_ids.get(key[0])
                    if topic_id is not None and each.counts(key[0], topic_id):
                        found[key] = max(offset, found.get(key, 0))
        return OffsetSet(points, starts, topic_ids)

    def recovery_point(self, topic: str, index: int, topic_id: bytes) -> int:
        return max((each.points.get((topic, index), 0) for each in self._of(topic, topic_id)), default=0)

    def log_start(self, topic: str, index: int, topic_id: bytes) -> int:
        return max((each.starts.get((topic, index), 0) for each in self._of(topic, topic_id)), default=0)

    def _of(self, topic: str, topic_id: bytes) -> list[OffsetSet]:
        return [each for each in self._sets if each.counts(topic, topic_id)]


def _ids_of(lines: list[list[str]]) -> dict[str, bytes]:
    """Ids by topic. What does not parse counts as nobody's."""
    return {entry[0]: bytes.fromhex(entry[1]) for entry in lines if _is_id(entry)}


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


def _epochs(files: Files, path: str) -> list[tuple[int, int]] | None:
    lines = _lines(files, path)
    if lines is None or not all(_is_epoch(entry) for entry in lines):
        return None
    return [(int(epoch), int(start)) for epoch, start in lines]


def _is_epoch(entry: list[str]) -> bool:
    return len(entry) == 2 and entry[0].isdigit() and entry[1].isdigit()


def read_epochs(files: Files, path: str) -> list[tuple[int, int]]:
    """(epoch, start offset) in rising order."""
    return _epochs(files, path) or []


def has_epochs_file(files: Files, path: str) -> bool:
    """Whether the file is there and parses. Raises WorldError."""
    return files.exists(path) and _epochs(files, path) is not None


def write_epochs(files: Files, path: str, epochs: list[tuple[int, int]]) -> None:
    _write(files, path, [f"{epoch} {start}" for epoch, start in epochs])
