"""Where the last batches of a segment are: readers at the end of a log need no search in its file. In RAM alone."""

from typing import Final

from librt.vecs import append, vec
from mypy_extensions import i64

RECENT_MAX: Final = 512


class Recent:
    """The last RECENT_MAX batches or fewer, at least one. Two runs of words: arrays and lists would make two ints a batch."""

    __slots__ = ("_ends", "_positions")

    def __init__(self, end_offset: i64, position: i64) -> None:
        self._ends = vec[i64]([end_offset])
        self._positions = vec[i64]([position])

    def add(self, end_offset: i64, position: i64) -> None:
        """The next batch, which begins at position and at the offset where the one before ended."""
        self._ends = append(self._ends, end_offset)
        self._positions = append(self._positions, position)
        if len(self._ends) > RECENT_MAX:
            self._ends = self._ends[RECENT_MAX // 2 :]
            self._positions = self._positions[RECENT_MAX // 2 :]

    @property
    def count(self) -> int:
        return len(self._ends)

    @property
    def first_position(self) -> i64:
        return self._positions[0]

    def find(self, offset: i64) -> tuple[i64, i64]:
        """Where the batch that holds offset begins, and where the one behind it does; -1: nothing is behind it.

        -1, -1: it is in the first batch or before it. Where that begins is known only if nothing is before it.
        """
        ends, positions = self._ends, self._positions
        first_end = ends[0]
        if offset < first_end and positions[0] != 0:
            return -1, -1
        last: i64 = len(ends) - 1
        if last == 0 or offset >= ends[last - 1]:
            return positions[last], -1
        low: i64 = 0
        at = last - 1  # ends[at] is above offset, and no end before low is
        # It is there if all have as many records.
        guess = (offset - first_end) * last // (ends[last] - first_end) + 1
        if 0 <= guess < last:
            if ends[guess] > offset:
                at = guess
            if guess > 0 and ends[guess - 1] <= offset:
                low = guess
        while low < at:
            middle = (low + at) >> 1
            if ends[middle] > offset:
                at = middle
            else:
                low = middle + 1
        return positions[at], positions[at + 1]
