"""How fast this machine is now. On a shared host a core is slower for seconds or minutes without any load of its own."""

import time
from array import array
from random import Random
from typing import Final

STEPS: Final = 10_000
PLACES: Final = 1 << 20
"""Four megabytes: more than a core has of its own, so that the caches that it shares count, too."""
TIMES: Final = 5


class Pace:
    """A fixed piece of work: a walk through memory in an order that nothing foresees, by the interpreter."""

    def __init__(self) -> None:
        order = list(range(PLACES))
        Random(PLACES).shuffle(order)
        self._next = array("I", bytes(4 * PLACES))
        for at, place in enumerate(order):
            self._next[place] = order[(at + 1) % PLACES]
        self._at = 0

    def us(self) -> float:
        """Microseconds that STEPS of it take, the least of some times: what another process takes of a core does not count."""
        return min(self._walk() for _ in range(TIMES))

    def _walk(self) -> float:
        begun = time.process_time()
        at, following = self._at, self._next
        for _ in range(STEPS):
            at = following[at]
        self._at = at
        return (time.process_time() - begun) * 1e6
