"""A load over raw sockets: requests are encoded once and sent again and again, so the broker is what is measured.

`drive` gives it to the generator in C (load.c, compiled on first use) and, without a C compiler, to the one in Python
(stream.py), which costs more than a fast broker: its rates are then its own limit.
"""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

SOURCE = Path(__file__).with_name("load.c")


@dataclass(frozen=True)
class Load:
    """Who sends what. contents: of each connection, its requests one after another.

    once: they are sent once (their sequences or session epochs go on), else again from the first on. codes: where
    answers have error codes. rate: requests a second at set times, 0 for as fast as answers come.
    """

    contents: Sequence[bytes]
    in_flight: int
    codes: tuple[int, ...] = ()
    once: bool = False
    rate: float = 0.0
    threads: int = 1


@dataclass(frozen=True)
class Limits:
    """How long a part lasts: until either is reached. 0 is no limit; both 0: the part is left out."""

    requests: int = 0
    seconds: float = 0.0


NOTHING = Limits()


@dataclass(frozen=True)
class Taken:
    """What the counted part took. broker_us: CPU of the broker's threads, client_us: of the generator."""

    requests: int
    seconds: float
    errors: int
    first_error: int
    answer_bytes: int
    p50_us: float
    p99_us: float
    p999_us: float
    longest_us: float
    broker_us: float
    client_us: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Of the broker, a request."""
        return self.broker_us / self.requests


class Target(Protocol):
    """A broker on this machine."""

    port: int

    @property
    def pid(self) -> int: ...


class LoadFailed(Exception):
    """The broker answered with errors, or not at all."""


def drive(target: Target, load: Load, counted: Limits, warm: Limits = NOTHING) -> Taken:
    """Raises LoadFailed when an answer of the counted part is an error."""
    program = generator()
    if program is None:
        from .stream import drive_in_python

        taken = drive_in_python(target, load, counted, warm)
    else:
        taken = _drive_in_c(program, target, load, counted, warm)
    if taken.errors:
        raise LoadFailed(
            f"{taken.errors} of {taken.requests} answers are errors, the first code {taken.first_error}"
        )
    if not taken.requests:
        raise LoadFailed("no request was counted: the warm part used them up")
    return taken


def _drive_in_c(program: Path, target: Target, load: Load, counted: Limits, warm: Limits) -> Taken:
    command = [str(program), "127.0.0.1", str(target.port), "--pid", str(target.pid)]
    command += ["--in-flight", str(load.in_flight), "--threads", str(load.threads), "--rate", str(load.rate)]
    command += ["--requests", str(counted.requests), "--seconds", str(counted.seconds)]
    command += ["--warm-requests", str(warm.requests), "--warm-seconds", str(warm.seconds)]
    command += ["--once"] if load.once else []
    command += ["--codes", ",".join(map(str, load.codes))] if load.codes else []
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory) as folder:
        written: dict[bytes, str] = {}
        for number, content in enumerate(load.contents):
            name = written.setdefault(content, f"{folder}/{number}")
            if name.endswith(f"/{number}"):
                Path(name).write_bytes(content)
            command.append(name)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(done.stderr.strip())
    return Taken(**json.loads(done.stdout))


@functools.cache
def generator() -> Path | None:
    """load.c, compiled into the user's cache; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None or os.environ.get("BENCH_GENERATOR") == "python":
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barnabas"
    program = cache / f"load-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = program.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", part, SOURCE], check=True
        )
        part.rename(program)
    return program


def at_rate(load: Load, rate: float) -> Load:
    return replace(load, rate=rate)
