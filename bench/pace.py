"""How fast this machine is now. On a shared host a core is slower for seconds or minutes without any load of its own."""

import time
from array import array
from random import Random
from typing import Final

STEPS: Final = 10_000
PLACES: Final = 1 << 20
"""The steps lie in as many lines of cache, 640 KB: more than the first cache of a core."""
TIMES: Final = 5


class Pace:
    """A fixed piece of work: a walk through memory in an order that nothing foresees, by the interpreter."""

    def __init__(self) -> None:
        order = list(range(PLACES))
        Random(PLACES).shuffle(order)
        self._next = array("I", bytes(4 * PLACES))
        for at, place in enumerate(order):
            self._next[place] = order[(at + 1) % PLACES]

    def us(self) -> float:
        """Microseconds that STEPS of it take, the least of some times: what another process takes of a core does not count, nor
        what is left in the caches by the load before, for each time goes the same way.
        """
        return min(self._walk() for _ in range(TIMES))

    def _walk(self) -> float:
        begun = time.process_time()
        at, following = 0, self._next
        for _ in range(STEPS):
            at = following[at]
        return (time.process_time() - begun) * 1e6
