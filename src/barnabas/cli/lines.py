"""The JSON Lines form of a record: what `consume` writes in a pipe and `produce --format jsonl` takes back.

One object per record. topic, partition, offset and timestamp (ms) are numbers and text as they are. key, value and header
contents are the text itself when they are UTF-8, null when null, and {"base64": "…"} when they are other bytes.
Headers are a list of [name, content], as a name may come twice.
"""

import base64
import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from barnabas.records.record import Header, Record

RECORD_FIELDS: Final = frozenset({"topic", "partition", "offset", "timestamp", "key", "value", "headers"})


class BadLine(ValueError):
    """A line is not of the form. line: its number, where who raised it knows that."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


def shown(content: bytes | None) -> object:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _json(text: str | bytes) -> object:
    """Raises ValueError also for what only Python takes for JSON (NaN), or cannot hold (1e999)."""
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def parsed(content: bytes | None) -> object:
    """shown(), and JSON as what it is."""
    try:
        return _json(content or b"")
    except (ValueError, RecursionError):
        return shown(content)


def in_hex(content: bytes | None) -> str | None:
    return None if content is None else content.hex()


DECODERS: Final[dict[str, Callable[[bytes | None], object]]] = {"text": shown, "json": parsed, "hex": in_hex}
"""How keys and values appear in JSON Lines. `produce` takes the first two back."""


def to_line(
    topic: str, partition: int, record: Record, decode: Callable[[bytes | None], object] = shown
) -> str:
    row: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": decode(record.key),
        "value": decode(record.value),
    }
    if record.headers:
        row["headers"] = [[name, shown(content)] for name, content in record.headers]
    return json.dumps(row, ensure_ascii=False)


def content_of(given: object) -> bytes | None:
    """The inverse of shown(); any other JSON is kept as JSON text."""
    if given is None:
        return None
    if isinstance(given, str):
        return _utf8(given)
    if isinstance(given, dict) and list(given) == ["base64"]:
        try:
            return base64.b64decode(given["base64"], validate=True)
        except (TypeError, ValueError):
            raise BadLine("base64 that is none") from None
    return _utf8(json.dumps(given, ensure_ascii=False, separators=(",", ":")))


def _utf8(text: str) -> bytes:
    """JSON can name half a character, which no UTF-8 holds."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadLine("half of a surrogate pair is no text") from None


def parse_json(text: str) -> object:
    """Raises BadLine."""
    try:
        return _json(text)
    except json.JSONDecodeError as error:
        raise BadLine(f"this is not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"this is not JSON that can be read: {error}") from None


def own_record(row: object, now_ms: int, *, tombstone: bool = False) -> Record | None:
    """A record of our own form: an object with a value and no fields but ours; None for anything else.

    tombstone: a key will do, as the value goes anyway.
    """
    if not isinstance(row, dict) or not row.keys() <= RECORD_FIELDS:
        return None
    if "value" not in row and not (tombstone and "key" in row):
        return None
    timestamp = row.get("timestamp", now_ms)
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or not -1 <= timestamp < 1 << 63:
        raise BadLine("timestamp is to be a number of milliseconds")
    headers = _headers(row.get("headers", []))
    return Record(content_of(row.get("key")), content_of(row.get("value")), timestamp, headers)


def kcat_record(row: object, now_ms: int) -> Record:
    """{"ts": ms, "headers": [name, content, name, content…], "key": …, "payload": …} and what is of no use here."""
    if not isinstance(row, dict) or "payload" not in row:
        raise BadLine("no payload: is it from kcat -C -J?")
    flat = row.get("headers", [])
    if not isinstance(flat, list) or len(flat) % 2:
        raise BadLine("headers are to be a list of names and contents in turn")
    pairs = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    own = {
        "key": row.get("key"),
        "value": row["payload"],
        "headers": pairs,
        "timestamp": row.get("ts", now_ms),
    }
    record = own_record(own, now_ms)
    assert record is not None, "it has a value and our fields"
    return record


def _headers(given: object) -> tuple[Header, ...]:
    pairs = list(given.items()) if isinstance(given, dict) else given
    if not isinstance(pairs, list):
        raise BadLine("headers are to be a list of [name, content]")
    found = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise BadLine("headers are to be a list of [name, content]")
        _utf8(pair[0])
        found.append((pair[0], content_of(pair[1])))
    return tuple(found)
