"""Memory as a broker finds it on a machine that has run for a day: full of page cache, so that a written page takes the place of
an old one. Freshly started machines have free memory instead, and a virtual one may have given it back to its host: the first
touch of such a page cost 2,500 microseconds a megabyte where a reused one cost 200, and who paid was chance.
"""

import mmap
import os
from pathlib import Path
from typing import Final

FREE_BYTES: Final = 1 << 30
"""Above what the kernel keeps free anyway."""
READ_BYTES: Final = 4 << 20
FILE_SHARE: Final = 1.25
"""Of all memory: more than can be held, so that going round always meets what is not in memory."""


class FullPageCache:
    """Fills it with the pages of a file without content, of which the disk holds nothing."""

    def __init__(self, folder: Path) -> None:
        self._size = int(total_bytes() * FILE_SHARE) // READ_BYTES * READ_BYTES
        self._at = 0
        self._file = os.open(folder / "hole", os.O_RDWR | os.O_CREAT)
        os.ftruncate(self._file, self._size)
        self._read = mmap.mmap(-1, READ_BYTES)

    def fill(self) -> None:
        """Until little memory is free, or the file has been read once: where its pages are not kept, so be it."""
        for _ in range(self._size // READ_BYTES):
            if free_bytes() < FREE_BYTES:
                return
            self._at = (self._at + os.preadv(self._file, [self._read], self._at)) % self._size

    def close(self) -> None:
        os.close(self._file)
        self._read.close()


def total_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_bytes() -> int:
    """Used for nothing at all, not even the page cache."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
