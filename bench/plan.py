"""What a run measures, in which order, and about how long it takes."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .catalog import Line
from .results import Results
from .site import KAFKA, Warmth

TRUSTED_S = 60.0
"""Seconds that the plan is believed before what was measured says how right it is."""


@dataclass(frozen=True)
class Step:
    """One measurement. seconds: of a whole run, with the load of its kind that goes before, where it is the first."""

    line: Line
    mode: str
    who: str
    number: int
    seconds: float


def steps(
    lines: Iterable[Line],
    modes: Iterable[str],
    contenders: Sequence[str],
    rounds: int,
    results: Results,
    warm_s: Mapping[str, float],
) -> list[Step]:
    """Without what the results have already. Within a mode, lines that want the machine alone go first, and contenders
    take turns: one way round and then the other."""
    found = []
    for mode in modes:
        warmth = {who: Warmth(seconds) for who, seconds in warm_s.items()}
        for line in sorted(lines, key=lambda line: not line.alone):
            if mode not in line.modes:
                continue
            for number in range(rounds):
                asked = [who for who in contenders if who in line.contenders]
                for who in asked if number % 2 == 0 else asked[::-1]:
                    if results.has(line.key, mode, who, number):
                        continue
                    measure = line.measure
                    seconds = measure.kafka_seconds if who == KAFKA else measure.seconds
                    seconds += warmth[who].lacking(measure.kind) if measure.kind else 0.0
                    found.append(Step(line, mode, who, number, seconds))
    return found


def described(planned: Sequence[Step], more: Mapping[str, float]) -> str:
    """A row a line: mode, key, measurements of each contender, seconds. more: other work and its seconds."""
    rows: dict[tuple[str, str], list[Step]] = {}
    for step in planned:
        rows.setdefault((step.mode, step.line.key), []).append(step)
    text = []
    for (mode, key), own in rows.items():
        counts = {
            who: sum(step.who == who for step in own) for who in dict.fromkeys(step.who for step in own)
        }
        told = ", ".join(f"{who} × {count}" for who, count in counts.items())
        text.append(f"{mode:5} {key:20} {told:45} {sum(step.seconds for step in own):6.0f} s")
    text += [f"      {name:66} {seconds:6.0f} s" for name, seconds in more.items()]
    total = sum(step.seconds for step in planned) + sum(more.values())
    return "\n".join([*text, f"together about {clock(total)} min"])


class Progress:
    """How long the rest takes: the plan, corrected by how long its first part really took."""

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._planned_s = 0.0
        self._begun = time.monotonic()

    def did(self, planned_s: float) -> None:
        self._planned_s += planned_s

    def left(self) -> str:
        elapsed = time.monotonic() - self._begun
        pace = (elapsed + TRUSTED_S) / (self._planned_s + TRUSTED_S)
        return clock((self._total_s - self._planned_s) * pace)


def clock(seconds: float) -> str:
    """As minutes:seconds."""
    whole = max(round(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"
