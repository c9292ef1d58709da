"""What a start does with a journal: batches that were durable in it alone are written into their segments and synced.

J3       A batch is taken up if it lies above the recovery point of its partition and is of the newest leader epoch in the
         epoch file there. A newer epoch in one run means that the partition was cut and went on (decision 6): all that
         was left then had been synced before the epoch file said so, and all that was cut off must not come back. A
         deleted topic has another id; a deleted segment is gone; a compacted one lies below the recovery point.
         The same is done for one partition, while the broker runs, when a sync of its file has failed: what is written
         once more is synced once more, which the page cache alone would only pretend to be.
J4       A partition whose files refuse holds up no other: what the ring has of it is kept in a file of its own, which is
         durable before the ring is void, and is taken up before the log is loaded, at every try until it succeeds. So is what a
         ring alone has of a partition that got another leader.
J5       Nothing is taken up without the recovery points: a checkpoint that is there and says nothing sensible is no 0, for
         above 0 lie compacted segments too. The start is refused, and says what to do.
Layout   journal-kept/<topic id, 32 hex>-<partition>.<run id, 32 hex>   block 0 and rounds as in journal.py, with the size of
         the file in block 0, so that one that lacks rounds shows.
Crash    at any time: the ring, or a kept file, is taken up once more. That changes nothing: the batches lie where they lay.
"""

import re
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final

from barnabas.log import folder as names
from barnabas.log.checkpoints import LEADER_EPOCHS, Key, Offsets, has_epochs_file
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.journal import (
    BLOCK_BYTES,
    JOURNAL,
    Entry,
    kept_content,
    read_kept,
    read_rounds,
    read_run_id,
)
from barnabas.log.recovery import DamagedLog
from barnabas.ports import File, Files, WorldError
from barnabas.records.batch import HEADER_BYTES, read_header
from barnabas.telemetry import Log as Lines

KEPT: Final = "journal-kept"
OPEN_MAX: Final = 256
"""Segments that a take-up has open at once."""
NOT_WHOLE: Final = "is not what was written, and the journal cannot be taken up without it"
REMEDY: Final = "Restore it from a backup, or, to go on without the records that are there alone, remove"

RecoveryPoint = Callable[[str, int, bytes], int]
"""Topic, partition and topic id → the recovery point on disk."""


class Taken:
    """What became of a ring."""

    __slots__ = ("bytes", "refused")

    def __init__(self) -> None:
        self.bytes = 0
        """Of batches that were written anew."""
        self.refused: dict[str, Exception] = {}
        """J4. Why, by the partition's folder."""

    def tell(self, lines: Lines) -> None:
        if self.bytes:
            lines.info("took up the journal", bytes=self.bytes)
        for folder, error in self.refused.items():
            lines.error(
                "what the journal has of a partition is kept for later", partition=folder, reason=str(error)
            )


class Placing:
    """Writes entries into the segments they are of. A folder that fails is left alone from then on."""

    def __init__(self, files: Files, root: str, recovery_point: RecoveryPoint) -> None:
        self._files = files
        self._root = root
        self._recovery_point = recovery_point
        self._epochs: dict[str, int] = {}
        self._topic_ids: dict[str, bytes | None] = {}
        self._open: dict[str, File] = {}
        self.taken = Taken()

    def add(self, entry: Entry) -> None:
        folder = folder_of(entry)
        if folder in self.taken.refused:
            return
        try:
            self._write(entry, folder)
        except (WorldError, DamagedLog) as error:
            self.taken.refused[folder] = error

    def finish(self) -> None:
        """Everything that was written is durable, but for what is refused."""
        for path, file in self._open.items():
            try:
                file.sync()
                file.close()
            except WorldError as error:
                self.taken.refused[path.rpartition("/")[0]] = error
        self._open.clear()

    def _write(self, entry: Entry, folder: str) -> None:
        key = names.parse_partition(folder)
        if key is None or not self._is_of(entry, folder):
            return
        path = f"{self._root}/{entry.path}"
        if entry.path not in self._open and not self._files.exists(path):
            return  # retention was here
        for at, size in self._counting(entry, folder, key):
            if entry.path not in self._open:
                if len(self._open) == OPEN_MAX:
                    self.finish()
                self._open[entry.path] = self._files.open(path)
            self._open[entry.path].write(entry.position + at, [entry.batches[at : at + size]])
            self.taken.bytes += size

    def _is_of(self, entry: Entry, folder: str) -> bool:
        """Whether the folder is that of the entry's topic."""
        if folder not in self._topic_ids:
            self._topic_ids[folder] = self._topic_id(folder)
        return self._topic_ids[folder] == entry.topic_id

    def _topic_id(self, folder: str) -> bytes | None:
        """None: there is no such folder any more. Where there is an entry, there was this file in it."""
        path = f"{self._root}/{folder}"
        found = names.read_topic_id(self._files, path)
        if found is None and self._files.exists(path):
            raise DamagedLog(f"{path}/{names.PARTITION_METADATA} does not say whose folder this is")
        return found

    def _counting(self, entry: Entry, folder: str, key: Key) -> Iterator[tuple[int, int]]:
        """Where in the entry the batches are that count (J3), and their sizes; those that follow each other as one."""
        epoch, recovery_point = self._epoch_of(folder), self._recovery_point(*key, entry.topic_id)
        begin = at = 0
        while at + HEADER_BYTES <= len(entry.batches):
            batch = read_header(entry.batches, at)
            if batch.next_offset <= recovery_point or batch.leader_epoch != epoch:
                if begin < at:
                    yield begin, at - begin
                begin = at + batch.size
            at += batch.size
        if begin < at:
            yield begin, at - begin

    def _epoch_of(self, folder: str) -> int:
        """-1 when all of the log was cut. An epoch is in the file before a batch of it is anywhere."""
        if folder not in self._epochs:
            path = f"{self._root}/{folder}"
            epochs = LeaderEpochs(self._files, path)
            epochs.load()
            if epochs.latest < 0 and not has_epochs_file(self._files, f"{path}/{LEADER_EPOCHS}"):
                raise DamagedLog(f"{path}/{LEADER_EPOCHS} is not there, or not what was written")
            self._epochs[folder] = epochs.latest
        return self._epochs[folder]


def folder_of(entry: Entry) -> str:
    """The partition's folder, below the data folder."""
    return entry.path.rpartition("/")[0]


def take_up(files: Files, state: str, root: str, offsets: Offsets) -> Taken:
    """The ring in the folder state, after a crash, before any log is looked at. It may be void when this returns.

    Raises WorldError: the ring must then be left as it is.
    """
    run_id, entries = _read_ring(files, state)
    if entries and offsets.unusable:
        raise WorldError(f"{offsets.unusable} {NOT_WHOLE}. {REMEDY} {state}/{JOURNAL}.")
    placing = Placing(files, root, offsets.recovery_point)
    for entry in entries:
        placing.add(entry)
    placing.finish()
    for folder in placing.taken.refused:
        _keep(files, root, run_id, [entry for entry in entries if folder_of(entry) == folder])
    return placing.taken


def restore(files: Files, state: str, root: str, folder: str, recovery_point: int) -> None:
    """What the ring in state has of the one partition in folder (below root). Raises WorldError and DamagedLog."""
    placing = Placing(files, root, lambda topic, index, topic_id: recovery_point)
    for entry in _read_ring(files, state)[1]:
        if folder_of(entry) == folder:
            placing.add(entry)
    placing.finish()
    for error in placing.taken.refused.values():
        raise error


def keep(files: Files, state: str, root: str, folder: str, topic_id: bytes) -> None:
    """J4. What the ring in state has of the one partition in folder (below root). Raises WorldError."""
    run_id, entries = _read_ring(files, state)
    mine = [entry for entry in entries if folder_of(entry) == folder and entry.topic_id == topic_id]
    if mine:
        _keep(files, root, run_id, mine)


def _read_ring(files: Files, state: str) -> tuple[bytes, list[Entry]]:
    path = f"{state}/{JOURNAL}"
    if not files.exists(path):
        return b"", []
    file = files.open(path)
    try:
        run_id = read_run_id(file.read(0, BLOCK_BYTES)) or b""
        return run_id, [entry for entries in read_rounds(file) for entry in entries]
    finally:
        file.close()


# -- J4


def kept_name(topic_id: bytes, index: int) -> str:
    """What the names of a partition's kept files begin with."""
    return f"{topic_id.hex()}-{index}."


def kept_of(files: Files, root: str, topic_id: bytes, index: int) -> list[str]:
    """Paths of the files that are kept for a partition."""
    begins = kept_name(topic_id, index)
    return [
        f"{root}/{KEPT}/{name}"
        for name in files.list(f"{root}/{KEPT}")
        if name.startswith(begins) and topic_id_in(name) is not None
    ]


def _keep(files: Files, root: str, run_id: bytes, entries: Sequence[Entry]) -> None:
    """One file for each topic that the folder's name has been of. Raises WorldError."""
    files.make_folder(f"{root}/{KEPT}")
    files.sync_folder(root)
    for topic_id in dict.fromkeys(entry.topic_id for entry in entries):
        key = names.parse_partition(folder_of(entries[0]))
        if key is not None:
            mine = [entry for entry in entries if entry.topic_id == topic_id]
            path = f"{root}/{KEPT}/{kept_name(topic_id, key[1])}{run_id.hex()}"
            files.write_atomic(path, kept_content(run_id, mine))


def take_up_kept(files: Files, root: str, topic_id: bytes, index: int, offsets: Offsets) -> bool:
    """Before the partition's log is loaded; whether there was anything. Raises WorldError (try again) and DamagedLog."""
    paths = kept_of(files, root, topic_id, index)
    for path in paths:
        if offsets.unusable:
            raise DamagedLog(f"{offsets.unusable} {NOT_WHOLE}. {REMEDY} {path}.")
        file = files.open(path)
        try:
            entries = read_kept(file)
        finally:
            file.close()
        if entries is None:
            raise DamagedLog(f"{path} is not what was written. {REMEDY} it.")
        placing = Placing(files, root, offsets.recovery_point)
        for entry in entries:
            placing.add(entry)
        placing.finish()
        for error in placing.taken.refused.values():
            raise DamagedLog(f"{error}. {REMEDY} {path}.") if isinstance(error, DamagedLog) else error
    forget_kept(files, root, paths)
    return bool(paths)


def forget_kept(files: Files, root: str, paths: Sequence[str]) -> None:
    """They are in their segments, or nobody's. Raises WorldError."""
    for path in paths:
        files.unlink(path)
    if paths:
        files.sync_folder(f"{root}/{KEPT}")


def forget_strays(files: Files, root: str, topic_ids: Container[bytes]) -> None:
    """At a start: what was kept for topics that are no more, or was not finished: the ring had it still. Raises WorldError."""
    kept = [
        f"{root}/{KEPT}/{name}" for name in files.list(f"{root}/{KEPT}") if topic_id_in(name) not in topic_ids
    ]
    forget_kept(files, root, kept)


def topic_id_in(name: str) -> bytes | None:
    """Whose a kept file is; None: it is none."""
    found = re.fullmatch(r"([0-9a-f]{32})-\d+\.[0-9a-f]{32}", name)
    return bytes.fromhex(found[1]) if found else None
