"""Goals against figures: which are met, and by how much."""

from dataclasses import dataclass

from .catalog import CACHE, METRICS, Goal, Line
from .results import BARNABAS, KAFKA, Results


@dataclass(frozen=True)
class Verdict:
    """ratio and figure (of Barnabas) are None, as is met, when something was not measured."""

    goal: Goal
    ratio: float | None
    figure: float | None
    met: bool | None

    def text(self) -> str:
        metric = METRICS[self.goal.metric]
        sign = "≥" if metric.more else "≤"
        asked = f"{metric.label} {sign} {self.goal.ratio:.3g}×"
        if self.goal.of_unflushed:
            asked += " of Kafka unflushed"
        if self.goal.most is not None:
            asked += f" and ≤ {self.goal.most:g}"
        if self.ratio is None or self.figure is None:
            return f"{asked}: not measured"
        got = times(self.ratio)
        if self.goal.most is not None:
            got += f" and {self.figure:.{metric.digits}f}"
        return f"{asked}: {got}, {'met' if self.met else '**missed**'}"


def times(ratio: float) -> str:
    return f"{ratio:.3f}×" if ratio < 0.1 else f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.1f}×"


def ratio_of(results: Results, line: Line, mode: str, metric: str, kafka_mode: str = "") -> float | None:
    """Barnabas to Kafka."""
    kafka = results.median(line.key, kafka_mode or mode, KAFKA).get(metric)
    ours = results.median(line.key, mode, BARNABAS).get(metric)
    return ours / kafka if kafka and ours is not None else None


def verdicts(results: Results, line: Line, mode: str) -> list[Verdict]:
    found = []
    for goal in line.goals:
        if goal.mode != mode:
            continue
        ratio = ratio_of(results, line, mode, goal.metric, CACHE if goal.of_unflushed else mode)
        figure = results.median(line.key, mode, BARNABAS).get(goal.metric)
        met = None
        if ratio is not None and figure is not None:
            met = ratio >= goal.ratio if METRICS[goal.metric].more else ratio <= goal.ratio
            met = met and (goal.most is None or figure <= goal.most)
        found.append(Verdict(goal, ratio, figure, met))
    return found
