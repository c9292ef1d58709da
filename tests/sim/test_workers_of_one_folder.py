"""A parent and two or three workers on virtual time, with all that test_one_partition_and_group.py has, and more that goes wrong.

Each seed is another history: workers that are killed, frozen, slow, taken over and come back, metadata that fails, parents that
die, and starts with another number of workers. A broken rule names its seed, and how to run that seed again.
"""

import pytest
from simulation.history import Broken
from simulation.planted import Planted
from simulation.planted_workers import WORKERS_PLANTED
from simulation.workers_world import WorkersWorld

FAST_SEEDS = 30
BLOCK = 50
BLOCKS = 12
"""So many times BLOCK histories, from seed 1000 on, are run for every change."""
PLANTED_SEEDS = 2_000


@pytest.mark.parametrize("first", range(0, FAST_SEEDS, 10))
def test_ten_seeds(first: int) -> None:
    for seed in range(first, first + 10):
        WorkersWorld(seed).run()


@pytest.mark.seeds
@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_fifty_seeds(block: int) -> None:
    first = 1_000 + block * BLOCK
    for seed in range(first, first + BLOCK):
        WorkersWorld(seed).run()


def test_the_same_seed_gives_the_same_history() -> None:
    ends = []
    for _ in range(2):
        world = WorkersWorld(5)
        world.run()
        ends.append((world.time.mono_ms(), world.time.steps))
    assert ends[0] == ends[1]


@pytest.mark.patches
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(each, id=each.name, marks=[pytest.mark.seeds] if each.is_rare else [])
        for each in WORKERS_PLANTED
    ],
)
def test_a_planted_fault_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    for seed in range(PLANTED_SEEDS):
        try:
            WorkersWorld(seed, planted.focus).run()
        except Broken as broken:
            assert broken.rule in planted.rules, broken
            print(f"found by rule '{broken.rule}' at seed {seed}")
            return
    pytest.fail(f"{planted.name} was not found in {PLANTED_SEEDS} seeds")
