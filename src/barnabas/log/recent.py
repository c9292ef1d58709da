"""Where the last batches of a segment are: readers at the end of a log need no search in its file.

Layout   16 bytes a batch: the offset behind it i64, its position i64, big-endian; in RAM alone.
"""

from typing import Final

from librt.strings import BytesWriter, read_i64_be, write_i64_be

RECENT_MAX: Final = 512
ENTRY_BYTES: Final = 16


class Recent:
    """The last RECENT_MAX batches or fewer, at least one. A run of bytes: arrays and lists would make two ints a batch."""

    __slots__ = (
        "_entries",
        "_first_end",
        "_last_begin",
        "_last_end",
        "_last_position",
        "count",
        "first_position",
    )

    def __init__(self, end_offset: int, position: int) -> None:
        self._entries = BytesWriter()
        self.count = 0
        self._first_end = end_offset
        self.first_position = position
        self._last_begin = self._last_end = end_offset
        self._last_position = position
        self.add(end_offset, position)

    def add(self, end_offset: int, position: int) -> None:
        """The next batch, which begins at position and at the offset where the one before ended."""
        write_i64_be(self._entries, end_offset)
        write_i64_be(self._entries, position)
        self._last_begin, self._last_end = self._last_end, end_offset
        self._last_position = position
        self.count += 1
        if self.count > RECENT_MAX:
            self._drop(RECENT_MAX // 2)

    def _drop(self, count: int) -> None:
        """The oldest."""
        kept = self._entries.getvalue()[count * ENTRY_BYTES :]
        self._entries.truncate(0)
        self._entries.write(kept)
        self.count -= count
        self._first_end, self.first_position = read_i64_be(kept, 0), read_i64_be(kept, 8)

    def has(self, offset: int) -> bool:
        """Whether offset is surely not before the first batch; the first holds it only if it begins at or before it."""
        return offset >= self._first_end or self.first_position == 0

    def find(self, offset: int) -> tuple[int, int]:
        """Where the batch that holds offset begins, and where the one behind it does; -1: nothing is behind it."""
        if offset >= self._last_begin or self.count == 1:
            return self._last_position, -1
        entries = self._entries.getvalue()
        low, high = 0, self.count - 1  # the first whose end is above offset
        while low < high:
            middle = (low + high) // 2
            if read_i64_be(entries, middle * ENTRY_BYTES) > offset:
                high = middle
            else:
                low = middle + 1
        at = low * ENTRY_BYTES + 8
        return read_i64_be(entries, at), read_i64_be(entries, at + ENTRY_BYTES)
