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
from bisect import bisect_left
from itertools import islice
from operator import gt, lt
from struct import Struct
from typing import Final

from librt.vecs import append, vec
from mypy_extensions import i32, i64

OFFSET_PAIR: Final = Struct(">II")
TIME_PAIR: Final = Struct(">qI")
OFFSET_PAIR_BYTES: Final = 8
TIME_PAIR_BYTES: Final = 12
HIGH: Final = 1 if sys.byteorder == "little" else 0
"""Which half of a timestamp in memory is its upper one. A segment of a gigabyte has 260,000 pairs: they are read and written as
arrays of u32, two milliseconds instead of seventy.
"""

PAIR_MAX: Final = 2**31 - 1
"""No segment has a relative offset or a position beyond it."""


class IndexUnusable(ValueError):
    """The file breaks an invariant: rebuild it."""


class OffsetIndex:
    """Where an offset lives, to within index.interval.bytes."""

    __slots__ = ("offsets", "positions")

    def __init__(self) -> None:
        self.offsets = vec[i32]()
        self.positions = vec[i32]()

    @classmethod
    def load(cls, content: bytes, log_bytes: int) -> "OffsetIndex":
        words = from_big_endian(content[: len(content) // OFFSET_PAIR_BYTES * OFFSET_PAIR_BYTES])
        offsets, positions = words[0::2], words[1::2]
        if not (rises(offsets) and rises(positions)):
            raise IndexUnusable("I1: its pairs do not rise")
        if positions and (positions[-1] >= log_bytes or max(positions[-1], offsets[-1]) > PAIR_MAX):
            raise IndexUnusable(f"I2: position {positions[-1]} in a log of {log_bytes} bytes")
        index = cls()
        # Of signed words a vec is made by one copy.
        index.offsets = vec[i32](array("i", offsets.tobytes()))
        index.positions = vec[i32](array("i", positions.tobytes()))
        return index

    def copy(self) -> "OffsetIndex":
        other = OffsetIndex()
        other.offsets, other.positions = self.offsets[:], self.positions[:]
        return other

    def add(self, relative_offset: int, position: int) -> None:
        self.offsets = append(self.offsets, relative_offset)
        self.positions = append(self.positions, position)

    def lookup(self, relative_offset: int) -> int:
        """Where to start scanning for an offset: never past the batch that holds it."""
        at = self.last_upto(relative_offset)
        return int(self.positions[at]) if at >= 0 else 0

    def last_upto(self, relative_offset: int) -> i64:
        """The number of the last pair whose offset is at or before that; -1: there is none.

        Pairs lie nearly as far apart in offsets as in positions, so the place is guessed by proportion and looked for from
        there in growing steps.
        """
        offsets = self.offsets
        last: i64 = len(offsets) - 1
        if last < 0:
            return -1
        least: int = offsets[0]
        greatest: int = offsets[last]
        if relative_offset < least:
            return -1
        if relative_offset >= greatest:
            return last
        wanted: i32 = relative_offset
        low: i64 = 0
        high = last  # offsets[low] <= wanted < offsets[high]
        at = last * relative_offset // greatest
        step: i64 = 1
        if offsets[at] <= wanted:
            low = at
            while low + step < high:
                if offsets[low + step] > wanted:
                    high = low + step
                else:
                    low += step
                    step *= 2
        else:
            high = at
            while low < high - step:
                if offsets[high - step] <= wanted:
                    low = high - step
                else:
                    high -= step
                    step *= 2
        while high - low > 1:
            middle = (low + high) >> 1
            if offsets[middle] <= wanted:
                low = middle
            else:
                high = middle
        return low

    def truncate(self, position: i64) -> None:
        """Forget pairs at or behind position."""
        positions = self.positions
        keep: i64 = len(positions)
        while keep > 0 and int(positions[keep - 1]) >= position:
            keep -= 1
        self.offsets, self.positions = self.offsets[:keep], positions[:keep]

    def to_bytes(self) -> bytes:
        words = array("I", bytes(len(self.offsets) * OFFSET_PAIR_BYTES))
        words[0::2], words[1::2] = unsigned(self.offsets), unsigned(self.positions)
        return to_big_endian(words)

    @property
    def size_bytes(self) -> int:
        return len(self.offsets) * OFFSET_PAIR_BYTES


class TimeIndex:
    """Which batch first reached a timestamp, to within index.interval.bytes."""

    __slots__ = ("offsets", "timestamps")

    def __init__(self) -> None:
        self.timestamps = array("q")
        self.offsets = array("I")

    @classmethod
    def load(cls, content: bytes) -> "TimeIndex":
        words = from_big_endian(content[: len(content) // TIME_PAIR_BYTES * TIME_PAIR_BYTES])
        halves = array("I", bytes(len(words) // 3 * 8))
        halves[HIGH::2], halves[1 - HIGH :: 2] = words[0::3], words[1::3]
        index = cls()
        index.timestamps.frombytes(halves.tobytes())
        index.offsets = words[2::3]
        if falls(index.timestamps) or falls(index.offsets):
            raise IndexUnusable("I1: its pairs fall")
        return index

    def copy(self) -> "TimeIndex":
        other = TimeIndex()
        other.timestamps, other.offsets = self.timestamps[:], self.offsets[:]
        return other

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
        halves = array("I", self.timestamps.tobytes())
        words = array("I", bytes(len(self.offsets) * TIME_PAIR_BYTES))
        words[0::3], words[1::3], words[2::3] = halves[HIGH::2], halves[1 - HIGH :: 2], self.offsets
        return to_big_endian(words)


def unsigned(numbers: vec[i32]) -> "array[int]":
    return array("I", memoryview(numbers).tobytes())


def from_big_endian(content: bytes) -> "array[int]":
    words = array("I", content)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def to_big_endian(words: "array[int]") -> bytes:
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def rises(numbers: "array[int]") -> bool:
    return all(map(lt, numbers, islice(numbers, 1, None)))


def falls(numbers: "array[int]") -> bool:
    """Somewhere."""
    return any(map(gt, numbers, islice(numbers, 1, None)))
