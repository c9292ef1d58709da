"""`barnabas consume`: records of topics to stdout, alone or as a member of a group."""

import sys
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import click

from barnabas.cli.formats import FIELD_NAMES, format_of
from barnabas.cli.names import group_option, topics_argument
from barnabas.cli.output import Failed, Output, bootstrap_option, connect, guarded, settings_of
from barnabas.cli.places import Span, Where, parse_range
from barnabas.cli.source import Source
from barnabas.records.record import Record


def matcher(key: str | None, headers: dict[str, str]) -> Callable[[Record], bool]:
    """key is a glob; every header must be there with exactly its content."""

    wanted = {name: value.encode() for name, value in headers.items()}

    def matches(record: Record) -> bool:
        if key is not None:
            if record.key is None or not fnmatchcase(record.key.decode("utf-8", "backslashreplace"), key):
                return False
        return all((name, value) in record.headers for name, value in wanted.items())

    return matches


@click.command(
    epilog="""\b
Examples:
  barnabas consume clicks                          what comes from now on
  barnabas consume clicks -o start -e              everything there is, then stop
  barnabas consume clicks -o start -e --decode json | jq .value.page
  barnabas consume clicks -o -50 -f '%o %k %v\\n'
  barnabas consume clicks -o @-1h:end --key 'user-*'
  barnabas consume clicks -o @2026-01-31T09:00..+1h -n 10
  barnabas consume clicks -g billing -o start      as a member of a group
  barnabas consume replies -n 1 --timeout 10s      the next one, or an error
Fields of -f: """
    + FIELD_NAMES
    + ".",
)
@topics_argument
@click.option(
    "-o", "--offset", "where", default="end", show_default=True, help="start, end, N, -N, @TIME; FROM:TO."
)
@click.option(
    "-f",
    "--format",
    "pattern",
    help="pretty, jsonl, or a format string; default: pretty on a terminal, else jsonl.",
)
@click.option(
    "--decode",
    type=click.Choice(["text", "json", "hex"]),
    help="How keys and values stand in JSON Lines; default: text.",
)
@click.option("-n", "--count", type=click.IntRange(1), help="Stop after this many records.")
@click.option("-e", "--exit", "exits", is_flag=True, help="Stop at what is the end now.")
@click.option(
    "--timeout",
    "timeout_ms",
    type=Span(),
    metavar="SPAN",
    help="Stop after 500ms, 10s, 5m…; an error below -n.",
)
@click.option("--key", metavar="GLOB", help="Only records with such a key.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Only with this header.")
@group_option
@bootstrap_option
@guarded
def consume(
    topics: Sequence[str],
    where: str,
    pattern: str | None,
    decode: str | None,
    count: int | None,
    exits: bool,
    timeout_ms: int | None,
    key: str | None,
    headers: Sequence[str],
    group: str | None,
    bootstrap: str,
) -> None:
    """Print the records of topics."""
    start, stop = parse_range(where, time.time_ns() // 1_000_000)
    if stop is None and exits:
        stop = Where("end")
    show = format_of(pattern, decode, sys.stdout.isatty())
    matches = matcher(key, settings_of(headers))
    out = Output()
    source = Source(connect(bootstrap), topics, start, stop, group, out.flush, timeout_ms)
    left = count
    try:
        for (topic, partition), record in source.records():
            if matches(record):
                out.write(show(topic, partition, record))
                if left is not None:
                    left -= 1
            source.done((topic, partition), record)
            if stop is None:
                out.flush()
            if left == 0:
                break
    finally:
        try:
            out.flush()
        finally:
            source.close()
    if left and count and source.timed_out:
        raise Failed(f"{count - left} of {count} records came in time", "wait longer with --timeout")
