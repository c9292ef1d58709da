"""What was measured, kept in a file after every measurement, so that an interrupted run can go on where it was."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import interpreter
from .site import Figures

Machine = dict[str, str]


@dataclass(frozen=True)
class Run:
    """One measurement of a line. failure: why there are no figures. pace_us: of the machine (pace.py), before it or after
    it, whichever was slower; 0: not looked at.
    """

    line: str
    mode: str
    contender: str
    number: int
    figures: Figures
    quick: bool
    taken_at: str
    load_average: float
    failure: str = ""
    pace_us: float = 0.0


class Results:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.machine: Machine = {}
        self.runs: list[Run] = []
        if path.exists():
            content = json.loads(path.read_text())
            self.machine = content["machine"]
            self.runs = [Run(**run) for run in content["runs"]]

    @property
    def cores(self) -> float:
        """Of the machine that the figures are of."""
        return float(self.machine["Cores"].split()[0])

    def add(self, run: Run) -> None:
        self.runs.append(run)
        self.save()

    def forget(self, lines: Iterable[str], modes: Iterable[str]) -> None:
        lines, modes = set(lines), set(modes)
        self.runs = [run for run in self.runs if not (run.line in lines and run.mode in modes)]

    def forget_smoke(self) -> None:
        """Runs that show only that the lines work are no rounds of one that measures."""
        self.runs = [run for run in self.runs if not run.quick]

    def has(self, line: str, mode: str, contender: str, number: int) -> bool:
        return any(
            (run.line, run.mode, run.contender, run.number) == (line, mode, contender, number)
            and not run.failure
            for run in self.runs
        )

    def median(self, line: str, mode: str, contender: str) -> Figures:
        """Metric by metric; empty without a measurement."""
        taken = [run.figures for run in self._of(line, mode, contender) if run.figures]
        keys = dict.fromkeys(key for figures in taken for key in figures)
        return {key: statistics.median(figures[key] for figures in taken if key in figures) for key in keys}

    def count(self, line: str, mode: str, contender: str) -> int:
        return sum(1 for run in self._of(line, mode, contender) if run.figures)

    def failure(self, line: str, mode: str, contender: str) -> str:
        return next((run.failure for run in self._of(line, mode, contender) if run.failure), "")

    def is_smoke(self, line: str, mode: str) -> bool:
        """Whether any of its measurements lasted a fraction of what it should."""
        return any(run.quick for run in self.runs if (run.line, run.mode) == (line, mode))

    def _of(self, line: str, mode: str, contender: str) -> list[Run]:
        return [run for run in self.runs if (run.line, run.mode, run.contender) == (line, mode, contender)]

    def save(self) -> None:
        """Whole or not at all: a run may be cut off at any moment."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        content = {"machine": self.machine, "runs": [asdict(run) for run in self.runs]}
        part.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(part, self.path)


def this_machine(python: Path | None) -> Machine:
    """What the figures depend on, and nothing that names the machine. python: of the broker, where it has another than this."""
    model = memory = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = f"{int(line.split()[1]) / (1 << 20):.0f} GiB"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "Cores": f"{os.cpu_count()} ({model})",
        "Memory": memory,
        "Kernel": f"{platform.system()} {platform.release()}",
        "Python": interpreter.described(python),
        "Commit": commit.stdout.strip() or "unknown",
    }
