"""The histories of test_one_partition_and_group.py with a topic whose codec is not the producers', so batches wait for a thread."""

import pytest
from simulation.history import Broken
from simulation.plan import Plan
from simulation.planted import LOSES
from simulation.world import World

from barnabas.partitions import recompression
from barnabas.partitions.partition import Appended, Pending
from barnabas.partitions.recompression import Recompression

FAST_SEEDS = 20
BLOCK = 50
BLOCKS = 6
PLANTED_SEEDS = 300
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
    for seed in range(first, first + 10):
        WorldOfCodecs(seed).run()


@pytest.mark.seeds
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("in_thread")
@pytest.mark.parametrize("block", range(BLOCKS))
def test_fifty_seeds(block: int) -> None:
    first = 1_000 + block * BLOCK
    for seed in range(first, first + BLOCK):
        WorldOfCodecs(seed).run()


def found_in(rules: tuple[str, ...]) -> bool:
    for seed in range(PLANTED_SEEDS):
        try:
            WorldOfCodecs(seed).run()
        except Broken as broken:
            assert broken.rule in rules, broken
            return True
    return False


def test_small_batches_that_overtake_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q1, planted: what needs no thread does not wait for what does."""
    monkeypatch.setattr(recompression, "INLINE_BYTES_MAX", 120)
    real = Recompression.take

    def take(self: Recompression, *batch: object) -> Appended | None:
        queue, self._queue = self._queue, type(self._queue)()
        taken = real(self, *batch)  # type: ignore[arg-type]
        queue.extend(self._queue)
        self._queue = queue
        return taken

    monkeypatch.setattr(Recompression, "take", take)
    assert found_in((*LOSES, "order", "refused"))


@pytest.mark.patches
def test_an_answer_before_the_batch_is_appended_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q2, planted: whoever waits is told as soon as its batch is in the queue."""
    monkeypatch.setattr(recompression, "INLINE_BYTES_MAX", 0)

    def then(self: Pending, callback: object) -> None:
        callback(Appended(0, 0, 0))  # type: ignore[operator]

    monkeypatch.setattr(Pending, "then", then)
    assert found_in((*LOSES, "order", "twice", "refused"))
