"""A load over raw sockets: requests are encoded once and sent again and again, so the broker is what is measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Load:
    """Who sends what. contents: of each connection, its requests one after another.

    once: they are sent once (their sequences or session epochs go on), else again from the first on. codes: where
    answers have error codes. rate: requests a second at set times, 0 for as fast as answers come. ports: where each
    connection goes, of the brokers that lead what it asks for; empty: all to the port of the target.
    """

    contents: Sequence[bytes]
    in_flight: int
    codes: tuple[int, ...] = ()
    once: bool = False
    rate: float = 0.0
    threads: int = 1
    ports: Sequence[int] = ()


@dataclass(frozen=True)
class Limits:
    """How long a part lasts: until any is reached. 0 is no limit; both 0: the part is left out.

    until: asked every few milliseconds; the part ends when it answers True. It needs another limit beside it, so that a
    load whose end never comes does not go on for ever.
    """

    requests: int = 0
    seconds: float = 0.0
    until: Callable[[], bool] | None = None


NOTHING = Limits()


@dataclass(frozen=True)
class Taken:
    """What the counted part took. broker_us: CPU of the broker's threads, client_us: of the generator."""

    requests: int
    seconds: float
    errors: int
    first_error: int
    answer_bytes: int
    p50_us: float
    p99_us: float
    p999_us: float
    longest_us: float
    broker_us: float
    client_us: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Of the broker, a request."""
        return self.broker_us / self.requests


class Target(Protocol):
    """A broker on this machine. pids: of all its processes."""

    port: int

    @property
    def pids(self) -> tuple[int, ...]: ...


class LoadFailed(Exception):
    """The broker answered with errors, or not at all."""
