"""A loop of this machine, turned until something has happened."""

import asyncio
from collections.abc import Callable

ROUNDS_MAX = 5_000


def turn_until(
    loop: asyncio.AbstractEventLoop, reached: Callable[[], bool], rounds_max: int = ROUNDS_MAX
) -> None:
    """A round is a millisecond, or more on a busy machine. AssertionError when so many are not enough."""

    async def wait() -> None:
        for _ in range(rounds_max):
            if reached():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("not reached")

    loop.run_until_complete(wait())
