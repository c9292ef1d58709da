"""Offset checkpoints of a data folder: recovery-point-offset-checkpoint, log-start-offset-checkpoint; and the leader
epochs of a partition, leader-epoch-checkpoint.

Layout   lines of text: version (0), count, then one entry a line: `topic partition offset`, or `epoch offset`.
Crash    written beside and renamed: the old content or the new.
A file that does not parse counts as absent: recovery then scans more, or deletes nothing it need not.
"""

from collections.abc import Mapping
from typing import Final

from barnabas.ports import Files

RECOVERY_POINTS: Final = "recovery-point-offset-checkpoint"
LOG_STARTS: Final = "log-start-offset-checkpoint"
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
