"""Files of the operating system (POSIX). OSError becomes WorldError with its number, its path and what to do.

Durability  `sync` is fdatasync (F_FULLFSYNC on macOS, where fdatasync does not reach the platter); a new, renamed or
            unlinked name is durable after `sync_folder` of its folder.
"""

import errno
import fcntl
import mmap
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from barnabas.adapters import cold
from barnabas.adapters.write_back import write_back
from barnabas.ports import File, RingFile, WorldError

IOV_MAX: Final = 1024
QUICK_NS: Final = 300_000
QUICK_WRITES: Final = 64
RING_WRITE_BYTES: Final = 1024 * 1024
REMEDIES: Final = {
    errno.ENOSPC: "the disk is full: free space or shorten retention",
    errno.EACCES: "permission denied: check the owner of the data folder",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
}


def refusal(path: str, error: OSError) -> WorldError:
    """What the system said, as the one kind of error that the layers below know."""
    number = error.errno or 0
    text = REMEDIES.get(number) or (os.strerror(number) if number > 0 else str(error))
    return WorldError(f"{path}: {text}", number)


@contextmanager
def blame(path: str) -> Iterator[None]:
    """Turns what the system refuses into WorldError."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def sync_descriptor(fd: int) -> None:
    """Data and size reach the platter: macOS keeps them in the drive's cache unless it is asked by F_FULLFSYNC."""
    if fd < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # fdatasync would say it by a ValueError
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fdatasync(fd)
    else:
        fcntl.fcntl(fd, full)


class OsFile:
    """One open descriptor, read and written at positions.

    A failed sync stays failed: the system tells a write error once a descriptor, to whoever syncs next, and then says that
    all is well. Syncs wait for each other, so that of two threads none hears "well" of what the other heard was lost.
    """

    __slots__ = ("_fd", "_not_synced", "_syncing", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._syncing = threading.Lock()
        self._not_synced: WorldError | None = None

    def fileno(self) -> int:
        return self._fd

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        try:
            if len(chunks) <= IOV_MAX:
                return self._write_part(position, chunks)
            total = 0
            for at in range(0, len(chunks), IOV_MAX):
                total += self._write_part(position + total, chunks[at : at + IOV_MAX])
            return total
        except OSError as error:
            raise refusal(self.path, error) from error

    def _write_part(self, position: int, part: Sequence[bytes | memoryview]) -> int:
        wanted = 0
        for chunk in part:
            wanted += len(chunk)
        written = os.pwritev(self._fd, part, position)
        if written < wanted:
            self._write_rest(position, b"".join(part), written)
        return wanted

    def _write_rest(self, position: int, content: bytes, written: int) -> None:
        """A short write: the disk is nearly full, or a signal came. What is left is tried until an error says why."""
        rest = memoryview(content)
        while written < len(content):
            more = os.pwrite(self._fd, rest[written:], position + written)
            if more == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += more

    def read(self, position: int, size: int) -> bytes:
        try:
            content = os.pread(self._fd, size, position)
            while 0 < len(content) < size:
                more = os.pread(self._fd, size - len(content), position + len(content))
                if not more:
                    break
                content += more
            return content
        except OSError as error:
            raise refusal(self.path, error) from error

    def read_now(self, position: int, size: int) -> bytes | None:
        try:
            return cold.read_now(self._fd, position, size)
        except OSError as error:
            raise refusal(self.path, error) from error

    def size(self) -> int:
        with blame(self.path):
            return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        with blame(self.path):
            os.ftruncate(self._fd, size)

    def write_back(self, position: int, size: int) -> None:
        write_back(self._fd, position, size)

    def sync(self) -> None:
        with self._syncing:
            if self._not_synced is not None:
                raise WorldError(self._not_synced.what, self._not_synced.errno)
            try:
                sync_descriptor(self._fd)
            except OSError as error:
                self._not_synced = refusal(self.path, error)
                raise self._not_synced from error

    def __del__(self) -> None:
        """Whoever dropped the file without closing it may still have ranges of it being sent: the last one closes it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """A second close does nothing: the number may already belong to another file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with blame(self.path):
                os.close(fd)


class OsRing(OsFile):
    """Past the page cache and durable at return: O_DIRECT with RWF_DSYNC, over blocks that are allocated already, so that
    one write is one command to the disk. Such writes want memory on a page of its own: they are gathered in one.
    """

    __slots__ = ("gathered", "quick_writes")

    def __init__(self, path: str, fd: int) -> None:
        super().__init__(path, fd)
        self.quick_writes = 0
        """In a row, up to now, for which somebody has waited."""
        self.take_new_memory()

    def take_new_memory(self) -> None:
        self.gathered = mmap.mmap(-1, RING_WRITE_BYTES, flags=mmap.MAP_PRIVATE)

    def gather(self, chunks: Sequence[bytes | memoryview]) -> int:
        """One behind the other, in memory that a write may take them from; returns how many bytes."""
        size = sum(map(len, chunks))
        if size > len(self.gathered):
            self.gathered = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
        gathered, at = self.gathered, 0
        for chunk in chunks:
            gathered[at : at + len(chunk)] = chunk
            at += len(chunk)
        return at

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        size = self.gather(chunks)
        with blame(self.path), memoryview(self.gathered) as view:
            written = 0
            begun_ns = time.perf_counter_ns()
            while written < size:
                written += os.pwritev(self._fd, [view[written:size]], position + written, os.RWF_DSYNC)
            is_quick = time.perf_counter_ns() - begun_ns < QUICK_NS
        self.quick_writes = self.quick_writes + 1 if is_quick else 0
        return size

    def is_quick(self) -> bool:
        """One slow write is enough to send the next ones to a thread."""
        return self.quick_writes >= QUICK_WRITES


def fill(path: str, size: int) -> None:
    """Every block written once, and durable. An unfinished file has another name.

    Each megabyte is synced: whoever else syncs meanwhile waits for what the disk has been given, 65 ms for the 64 MB of a ring at once.
    """
    beside = path + ".tmp"
    with open(beside, "wb") as file:
        for at in range(0, size, RING_WRITE_BYTES):
            file.write(bytes(min(RING_WRITE_BYTES, size - at)))
            file.flush()
            sync_descriptor(file.fileno())
    os.replace(beside, path)


class OsFiles:
    """The file system of this machine."""

    def open_ring(self, path: str, size: int) -> RingFile | None:
        if not hasattr(os, "O_DIRECT") or not hasattr(os, "RWF_DSYNC"):
            return None
        with blame(path):
            if not os.path.exists(path) or os.path.getsize(path) != size:
                fill(path, size)
                self.sync_folder(os.path.dirname(path) or ".")
            try:
                ring = OsRing(path, os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT))
            except OSError as error:
                if error.errno == errno.EINVAL:  # a file system without it: tmpfs, some overlays
                    return None
                raise
            # What the page cache has of it, each write would have to throw out, and wait for that (direct_writes.py D2).
            os.posix_fadvise(ring.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return ring

    def open(self, path: str, *, create: bool = False) -> File:
        with blame(path):
            flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
            return OsFile(path, os.open(path, flags, 0o644))

    def exists(self, path: str) -> bool:
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:  # os.path.exists calls this absent, and the caller might begin anew
            raise refusal(path, error) from error
        return True

    def list(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refusal(folder, error) from error

    def make_folder(self, folder: str) -> None:
        with blame(folder):
            os.makedirs(folder, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        with blame(old):
            os.rename(old, new)

    def unlink(self, path: str) -> None:
        with blame(path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return

    def remove_folder(self, folder: str) -> None:
        with blame(folder):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                return

    def sync_folder(self, folder: str) -> None:
        with blame(folder):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def read_all(self, path: str) -> bytes:
        with blame(path), open(path, "rb") as file:
            return file.read()

    def write_atomic(self, path: str, content: bytes) -> None:
        beside = path + ".tmp"
        with blame(path):
            try:
                with open(beside, "wb") as file:
                    file.write(content)
                    file.flush()
                    sync_descriptor(file.fileno())
                os.replace(beside, path)
            except OSError:
                self.unlink(beside)  # a half-written file would hold space that a full disk lacks
                raise
        self.sync_folder(os.path.dirname(path) or ".")

    def free_bytes(self, folder: str) -> int:
        with blame(folder):
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize

    def total_bytes(self, folder: str) -> int:
        with blame(folder):
            found = os.statvfs(folder)
            return found.f_blocks * found.f_frsize

    def lock(self, path: str) -> Callable[[], None] | None:
        with blame(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(fd)
                if isinstance(error, BlockingIOError):
                    return None
                raise
        return OsFile(path, fd).close


class ReadOnlyFiles(OsFiles):
    """Of a backup, perhaps on a disk that nobody may write to."""

    def open(self, path: str, *, create: bool = False) -> File:
        with blame(path):
            return OsFile(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def storage_warning(folder: str) -> str | None:
    """A sentence when folder lies where a broker's log should not; None when nothing speaks against it.

    Network file systems answer a sync from caches of their own and their locks may not reach other machines; what a
    container writes to its overlay is gone with the container; tmpfs is gone with the power.
    """
    kind = file_system_kind(folder)
    if kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"):
        return f"{folder} is on a network file system ({kind}): use a local disk, or syncs and locks cannot be trusted"
    if kind == "overlay":
        return f"{folder} is inside a container's overlay: mount a volume, or all records vanish with the container"
    if kind in ("tmpfs", "ramfs"):
        return f"{folder} is in memory ({kind}): records vanish when the machine stops"
    return None


def file_system_kind(folder: str, mounts: str = "/proc/self/mountinfo") -> str:
    """The type of the file system that holds folder, as Linux names it; "" where there is no such table."""
    try:
        with open(mounts, encoding="utf-8", errors="replace") as table:
            lines = table.read().splitlines()
    except OSError:
        return ""
    found, longest = "", -1
    whole = os.path.realpath(folder) + "/"
    for line in lines:
        before, _, after = line.partition(" - ")
        # proc(5): octal escapes stand for space, tab, newline and backslash.
        point = before.split(" ")[4].encode().decode("unicode_escape")
        if whole.startswith(point.rstrip("/") + "/") and len(point) >= longest:
            found, longest = after.split(" ")[0], len(point)
    return found


def raise_descriptor_limit() -> int:
    """The soft limit of open files becomes the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft
    return hard
