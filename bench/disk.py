"""`python -m bench.disk [--seconds S]`: what the disk alone allows: durable writes a second, as the ring of a journal makes them,
and how long one takes when they come at a steady rate.

Each writer is a process of its own with a file of its own, whose blocks have been written before, and writes them one after
another by O_DIRECT and RWF_DSYNC; so do one worker, and two. What two writers reach together bounds what two workers reach in
`sync`, whatever the cores do. At a steady rate a write of the ring is held beside what a broker without one does: it appends to
a file that grows and calls fdatasync.
"""

import argparse
import mmap
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .site import percentiles

RING_BYTES: Final = 16 << 20
SIZES: Final = (4096, 32768, 131072)
WRITERS: Final = (1, 2)
STEADY_A_SECOND: Final = 1000
BLOCK_BYTES: Final = 4096
TOLD: Final = "{size:>7} bytes a write, {writers} writers: {rate:7,.0f} writes/s, {mb:6.0f} MB/s"

TOLD_STEADY: Final = "{what}, {rate:,} a second: p50 {p50_us:.0f}, p99 {p99_us:.0f}, p99.9 {p999_us:.0f} µs"


def write_for(path: str, size: int, seconds: float, begin: float) -> int:
    """Writes made from begin on (time.monotonic) in that many seconds."""
    block = mmap.mmap(-1, size)  # aligned, as O_DIRECT wants it
    block.write(b"r" * size)
    file = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        time.sleep(max(begin - time.monotonic(), 0.0))
        end = begin + seconds
        count = at = 0
        while time.monotonic() < end:
            os.pwritev(file, [block], at, os.RWF_DSYNC)
            at = (at + size) % RING_BYTES
            count += 1
        return count
    finally:
        os.close(file)


def rate_of(folder: Path, writers: int, size: int, seconds: float) -> float:
    """Writes a second of all writers together."""
    begin = time.monotonic() + 0.5
    paths = [str(folder / f"ring-{number}") for number in range(writers)]
    with multiprocessing.Pool(writers) as pool:
        counts = pool.starmap(write_for, [(path, size, seconds, begin) for path in paths])
    return sum(counts) / seconds


def steady(write: Callable[[int], object], rate: int, seconds: float) -> list[float]:
    """How long each call took, in seconds; write is told its number."""
    begin = time.monotonic()
    taken = []
    for number in range(int(rate * seconds)):
        time.sleep(max(begin + number / rate - time.monotonic(), 0.0))
        begun = time.perf_counter()
        write(number)
        taken.append(time.perf_counter() - begun)
    return taken


def steady_ring(path: str, rate: int, seconds: float) -> list[float]:
    block = mmap.mmap(-1, BLOCK_BYTES)
    file = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        return steady(
            lambda number: os.pwritev(file, [block], number * BLOCK_BYTES % RING_BYTES, os.RWF_DSYNC),
            rate,
            seconds,
        )
    finally:
        os.close(file)


def steady_appends(path: str, rate: int, seconds: float) -> list[float]:
    """Of 200 bytes, as of one small record, to a new file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)

    def append(_: int) -> None:
        os.write(file, bytes(200))
        os.fdatasync(file)

    try:
        return steady(append, rate, seconds)
    finally:
        os.close(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each row (2)")
    given = parser.parse_args()
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="build") as name:
        folder = Path(name)
        for number in range(max(WRITERS)):
            (folder / f"ring-{number}").write_bytes(bytes(RING_BYTES))
        os.sync()
        for size in SIZES:
            for writers in WRITERS:
                rate = rate_of(folder, writers, size, given.seconds)
                print(TOLD.format(size=size, writers=writers, rate=rate, mb=rate * size / 1e6), flush=True)
        for what, taken in (
            ("a write of the ring", steady_ring(str(folder / "ring-0"), STEADY_A_SECOND, given.seconds)),
            ("append and fdatasync", steady_appends(str(folder / "log"), STEADY_A_SECOND, given.seconds)),
        ):
            print(TOLD_STEADY.format(what=what, rate=STEADY_A_SECOND, **percentiles(taken)), flush=True)


if __name__ == "__main__":
    main()
