"""What every command shares: the connection, exit codes with the next thing to try, tables and JSON, questions.

stdout is data, stderr is talk. Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 denied, 130 Ctrl-C.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec

import click

from barnabas import errors
from barnabas.client.cluster import Address, Cluster, Refused, Unreachable

EXIT_ERROR: Final = 1
EXIT_NOT_FOUND: Final = 3
EXIT_DENIED: Final = 4
EXIT_INTERRUPTED: Final = 130
DEFAULT_BOOTSTRAP: Final = "127.0.0.1:9092"
OUTPUT_BYTES: Final = 64 * 1024
UNPRINTABLE: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")

NOT_FOUND: Final = frozenset(
    {errors.UNKNOWN_TOPIC_OR_PARTITION, errors.GROUP_ID_NOT_FOUND, errors.RESOURCE_NOT_FOUND}
)
DENIED: Final = frozenset(
    {
        errors.TOPIC_AUTHORIZATION_FAILED,
        errors.GROUP_AUTHORIZATION_FAILED,
        errors.CLUSTER_AUTHORIZATION_FAILED,
        errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
NEXT_STEPS: Final[dict[int, str]] = {
    errors.UNKNOWN_TOPIC_OR_PARTITION: "see what is there: barnabas topic ls",
    errors.GROUP_ID_NOT_FOUND: "see what is there: barnabas group ls",
    errors.COORDINATOR_NOT_AVAILABLE: "see whether groups have a place: barnabas topic describe __consumer_offsets",
    errors.TOPIC_ALREADY_EXISTS: "look at it: barnabas topic describe {name}",
    errors.INVALID_TOPIC_EXCEPTION: "take ASCII letters, digits, '.', '_' and '-', at most 249 of them",
    errors.INVALID_PARTITIONS: "see how many there are: barnabas topic describe {name}",
    errors.INVALID_CONFIG: "see the options of a topic, with values: barnabas topic describe TOPIC --options",
    errors.NON_EMPTY_GROUP: "stop its members first: barnabas group describe {name}",
    errors.UNKNOWN_MEMBER_ID: "stop the group's members first: barnabas group describe {name}",
    errors.INCONSISTENT_GROUP_PROTOCOL: "see how its members share: barnabas group describe {name}",
    errors.OFFSET_OUT_OF_RANGE: "see what offsets there are: barnabas topic describe {name}",
    errors.INVALID_REPLICATION_FACTOR: "take the broker's default: leave --replicas out",
    errors.MESSAGE_TOO_LARGE: "allow larger batches: barnabas topic alter {name} --set max.message.bytes=N",
    errors.INVALID_RECORD: "where cleanup.policy is compact, each record needs a key: --key-field NAME",
    errors.INVALID_TIMESTAMP: "see how far times may be off: barnabas topic describe {name} --options",
    errors.UNSUPPORTED_VERSION: "ask another broker with -b HOST:PORT",
}
ASK_LOG: Final = "the broker's log says more"
DENIED_STEP: Final = "ask whoever runs the broker for the right"

Given = ParamSpec("Given")


class Failed(Exception):
    """A command cannot go on: what, the next thing to try, and the exit code."""

    def __init__(self, what: str, hint: str, code: int = EXIT_ERROR) -> None:
        super().__init__(what)
        self.hint = hint
        self.code = code


def parse_address(text: str) -> Address:
    host, _, port = text.strip().rpartition(":")
    if not host and port and not port.isdigit():
        host, port = port, "9092"
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is not HOST:PORT, for example {DEFAULT_BOOTSTRAP}")
    return host.strip("[]") or "127.0.0.1", int(port)


def connect(bootstrap: str, patience_s: float | None = None) -> Cluster:
    """patience_s: how long to wait for a connection."""
    from barnabas.cli.transport import CONNECT_TIMEOUT_S, Sockets

    seeds = [parse_address(part) for part in bootstrap.split(",") if part.strip()]
    if not seeds:
        raise click.BadParameter(
            f"no broker in {bootstrap!r}: write HOST:PORT, for example {DEFAULT_BOOTSTRAP}"
        )
    return Cluster(Sockets(patience_s or CONNECT_TIMEOUT_S), seeds)


bootstrap_option = click.option(
    "-b",
    "--bootstrap",
    envvar="BARNABAS_BOOTSTRAP",
    default=DEFAULT_BOOTSTRAP,
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT[,…]",
    help="Brokers to ask first.",
)
form_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "jsonl"]),
    help="How to print; a table on a terminal, jsonl in a pipe.",
)
compression_option = click.option(
    "--compression",
    type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]),
    default="none",
    show_default=True,
    help="Of whole batches.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_option = click.option("--dry-run", is_flag=True, help="Only print what would be changed.")


def guarded(command: Callable[Given, None]) -> Callable[Given, None]:
    """Turns what may go wrong into a sentence, a next step and an exit code."""

    @wraps(command)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except Unreachable as error:
            _end(
                str(error),
                "start a broker with `barnabas dev`, or say where it is with -b HOST:PORT",
                EXIT_ERROR,
            )
        except Refused as error:
            found = EXIT_NOT_FOUND if error.code in NOT_FOUND else EXIT_ERROR
            _end(str(error), next_step(error), EXIT_DENIED if error.code in DENIED else found)
        except Failed as error:
            _end(str(error), error.hint, error.code)
        except KeyboardInterrupt:
            _quiet_end(EXIT_INTERRUPTED)
        except click.Abort:  # Ctrl-C or the end of stdin instead of an answer
            click.echo("\nnothing was changed", err=True)
            _quiet_end(EXIT_INTERRUPTED)
        except BrokenPipeError:
            _quiet_end(0)
        except FileNotFoundError as error:
            _end(f"there is no file {error.filename}", "see what is there: ls", EXIT_NOT_FOUND)
        except OSError as error:
            where = error.filename or "stdout"
            _end(f"{where}: {error.strerror}", "see whether there is room, and the right to it", EXIT_ERROR)

    return run


def next_step(error: Refused) -> str:
    """What to try when a broker said no."""
    kind, _, name = error.what.partition(" ")
    if kind not in ("topic", "group"):
        kind, name = ("topic", kind.partition("[")[0]) if not name else ("", "")
    name = shlex.quote(name)
    if error.code in DENIED:
        return DENIED_STEP
    if error.code in NEXT_STEPS:
        return NEXT_STEPS[error.code].format(name=name)
    if kind == "group":
        return f"look at it: barnabas group describe {name}"
    return f"look at it and its leaders: barnabas topic describe {name}" if kind else ASK_LOG


def _end(what: str, hint: str, code: int) -> None:
    click.echo(f"barnabas: {what}\n  {hint}", err=True)
    _quiet_end(code)


def _quiet_end(code: int) -> None:
    """Leave without the interpreter's own complaint about a stdout that is gone."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


class Output:
    """Bytes to stdout, together. What could not be written stays, so that flush() says so each time it is asked."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held_bytes = 0

    def write(self, content: bytes) -> None:
        self._parts.append(content)
        self._held_bytes += len(content)
        if self._held_bytes >= OUTPUT_BYTES:
            self.flush()

    def flush(self) -> None:
        """All of it has left this process when it returns. Raises OSError."""
        rest = memoryview(b"".join(self._parts))
        out = sys.stdout.buffer
        while rest:  # an unbuffered stdout may take a part only
            rest = rest[out.write(rest) :]
        out.flush()
        self._parts.clear()
        self._held_bytes = 0


def emit(rows: Sequence[dict[str, Any]], form: str | None) -> None:
    """Print rows that have the same fields."""
    form = form or ("table" if sys.stdout.isatty() else "jsonl")
    if form == "json":
        click.echo(json.dumps(list(rows), ensure_ascii=False, indent=2))
    elif form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
    elif rows:
        _table(rows)


def _table(rows: Sequence[dict[str, Any]]) -> None:
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    numeric = [all(isinstance(row[name], int | float | None) for row in rows) for name in names]
    widths = [max(_width(name), *(_width(line[at]) for line in cells)) for at, name in enumerate(names)]
    for number, line in enumerate([[name.upper() for name in names], *cells]):
        parts = [
            " " * (width - _width(text)) + text if right else text + " " * (width - _width(text))
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        text = "  ".join(parts).rstrip()
        click.echo(click.style(text, bold=True) if not number and colourful() else text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(_cell(each) for each in value) or "-"
    return printable(str(value))


def _width(text: str) -> int:
    """Columns on a terminal: wide characters of East Asia take two, marks that join the one before none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def printable(text: str) -> str:
    """Text that does nothing to a terminal: control characters and those that turn the writing are shown by number."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def colourful() -> bool:
    """Whether what goes to stdout may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal; where nobody can answer, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failed("nothing was changed: this needs a yes, and stdin is no terminal", "add --yes")
    if not click.confirm(question, err=True):
        raise Failed("nothing was changed", "see the plan only with --dry-run")


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE pairs of an option that may be repeated."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r} is not NAME=VALUE, for example retention.ms=3600000")
        found[name.strip()] = value
    return found
