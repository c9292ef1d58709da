"""One machine, one topic and one group with real members on virtual time, with a disk that forgets what was not synced.

Each seed is another history: power failures, SIGKILL, cut and stalled streams, failing disks, members that hang, die, leave
and replace each other. A broken rule names its seed, and how to run that seed again. README.md has the long runs.
"""

import pytest
from simulation.planted import PLANTED, Planted
from simulation.seeds import each_planted, ends_the_same, find, run
from simulation.world import World

FAST_SEEDS = 60
BLOCK = 100
BLOCKS = 24
"""So many times BLOCK histories, from seed 1000 on, are run for every change."""


@pytest.mark.parametrize("first", range(0, FAST_SEEDS, 10))
def test_ten_seeds(first: int) -> None:
    run(World, first, 10)


@pytest.mark.seeds
@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_hundred_seeds(block: int) -> None:
    run(World, 1_000 + block * BLOCK, BLOCK)


def test_the_same_seed_gives_the_same_history() -> None:
    assert ends_the_same(World, 5)


@pytest.mark.patches
@pytest.mark.timeout(300)
@each_planted(PLANTED)
def test_a_planted_fault_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    find(World, planted, monkeypatch)
