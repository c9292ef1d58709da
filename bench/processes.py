"""What Linux tells of other processes: their CPU time, their memory, their children."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
CPU_CLOCK_SCHED = 2


def cpu_us(pids: tuple[int, ...]) -> float:
    """User and system time of all threads of the processes; one that has ended counts nothing."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns(~pid << 3 | CPU_CLOCK_SCHED)
        except OSError:
            continue
    return total / 1000


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def with_descendants(pid: int) -> tuple[int, ...]:
    """The process, its children, theirs, and so on."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # the thread or the process has ended meanwhile
                continue
    return tuple(found)


@dataclass
class Idle:
    """cores: how many of the machine's were idle on average, or waited for a disk."""

    cores: float = 0.0


@contextmanager
def idle_cores() -> Iterator[Idle]:
    """Of the whole machine, over the time in between."""
    idle = Idle()
    waiting, total = _ticks()
    yield idle
    waiting_then, total_then = _ticks()
    idle.cores = (os.cpu_count() or 1) * (waiting_then - waiting) / max(total_then - total, 1)


def _ticks() -> tuple[int, int]:
    """Ticks of all cores since the machine started: those without work, and all."""
    user, nice, system, idle, disk, *rest = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    )
    return idle + disk, user + nice + system + idle + disk + sum(rest)
