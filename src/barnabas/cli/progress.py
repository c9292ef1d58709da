"""How far `produce` is: a bar where a human can see one, JSON Lines for machines, or nothing. Always on stderr."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import click

REPORT_S: Final = 1.0


class Progress(Protocol):
    """Told of every record; says something now and then."""

    def advance(self, records: int, taken_bytes: int) -> None: ...


class Silent:
    """A Progress for pipes."""

    def advance(self, records: int, taken_bytes: int) -> None:
        pass


class JsonProgress:
    """One object a second, and one at the end: {"records": …, "bytes": …, "total_bytes": … or null}."""

    def __init__(self, total_bytes: int | None) -> None:
        self._total_bytes = total_bytes
        self._due = time.monotonic() + REPORT_S
        self._last = (0, 0)

    def advance(self, records: int, taken_bytes: int) -> None:
        self._last = records, taken_bytes
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + REPORT_S
            self.say()

    def say(self) -> None:
        records, taken_bytes = self._last
        row = {"records": records, "bytes": taken_bytes, "total_bytes": self._total_bytes}
        click.echo(json.dumps(row), err=True)


class Bar:
    """Records, bytes, rate and what is left, redrawn by rich."""

    def __init__(self, drawn: Any, task: Any) -> None:
        self._drawn = drawn
        self._task = task

    def advance(self, records: int, taken_bytes: int) -> None:
        self._drawn.update(self._task, completed=taken_bytes, records=records)


@contextmanager
def progress_of(form: str | None, paths: list[str]) -> Iterator[Progress]:
    """form: bar, json or none; None: a bar if stderr is a terminal and the input is none. paths: - is stdin."""
    piped = "-" in paths
    total_bytes = None if piped else sum(os.path.getsize(path) for path in paths)
    if form is None:
        form = "bar" if sys.stderr.isatty() and not (piped and sys.stdin.isatty()) else "none"
    if form == "none":
        yield Silent()
    elif form == "json":
        said = JsonProgress(total_bytes)
        yield said
        said.say()
    else:
        with _bar(total_bytes) as bar:
            yield bar


@contextmanager
def _bar(total_bytes: int | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Drawn

    columns = [
        TextColumn("{task.fields[records]} records"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    ]
    if total_bytes is not None:
        columns.append(TimeRemainingColumn())
    with Drawn(*columns, console=Console(stderr=True)) as drawn:
        yield Bar(drawn, drawn.add_task("", total=total_bytes, records=0))
