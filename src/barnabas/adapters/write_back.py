"""sync_file_range(2), Linux: the kernel begins to write pages of a file to the disk, and nobody waits until it has.

Nothing is durable by that: neither the file's size nor where its blocks lie is written, and an error is told by the next sync.
Python has no call for it. Elsewhere it does nothing.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Final

SYNC_FILE_RANGE_WRITE: Final = 2


def _found() -> Callable[[int, int, int, int], int] | None:
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError, TypeError):  # another system; Windows takes no None
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    found.restype = ctypes.c_int
    return found


_sync_file_range: Final = _found()
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def write_back(fd: int, position: int, size: int) -> None:
    """Whole pages of it: one that is only begun would have to be written once more. For a thread: it may wait for a while."""
    begin, end = position // PAGE_BYTES * PAGE_BYTES, (position + size) // PAGE_BYTES * PAGE_BYTES
    if _sync_file_range is not None and fd >= 0 and begin < end:
        _sync_file_range(fd, begin, end - begin, SYNC_FILE_RANGE_WRITE)
