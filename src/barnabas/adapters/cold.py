"""Is a file's range in the page cache? And if it is not: bring it there, in a thread, before the loop would wait for the disk.

A read with RWF_NOWAIT (Linux 4.14) fails instead of waiting. One byte at the end of each READ_AHEAD_BYTES is asked for: the
kernel reads that much at once, so what lies before it is there too, or will be before it is sent.
"""

import errno
import os
from typing import Final

from barnabas.ports import File

READ_AHEAD_BYTES: Final = 128 * 1024
RWF_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""0 where the system has no such read."""
_NOT_SUPPORTED: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_byte = bytearray(1)
ROOM_BYTES_MAX: Final = 16 * 1024
_rooms: Final[list[bytearray]] = []
"""Of the last reads, one for each thread that ever read at once: most readers want as much again, and a new room is cleared."""
_probing = RWF_NOWAIT != 0


def is_cold(fd: int, position: int, size: int) -> bool:
    """Whether sending size bytes from position would wait for the disk. False where that cannot be told."""
    global _probing
    if not _probing:
        return False
    end = position + size
    at = position + min(READ_AHEAD_BYTES, size) - 1
    try:
        while True:
            os.preadv(fd, [_byte], at, RWF_NOWAIT)
            if at == end - 1:
                return False
            at = min(at + READ_AHEAD_BYTES, end - 1)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            _probing = False  # this file system has no such read: sendfile waits, as it does everywhere else
        return False


def read_warm(fd: int, into: memoryview, position: int) -> bool:
    """Fill into from position on, unless that would wait for the disk: whether it is full. False where that cannot be told."""
    global _probing
    if not _probing:
        return False
    try:
        return os.preadv(fd, [into], position, RWF_NOWAIT) == len(into)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            _probing = False
        return False


def read_now(fd: int, position: int, size: int) -> bytes | None:
    """Up to size bytes; None when some of them are not in the page cache. Waits where that cannot be told. Raises OSError."""
    global _probing
    if not _probing:
        return os.pread(fd, size, position)
    room = _room_of(size)
    try:
        count = os.preadv(fd, (room,), position, RWF_NOWAIT)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        _probing = False
        return os.pread(fd, size, position)
    if count == size:
        content = bytes(room)
        if size <= ROOM_BYTES_MAX:
            _rooms.append(room)
        return content
    # The file ends there, or what is behind is not in memory.
    return bytes(room[:count]) if position + count >= os.fstat(fd).st_size else None


def _room_of(size: int) -> bytearray:
    """What this thread reads into, and nobody else until it is given back to the rooms."""
    try:
        room = _rooms.pop()
    except IndexError:
        return bytearray(size)
    return room if len(room) == size else bytearray(size)


def warm(file: File, position: int, size: int) -> None:
    """For a thread of the read pool: afterwards the range was in the page cache. Raises WorldError."""
    end = position + size
    while position < end:
        content = file.read(position, min(READ_AHEAD_BYTES * 2, end - position))
        if not content:
            return
        position += len(content)
