"""Files in memory: what `Broker()` in a test writes to. The same contract as the real ones, without durability.

A file is a list of immutable chunks, so reading a range never copies the whole and writing appends what it was given.
"""

import errno
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from barnabas.ports import File, RingFile, WorldError


class RamFile:
    """Chunks in order, with the position of each one's first byte beside them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._size = 0

    def fileno(self) -> int:
        return -1

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        if position != self._size:
            return self._write_within(position, b"".join(chunks))
        written = 0
        for chunk in chunks:
            if len(chunk):
                self._starts.append(self._size)
                self._chunks.append(bytes(chunk))
                self._size += len(chunk)
                written += len(chunk)
        return written

    def _write_within(self, position: int, content: bytes) -> int:
        if not content:
            return 0
        whole = bytearray(self.read(0, self._size))
        if position > len(whole):
            whole.extend(bytes(position - len(whole)))
        whole[position : position + len(content)] = content
        self._starts, self._chunks, self._size = [0], [bytes(whole)], len(whole)
        return len(content)

    def read(self, position: int, size: int) -> bytes:
        end = min(position + size, self._size)
        if position >= end:
            return b""
        starts = self._starts
        first = bisect_right(starts, position) - 1
        behind = bisect_left(starts, end, first)
        parts = self._chunks[first:behind]
        parts[-1] = parts[-1][: end - starts[behind - 1]]
        parts[0] = parts[0][position - starts[first] :]
        return b"".join(parts)  # one run of bytes is returned as it is

    def read_now(self, position: int, size: int) -> bytes | None:
        return self.read(position, size)

    def size(self) -> int:
        return self._size

    def write_back(self, position: int, size: int) -> None:
        return

    def truncate(self, size: int) -> None:
        if size > self._size:
            self.write(self._size, [bytes(size - self._size)])
            return
        while self._starts and self._starts[-1] >= size:
            self._starts.pop()
            self._chunks.pop()
        if self._chunks:
            self._chunks[-1] = self._chunks[-1][: size - self._starts[-1]]
        self._size = size

    def sync(self) -> None:
        return

    def close(self) -> None:
        return


class RamFiles:
    """A file system in memory. As on a disk, a file or folder is made only in a folder that exists."""

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self._files: dict[str, RamFile] = {}
        self._folders: set[str] = set()
        self._locks: dict[str, object] = {}
        self._capacity_bytes = capacity_bytes

    def open(self, path: str, *, create: bool = False) -> File:
        file = self._files.get(path)
        if file is None:
            if path in self._folders:
                raise WorldError(f"{path}: is a folder", errno.EISDIR)
            if not create:
                raise WorldError(f"{path}: no such file", errno.ENOENT)
            self._require_folder_of(path)
            file = self._files[path] = RamFile(path)
        return file

    def _require_folder_of(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder and folder not in self._folders:
            raise WorldError(f"{path}: its folder does not exist", errno.ENOENT)

    def open_ring(self, path: str, size: int) -> RingFile | None:
        """Nothing here is durable."""
        return None

    def exists(self, path: str) -> bool:
        return path in self._files or path in self._folders

    def list(self, folder: str) -> list[str]:
        prefix = folder.rstrip("/") + "/"
        names = {
            name[len(prefix) :].split("/", 1)[0]
            for name in (*self._files, *self._folders)
            if name.startswith(prefix)
        }
        return sorted(names)

    def make_folder(self, folder: str) -> None:
        folder = folder.rstrip("/")
        while folder and folder not in self._folders:
            if folder in self._files:
                raise WorldError(f"{folder}: is a file", errno.EEXIST)
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]

    def rename(self, old: str, new: str) -> None:
        if not self.exists(old):
            raise WorldError(f"{old}: no such file", errno.ENOENT)
        self._require_folder_of(new)
        if old in self._folders and self.list(new):
            raise WorldError(f"{new}: is a folder that is not empty", errno.ENOTEMPTY)
        for name in [name for name in self._files if name == old or name.startswith(old + "/")]:
            moved = self._files.pop(name)
            moved.path = new + name[len(old) :]
            self._files[moved.path] = moved
        for name in [name for name in self._folders if name == old or name.startswith(old + "/")]:
            self._folders.remove(name)
            self._folders.add(new + name[len(old) :])

    def unlink(self, path: str) -> None:
        self._files.pop(path, None)

    def remove_folder(self, folder: str) -> None:
        for name in [name for name in self._files if name.startswith(folder + "/")]:
            del self._files[name]
        self._folders = {
            name for name in self._folders if name != folder and not name.startswith(folder + "/")
        }

    def sync_folder(self, folder: str) -> None:
        return

    def read_all(self, path: str) -> bytes:
        file = self._files.get(path)
        if file is None:
            raise WorldError(f"{path}: no such file", errno.ENOENT)
        return file.read(0, file.size())

    def write_atomic(self, path: str, content: bytes) -> None:
        self._require_folder_of(path)
        file = RamFile(path)
        file.write(0, [content])
        self._files[path] = file

    def free_bytes(self, folder: str) -> int:
        return self._capacity_bytes - self.used_bytes()

    def total_bytes(self, folder: str) -> int:
        return self._capacity_bytes

    def used_bytes(self) -> int:
        """All bytes held; what the cap of an in-memory broker is compared with."""
        return sum(file.size() for file in self._files.values())

    def lock(self, path: str) -> Callable[[], None] | None:
        if path in self._locks:
            return None
        self.open(path, create=True)
        holder = object()
        self._locks[path] = holder

        def release() -> None:
            if self._locks.get(path) is holder:
                del self._locks[path]

        return release
