"""One partition and one group on virtual time: power failures, cut streams, a disk that forgets what was not synced.

Each seed is a different history; a failure prints its seed, and `SimulatedWorld(seed).run()` repeats it.
The planted faults show that the checks can fail: a checker never seen red is no checker.
"""

from collections.abc import Callable

import pytest
from world import SimulatedWorld

from barnabas.log import log as log_module
from barnabas.log.producer_state import ProducerState
from barnabas.partitions import committer
from barnabas.partitions.partition import Partition

FAST_SEEDS = 12
SLOW_SEEDS = 2000
PLANTED_SEEDS = 60


@pytest.mark.parametrize("seed", range(FAST_SEEDS))
def test_one_seed(seed: int) -> None:
    SimulatedWorld(seed).run()


@pytest.mark.seeds
@pytest.mark.timeout(1500)
def test_thousands_of_seeds() -> None:
    for seed in range(1000, 1000 + SLOW_SEEDS):
        SimulatedWorld(seed).run()


def test_the_same_seed_gives_the_same_history() -> None:
    ends = []
    for _ in range(2):
        world = SimulatedWorld(5)
        world.run()
        ends.append((world.time.mono_ms(), world.time.steps))
    assert ends[0] == ends[1]


def reply_before_sync(patch: pytest.MonkeyPatch) -> None:
    real = committer.run_job
    patch.setattr(
        committer,
        "run_job",
        lambda loop, lane, writes, size, uncommitted, *, sync, again: real(
            loop, lane, writes, size, uncommitted, sync=False, again=again
        ),
    )


def retry_not_recognised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ProducerState, "check", lambda self, header: None)


def recovery_forgets_producers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        log_module.recovery, "load_producers", lambda files, folder, segments, start, now_ms: ProducerState()
    )


def told_when_appended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Partition, "when_committed", lambda self, end_offset, callback: callback(0))


@pytest.mark.patches
@pytest.mark.parametrize(
    "plant", [reply_before_sync, retry_not_recognised, recovery_forgets_producers, told_when_appended]
)
def test_a_planted_fault_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(PLANTED_SEEDS):
        try:
            SimulatedWorld(seed).run()
        except AssertionError:
            return
    pytest.fail(f"{plant.__name__} was not found in {PLANTED_SEEDS} seeds")
