"""From files and stdin to records: lines in bounded memory, and the forms that `produce --format` reads.

jsonl   a line is a record as `consume` writes it (cli/lines.py), or any JSON that is the value as it stands
csv     a row is a JSON object; the first row has the names
raw     a line is a value, or a key and a value with a separator between
kcat    a line is a record as `kcat -C -J` writes it
"""

import csv
import json
import select
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

import click

from barnabas.cli.lines import BadLine, content_of, kcat_record, own_record, parse_json
from barnabas.cli.places import parse_time
from barnabas.records.record import Record

CHUNK_BYTES: Final = 256 * 1024
LINE_BYTES_MAX: Final = 64 << 20
TIMESTAMP_MAX: Final = (1 << 63) - 1

Placed = tuple[int, Record, int | None]
"""Line number, record, and its partition if the input says it."""


class Fields(NamedTuple):
    """Which field of a JSON object, or column of a CSV row, is what; None: it says nothing of that."""

    key: str | None = None
    value: str | None = None
    timestamp: str | None = None
    partition: str | None = None
    headers: tuple[str, ...] = ()

    def shape_the_record(self) -> bool:
        return bool(self.key or self.value or self.timestamp or self.headers)


class Form(NamedTuple):
    """How to read the input."""

    name: str
    fields: Fields
    separator: bytes | None = None
    tombstone: bool = False


class Lines:
    """The lines of a source, without their ends. taken and taken_bytes: how far in it we are."""

    def __init__(self, source: BinaryIO, idle: Callable[[], None]) -> None:
        """idle: called when the next line is not there yet, as a pipe or a terminal may keep us waiting."""
        self._source = source
        self._idle = idle
        self._waits = _can_wait(source)
        self.taken = 0
        self.taken_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        rest: list[bytes] = []
        rest_bytes = 0
        while chunk := self._read():
            *lines, last = chunk.split(b"\n")
            for line in lines:
                if rest:
                    line = b"".join((*rest, line))
                    rest.clear()
                self.taken += 1
                self.taken_bytes += len(line) + 1
                yield line.removesuffix(b"\r")
            rest_bytes = len(last) + (0 if lines else rest_bytes)
            if last:
                rest.append(last)
            if rest_bytes > LINE_BYTES_MAX:
                raise BadLine(f"longer than {LINE_BYTES_MAX >> 20} MiB", self.taken + 1)
        if rest:
            self.taken_bytes += rest_bytes
            yield b"".join(rest).removesuffix(b"\r")

    def _read(self) -> bytes:
        if self._waits and not select.select([self._source], [], [], 0)[0]:
            self._idle()
        read: bytes = self._source.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
        return read


def _can_wait(source: BinaryIO) -> bool:
    """Whether it has a descriptor behind which somebody writes."""
    try:
        source.fileno()
        return not source.seekable()
    except OSError:
        return False


def records_from(lines: Lines, form: Form, now_ms: Callable[[], int]) -> Iterator[Placed]:
    """Raises BadLine with the number of the line."""
    if form.name == "csv":
        yield from _csv_records(lines, form, now_ms)
        return
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if form.name == "raw":
                yield number, _raw_record(line, form, now_ms()), None
            elif line.strip():
                record, partition = _json_record(line, form, now_ms())
                yield number, record, partition
    except BadLine as error:
        raise BadLine(f"line {error.line or number}: {error}") from None


def _raw_record(line: bytes, form: Form, now_ms: int) -> Record:
    key = None
    if form.separator is not None:
        key, found, line = line.partition(form.separator)
        if not found and not form.tombstone:
            raise BadLine(f"there is no {form.separator.decode()!r} behind a key")
    if form.tombstone:
        return Record(line if key is None else key, None, now_ms)
    return Record(key, line, now_ms)


def _json_record(line: bytes, form: Form, now_ms: int) -> tuple[Record, int | None]:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise BadLine("this is not UTF-8") from None
    row = parse_json(text)
    fields = form.fields
    record: Record | None
    if form.name == "kcat":
        record = kcat_record(row, now_ms)
    else:
        record = None if fields.shape_the_record() else own_record(row, now_ms, tombstone=form.tombstone)
    if record is None:
        return _row_record(row, line, form, now_ms)
    if form.tombstone:
        _need_key(record.key)
        record.value = None
    return record, _partition(row, fields)


def _csv_records(lines: Lines, form: Form, now_ms: Callable[[], int]) -> Iterator[Placed]:
    csv.field_size_limit(LINE_BYTES_MAX)
    rows = csv.reader(_text_lines(lines), strict=True)
    at = 1
    try:
        names = next(rows, [])
        for number, name in enumerate(names):
            if name in names[:number]:
                raise BadLine(f"two columns are called {name!r}")
        for cells in rows:
            at = rows.line_num
            if not cells:
                continue
            if len(cells) != len(names):
                raise BadLine(f"{len(cells)} cells, and the first row has {len(names)} names")
            row = dict(zip(names, cells, strict=True))
            whole = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            record, partition = _row_record(row, whole, form, now_ms())
            yield at, record, partition
    except csv.Error as error:
        raise BadLine(f"line {rows.line_num}: {error}") from None
    except BadLine as error:
        raise BadLine(f"line {error.line or at}: {error}") from None


def _text_lines(lines: Lines) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError:
            raise BadLine("this is not UTF-8", number) from None


def _row_record(row: object, whole: bytes, form: Form, now_ms: int) -> tuple[Record, int | None]:
    """A record of named fields; whole is its value unless one field is."""
    fields = form.fields
    key = None if fields.key is None else content_of(_field(row, fields.key))
    value = whole if fields.value is None else content_of(_field(row, fields.value))
    timestamp = now_ms if fields.timestamp is None else _timestamp(_field(row, fields.timestamp), now_ms)
    headers = tuple((name, content_of(_field(row, name))) for name in fields.headers)
    if form.tombstone:
        _need_key(key)
        value = None
    return Record(key, value, timestamp, headers), _partition(row, fields)


def _need_key(key: bytes | None) -> None:
    if key is None:
        raise BadLine("a tombstone without a key: name the field with --key-field")


def _field(row: object, name: str) -> object:
    if not isinstance(row, dict) or name not in row:
        there = ", ".join(map(str, row)) if isinstance(row, dict) else "not an object"
        raise BadLine(f"no field {name!r}: {there}")
    return row[name]


def _partition(row: object, fields: Fields) -> int | None:
    if fields.partition is None:
        return None
    given = _field(row, fields.partition)
    if isinstance(given, str) and given.isdecimal():
        return int(given)
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise BadLine(f"{given!r} is no partition")
    return given


def _timestamp(given: object, now_ms: int) -> int:
    """Milliseconds as a number, or whatever --offset takes behind its @."""
    try:
        found = given if isinstance(given, int) else parse_time(str(given), now_ms)
    except click.BadParameter as error:
        raise BadLine(error.message.replace("@", "")) from None
    if isinstance(given, bool) or not 0 <= found <= TIMESTAMP_MAX:
        raise BadLine(f"{given!r} is no time")
    return found
