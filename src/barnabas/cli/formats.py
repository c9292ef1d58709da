"""How `consume` shows a record: a format string, JSON Lines, or a line for a human."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import click

from barnabas.cli.lines import DECODERS, to_line
from barnabas.cli.output import colourful, printable
from barnabas.records.record import Record

Show = Callable[[str, int, Record], bytes]
"""Topic, partition and record to what is written."""

ESCAPES: Final = {"\\n": b"\n", "\\t": b"\t", "\\r": b"\r", "\\0": b"\0", "\\\\": b"\\"}
FIELDS: Final[dict[str, Show]] = {
    "t": lambda topic, partition, record: topic.encode(),
    "p": lambda topic, partition, record: b"%d" % partition,
    "o": lambda topic, partition, record: b"%d" % record.offset,
    "k": lambda topic, partition, record: record.key or b"",
    "v": lambda topic, partition, record: record.value or b"",
    "T": lambda topic, partition, record: b"%d" % record.timestamp,
    "h": lambda topic, partition, record: b",".join(
        name.encode() + b"=" + (content or b"") for name, content in record.headers
    ),
    "%": lambda topic, partition, record: b"%",
}
FIELD_NAMES: Final = (
    "%t topic, %p partition, %o offset, %k key, %v value, %T timestamp, %h headers, %% percent"
)


def format_of(pattern: str | None, decode: str | None, terminal: bool) -> Show:
    """pattern: `pretty`, `jsonl` or a format string; None: pretty on a terminal. decode: one of DECODERS, for jsonl.

    Raises click.BadParameter.
    """
    if pattern is None:
        pattern = "pretty" if terminal and decode is None else "jsonl"
    if pattern == "jsonl":
        decoder = DECODERS[decode or "text"]
        return lambda topic, partition, record: (
            to_line(topic, partition, record, decoder).encode("utf-8", "surrogatepass") + b"\n"
        )
    if decode is not None:
        raise click.BadParameter("--decode goes with JSON Lines: -f jsonl")
    return pretty if pattern == "pretty" else formatter(pattern)


def formatter(pattern: str) -> Show:
    """A format string as a function; keys, values and headers go out byte for byte.

    Raises click.BadParameter for a field that does not exist.
    """
    parts: list[bytes | Show] = []
    at = 0
    while at < len(pattern):
        pair = pattern[at : at + 2]
        if pattern[at] == "%":
            if pair[1:] not in FIELDS:
                raise click.BadParameter(f"{pair!r} is no field: {FIELD_NAMES}")
            parts.append(FIELDS[pair[1]])
        else:
            parts.append(ESCAPES.get(pair) or pattern[at].encode())
        at += 2 if pattern[at] == "%" or pair in ESCAPES else 1
    return lambda topic, partition, record: b"".join(
        part if isinstance(part, bytes) else part(topic, partition, record) for part in parts
    )


def pretty(topic: str, partition: int, record: Record) -> bytes:
    """Where and when, key, value, headers. No byte of a record reaches the terminal as a control character."""
    place = f"{topic}[{partition}]@{record.offset} {moment(record.timestamp)}"
    key = "" if record.key is None else f"{_text(record.key)} "
    headers = "".join(f" {printable(name)}={_text(content)}" for name, content in record.headers)
    value = "null" if record.value is None else _text(record.value)
    if colourful():
        place, key = click.style(place, fg="bright_black"), click.style(key, fg="cyan")
        headers = click.style(headers, fg="yellow")
    return f"{place} {key}{value}{headers}\n".encode()


def moment(timestamp: int) -> str:
    """UTC to the millisecond; the number itself where no calendar reaches."""
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


def _text(content: bytes | None) -> str:
    return "" if content is None else printable(content.decode("utf-8", "backslashreplace"))
