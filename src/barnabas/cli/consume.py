"""`barnabas consume`: records of topics to stdout, alone or as a member of a group."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

import click

from barnabas.cli.lines import shown, to_line
from barnabas.cli.output import bootstrap_option, connect, guarded, settings_of
from barnabas.cli.places import Where, parse_range, resolve
from barnabas.client.cluster import Cluster
from barnabas.client.fetch import Place, Reader
from barnabas.client.groups import committed
from barnabas.client.member import Member
from barnabas.records.record import Record

WAIT_MS: Final = 500
BEAT_MS: Final = 3000
COMMIT_MS: Final = 5000
ESCAPES: Final = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\0": "\0", "\\\\": "\\"}
Show = Callable[[str, int, Record], str]
FIELDS: Final[dict[str, Show]] = {
    "t": lambda topic, partition, record: topic,
    "p": lambda topic, partition, record: str(partition),
    "o": lambda topic, partition, record: str(record.offset),
    "k": lambda topic, partition, record: _text(record.key),
    "v": lambda topic, partition, record: _text(record.value),
    "T": lambda topic, partition, record: str(record.timestamp),
    "h": lambda topic, partition, record: ",".join(
        f"{name}={_text(value)}" for name, value in record.headers
    ),
    "%": lambda topic, partition, record: "%",
}


def _text(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8", "backslashreplace")


def formatter(pattern: str) -> Show:
    """A format string as a function. Raises click.BadParameter for a field that does not exist."""
    parts: list[str | Show] = []
    at = 0
    while at < len(pattern):
        pair = pattern[at : at + 2]
        if pattern[at] == "%":
            if pair[1:] not in FIELDS:
                raise click.BadParameter(f"{pair!r}: the fields are %{' %'.join(FIELDS)}")
            parts.append(FIELDS[pair[1]])
        else:
            parts.append(ESCAPES.get(pair, pattern[at]))
        at += 2 if pattern[at] == "%" or pair in ESCAPES else 1
    return lambda topic, partition, record: "".join(
        part if isinstance(part, str) else part(topic, partition, record) for part in parts
    )


def _pretty(topic: str, partition: int, record: Record) -> str:
    moment = datetime.fromtimestamp(record.timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    place = f"{topic}[{partition}]@{record.offset}"
    key = "" if record.key is None else f"{_text(record.key)} "
    headers = "".join(f" {name}={_text(content)}" for name, content in record.headers)
    value = "null" if record.value is None else _text(record.value)
    if not os.environ.get("NO_COLOR"):
        place, key = click.style(f"{place} {moment}", fg="bright_black"), click.style(key, fg="cyan")
        headers = click.style(headers, fg="yellow")
        return f"{place} {key}{value}{headers}\n"
    return f"{place} {moment} {key}{value}{headers}\n"


def matcher(key: str | None, headers: dict[str, str]) -> Callable[[Record], bool]:
    """key is a glob; every header must be there with exactly its content."""

    def matches(record: Record) -> bool:
        if key is not None and (record.key is None or not fnmatchcase(_text(record.key), key)):
            return False
        return all(
            any(name == own and shown(content) == wanted for own, content in record.headers)
            for name, wanted in headers.items()
        )

    return matches


class Source:
    """Records of topics from where we are to start, to where we are to stop."""

    def __init__(
        self, cluster: Cluster, topics: Sequence[str], start: Where, stop: Where | None, group: str | None
    ) -> None:
        self._cluster = cluster
        self._topics = list(topics)
        self._start = start
        self._stop = stop
        self._group = group
        self._member = Member(cluster, group, self._topics) if group else None
        self._reader = Reader(cluster, {})
        self._stops: dict[Place, int] = {}
        self._taken: dict[Place, int] = {}
        self._beat_at = self._commit_at = 0.0

    def records(self) -> Iterator[tuple[Place, Record]]:
        self._begin()
        while self._drop_finished():
            for place, record in self._reader.poll(WAIT_MS):
                stop = self._stops.get(place)
                if stop is None or record.offset < stop:
                    self._taken[place] = record.offset + 1
                    yield place, record
            self._keep_membership()

    def _begin(self) -> None:
        if self._member is None or self._group is None:
            places = [
                (topic, index) for topic in self._topics for index in range(self._cluster.partitions(topic))
            ]
            positions = resolve(self._cluster, places, self._start)
        else:
            places = self._member.join()
            earlier = committed(self._cluster, self._group)
            fresh = [place for place in places if place not in earlier]
            positions = resolve(self._cluster, fresh, self._start)
            positions.update({place: earlier[place] for place in places if place in earlier})
        self._reader.positions = positions
        self._taken.clear()
        self._stops = resolve(self._cluster, places, self._stop) if self._stop else {}

    def _drop_finished(self) -> bool:
        """Whether there is something left to read."""
        positions = self._reader.positions
        for place, stop in self._stops.items():
            if place in positions and positions[place] >= stop:
                del positions[place]
        if not positions and not self._stop:
            time.sleep(WAIT_MS / 1000)
        return bool(positions) or self._stop is None

    def _keep_membership(self) -> None:
        if self._member is None:
            return
        now = time.monotonic() * 1000
        if now >= self._commit_at:
            self._commit_at = now + COMMIT_MS
            self._commit()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_MS
            if not self._member.beat():
                self._commit()
                self._begin()

    def _commit(self) -> None:
        if self._member is not None and self._taken:
            self._member.commit(self._taken)
            self._taken.clear()

    def close(self) -> None:
        """Commit what was handed out and leave the group."""
        if self._member is not None:
            self._commit()
            self._member.leave()


@click.command(
    epilog="""\b
Examples:
  barnabas consume clicks                          what comes from now on
  barnabas consume clicks -o start -e              everything there is, then stop
  barnabas consume clicks -o -50 -f '%o %k %v\\n'
  barnabas consume clicks -o @-1h:end --key 'user-*'
  barnabas consume clicks -o @2026-01-31T09:00..+1h -n 10
  barnabas consume clicks -g billing -o start      as a member of a group
Fields of -f: %t topic, %p partition, %o offset, %k key, %v value, %T timestamp, %h headers, %% percent."""
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC…")
@click.option(
    "-o", "--offset", "where", default="end", show_default=True, help="start, end, N, -N, @TIME; FROM:TO."
)
@click.option(
    "-f", "--format", "pattern", help="A format string; default: pretty on a terminal, else JSON Lines."
)
@click.option("-n", "--count", type=click.IntRange(1), help="Stop after this many records.")
@click.option("-e", "--exit", "exits", is_flag=True, help="Stop at what is the end now.")
@click.option("--key", metavar="GLOB", help="Only records with such a key.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Only with this header.")
@click.option("-g", "--group", help="Read as a member of a group, and commit.")
@bootstrap_option
@guarded
def consume(
    topics: Sequence[str],
    where: str,
    pattern: str | None,
    count: int | None,
    exits: bool,
    key: str | None,
    headers: Sequence[str],
    group: str | None,
    bootstrap: str,
) -> None:
    """Print the records of topics."""
    start, stop = parse_range(where, time.time_ns() // 1_000_000)
    if stop is None and exits:
        stop = Where("end")
    if pattern is not None:
        show = formatter(pattern)
    elif sys.stdout.isatty():
        show = _pretty
    else:
        show = _json_line
    matches = matcher(key, settings_of(headers))
    source = Source(connect(bootstrap), topics, start, stop, group)
    live = stop is None
    left = count
    try:
        for (topic, partition), record in source.records():
            if not matches(record):
                continue
            sys.stdout.write(show(topic, partition, record))
            if live:
                sys.stdout.flush()
            if left is not None:
                left -= 1
                if not left:
                    break
    finally:
        source.close()


def _json_line(topic: str, partition: int, record: Record) -> str:
    return to_line(topic, partition, record) + "\n"
