"""A parent and two or three workers on virtual time, with all that test_one_partition_and_group.py has, and more that goes wrong.

Each seed is another history: workers that are killed, frozen, slow, taken over and come back, metadata that fails, parents that
die, and starts with another number of workers. A broken rule names its seed, and how to run that seed again.
"""

import pytest
from simulation.planted import Planted
from simulation.planted_workers import WORKERS_PLANTED
from simulation.seeds import each_planted, ends_the_same, find, run
from simulation.workers_world import WorkersWorld

FAST_SEEDS = 30
BLOCK = 50
BLOCKS = 12
"""So many times BLOCK histories, from seed 1000 on, are run for every change."""


@pytest.mark.parametrize("first", range(0, FAST_SEEDS, 10))
def test_ten_seeds(first: int) -> None:
    run(WorkersWorld, first, 10)


@pytest.mark.seeds
@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_fifty_seeds(block: int) -> None:
    run(WorkersWorld, 1_000 + block * BLOCK, BLOCK)


def test_the_same_seed_gives_the_same_history() -> None:
    assert ends_the_same(WorkersWorld, 5)


@pytest.mark.patches
@pytest.mark.timeout(300)
@each_planted(WORKERS_PLANTED)
def test_a_planted_fault_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    find(WorkersWorld, planted, monkeypatch)
