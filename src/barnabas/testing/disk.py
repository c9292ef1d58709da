"""A disk that forgets: what was not synced may be gone, whole or in part, after crash().

D1  Bytes are durable after `sync` of their file, names after `sync_folder` of their folder. Until then a crash keeps
    what the seed says: of each file's unsynced writes nothing, a first part, or any of them (some torn); of each
    folder's unsynced names a first part, in their order.
D2  A failed sync throws away what it should have written: a later sync succeeds without it, while reading still shows
    it, as Linux does with the page cache (decision 6: never believe it).
D3  A failing write may have written a part.
D4  After a crash the files and locks that were open are those of a dead process: using one fails the test.
D5  Several processes may have one disk, each a view of it (`process`): they see each other's writes, synced or not. The
    death of one frees its locks and leaves the rest as it is; a crash is the end of all.
D6  A folder's files are changed by one process while it lives, and by another one only after its death. One that
    `takes_turns` (a parent that mends what dead workers left) gives a folder on while it lives. Else the test fails.
D7  While the platter `is_full` no file grows and none is made: a write that would lengthen one leaves a part of it and
    fails. What lies within a file can be written, and everything can be read and removed.
Limits: a rename stays within one folder (Barnabas needs no other), and nothing is ever full unless scripted.
"""

import errno
import os
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

from barnabas.ports import File, RingFile, WorldError

Kind: TypeAlias = Literal["open", "write", "read", "sync", "truncate", "rename", "unlink", "sync_folder"]
FREE_BYTES: Final = 1 << 40
COLD_SHARE: Final = 0.2


class _Inode:
    """One file's bytes: as a reader sees them, as they are on the platter, and the changes between the two."""

    def __init__(self) -> None:
        self.live = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        """(position, content), or (size, None) for a truncation."""

    def change(self, position: int, content: bytes | None) -> None:
        _apply(self.live, position, content)
        self.pending.append((position, content))

    def sync(self) -> None:
        for position, content in self.pending:
            _apply(self.durable, position, content)
        self.pending.clear()

    def crash(self, chance: random.Random) -> None:
        kept = _what_survives(self.pending, chance)
        for position, content in kept:
            _apply(self.durable, position, content)
        self.pending.clear()
        self.live = bytearray(self.durable)


def _apply(target: bytearray, position: int, content: bytes | None) -> None:
    end = position if content is None else position + len(content)
    if len(target) < end:
        target.extend(bytes(end - len(target)))
    if content is None:
        del target[position:]
    else:
        target[position:end] = content


def _what_survives(
    pending: list[tuple[int, bytes | None]], chance: random.Random
) -> list[tuple[int, bytes | None]]:
    how = chance.choice(("nothing", "first", "any"))
    if how == "nothing" or not pending:
        return []
    if how == "first":
        kept = pending[: chance.randint(0, len(pending))]
        if len(kept) < len(pending):
            position, content = pending[len(kept)]
            if content:
                kept.append((position, content[: chance.randint(0, len(content))]))
        return kept
    kept = []
    for position, content in pending:
        if chance.random() < 0.5:
            torn = content is not None and chance.random() < 0.3
            kept.append(
                (position, content[: chance.randint(0, len(content))] if torn and content else content)
            )
    return kept


class _Folder:
    """Names: as a reader sees them, as they are on the platter, and the changes between the two."""

    def __init__(self) -> None:
        self.live: dict[str, _Inode | _Folder] = {}
        self.durable: dict[str, _Inode | _Folder] = {}
        self.pending: list[dict[str, _Inode | _Folder | None]] = []
        self.writer: tuple[VirtualDisk, int] | None = None
        """Who changed a file here last: a process and its life (D6)."""

    def change(self, names: "dict[str, _Inode | _Folder | None]") -> None:
        _rename(self.live, names)
        self.pending.append(names)

    def sync(self) -> None:
        for names in self.pending:
            _rename(self.durable, names)
        self.pending.clear()

    def crash(self, chance: random.Random) -> None:
        for names in self.pending[: chance.randint(0, len(self.pending))]:
            _rename(self.durable, names)
        self.pending.clear()
        self.live = dict(self.durable)
        for name in sorted(self.live):
            self.live[name].crash(chance)


def _rename(target: "dict[str, _Inode | _Folder]", names: "dict[str, _Inode | _Folder | None]") -> None:
    for name, node in names.items():
        if node is None:
            target.pop(name, None)
        else:
            target[name] = node


class _Fault:
    """A failure that waits for its call."""

    def __init__(self, kind: Kind, number: int, after: int, times: int, path: str) -> None:
        self.kind = kind
        self.number = number
        self.after = after
        self.times = times
        self.path = path


class VirtualFile:
    """One open file of a VirtualDisk."""

    def __init__(self, disk: "VirtualDisk", path: str, folder: _Folder, inode: _Inode) -> None:
        self.path = path
        self._disk = disk
        self._folder = folder
        self._inode = inode
        self._life = disk.lives

    def _use(self, kind: Kind | None = None) -> None:
        assert self._life == self._disk.lives, f"{self.path}: a file of a process that died is used"
        if kind is not None:
            self._disk.call(kind, self.path)

    def fileno(self) -> int:
        return -1

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        content = b"".join(chunks)
        self._disk.writes_in(self._folder, self.path)
        try:
            self._use("write")
            if position + len(content) > len(self._inode.live):
                self._disk.grow(self.path)
        except WorldError:
            part = content[: self._disk.random.randint(0, len(content))]
            if part:
                self._inode.change(position, part)
            raise
        if content:
            self._inode.change(position, content)
        return len(content)

    def read(self, position: int, size: int) -> bytes:
        self._use("read")
        return bytes(self._inode.live[position : position + size])

    def read_now(self, position: int, size: int) -> bytes | None:
        """In memory or not, as the seed says."""
        return None if self._disk.cold.random() < COLD_SHARE else self.read(position, size)

    def size(self) -> int:
        self._use()
        return len(self._inode.live)

    def truncate(self, size: int) -> None:
        self._disk.writes_in(self._folder, self.path)
        self._use("truncate")
        self._inode.change(size, None)

    def write_back(self, position: int, size: int) -> None:
        """What of the changes survives a crash is by chance anyway."""

    def sync(self) -> None:
        try:
            self._use("sync")
        except WorldError:
            if not self._disk.is_interrupted:
                self._inode.pending.clear()
            raise
        self._inode.sync()

    def close(self) -> None:
        return


class VirtualRing(VirtualFile):
    """A file whose writes are durable when they return; a crash in one leaves any part of it. Quick as the seed says."""

    def is_quick(self) -> bool:
        return self._disk.random.random() < 0.5

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        size = super().write(position, chunks)
        self.sync()
        return size


class Platter:
    """What the processes of one machine share."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cold = random.Random(seed)
        """Chances of their own: whether a read is cold changes nothing of what else goes wrong."""
        self.root = _Folder()
        self.locks: dict[str, object] = {}
        self.processes: list[VirtualDisk] = []
        self.is_full = False
        self.breaches: list[str] = []
        """Of D6: who broke it may have caught the failure."""


class VirtualDisk:
    """The Files port of one process over a disk that forgets. Paths are absolute."""

    def __init__(self, seed: int = 0, platter: Platter | None = None) -> None:
        self.platter = Platter(seed) if platter is None else platter
        self.platter.processes.append(self)
        self.random = self.platter.random
        self.cold = self.platter.cold
        self.lives = 0
        self.takes_turns = False
        self.free = FREE_BYTES
        self.total = 2 * FREE_BYTES
        self.calls: dict[Kind, int] = {}
        self._root = self.platter.root
        self._faults: list[_Fault] = []
        self._calls_left: int | None = None
        self._locks: dict[str, object] = {}

    def process(self) -> "VirtualDisk":
        """The disk as another process has it (D5), with faults of its own."""
        return VirtualDisk(platter=self.platter)

    # -- what a test does to it

    def crash(self) -> None:
        """The power goes. Kill the nodes' loops first; then open the disk again as a new process would."""
        for process in self.platter.processes:
            process.lose_process()
        self._root.crash(self.random)

    def lose_process(self) -> None:
        """The process dies, the machine lives: a new one sees all that was written, synced or not."""
        self.lives += 1
        self._calls_left = None
        for path, holder in self._locks.items():
            if self.platter.locks.get(path) is holder:
                del self.platter.locks[path]
        self._locks.clear()

    def interrupt(self, calls: int) -> None:
        """The process is about to die: of what its threads still ask, so many calls happen and no other.

        So a crash comes between the write and the sync of one piece of work too. Ends with the process.
        """
        self._calls_left = calls

    @property
    def is_interrupted(self) -> bool:
        return self._calls_left is not None

    def fail(self, kind: Kind, number: int, *, after: int = 0, times: int = 1, path: str = "") -> None:
        """After `after` more calls of kind (on paths that contain path), the next `times` raise errno number."""
        self._faults.append(_Fault(kind, number, after, times, path))

    def heal(self) -> None:
        self._faults.clear()

    def call(self, kind: Kind, path: str) -> None:
        """Count one call and raise what was scripted for it."""
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left < 0:
                raise WorldError(f"{path}: the process has died", errno.EINTR)
        self.calls[kind] = self.calls.get(kind, 0) + 1
        for fault in self._faults:
            if fault.kind == kind and fault.path in path:
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times > 0:
                    fault.times -= 1
                    raise WorldError(f"{path}: {os.strerror(fault.number)}", fault.number)

    def grow(self, path: str) -> None:
        """D7."""
        if self.platter.is_full:
            raise WorldError(f"{path}: {os.strerror(errno.ENOSPC)}", errno.ENOSPC)

    def changes_in(self, folder: _Folder, path: str) -> None:
        """D6, of what leaves no mark."""
        if folder.writer is None:
            return
        writer, life = folder.writer
        if writer is not self and writer.lives == life and not writer.takes_turns:
            self.platter.breaches.append(path)
            raise AssertionError(f"{path}: is changed while another process that wrote there lives")

    def writes_in(self, folder: _Folder, path: str) -> None:
        """D6."""
        self.changes_in(folder, path)
        folder.writer = self, self.lives

    # -- the port

    def open_ring(self, path: str, size: int) -> RingFile | None:
        if not self.exists(path) or self.open(path).size() != size:
            self.write_atomic(path, bytes(size))
        folder, name = self._parent(path)
        found = folder.live[name]
        assert isinstance(found, _Inode)
        self.call("open", path)
        return VirtualRing(self, path, folder, found)

    def open(self, path: str, *, create: bool = False) -> File:
        self.call("open", path)
        folder, name = self._parent(path)
        node = folder.live.get(name)
        if isinstance(node, _Folder):
            raise WorldError(f"{path}: is a folder", errno.EISDIR)
        if node is None:
            if not create:
                raise WorldError(f"{path}: no such file", errno.ENOENT)
            self.grow(path)
            node = _Inode()
            folder.change({name: node})
        return VirtualFile(self, path, folder, node)

    def exists(self, path: str) -> bool:
        return self._find(path) is not None

    def list(self, folder: str) -> list[str]:
        node = self._find(folder)
        return sorted(node.live) if isinstance(node, _Folder) else []

    def make_folder(self, folder: str) -> None:
        here = self._root
        for name in _parts(folder):
            node = here.live.get(name)
            if node is None:
                self.grow(folder)
                node = _Folder()
                here.change({name: node})
            if isinstance(node, _Inode):
                raise WorldError(f"{folder}: is a file", errno.EEXIST)
            here = node

    def rename(self, old: str, new: str) -> None:
        self.call("rename", old)
        folder, name = self._parent(old)
        target, new_name = self._parent(new)
        node = folder.live.get(name)
        if node is None:
            raise WorldError(f"{old}: no such file", errno.ENOENT)
        assert folder is target, f"{old} to {new}: this disk renames within one folder only"
        self.changes_in(node if isinstance(node, _Folder) else folder, old)
        there = target.live.get(new_name)
        if isinstance(there, _Folder) and there.live:
            raise WorldError(f"{new}: is a folder that is not empty", errno.ENOTEMPTY)
        folder.change({name: None, new_name: node})

    def unlink(self, path: str) -> None:
        self.call("unlink", path)
        if isinstance(self._find(path), _Inode):
            folder, name = self._parent(path)
            self.changes_in(folder, path)
            folder.change({name: None})

    def remove_folder(self, folder: str) -> None:
        self.call("unlink", folder)
        node = self._find(folder)
        if isinstance(node, _Folder):
            self.changes_in(node, folder)
            parent, name = self._parent(folder)
            parent.change({name: None})

    def sync_folder(self, folder: str) -> None:
        self.call("sync_folder", folder)
        node = self._find(folder)
        if not isinstance(node, _Folder):
            raise WorldError(f"{folder}: no such folder", errno.ENOENT)
        node.sync()

    def read_all(self, path: str) -> bytes:
        file = self.open(path)
        return file.read(0, file.size())

    def write_atomic(self, path: str, content: bytes) -> None:
        """By the steps a real disk takes, so that each of them can fail and a crash can come between them."""
        beside = path + ".tmp"
        self.unlink(beside)
        file = self.open(beside, create=True)
        file.write(0, [content])
        file.sync()
        self.rename(beside, path)
        self.sync_folder(path.rpartition("/")[0] or "/")

    def free_bytes(self, folder: str) -> int:
        return self.free

    def total_bytes(self, folder: str) -> int:
        return self.total

    def lock(self, path: str) -> Callable[[], None] | None:
        if path in self.platter.locks:
            return None
        self.open(path, create=True)
        holder = object()
        self._locks[path] = self.platter.locks[path] = holder

        def release() -> None:
            if self.platter.locks.get(path) is holder:
                del self.platter.locks[path]

        return release

    def _find(self, path: str) -> "_Inode | _Folder | None":
        here: _Inode | _Folder | None = self._root
        for name in _parts(path):
            here = here.live.get(name) if isinstance(here, _Folder) else None
        return here

    def _parent(self, path: str) -> tuple[_Folder, str]:
        folder, _, name = path.rstrip("/").rpartition("/")
        node = self._find(folder)
        if not isinstance(node, _Folder):
            raise WorldError(f"{path}: its folder does not exist", errno.ENOENT)
        return node, name


def _parts(path: str) -> list[str]:
    return [name for name in path.split("/") if name]
