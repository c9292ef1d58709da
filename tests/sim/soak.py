"""Many seeds in several processes, for as long as one likes: `python tests/sim/soak.py --first 0 --count 50000 --jobs 2`.

Each broken rule is printed with its seed as it is found; the exit code says whether there was any. Needs `src` on the path
(an installed package, or PYTHONPATH=src).
"""

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from simulation.workers_world import WorkersWorld
from simulation.world import World

BLOCK = 50
TOLD_EVERY = 5_000


def failures(first: int, count: int, world: type[World] = World) -> list[tuple[int, str]]:
    """(seed, what went wrong) of those of a block of seeds that fail."""
    found = []
    for seed in range(first, first + count):
        try:
            world(seed).run()
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            found.append((seed, f"{type(error).__name__}: {error} [{last.filename}:{last.lineno}]"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--workers", action="store_true", help="a machine of several workers under a parent")
    asked = parser.parse_args()
    world = WorkersWorld if asked.workers else World
    if asked.count == 1:
        world(asked.first).run()
        return 0
    began = time.monotonic()
    bad = 0
    end = asked.first + asked.count
    blocks = [(first, min(BLOCK, end - first)) for first in range(asked.first, end, BLOCK)]
    with ProcessPoolExecutor(asked.jobs) as pool:
        for (first, count), found in zip(blocks, pool.map(failures, *zip(*blocks), repeat(world))):
            bad += len(found)
            if (first + count - asked.first) % TOLD_EVERY == 0:
                print(f"up to seed {first + count}: {bad} failed", flush=True)
            for seed, text in found:
                print(f"seed {seed}: {text}", flush=True)
    print(f"{asked.count} histories, {bad} failed, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
