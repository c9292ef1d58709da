"""What no broker can leave out, under the load of a broker: the system calls (floor.c), and CPython with its loop (floor_in_python)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .native import compiled

SOURCE = Path(__file__).with_name("floor.c")
READ_BYTES = 16 << 20
"""As much as the profiled fetches read, so that it lies in the caches as little as theirs."""


@dataclass
class Floor:
    """The running program, as a target of a load."""

    port: int
    pids: tuple[int, ...]


def kernel_alone() -> list[str] | None:
    """The command of floor.c; None without a C compiler."""
    program = compiled(SOURCE)
    return None if program is None else [str(program)]


def interpreter_alone(python: Path | None) -> list[str]:
    """The command of floor_in_python. python: that of the broker, by default of the bench."""
    return [str(python or sys.executable), "-m", "bench.floor_in_python"]


@contextmanager
def floor(command: list[str], folder: Path, fetched_bytes: int = 0) -> Iterator[Floor]:
    """Answers a Fetch with that many bytes of a file, or (0) writes what is produced."""
    file = folder / "floor"
    if fetched_bytes:
        file.write_bytes(bytes(READ_BYTES))
    asked = ["fetch", str(file), str(fetched_bytes)] if fetched_bytes else ["produce", str(file)]
    with subprocess.Popen([*command, *asked], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Floor(int(process.stdout.readline()), (process.pid,))
        finally:
            process.kill()
            file.unlink(missing_ok=True)
