"""`barnabas produce`: lines of files or of stdin into a topic."""

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final

import click

from barnabas.cli.lines import BadLine, from_line
from barnabas.cli.output import Failed, bootstrap_option, connect, guarded, settings_of
from barnabas.client.produce import Producer
from barnabas.records.record import Record

ACKS: Final = {"all": -1, "1": 1, "0": 0}
PROGRESS_STEP: Final = 1000
Advance = Callable[[int], None]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def read_records(source: BinaryIO, form: str, key_field: str | None) -> Iterator[tuple[int, Record]]:
    """Line number and record. Raises BadLine."""
    if form == "csv":
        rows = csv.DictReader(io.TextIOWrapper(source, encoding="utf-8", newline=""))
        for row in rows:
            if key_field is not None and key_field not in row:
                raise BadLine(f"line {rows.line_num}: no column {key_field!r}")
            key = None if key_field is None else str(row[key_field]).encode()
            value = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            yield rows.line_num, Record(key, value, _now_ms())
        return
    for number, raw in enumerate(source, 1):
        line = raw.rstrip(b"\r\n")
        if form == "raw":
            yield number, Record(None, line, _now_ms())
        elif line.strip():
            try:
                yield number, from_line(line.decode(), key_field, _now_ms())
            except BadLine as error:
                raise BadLine(f"line {number}: {error}") from None
            except UnicodeDecodeError:
                raise BadLine(f"line {number}: this is not UTF-8") from None


def _feed(
    producer: Producer,
    source: BinaryIO,
    form: str,
    key_field: str | None,
    extra: tuple[tuple[str, bytes | None], ...],
    partition: int | None,
    advance: Advance,
) -> None:
    live = source.isatty()
    for number, record in read_records(source, form, key_field):
        record.headers = (*record.headers, *extra)
        producer.add(record, partition)
        if live:
            producer.flush()
        if number % PROGRESS_STEP == 0:
            advance(source.tell() if source.seekable() else 0)


def _run(paths: Sequence[str], feed: Callable[[BinaryIO, Advance], None]) -> None:
    """Feed each file, with a progress bar where a human can see one."""
    total = sum(os.path.getsize(path) for path in paths if path != "-" and os.path.exists(path))
    if not (sys.stderr.isatty() and total and "-" not in paths):
        for path in paths or ["-"]:
            _one(path, lambda source: feed(source, lambda _: None))
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        before = 0

        def advance(at: int) -> None:
            progress.update(task, completed=before + at)

        for path in paths:
            _one(path, lambda source: feed(source, advance))
            before += os.path.getsize(path)
        advance(0)


def _one(path: str, feed: Callable[[BinaryIO], None]) -> None:
    try:
        if path == "-":
            feed(sys.stdin.buffer)
        else:
            with open(path, "rb") as source:
                feed(source)
    except (BadLine, UnicodeDecodeError, csv.Error) as error:
        raise Failed(
            f"{'stdin' if path == '-' else path}: {error}", "send lines as they are with --format raw"
        ) from None
    except FileNotFoundError:
        raise Failed(f"there is no file {path}", "leave FILE out to read stdin", 3) from None


@click.command(
    epilog="""\b
Examples:
  echo '{"hello": "world"}' | barnabas produce greetings
  barnabas produce clicks clicks.jsonl --key-field user --compression zstd
  barnabas produce flights flights.csv --format csv --key-field carrier
  barnabas consume clicks -o start -e | barnabas produce copy"""
)
@click.argument("topic")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "raw"]),
    default="jsonl",
    show_default=True,
    help="raw: each line is a value. csv: each row becomes a JSON object.",
)
@click.option("--key-field", metavar="NAME", help="The field or column that is the key.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="On every record; may be repeated."
)
@click.option("-p", "--partition", type=click.IntRange(0), help="Default: by key, or in turn.")
@click.option(
    "--compression",
    type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]),
    default="none",
    show_default=True,
)
@click.option(
    "--acks", type=click.Choice(list(ACKS)), default="all", show_default=True, help="all is idempotent."
)
@bootstrap_option
@guarded
def produce(
    topic: str,
    files: Sequence[str],
    form: str,
    key_field: str | None,
    headers: Sequence[str],
    partition: int | None,
    compression: str,
    acks: str,
    bootstrap: str,
) -> None:
    """Write records from files or stdin to a topic. Takes back what `barnabas consume` wrote."""
    if form == "raw" and key_field is not None:
        raise click.UsageError("raw lines have no fields: --key-field goes with jsonl and csv")
    extra = tuple((name, value.encode()) for name, value in settings_of(headers).items())
    producer = Producer(connect(bootstrap), topic, acks=ACKS[acks], codec=compression)
    try:
        _run(
            files, lambda source, advance: _feed(producer, source, form, key_field, extra, partition, advance)
        )
        producer.flush()
    except (Failed, KeyboardInterrupt):
        producer.flush()
        raise
    finally:
        click.echo(f"{producer.sent_records} records written to {topic}", err=True)
