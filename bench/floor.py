"""What the kernel's sockets and files cost by themselves: floor.c under the load of a broker."""

import subprocess
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


@contextmanager
def floor(folder: Path, fetched_bytes: int = 0) -> Iterator[Floor | None]:
    """Answers a Fetch with that many bytes of a file, or (0) writes what is produced. None without a C compiler."""
    program = compiled(SOURCE)
    if program is None:
        yield None
        return
    file = folder / "floor"
    if fetched_bytes:
        file.write_bytes(bytes(READ_BYTES))
    command = [str(program), "fetch", str(file), str(fetched_bytes)] if fetched_bytes else []
    with subprocess.Popen(
        command or [str(program), "produce", str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Floor(int(process.stdout.readline()), (process.pid,))
        finally:
            process.kill()
            file.unlink(missing_ok=True)
