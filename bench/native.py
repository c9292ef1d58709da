"""Programs in C, compiled on first use: the load generator, load.c."""

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .load import Limits, Load, LoadFailed, Taken, Target

SOURCE = Path(__file__).with_name("load.c")
ASKED_EVERY_S = 0.005


def drive_in_c(program: Path, target: Target, load: Load, counted: Limits, warm: Limits) -> Taken:
    command = [str(program), "127.0.0.1", str(target.port)]
    for pid in target.pids:
        command += ["--pid", str(pid)]
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
            command.append(f"{load.ports[number]}:{name}" if load.ports else name)
        return _run(command, counted)


def _run(command: list[str], counted: Limits) -> Taken:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                told, complaint = process.communicate(timeout=ASKED_EVERY_S if counted.until else None)
                break
            except subprocess.TimeoutExpired:
                if counted.until is not None and counted.until():
                    process.send_signal(signal.SIGTERM)
            except BaseException:
                process.kill()
                raise
    if process.returncode < 0:
        raise LoadFailed(
            f"the generator ended by {signal.Signals(-process.returncode).name}: {complaint.strip()}"
        )
    if process.returncode:
        raise LoadFailed(complaint.strip() or f"the generator ended with status {process.returncode}")
    return Taken(**json.loads(told))


def generator() -> Path | None:
    """load.c as a program; None without a C compiler, or where the generator in Python is wanted."""
    return None if os.environ.get("BENCH_GENERATOR") == "python" else compiled(SOURCE)


@functools.cache
def compiled(source: Path) -> Path | None:
    """A program of one file, compiled into the user's cache; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barnabas"
    program = cache / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = program.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", part, source], check=True
        )
        part.rename(program)
    return program
