"""`barnabas produce`: records from files or stdin into a topic."""

import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

import click

from barnabas.cli.inputs import Fields, Form, Lines, records_from
from barnabas.cli.lines import BadLine
from barnabas.cli.names import topic_argument
from barnabas.cli.output import (
    EXIT_NOT_FOUND,
    Failed,
    bootstrap_option,
    compression_option,
    connect,
    counted,
    guarded,
    settings_of,
)
from barnabas.cli.progress import Progress, progress_of
from barnabas.client.produce import Producer
from barnabas.records.record import Header, Record

ACKS: Final = {"all": -1, "1": 1, "0": 0}
PROGRESS_STEP: Final = 1000
AHEAD_S_MAX: Final = 0.05
"""What --rate lets through at once: sleeping less than this would cost more than it paces."""

RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m|h))?")
RATE_UNITS_S: Final = {None: 1, "s": 1, "m": 60, "h": 3600}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Rate(click.ParamType[float]):
    """100, 100/s, 90/m: records a second."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = RATE.fullmatch(str(value))
        if not found or not float(found[1]):
            self.fail(f"{value!r} is no rate, for example 100/s or 30/m", param, ctx)
        return float(found[1]) / RATE_UNITS_S[found[2]]


class Pace(ABC):
    """Holds records back until they are due. What was late is made up for."""

    def __init__(
        self,
        flush: Callable[[], None],
        now_s: Callable[[], float] = time.monotonic,
        sleep_s: Callable[[float], None] = time.sleep,
    ) -> None:
        """flush: sends what was let through, before there is a wait."""
        self._flush = flush
        self._now_s = now_s
        self._sleep_s = sleep_s
        self._begun_s = now_s()
        self._passed = 0

    def step(self, record: Record) -> None:
        """Before each record."""
        ahead_s = self._begun_s + self._due_s(record) - self._now_s()
        if ahead_s > AHEAD_S_MAX:
            self._flush()
            self._sleep_s(ahead_s)
        self._passed += 1

    @abstractmethod
    def _due_s(self, record: Record) -> float:
        """How long after the beginning."""


class Rated(Pace):
    """So many records a second."""

    def __init__(self, per_s: float, *rest: Any) -> None:
        super().__init__(*rest)
        self._step_s = 1 / per_s

    def _due_s(self, record: Record) -> float:
        return self._passed * self._step_s


class Replay(Pace):
    """As fast as the records once came, by their timestamps."""

    _first_ms: int | None = None

    def _due_s(self, record: Record) -> float:
        if self._first_ms is None:
            self._first_ms = record.timestamp
        return (record.timestamp - self._first_ms) / 1000


class Feed:
    """Input to producer, file by file."""

    def __init__(
        self,
        producer: Producer,
        form: Form,
        headers: tuple[Header, ...],
        partition: int | None,
        pace: Pace | None,
        progress: Progress,
    ) -> None:
        self._producer = producer
        self._form = form
        self._headers = headers
        self._partition = partition
        self._pace = pace
        self._progress = progress
        self._records = 0
        self._earlier_bytes = 0

    def take(self, path: str) -> None:
        """A whole file, or stdin for `-`. Raises Failed for what cannot be read."""
        try:
            if path == "-":
                self._take(sys.stdin.buffer)
            else:
                with open(path, "rb") as source:
                    self._take(source)
        except BadLine as error:
            where = "stdin" if path == "-" else path
            raise Failed(f"{where}: {error}", "send lines as they are with --format raw") from None

    def _take(self, source: BinaryIO) -> None:
        lines = Lines(source, self._producer.flush)
        for _, record, partition in records_from(lines, self._form, _now_ms):
            if self._pace is not None:
                self._pace.step(record)
            if self._headers:
                record.headers = (*record.headers, *self._headers)
            self._producer.add(record, self._partition if partition is None else partition)
            self._records += 1
            if self._records % PROGRESS_STEP == 0 or self._pace is not None:
                self._progress.advance(self._records, self._earlier_bytes + lines.taken_bytes)
        self._earlier_bytes += lines.taken_bytes
        self._progress.advance(self._records, self._earlier_bytes)


def _readable(paths: Sequence[str]) -> list[str]:
    """The paths, stdin for none, looked at before anything is sent."""
    for path in paths:
        if path == "-":
            continue
        if not os.path.exists(path):
            raise Failed(f"there is no file {path}", "leave FILE out to read stdin", EXIT_NOT_FOUND)
        if os.path.isdir(path) or not os.access(path, os.R_OK):
            raise Failed(
                f"{path} cannot be read", "name files that you may read, or leave FILE out for stdin"
            )
    return list(paths) or ["-"]


def _told(producer: Producer, topic: str) -> str:
    text = f"{counted(producer.sent_records, 'record')} {'written' if producer.acknowledged else 'sent'} to {topic}"
    unanswered = producer.unanswered_records
    unsent = producer.held_records - (unanswered if producer.idempotent else 0)
    if unanswered:
        text += f"; {counted(unanswered, 'record')} more went out without an answer and may be there too"
    if unsent:
        text += f"; {counted(unsent, 'record')} read and not sent"
    return text


def _form(name: str, fields: Fields, separator: str | None, tombstone: bool) -> Form:
    if name in ("raw", "kcat") and (fields.shape_the_record() or fields.partition):
        raise click.UsageError(f"--key-field and its like go with jsonl and csv, not with {name}")
    if name != "raw" and separator is not None:
        raise click.UsageError(
            "--key-separator goes with --format raw; otherwise name the key with --key-field"
        )
    if separator == "":
        raise click.UsageError("--key-separator takes at least one character, for example ':'")
    if tombstone and fields.value is not None:
        raise click.UsageError("--tombstone writes null values: leave --value-field out")
    return Form(name, fields, separator.encode() if separator else None, tombstone)


@click.command(
    epilog="""\b
Examples:
  echo '{"hello": "world"}' | barnabas produce greetings
  barnabas produce clicks clicks.jsonl --key-field user --compression zstd
  barnabas produce flights flights.csv --format csv --key-field carrier --rate 100/s
  printf 'k1:one\\nk2:two\\n' | barnabas produce states --format raw --key-separator :
  printf 'k1\\nk2\\n' | barnabas produce states --format raw --tombstone
  barnabas consume clicks -o start -e | barnabas produce copy"""
)
@topic_argument
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option(
    "--format",
    "form_name",
    type=click.Choice(["jsonl", "csv", "raw", "kcat"]),
    default="jsonl",
    show_default=True,
    help="raw: a line is a value. csv: a row becomes a JSON object. kcat: what kcat -J writes.",
)
@click.option("--key-field", metavar="NAME", help="The field or column that is the key.")
@click.option("--value-field", metavar="NAME", help="The one that is the value; default: the whole row.")
@click.option(
    "--timestamp-field", metavar="NAME", help="The one that is the time: ms since 1970, or ISO 8601."
)
@click.option("--partition-field", metavar="NAME", help="The one that names the partition.")
@click.option(
    "--header-field", "header_fields", multiple=True, metavar="NAME", help="One that is a header too."
)
@click.option("--key-separator", metavar="TEXT", help="In raw lines, what stands between key and value.")
@click.option("--tombstone", is_flag=True, help="Null values; a raw line is then a key.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="On every record; may be repeated."
)
@click.option("-p", "--partition", type=click.IntRange(0), help="Default: by key, or in turn.")
@click.option("--rate", type=Rate(), metavar="N[/s|m|h]", help="No more records than that.")
@click.option("--replay-original-speed", "replay", is_flag=True, help="As fast as their timestamps say.")
@compression_option
@click.option(
    "--acks", type=click.Choice(list(ACKS)), default="all", show_default=True, help="all is idempotent."
)
@click.option(
    "--progress",
    "progress_form",
    type=click.Choice(["bar", "json", "none"]),
    help="On stderr; default: a bar on a terminal.",
)
@bootstrap_option
@guarded
def produce(
    topic: str,
    files: Sequence[str],
    form_name: str,
    key_field: str | None,
    value_field: str | None,
    timestamp_field: str | None,
    partition_field: str | None,
    header_fields: Sequence[str],
    key_separator: str | None,
    tombstone: bool,
    headers: Sequence[str],
    partition: int | None,
    rate: float | None,
    replay: bool,
    compression: str,
    acks: str,
    progress_form: str | None,
    bootstrap: str,
) -> None:
    """Write records from files or stdin to a topic. Takes back what `barnabas consume` wrote."""
    fields = Fields(key_field, value_field, timestamp_field, partition_field, tuple(header_fields))
    form = _form(form_name, fields, key_separator, tombstone)
    if replay and rate is not None:
        raise click.UsageError("either --rate or --replay-original-speed")
    extra = tuple((name, value.encode()) for name, value in settings_of(headers).items())
    paths = _readable(files)
    producer = Producer(connect(bootstrap), topic, acks=ACKS[acks], codec=compression)
    pace: Pace | None = None if rate is None else Rated(rate, producer.flush)
    if replay:
        pace = Replay(producer.flush)
    try:
        with progress_of(progress_form, paths) as progress:
            feed = Feed(producer, form, extra, partition, pace, progress)
            for path in paths:
                feed.take(path)
            producer.flush()
    except (Failed, KeyboardInterrupt):
        producer.flush()
        raise
    finally:
        click.echo(_told(producer, topic), err=True)
