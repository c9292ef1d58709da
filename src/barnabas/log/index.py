"""The two sparse indexes of a segment, kept in RAM and written at roll, recovery point and close.

Layout   .index      pairs (relative offset u32, position u32): the last offset of a batch and where the batch begins
         .timeindex  pairs (timestamp i64, relative offset u32): the greatest timestamp so far and the batch that has it
         both big-endian, in the order of appending.
I1       Offsets, positions and timestamps rise strictly from pair to pair (timestamps: do not fall).
I2       A pair names a batch that is in the log; an index may lag behind the log and never leads it.
Crash    a torn last pair is ignored; a pair that breaks I1 or I2 makes the index unusable: it is rebuilt from the log.
Truth    the .log file: nothing here is worth repairing, so there is no checksum. What decides about records is proven first (R6 of
         recovery.py).
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from struct import Struct
from typing import Final

OFFSET_PAIR: Final = Struct(">II")
TIME_PAIR: Final = Struct(">qI")


class IndexUnusable(ValueError):
    """The file breaks an invariant: rebuild it."""


class OffsetIndex:
    """Where an offset lives, to within index.interval.bytes."""

    __slots__ = ("offsets", "positions")

    def __init__(self) -> None:
        self.offsets = array("I")
        self.positions = array("I")

    @classmethod
    def load(cls, content: bytes, log_bytes: int) -> "OffsetIndex":
        index = cls()
        for offset, position in OFFSET_PAIR.iter_unpack(content[: len(content) // 8 * 8]):
            if position >= log_bytes:
                raise IndexUnusable(f"I2: position {position} in a log of {log_bytes} bytes")
            if index.positions and (offset <= index.offsets[-1] or position <= index.positions[-1]):
                raise IndexUnusable(f"I1: pair {len(index.positions)} does not rise")
            index.add(offset, position)
        return index

    def add(self, relative_offset: int, position: int) -> None:
        self.offsets.append(relative_offset)
        self.positions.append(position)

    def lookup(self, relative_offset: int) -> int:
        """Where to start scanning for an offset: never past the batch that holds it.

        Pairs lie nearly as far apart in offsets as in positions, so the place is guessed by proportion and looked for from
        there in growing steps; each look makes an int of an entry, and halving alone takes ten of them.
        """
        offsets = self.offsets
        last = len(offsets) - 1
        if last < 0 or relative_offset < offsets[0]:
            return 0
        greatest = offsets[last]
        if relative_offset >= greatest:
            return self.positions[last]
        low, high = 0, last  # offsets[low] <= relative_offset < offsets[high]
        at = last * relative_offset // greatest
        step = 1
        if offsets[at] <= relative_offset:
            low = at
            while low + step < high:
                if offsets[low + step] > relative_offset:
                    high = low + step
                else:
                    low += step
                    step *= 2
        else:
            high = at
            while low < high - step:
                if offsets[high - step] <= relative_offset:
                    low = high - step
                else:
                    high -= step
                    step *= 2
        return self.positions[
            low if high - low == 1 else bisect_right(offsets, relative_offset, low, high) - 1
        ]

    def truncate(self, position: int) -> None:
        """Forget pairs at or behind position."""
        keep = bisect_left(self.positions, position)
        del self.offsets[keep:]
        del self.positions[keep:]

    def to_bytes(self) -> bytes:
        pairs = array("I")
        for offset, position in zip(self.offsets, self.positions, strict=True):
            pairs.append(offset)
            pairs.append(position)
        if sys.byteorder == "little":
            pairs.byteswap()
        return pairs.tobytes()

    @property
    def size_bytes(self) -> int:
        return len(self.offsets) * OFFSET_PAIR.size


class TimeIndex:
    """Which batch first reached a timestamp, to within index.interval.bytes."""

    __slots__ = ("offsets", "timestamps")

    def __init__(self) -> None:
        self.timestamps = array("q")
        self.offsets = array("I")

    @classmethod
    def load(cls, content: bytes) -> "TimeIndex":
        index = cls()
        for timestamp, offset in TIME_PAIR.iter_unpack(content[: len(content) // 12 * 12]):
            if index.timestamps and (timestamp < index.timestamps[-1] or offset < index.offsets[-1]):
                raise IndexUnusable(f"I1: pair {len(index.timestamps)} falls")
            index.timestamps.append(timestamp)
            index.offsets.append(offset)
        return index

    def add(self, timestamp: int, relative_offset: int) -> None:
        """Nothing is added unless the timestamp is greater than all before."""
        if not self.timestamps or timestamp > self.timestamps[-1]:
            self.timestamps.append(timestamp)
            self.offsets.append(relative_offset)

    def lookup(self, timestamp: int) -> int:
        """A relative offset at or before the first batch that reaches timestamp."""
        at = bisect_left(self.timestamps, timestamp) - 1
        return self.offsets[at] if at >= 0 else 0

    def truncate(self, relative_offset: int) -> None:
        """Forget pairs of batches at or behind relative_offset."""
        keep = bisect_left(self.offsets, relative_offset)
        del self.timestamps[keep:]
        del self.offsets[keep:]

    def to_bytes(self) -> bytes:
        return b"".join(map(TIME_PAIR.pack, self.timestamps, self.offsets))
