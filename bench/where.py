"""`python -m bench.where`: where each microsecond of the broker's CPU goes, by step; into docs/performance.md.

`perf` samples the broker's threads under a load (software clock: it works in virtual machines too) and each sample is of the
step that its innermost known frame belongs to: a system call, or the library that runs. A step's share of the samples
times the CPU a request of the same load without perf is its microseconds. Needs perf, and the right to look at the kernel.
Beside it stands what no broker can leave out, under the same load: a program that does nothing but the system calls (floor.c),
and one in Python that does no more than they (floor_in_python.py), which is as low as any broker on CPython can come.
"""

import argparse
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from . import page, raw
from .broker import Running, RunningBroker, compiled_python
from .drive import drive
from .floor import floor, interpreter_alone, kernel_alone
from .load import Limits, Load
from .page_cache import FullPageCache
from .raw import KB
from .requests import produce_codes, produce_request
from .results import Results
from .site import BARNABAS, QUICK, Site

SECONDS: Final = 100.0
"""About, of a whole run: for the plan of bench.compare."""
FREQUENCY: Final = 4999
PERF_STARTS_S, PERF_GIVES_UP_S = 0.3, 30.0
SYSTEM_CALLS: Final = (
    (r"sendfile", "kernel: file to socket (sendfile)"),
    (r"send", "kernel: send answers"),
    (r"recv", "kernel: receive requests"),
    (r"p?writev?\d*$|pwrite|io_submit|io_getevents", "kernel: write the log"),
    (r"p?readv?\d*$|pread", "kernel: read the log and wake-ups"),
    (r"epoll|poll|select", "kernel: wait for sockets"),
    (r"sync", "kernel: sync"),
    (r"futex|clone|yield", "kernel: threads"),
    (r"exit_to_user|schedule", "kernel: scheduling on the way back"),
    (r"mmap|munmap|brk|madvise|mremap", "kernel: memory of the process"),
)
OTHER_CALLS, OTHER_KERNEL = "kernel: other system calls", "kernel: interrupts and page faults"
LIBRARIES: Final = (
    (r"barnabas", "compiled modules of Barnabas"),
    (r"librt", "librt: bytes and integers"),
    (r"fastcrc", "CRC32C"),
    (r"uvloop", "event loop (uvloop)"),
    (r"libpython|/python3?[^/]*$|lib-dynload", "Python interpreter"),
    (r"libc\.|ld-linux|vdso|libpthread", "libc: memory and copies"),
)
OTHER_CODE = "other libraries"
FRAME: Final = re.compile(r"^\s+[0-9a-f]+ (?P<symbol>.*) \((?P<library>.*)\)$")
KERNEL: Final = "[kernel.kallsyms]"
LISTED: Final = 0.005
"""A step with less than this share goes into the rest."""


PRODUCED: Final = (
    ("1 KB, 4 × 8", 4, 8, KB),
    ("1 KB, 32 × 1", 32, 1, KB),
    ("16 KB, 4 × 5", 4, 5, 16 * KB),
    ("100 KB, 4 × 5", 4, 5, 100 * KB),
    ("1 MB, 2 × 2", 2, 2, 1_048_000),
)
FETCHED: Final = (("1 KB, 4 × 1", 4, KB + 76), ("64 KB, 4 × 1", 4, 64 * KB), ("1 MB, 2 × 1", 2, KB * KB))


class CannotProfile(Exception):
    """perf is not there, or sees nothing."""


def step_of(frames: list[tuple[str, str]]) -> str:
    """frames: (symbol, library), the innermost first."""
    symbols = [symbol for symbol, library in frames if library == KERNEL]
    if symbols:
        if "do_syscall_64" not in symbols and "el0_svc" not in symbols:
            return OTHER_KERNEL
        entry = next(at for at, symbol in enumerate(symbols) if symbol in ("do_syscall_64", "el0_svc"))
        called = symbols[entry - 1] if entry else ""
        return next((step for like, step in SYSTEM_CALLS if re.search(like, called)), OTHER_CALLS)
    library = frames[0][1]
    return next((step for like, step in LIBRARIES if re.search(like, library)), OTHER_CODE)


def samples(lines: Iterable[str]) -> Iterator[list[tuple[str, str]]]:
    """The stacks of `perf script -F ip,sym,dso`."""
    frames: list[tuple[str, str]] = []
    for line in [*lines, ""]:
        found = FRAME.match(line.rstrip())
        if found:
            frames.append((found["symbol"].partition("+")[0], found["library"]))
        elif frames:
            yield frames
            frames = []


def shares(lines: Iterable[str]) -> dict[str, float]:
    counts = collections.Counter(step_of(frames) for frames in samples(lines))
    total = sum(counts.values())
    return {step: count / total for step, count in counts.items()}


def profile(broker: Running, load: Load, seconds: float, folder: Path) -> tuple[float, dict[str, float]]:
    """CPU microseconds a request, and the share of each step."""
    warm = Limits(seconds=seconds / 4)
    taken = drive(broker, load, Limits(seconds=seconds), warm)
    data = folder / "perf.data"
    data.unlink(missing_ok=True)
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g", "-o", str(data)]
    with subprocess.Popen([*command, "-p", str(broker.pid)], stderr=subprocess.PIPE) as perf:
        _wait_until_it_records(data)
        drive(broker, load, Limits(seconds=seconds))
        perf.send_signal(signal.SIGINT)
    script = ["perf", "script", "-i", str(data), "-F", "ip,sym,dso"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise CannotProfile(f"perf saw nothing: {done.stderr[-500:]}")
    return taken.cpu_us, shares(done.stdout.splitlines())


def _wait_until_it_records(data: Path) -> None:
    """perf makes its file a moment before it samples."""
    end = time.monotonic() + PERF_GIVES_UP_S
    while not (data.exists() and data.stat().st_size) and time.monotonic() < end:
        time.sleep(PERF_STARTS_S / 10)
    time.sleep(PERF_STARTS_S)  # what it does not see is only the beginning


def floors_of(
    commands: dict[str, list[str]], load: Load, fetched_bytes: int, seconds: float, folder: Path
) -> dict[str, tuple[float, float]]:
    """CPU microseconds a request and requests a second of each floor."""
    found = {}
    for name, command in commands.items():
        with floor(command, folder, fetched_bytes) as target:
            warm = Limits(seconds=seconds / 4)
            taken = drive(target, replace(load, codes=(), ports=()), Limits(seconds=seconds), warm)
        found[name] = taken.cpu_us, taken.rate
    return found


def floor_commands(python: Path | None) -> dict[str, list[str]]:
    """python: the broker's interpreter. Without a C compiler there is one."""
    in_c = kernel_alone()
    found = {} if in_c is None else {"the kernel alone (bench/floor.c)": in_c}
    return found | {"CPython and the kernel alone (bench/floor_in_python.py)": interpreter_alone(python)}


def loads(site: Site) -> Iterator[tuple[str, Load, int]]:
    """Names, loads and the bytes of records that an answer holds.

    A load of Produce has a topic of its own, which goes when the next load is asked for: they write gigabytes.
    """
    for name, connections, in_flight, size in PRODUCED:
        topic = site.fresh_name("profiled")
        site.broker.create([topic], raw.PARTITIONS)
        contents = [
            produce_request(topic, number % raw.PARTITIONS, size, raw.now_ms())
            for number in range(connections)
        ]
        yield f"Produce {name}", Load(contents, in_flight, produce_codes(topic)), 0
        site.broker.delete([topic])
    for name, connections, size in FETCHED:
        yield f"Fetch {name}", raw.fetches(site, connections, size), size


def without_sockets(python: Path | None) -> str:
    command = [str(python or sys.executable), "-m", "bench.inprocess", "produce", "fetch64", "--rounds", "5"]
    environment = dict(os.environ)
    if python is not None:
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return ", ".join(done.stdout.split("\n")[:2])


def table(
    measured: dict[str, tuple[float, dict[str, float]]],
    how: str,
    floors: Sequence[dict[str, tuple[float, float]]] = (),
) -> dict[str, Any]:
    """Steps by their weight in all loads together; small ones in one row. floors: of each load (floors_of)."""
    steps = sorted(
        {step for _, found in measured.values() for step in found},
        key=lambda step: -sum(found.get(step, 0) for _, found in measured.values()),
    )
    rows: dict[str, list[float]] = {}
    rest = [0.0] * len(measured)
    for step in steps:
        values = [cpu * found.get(step, 0) for cpu, found in measured.values()]
        if max(found.get(step, 0) for _, found in measured.values()) >= LISTED:
            rows[step] = values
        else:
            rest = [one + other for one, other in zip(rest, values, strict=True)]
    if any(rest):
        rows["the rest"] = rest
    total = [cpu for cpu, _ in measured.values()]
    below = {name: [found[name] for found in floors] for name in (floors[0] if floors else ())}
    return {"how": how, "loads": list(measured), "steps": rows, "total": total, "floors": below}


def write(out: Path, python: Path | None, durability: str, seconds: float) -> str:
    """Profiles all loads and writes the table into the page of the folder; the table. Raises CannotProfile."""
    if shutil.which("perf") is None:
        raise CannotProfile("perf is not installed")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, closing(FullPageCache(Path(name))) as pages:
        folder = Path(name)

        def start(data: Path) -> RunningBroker:
            return RunningBroker(data, durability, python)

        site = Site(BARNABAS, folder / "site", start, 0.0, QUICK)
        try:
            measured, floors, commands = {}, [], floor_commands(python)
            for load, what, fetched_bytes in loads(site):
                pages.fill()
                measured[load] = profile(site.broker, what, seconds, folder)
                floors.append(floors_of(commands, what, fetched_bytes, seconds, folder))
        finally:
            site.close()
    build = "compiled" if python else "pure Python"
    how = (
        f"`python -m bench.where`, {build}, `{durability}`, {time.strftime('%Y-%m-%d')}: samples of perf, {seconds:g} s a load. "
        f"The Python of it alone, without sockets and kernel (`bench.inprocess`): {without_sockets(python)}."
    )
    where = out / page.FOLDER / page.WHERE
    where.parent.mkdir(parents=True, exist_ok=True)
    content = table(measured, how, floors)
    where.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    page.write(out, Results(out / page.FOLDER / page.FIGURES))
    return page.steps_table(content)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of performance.md")
    parser.add_argument("--durability", choices=("cache", "sync"), default="cache")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (5)")
    parser.add_argument("--pure", action="store_true", help="pure Python though it is compiled")
    given = parser.parse_args()
    try:
        print(write(given.out, None if given.pure else compiled_python(), given.durability, given.seconds))
    except CannotProfile as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
