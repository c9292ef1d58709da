"""What is asked of histories: none breaks a rule, one seed gives one history, and a planted fault is found."""

from collections.abc import Callable, Iterable
from itertools import chain

import pytest

from simulation.history import Broken
from simulation.planted import Patch, Planted
from simulation.world import World

MakeWorld = Callable[[int, tuple[str, ...]], World]
"""A world of a seed, with the only faults that come; none named: whatever comes."""
PLANTED_SEEDS = 2_000


def run(world: MakeWorld, first: int, count: int) -> None:
    for seed in range(first, first + count):
        world(seed, ()).run()


def ends_the_same(world: MakeWorld, seed: int) -> bool:
    ends = []
    for _ in range(2):
        history = world(seed, ())
        history.run()
        ends.append((history.time.mono_ms(), history.time.steps))
    return ends[0] == ends[1]


def each_planted(faults: Iterable[Planted]) -> pytest.MarkDecorator:
    """Those that show rarely, or late, run with the many seeds."""
    return pytest.mark.parametrize(
        "planted",
        [
            pytest.param(each, id=each.name, marks=[pytest.mark.seeds] if each.is_rare else [])
            for each in faults
        ],
    )


def find(world: MakeWorld, planted: Planted, patch: Patch, seeds: int = PLANTED_SEEDS) -> None:
    """Until a history breaks one of the rules that may find the fault; another rule, or none, fails."""
    planted.plant(patch)
    for seed in chain(range(planted.first, seeds), range(planted.first)):
        try:
            world(seed, planted.focus).run()
        except Broken as broken:
            assert broken.rule in planted.rules, broken
            print(f"found by rule '{broken.rule}' at seed {seed}")
            return
    pytest.fail(f"{planted.name} was not found in {seeds} seeds")
