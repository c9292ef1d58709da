"""Goals against figures: which are met, and by how much."""

from dataclasses import dataclass

from .catalog import CACHE, METRICS, ONE_PARTITION, UNFLUSHED, Goal, Line
from .results import Results
from .site import BARNABAS, KAFKA


@dataclass(frozen=True)
class Verdict:
    """ratio and figure (of whose goal it is) are None, as is met, when something was not measured."""

    goal: Goal
    ratio: float | None
    figure: float | None
    met: bool | None

    def text(self) -> str:
        metric = METRICS[self.goal.metric]
        sign = "≥" if metric.more else "≤"
        asked = f"{metric.label} {sign} {self.goal.ratio:.3g}×"
        asked += BESIDE.get(self.goal.beside, "")
        if self.goal.most is not None:
            asked += f" and ≤ {self.goal.most:g}"
        if self.ratio is None or self.figure is None:
            return f"{asked}: not measured"
        got = times(self.ratio)
        if self.goal.most is not None:
            got += f" and {self.figure:.{metric.digits}f}"
        return f"{asked}: {got}, {'met' if self.met else '**missed**'}"


BESIDE = {
    UNFLUSHED: " of Kafka unflushed",
    BARNABAS: " of one worker",
    ONE_PARTITION: " of one partition",
}


def times(ratio: float) -> str:
    return f"{ratio:.3f}×" if ratio < 0.1 else f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.1f}×"


def ratio_of(
    results: Results, line: Line, mode: str, metric: str, who: str = BARNABAS, beside: str = KAFKA
) -> float | None:
    """Of who to whom it is held beside."""
    if beside == UNFLUSHED:
        other = results.median(line.key, CACHE, KAFKA).get(metric)
    elif beside == ONE_PARTITION:
        other = results.median(beside, mode, who).get(metric)
    else:
        other = results.median(line.key, mode, beside).get(metric)
    ours = results.median(line.key, mode, who).get(metric)
    return ours / other if other and ours is not None else None


def verdicts(results: Results, line: Line, mode: str) -> list[Verdict]:
    found = []
    for goal in line.goals:
        if goal.mode != mode:
            continue
        ratio = ratio_of(results, line, mode, goal.metric, goal.who, goal.beside)
        figure = results.median(line.key, mode, goal.who).get(goal.metric)
        met = None
        if ratio is not None and figure is not None:
            met = ratio >= goal.ratio if METRICS[goal.metric].more else ratio <= goal.ratio
            met = met and (goal.most is None or figure <= goal.most)
        found.append(Verdict(goal, ratio, figure, met))
    return found
