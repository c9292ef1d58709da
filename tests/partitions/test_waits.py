"""One heap of deadlines: nobody's mistake or crowd keeps the others waiting."""

from itertools import pairwise

import pytest

from barnabas.partitions.waits import EXPIRE_MAX, TOMBSTONES_MAX, Waits
from barnabas.testing.virtual import VirtualLoop, VirtualTime


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime(1)


@pytest.fixture
def waits(time: VirtualTime) -> Waits:
    return Waits(time, VirtualLoop(time))


def test_a_callback_that_raises_does_not_take_the_others_with_it(time: VirtualTime, waits: Waits) -> None:
    ran: list[str] = []

    def broken() -> None:
        raise ValueError("a bug of ours")

    waits.call_after(10, broken)
    waits.call_after(10, lambda: ran.append("beside it"))
    waits.call_after(20, lambda: ran.append("after it"))
    with pytest.raises(ValueError):
        time.run_for(10)
    time.run_for(10)
    assert ran == ["beside it", "after it"]


def test_a_callback_may_cancel_thousands(time: VirtualTime, waits: Waits) -> None:
    """The heap is rebuilt meanwhile."""
    ran: list[int] = []
    many = [waits.call_after(10, lambda: ran.append(1)) for _ in range(2 * TOMBSTONES_MAX)]
    last = waits.call_after(20, lambda: ran.append(2))

    def cancel() -> None:
        for timer in many:
            timer.cancel()

    waits.call_after(9, cancel)
    time.run_for(10)
    assert ran == [] and waits.pending() == 1
    last.cancel()
    time.run_for(20)
    assert ran == [] and waits.pending() == 0


def test_of_a_crowd_that_is_due_at_once_some_run_and_then_others_have_their_turn(
    time: VirtualTime, waits: Waits
) -> None:
    ran: list[int] = []
    steps = [0]
    for number in range(3 * EXPIRE_MAX):
        waits.call_after(10, lambda number=number: ran.append(number))  # type: ignore[misc]
    while time.step(10):
        steps.append(len(ran))
    assert ran == list(range(3 * EXPIRE_MAX)), "in the order in which they were set"
    assert max(after - before for before, after in pairwise(steps)) <= EXPIRE_MAX
