"""Where a line is measured: one contender, its folder, its running broker, and what was made ready there before."""

import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .broker import Running
from .load import Limits

KAFKA, BARNABAS, WORKERS = "kafka", "barnabas", "barnabas-2"
"""Who is measured; the last is Barnabas with two workers."""
FURTHER = 0.25
"""Share of the warm-up of a family that a further size of it gets."""
GO_ON_S = 0.5
"""For what a broker catches up with that stood still: Kafka's scheduler does all that was due meanwhile."""
Figures = dict[str, float]
"""What was measured, by the key of its metric."""


@dataclass(frozen=True)
class Scale:
    """How much is measured: a whole run, or a smoke run that only shows that all lines work. messages, topics: the share of
    what a line asks for."""

    seconds: float = 2.5
    warm_seconds: float = 0.5
    messages: float = 1.0
    cold_bytes: int = 5 << 30
    members: int = 1000
    topics: float = 1.0
    idle: tuple[int, ...] = (1000, 10_000)

    @property
    def counted(self) -> Limits:
        return Limits(seconds=self.seconds)


def percentiles(seconds: list[float]) -> Figures:
    taken = sorted(seconds)
    shares = (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))
    return {name: taken[int(len(taken) * share)] * 1e6 for name, share in shares}


QUICK = Scale(0.3, 0.1, 0.02, 1 << 26, 100, 0.02, (200,))


class Warmth:
    """How long a load goes uncounted before the first line of its kind, as a JVM is fast only after some time of the same
    work. A kind is a family and, after a comma, its size: a further size of a family that is warm gets a part of the time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._warm: set[str] = set()

    def lacking(self, kind: str) -> float:
        """Seconds that are to go before now; nothing lacks from then on."""
        family = kind.partition(",")[0]
        lacking = 0.0 if kind in self._warm else self._seconds * (FURTHER if family in self._warm else 1)
        self._warm |= {kind, family}
        return lacking


@dataclass
class Site:
    """_start: a new broker of the contender in a folder. first_warm_seconds: load that goes before a first line (Warmth)."""

    name: str
    folder: Path
    _start: Callable[[Path], Running]
    first_warm_seconds: float
    scale: Scale
    _warmth: Warmth = field(init=False)
    _broker: Running | None = None
    _started: list[Running] = field(default_factory=list)
    _stands_still: bool = False
    _ready: set[str] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._warmth = Warmth(self.first_warm_seconds)

    @property
    def broker(self) -> Running:
        """The broker that the lines share. One that has ended is started again, on what it had, and is to be warmed anew."""
        if self._broker is None or self._broker.how_it_ended():
            self._warmth = Warmth(self.first_warm_seconds)
            self._broker = self.start(self.folder / "shared")
        return self._broker

    def how_it_ended(self) -> str:
        """Of the shared broker; empty while it runs."""
        return self._broker.how_it_ended() if self._broker else ""

    def stand_still(self) -> None:
        """While another one is measured: even an idle broker has threads that wake up, and they would be in the other's figures."""
        for broker in self._started:
            broker.stand_still()
        self._stands_still = True

    def go_on(self) -> None:
        if self._stands_still:
            for broker in self._started:
                broker.go_on()
            time.sleep(GO_ON_S)
        self._stands_still = False

    def start(self, folder: Path) -> Running:
        broker = self._start(folder)
        self._started.append(broker)
        return broker

    def once(self, what: str) -> bool:
        """True the first time: for what is made ready once for the shared broker."""
        if what in self._ready:
            return False
        self._ready.add(what)
        return True

    def fresh_name(self, word: str) -> str:
        return f"{word}-{next(self._numbers)}"

    def topic(self, name: str, partitions: int) -> str:
        if self.once(f"topic {name}"):
            self.broker.create([name], partitions)
        return name

    def warm_up(self, kind: str, work: Callable[[float], object]) -> None:
        """work takes the seconds left."""
        end = time.monotonic() + self._warmth.lacking(kind)
        while (left := end - time.monotonic()) > 0:
            work(left)

    def close(self) -> None:
        """No broker of it runs afterwards, whatever happened; their folders go too."""
        for broker in self._started:
            broker.interrupt()
        self._started.clear()
        self._broker = None
        self._ready.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Measure:
    """How a line is measured. kind: of the load that goes uncounted before it (Warmth); empty: none does.
    seconds, kafka_seconds: about, of one whole measurement on an idle machine, without that: for the plan."""

    run: Callable[[Site], Figures]
    kind: str = ""
    seconds: float = 4.0
    kafka_seconds: float = 4.0
