"""The data folder of one node: its lock, its identity, its clean mark, its checkpoints, and folders nobody claims.

The root has the partitions' folders. What belongs to one process (lock, clean mark, checkpoints, journal) lies in its state
folder: that is the root, or for a worker `owners/<node>` in it (owners.py), while its parent holds the root and keeps what all
share: identity, ballast, strays.

D1  One process at a time has a state folder: `.lock` is held from open to close. A worker's is made by its parent alone: what
    a later start takes up and removes is not made again by a worker of an earlier run that is late.
D2  `.kafka_cleanshutdown` is written as the last act of a clean stop and removed as the first act of a start, so a crash
    at any moment finds it absent.
D3  A folder that no topic claims is renamed to `…-stray`, never removed in silence; `…-delete` folders go at start. Those of a
    topic that was deleted while its leader, a worker, was dead are removed by the parent, which saw it being deleted.
D4  A folder written by Apache Kafka is refused: its metadata lives elsewhere.
D5  A topic may be made anew under another leader before the old one's has heard that it was deleted. So whoever gives a
    partition's folder another name looks first whose it is, and workers do both under one lock, `owners/.names`.
"""

import errno
from collections.abc import Callable, Mapping
from typing import Final

from barnabas.log import checkpoints
from barnabas.log import folder as names
from barnabas.log.checkpoints import Key
from barnabas.log.take_up import forget_strays
from barnabas.ports import Files, WorldError
from barnabas.telemetry import Log

DATABASE: Final = "barnabas.db"
BALLAST: Final = "ballast"
BALLAST_BYTES: Final = 16 * 1024 * 1024
"""Given back when the disk is full, so that checkpoints and metadata can still be written."""

NAMES_LOCK: Final = ".names"
STRAY_SUFFIX: Final = "-stray"
DELETE_SUFFIX: Final = "-delete"
ELSEWHERE: Final = "Choose a folder that this user may write to (--data, or log.dirs in the configuration)."


class FolderRefused(Exception):
    """The data folder cannot be used; the text says why and what to do."""


class DataFolder:
    """One `log.dirs` folder, locked; with state (a worker) that folder of it."""

    def __init__(self, files: Files, root: str, log: Log, state: str | None = None) -> None:
        self._files = files
        self._log = log
        self.root = root
        self.state = root if state is None else state
        self._release: Callable[[], None] | None = None
        self.was_clean = True
        self.offsets = checkpoints.Offsets()

    @property
    def is_shared(self) -> bool:
        """A worker's: others work in the same root."""
        return self.state != self.root

    def open(self) -> None:
        """Raises FolderRefused and WorldError."""
        files = self._files
        try:
            if not self.is_shared:
                files.make_folder(self.state)
            elif files.exists(self.state):  # the journal in it must not be lost with its name
                for folder in (self.state.rpartition("/")[0], self.root):
                    files.sync_folder(folder)
        except WorldError as error:
            raise FolderRefused(
                f"The data folder {self.state} cannot be made: {error.what}. {ELSEWHERE}"
            ) from error
        if self.is_shared and not files.exists(self.state):
            raise FolderRefused(f"There is no folder {self.state}: the parent that made it has ended.")
        if not self.is_shared:
            self._refuse_kafka()
        try:
            self._release = files.lock(f"{self.state}/{names.LOCK}")
        except WorldError as error:
            raise FolderRefused(
                f"The data folder {self.state} cannot be used: {error.what}. {ELSEWHERE}"
            ) from error
        if self._release is None:
            raise FolderRefused(
                f"The data folder {self.state} is in use by another process. Stop it, or choose another folder "
                "(--data, or log.dirs in the configuration)."
            )
        fresh = not self.is_shared and not files.exists(f"{self.root}/{DATABASE}")
        mark = f"{self.state}/{names.CLEAN_MARK}"
        self.was_clean = fresh or files.exists(mark)
        if files.exists(mark):
            files.unlink(mark)
            files.sync_folder(self.state)
        self.reread()
        if not self.is_shared:
            self.make_ballast()

    def reread(self) -> None:
        """The checkpoints as they are now: of a worker, the root's and its own. Raises WorldError."""
        self.offsets = checkpoints.Offsets.read(self._files, (self.root, self.state))

    def _refuse_kafka(self) -> None:
        files = self._files
        kafka = files.exists(f"{self.root}/{names.METADATA}") or files.exists(
            f"{self.root}/__cluster_metadata-0"
        )
        if kafka and not files.exists(f"{self.root}/{DATABASE}"):
            raise FolderRefused(
                f"{self.root} was written by Apache Kafka. Barnabas does not take it over in place: choose an empty folder "
                "and copy the topics with a mirror."
            )

    def make_ballast(self) -> None:
        """No ballast is no reason not to start: the disk may be full already."""
        path = f"{self.root}/{BALLAST}"
        try:
            if not self._files.exists(path):
                file = self._files.open(path, create=True)
                file.write(0, [bytes(BALLAST_BYTES)])
                file.close()
        except WorldError as error:
            self._log.warning("no ballast file", reason=error.what)
            self._files.unlink(path)

    def drop_ballast(self, error: WorldError) -> None:
        """The disk is full: give the reserve to what must still be written."""
        if error.errno == errno.ENOSPC:
            try:
                self._files.unlink(f"{self.root}/{BALLAST}")
            except WorldError as refused:
                self._log.warning("the ballast file stays", reason=refused.what)

    def write_identity(self, cluster_id: str, node_id: int, directory_id: bytes) -> None:
        path = f"{self.root}/{names.METADATA}"
        if not self._files.exists(path):
            text = (
                f"version=1\ncluster.id={cluster_id}\nnode.id={node_id}\n"
                f"directory.id={names.uuid_text(directory_id)}\n"
            )
            self._files.write_atomic(path, text.encode())

    def set_aside(self, topics: Mapping[str, tuple[bytes, int]], new_uuid: Callable[[], bytes]) -> None:
        """D3. topics: name → (id, number of partitions)."""
        files = self._files
        for name in files.list(self.root):
            if name.endswith(DELETE_SUFFIX):
                files.remove_folder(f"{self.root}/{name}")
                continue
            parsed = names.parse_partition(name)
            if parsed is None or name.endswith(STRAY_SUFFIX):
                continue
            topic_id, count = topics.get(parsed[0], (b"", 0))
            if parsed[1] < count and self._may_be_of(name, topic_id):
                continue
            self._set_aside(name, new_uuid)
        forget_strays(files, self.root, {topic_id for topic_id, _ in topics.values()})

    def _may_be_of(self, folder: str, topic_id: bytes) -> bool:
        """Nothing is set aside because its disk fails: the partition is tried again later."""
        try:
            return names.is_of(self._files, f"{self.root}/{folder}", topic_id)
        except WorldError as error:
            self._log.warning("cannot tell whose folder it is", folder=folder, reason=error.what)
            return True

    def set_aside_namesake(
        self, topic: str, index: int, topic_id: bytes, new_uuid: Callable[[], bytes]
    ) -> None:
        """D3, while running: the folder of a deleted topic of the same name may still be there. Raises WorldError."""
        folder = names.partition_folder(self.root, topic, index)
        if names.is_of(self._files, folder, topic_id):
            return
        release = self.lock_names()
        if release is None:
            raise WorldError("another worker gives folders other names")
        try:
            if not names.is_of(self._files, folder, topic_id):  # its owner may have been quicker
                self._set_aside(folder.rpartition("/")[2], new_uuid)
        finally:
            release()

    def lock_names(self) -> Callable[[], None] | None:
        """D5. The release, or None: it is another process's turn, for some system calls. Raises WorldError."""
        if not self.is_shared:
            return _nothing
        return self._files.lock(f"{self.state.rpartition('/')[0]}/{NAMES_LOCK}")

    def _set_aside(self, name: str, new_uuid: Callable[[], bytes]) -> None:
        stray = f"{name}.{new_uuid().hex()}{STRAY_SUFFIX}"
        self._log.warning("set aside a folder that no topic claims", folder=name, now=stray)
        self._files.rename(f"{self.root}/{name}", f"{self.root}/{stray}")

    def write_offsets(
        self, points: Mapping[Key, int], starts: Mapping[Key, int], topic_ids: Mapping[str, bytes]
    ) -> None:
        checkpoints.write_all(self._files, self.state, points, starts, topic_ids)

    def close(self, clean: bool) -> None:
        """D2: the mark comes last."""
        if clean:
            self._files.write_atomic(f"{self.state}/{names.CLEAN_MARK}", b'{"version":0,"brokerEpoch":-1}')
        if self._release is not None:
            self._release()
            self._release = None


def _nothing() -> None:
    """Where no other process works in the folder."""
