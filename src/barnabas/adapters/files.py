"""Files of the operating system. OSError becomes WorldError with its number and path.

Durability  `sync` is fdatasync (F_FULLFSYNC on macOS, where fdatasync does not reach the platter); a new, renamed or
            unlinked name is durable after `sync_folder` of its folder.
"""

import errno
import fcntl
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from barnabas.ports import File, WorldError

IOV_MAX: Final = 1024
REMEDIES: Final = {
    errno.ENOSPC: "the disk is full: free space or shorten retention",
    errno.EACCES: "permission denied: check the owner of the data folder",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
}


@contextmanager
def blame(path: str) -> Iterator[None]:
    """Turns what the system refuses into WorldError."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        text = REMEDIES.get(number, os.strerror(number) if number else str(error))
        raise WorldError(f"{path}: {text}", number) from error


class OsFile:
    """One open descriptor, read and written at positions."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        try:
            total = 0
            for at in range(0, len(chunks), IOV_MAX):
                part = chunks[at : at + IOV_MAX]
                wanted = sum(map(len, part))
                written = os.pwritev(self._fd, part, position + total)
                if written < wanted:
                    self._write_rest(position + total, b"".join(part), written)
                total += wanted
            return total
        except OSError as error:
            raise WorldError(f"{self.path}: {os.strerror(error.errno or 0)}", error.errno or 0) from error

    def _write_rest(self, position: int, content: bytes, written: int) -> None:
        """A short write: the disk is nearly full, or a signal came. What is left is tried until an error says why."""
        while written < len(content):
            more = os.pwrite(self._fd, content[written:], position + written)
            if more == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += more

    def read(self, position: int, size: int) -> bytes:
        with blame(self.path):
            content = os.pread(self._fd, size, position)
            if 0 < len(content) < size:
                parts = [content]
                got = len(content)
                while got < size:
                    more = os.pread(self._fd, size - got, position + got)
                    if not more:
                        break
                    parts.append(more)
                    got += len(more)
                content = b"".join(parts)
            return content

    def size(self) -> int:
        with blame(self.path):
            return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        with blame(self.path):
            os.ftruncate(self._fd, size)

    def sync(self) -> None:
        with blame(self.path):
            if hasattr(fcntl, "F_FULLFSYNC"):
                fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
            else:
                os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class OsFiles:
    """The file system of this machine."""

    def open(self, path: str, *, create: bool = False) -> File:
        with blame(path):
            flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
            return OsFile(path, os.open(path, flags, 0o644))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def list(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise WorldError(f"{folder}: {error.strerror}", error.errno or 0) from error

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
            with open(beside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        self.sync_folder(os.path.dirname(path) or ".")

    def free_bytes(self, folder: str) -> int:
        with blame(folder):
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize

    def lock(self, path: str) -> Callable[[], None] | None:
        with blame(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            return lambda: os.close(fd)


def raise_descriptor_limit() -> int:
    """The soft limit of open files becomes the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft
    return hard
