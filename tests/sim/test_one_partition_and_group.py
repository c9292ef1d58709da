"""One machine, one topic and one group with real members on virtual time, with a disk that forgets what was not synced.

Each seed is another history: power failures, SIGKILL, cut and stalled streams, failing disks, members that hang, die, leave
and replace each other. A broken rule names its seed, and how to run that seed again. README.md has the long runs.
"""

import pytest
from simulation.history import Broken
from simulation.planted import PLANTED, Planted
from simulation.world import World

FAST_SEEDS = 60
BLOCK = 100
BLOCKS = 24
"""So many times BLOCK histories, from seed 1000 on, are run for every change."""
PLANTED_SEEDS = 2_000


@pytest.mark.parametrize("first", range(0, FAST_SEEDS, 10))
def test_ten_seeds(first: int) -> None:
    for seed in range(first, first + 10):
        World(seed).run()


@pytest.mark.seeds
@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_hundred_seeds(block: int) -> None:
    first = 1_000 + block * BLOCK
    for seed in range(first, first + BLOCK):
        World(seed).run()


def test_the_same_seed_gives_the_same_history() -> None:
    ends = []
    for _ in range(2):
        world = World(5)
        world.run()
        ends.append((world.time.mono_ms(), world.time.steps))
    assert ends[0] == ends[1]


@pytest.mark.patches
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "planted",
    [pytest.param(each, id=each.name, marks=[pytest.mark.seeds] if each.is_rare else []) for each in PLANTED],
)
def test_a_planted_fault_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    for seed in range(PLANTED_SEEDS):
        try:
            World(seed, planted.focus).run()
        except Broken as broken:
            assert broken.rule in planted.rules, broken
            print(f"found by rule '{broken.rule}' at seed {seed}")
            return
    pytest.fail(f"{planted.name} was not found in {PLANTED_SEEDS} seeds")
