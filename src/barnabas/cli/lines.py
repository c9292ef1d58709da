"""The JSON Lines form of a record: what `consume` writes in a pipe and `produce --format jsonl` takes back.

One object per record. topic, partition, offset and timestamp (ms) are numbers and text as they are. key, value and header
contents are the text itself when they are UTF-8, null when null, and {"base64": "…"} when they are other bytes.
Headers are a list of [name, content], as a name may come twice.
"""

import base64
import json
from typing import Any, Final

from barnabas.records.record import Header, Record

RECORD_FIELDS: Final = frozenset({"topic", "partition", "offset", "timestamp", "key", "value", "headers"})


class BadLine(ValueError):
    """A line is not of the form."""


def shown(content: bytes | None) -> object:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def to_line(topic: str, partition: int, record: Record) -> str:
    row: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": shown(record.key),
        "value": shown(record.value),
    }
    if record.headers:
        row["headers"] = [[name, shown(content)] for name, content in record.headers]
    return json.dumps(row, ensure_ascii=False)


def content_of(given: object) -> bytes | None:
    """The inverse of shown(); any other JSON is kept as JSON text."""
    if given is None:
        return None
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, dict) and list(given) == ["base64"]:
        try:
            return base64.b64decode(given["base64"], validate=True)
        except (TypeError, ValueError):
            raise BadLine("base64 that is none") from None
    return json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()


def from_line(line: str, key_field: str | None, now_ms: int) -> Record:
    """A record of our own form when the line has only its fields and a value; else the whole line is the value."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadLine(f"this is not JSON: {error}") from None
    if key_field is None and isinstance(row, dict) and "value" in row and row.keys() <= RECORD_FIELDS:
        timestamp = row.get("timestamp", now_ms)
        if not isinstance(timestamp, int):
            raise BadLine("timestamp is to be a number of milliseconds")
        headers = _headers(row.get("headers", []))
        return Record(content_of(row.get("key")), content_of(row["value"]), timestamp, headers)
    key = None
    if key_field is not None:
        if not isinstance(row, dict) or key_field not in row:
            raise BadLine(f"no field {key_field!r}")
        key = content_of(row[key_field])
    return Record(key, line.encode(), now_ms)


def _headers(given: object) -> tuple[Header, ...]:
    pairs = list(given.items()) if isinstance(given, dict) else given
    if not isinstance(pairs, list):
        raise BadLine("headers are to be a list of [name, content]")
    found = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise BadLine("headers are to be a list of [name, content]")
        found.append((pair[0], content_of(pair[1])))
    return tuple(found)
