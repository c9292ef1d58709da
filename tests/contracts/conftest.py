"""The worlds every contract runs in: the real adapters, and their doubles on virtual time."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.loop import AsyncLoop, new_event_loop
from barnabas.ports import Clock, Loop
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from real_loop import turn_until


class RealDriver:
    """Turns a real loop until something has happened."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clock: Clock = SystemClock()
        self.real = AsyncLoop(loop)
        self.loop: Loop = self.real

    def run_until(self, reached: Callable[[], bool]) -> None:
        turn_until(self.real.asyncio, reached)

    def close(self) -> None:
        self.real.close()
        self.real.asyncio.close()


class VirtualDriver:
    """Turns a virtual loop until something has happened."""

    def __init__(self, seed: int) -> None:
        self.time = VirtualTime(seed)
        self.clock: Clock = self.time
        self.virtual = VirtualLoop(self.time)
        self.loop: Loop = self.virtual

    def run_until(self, reached: Callable[[], bool]) -> None:
        self.time.run_until(reached)

    def close(self) -> None:
        self.virtual.kill()


Driver = RealDriver | VirtualDriver


@pytest.fixture
def drive() -> Iterator[Callable[[str], Driver]]:
    """Makes a driver by its name, and closes it after the test."""
    made: list[Driver] = []

    def make(kind: str) -> Driver:
        if kind == "uvloop":
            made.append(RealDriver(new_event_loop()))
        elif kind == "asyncio":
            made.append(RealDriver(asyncio.new_event_loop()))
        else:
            made.append(VirtualDriver(int(kind.removeprefix("virtual-"))))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture(params=["uvloop", "asyncio", "virtual-1", "virtual-2"])
def driver(request: pytest.FixtureRequest, drive: Callable[[str], Driver]) -> Driver:
    return drive(str(request.param))
