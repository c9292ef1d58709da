"""Metric names and log fields, declared once.

A counter or gauge is one attribute lookup and one addition: no labels are resolved on the hot path, because a labelled
family hands out its children once and callers keep them. `exposition.py` of the server renders them as text.
Log lines are `level message key=value …` or one JSON object; the writer is injected by the node.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error", "off")


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount


class Gauge:
    """A number that comes and goes; read from a function where one is given."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._read: Callable[[], float] | None = None

    def put(self, value: float) -> None:
        self._value = value

    def read_from(self, read: Callable[[], float]) -> None:
        """From now on the gauge is what read() answers when the page is rendered."""
        self._read = read

    @property
    def value(self) -> float:
        return self._value if self._read is None else self._read()


class Histogram:
    """Counts of durations by upper bound: observed in microseconds, shown in seconds as Prometheus wants it."""

    __slots__ = ("bounds_us", "counts", "total_us")

    def __init__(self, bounds_us: Sequence[int]) -> None:
        self.bounds_us = tuple(bounds_us)
        self.counts = [0] * (len(self.bounds_us) + 1)
        self.total_us = 0

    def observe(self, us: int) -> None:
        self.counts[bisect_left(self.bounds_us, us)] += 1
        self.total_us += us


class Family:
    """One metric name with one child per label value combination."""

    def __init__(self, name: str, kind: type, text: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.kind = kind
        self.text = text
        self.labels = labels
        self.children: dict[tuple[str, ...], Counter | Gauge | Histogram] = {}

    def child(self, *values: str) -> Counter | Gauge | Histogram:
        """The child for these label values, made on first use. Keep it: this is not for the hot path."""
        assert len(values) == len(self.labels), f"{self.name} has labels {self.labels}"
        found = self.children.get(values)
        if found is None:
            found = self.children[values] = self.kind()
        return found


class Telemetry:
    """All metrics of one node. A second node in the same process has its own."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}

    def _family(self, name: str, kind: type, text: str, labels: tuple[str, ...]) -> Family:
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = Family(name, kind, text, labels)
        assert family.kind is kind and family.labels == labels, f"{name} is declared twice, differently"
        return family

    def counter(self, name: str, text: str, **labels: str) -> Counter:
        child = self._family(name, Counter, text, tuple(labels)).child(*labels.values())
        assert isinstance(child, Counter)
        return child

    def gauge(self, name: str, text: str, **labels: str) -> Gauge:
        child = self._family(name, Gauge, text, tuple(labels)).child(*labels.values())
        assert isinstance(child, Gauge)
        return child

    def histogram(self, name: str, text: str, bounds_us: Sequence[int]) -> Histogram:
        family = self._family(name, Histogram, text, ())
        child = family.children.setdefault((), Histogram(bounds_us))
        assert isinstance(child, Histogram)
        return child


class Log:
    """Writes lines of three levels; rate-limited per message so that no peer can fill a disk with them."""

    LINES_PER_MESSAGE_AND_MINUTE: Final = 60

    def __init__(
        self, write: Callable[[str, str, dict[str, object]], None], mono_ms: Callable[[], int]
    ) -> None:
        self._write = write
        self._mono_ms = mono_ms
        self._window: dict[str, tuple[int, int]] = {}
        self._start_level = self.level = "info"

    def set_level(self, level: str | None) -> None:
        """Lines below level are not written; None: the level of the start. Takes Kafka's names, too."""
        known = {"trace": "debug", "warn": "warning", "fatal": "error", "off": "off", "all": "debug"}
        wanted = (level or self._start_level).lower()
        self.level = known.get(wanted, wanted)

    def info(self, message: str, **fields: object) -> None:
        self._line("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        self._line("warning", message, fields)

    def error(self, message: str, **fields: object) -> None:
        self._line("error", message, fields)

    def _line(self, level: str, message: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) < LEVELS.index(self.level):
            return
        minute = self._mono_ms() // 60_000
        seen_minute, count = self._window.get(message, (minute, 0))
        if seen_minute != minute:
            hidden = count - self.LINES_PER_MESSAGE_AND_MINUTE
            if hidden > 0:
                self._write(level, message, {"repeated": hidden})
            count = 0
        self._window[message] = (minute, count + 1)
        if count < self.LINES_PER_MESSAGE_AND_MINUTE:
            self._write(level, message, fields)


def silent(level: str, message: str, fields: dict[str, object]) -> None:
    """A log writer for tests and embedded use: says nothing."""
