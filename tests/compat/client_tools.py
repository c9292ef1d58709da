"""What tests of foreign clients share."""

import time
from collections.abc import Callable

WAIT_S = 60.0
YOUNG_MS = int(time.time()) * 1000 - 3_600_000
"""A time for records: so young that no retention takes them away."""


def until(holds: Callable[[], object], what: str) -> None:
    """Bounded: a client that gets nowhere fails the test."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        time.sleep(0.01)
        assert time.monotonic() < deadline, f"in vain: {what}"
