"""The histories of test_one_partition_and_group.py with a topic whose codec is not the producers', so batches wait for a thread."""

from collections import deque
from typing import Any

import pytest
from simulation.plan import Plan
from simulation.planted import LOSES, Patch, Planted
from simulation.seeds import each_planted, find, run
from simulation.world import World

from barnabas.partitions import recompression
from barnabas.partitions.partition import Appended, Pending
from barnabas.partitions.recompression import Recompression

FAST_SEEDS = 20
BLOCK = 50
BLOCKS = 6
BY_PARTS = {"some in the thread": 120, "all in the thread": 0}
"""Bytes up to which the loop does it: producers' batches have some 80 to 200."""


class WorldOfCodecs(World):
    """One history."""

    def _draw(self, focus: tuple[str, ...]) -> Plan:
        plan = super()._draw(focus)
        return plan._replace(options={**plan.options, "compression.type": "gzip"})


@pytest.fixture(params=BY_PARTS.values(), ids=BY_PARTS)
def in_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompression, "INLINE_BYTES_MAX", request.param)


@pytest.mark.usefixtures("in_thread")
@pytest.mark.parametrize("first", range(0, FAST_SEEDS, 10))
def test_ten_seeds(first: int) -> None:
    run(WorldOfCodecs, first, 10)


@pytest.mark.seeds
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("in_thread")
@pytest.mark.parametrize("block", range(BLOCKS))
def test_fifty_seeds(block: int) -> None:
    run(WorldOfCodecs, 1_000 + block * BLOCK, BLOCK)


def overtaking(patch: Patch) -> None:
    """Q1: what needs no thread does not wait for what does."""
    patch.setattr(recompression, "INLINE_BYTES_MAX", 120)
    real = Recompression.take

    def take(self: Recompression, *batch: Any) -> Appended | None:
        queue, self._queue = self._queue, deque()
        taken = real(self, *batch)
        queue.extend(self._queue)
        self._queue = queue
        return taken

    patch.setattr(Recompression, "take", take)


def told_before_it_is_appended(patch: Patch) -> None:
    """Q2: whoever waits is told as soon as its batch is in the queue."""
    patch.setattr(recompression, "INLINE_BYTES_MAX", 0)
    patch.setattr(Pending, "then", lambda self, callback: callback(Appended(0, 0, 0)))


@pytest.mark.patches
@each_planted(
    Planted(plant, frozenset((*LOSES, "order", "twice")), (), False)
    for plant in (overtaking, told_before_it_is_appended)
)
def test_a_planted_fault_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    find(WorldOfCodecs, planted, monkeypatch)
