"""Where to start and stop reading, as people write it.

start | end | 1234 | -50 | @TIME          one place: first, next to come, an offset, the last 50, a time
FROM:TO or FROM..TO                       a range: TO is `end`, an offset, @TIME, or +1h behind FROM's time
TIME                                      -1h (s m h d), milliseconds since 1970, or ISO 8601 (UTC without a zone)
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import click

from barnabas.cli.output import EXIT_NOT_FOUND, Failed
from barnabas.client.cluster import Cluster
from barnabas.client.fetch import EARLIEST, LATEST, Place, offsets_at

UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SPAN: Final = re.compile(r"(\d+)(ms|s|m|h|d)")
RANGE: Final = re.compile(r"\.\.|:(?=@|end$|\+)|(?<=^start):")
OFFSETS: Final = re.compile(r"(-?\d+):(\d+)")
"""Apart from RANGE, as a time has colons between digits too."""


class Where:
    """One place in a partition: kind is `start`, `end`, `offset`, `tail` or `time`; number belongs to the last three."""

    def __init__(self, kind: str, number: int = 0) -> None:
        self.kind = kind
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Where) and (self.kind, self.number) == (other.kind, other.number)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Where({self.kind!r}, {self.number})"


def parse_span(text: str) -> int:
    """Milliseconds of 500ms, 10s, 5m, 2h or 1d. Raises click.BadParameter."""
    span = SPAN.fullmatch(text)
    if not span:
        raise click.BadParameter(f"{text!r} is no span: write 500ms, 10s, 5m, 2h or 1d")
    return int(span[1]) * UNITS_MS[span[2]]


class Span(click.ParamType[int]):
    """A span on the command line."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return parse_span(str(value))


def parse_time(text: str, now_ms: int) -> int:
    """Milliseconds since 1970. Raises click.BadParameter."""
    if text.isdigit():
        return int(text)
    span = SPAN.fullmatch(text.removeprefix("-"))
    if span and text.startswith("-"):
        return now_ms - int(span[1]) * UNITS_MS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time: write @-1h, @2026-01-31T09:00 or milliseconds since 1970"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def parse_where(text: str, now_ms: int) -> Where:
    """One place. Raises click.BadParameter."""
    if text in ("start", "end"):
        return Where(text)
    if text.startswith("@"):
        return Where("time", parse_time(text[1:], now_ms))
    if re.fullmatch(r"-?\d+", text):
        number = int(text)
        return Where("tail", -number) if number < 0 else Where("offset", number)
    raise click.BadParameter(f"{text!r} is no place: write start, end, an offset, -50 or @TIME")


def parse_range(text: str, now_ms: int) -> tuple[Where, Where | None]:
    """Where to start, and where to stop if that is said. Raises click.BadParameter."""
    offsets = OFFSETS.fullmatch(text)
    first, *rest = offsets.groups() if offsets else RANGE.split(text, maxsplit=1)
    start = parse_where(first, now_ms)
    if not rest:
        return start, None
    span = SPAN.fullmatch(rest[0][1:]) if rest[0].startswith("+") else None
    if span and start.kind == "time":
        return start, Where("time", start.number + int(span[1]) * UNITS_MS[span[2]])
    stop = parse_where(rest[0], now_ms)
    if stop.kind in ("start", "tail"):
        raise click.BadParameter(f"{rest[0]!r} is no place to stop: write end, an offset, @TIME or +1h")
    return start, stop


def resolve(
    cluster: Cluster, places: Iterable[Place], where: Where, *, reached: bool = False
) -> dict[Place, int]:
    """The offset in each partition, never outside what it holds.

    reached: raises Failed for an offset to which no partition has come yet, as that is a slip rather than a wish.
    """
    wanted = list(places)
    starts, ends = offsets_at(cluster, wanted, EARLIEST), offsets_at(cluster, wanted, LATEST)
    if where.kind == "start":
        return starts
    if where.kind == "end":
        return ends
    if where.kind == "time":
        found = offsets_at(cluster, wanted, where.number)
        return {place: ends[place] if offset < 0 else offset for place, offset in found.items()}
    if where.kind == "tail":
        return {place: max(starts[place], ends[place] - where.number) for place in wanted}
    if reached and ends and where.number > max(ends.values()):
        raise Failed(
            f"there is no offset {where.number}: the next record to come has {max(ends.values())}",
            f"see what there is: barnabas topic describe {wanted[0][0]}",
            EXIT_NOT_FOUND,
        )
    return {place: min(max(where.number, starts[place]), ends[place]) for place in wanted}
