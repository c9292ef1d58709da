"""Work on all partitions of a node, a slice a turn: nobody waits longer than for one slice."""

from collections.abc import Callable, Iterator
from typing import Final

from barnabas.ports import Clock, Loop

SLICE_US: Final = 1_000
SLICE_STEPS: Final = 256


def in_slices(clock: Clock, loop: Loop, work: Iterator[None], done: Callable[[], None]) -> None:
    """Turn work, which yields after each small step, until it ends; then done(). The first slice is done at once.

    What a step found may be gone at the next: work must look anew.
    """

    def turn() -> None:
        end_us = clock.mono_us() + SLICE_US
        for step, _ in enumerate(work, 1):
            if step == SLICE_STEPS or clock.mono_us() >= end_us:
                loop.soon(turn)
                return
        done()

    turn()
