"""Reasons for missed goals, from notes.toml, which says its format: they outlive the page that is written anew."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .catalog import BOTH, LINES, Goal, Line
from .judge import verdicts
from .results import Results

NOTES = Path(__file__).with_name("notes.toml")
FIELDS = {"line", "metric", "mode", "beside", "text"}


@dataclass(frozen=True)
class Note:
    line: str
    metric: str
    mode: str
    beside: str
    text: str

    def is_about(self, line: Line, goal: Goal) -> bool:
        return (self.line, self.metric, self.mode, self.beside) == (
            line.key,
            goal.metric,
            goal.mode,
            goal.beside,
        )


def read(path: Path = NOTES) -> list[Note]:
    """Raises SystemExit for a note that is written wrong, or that is about no goal of the catalog."""
    found = [_note(path, given) for given in tomllib.loads(path.read_text())["note"]]
    for note in found:
        if not any(note.is_about(line, goal) for line in LINES for goal in line.goals):
            raise SystemExit(
                f"{path}: {note.line}, {note.metric}, {note.mode}, {note.beside}: there is no such goal"
            )
    return found


def _note(path: Path, given: dict[str, Any]) -> Note:
    if set(given) != FIELDS:
        raise SystemExit(
            f"{path}: a note has {', '.join(sorted(FIELDS))}; this one has {', '.join(sorted(given))}"
        )
    return Note(**{name: " ".join(str(value).split()) for name, value in given.items()})


def of_goal(notes: Sequence[Note], line: Line, goal: Goal) -> str:
    """Empty without a note."""
    return " ".join(note.text for note in notes if note.is_about(line, goal))


def stale(notes: Sequence[Note], results: Results) -> list[str]:
    """What is said of notes whose goals are met. A smoke run proves nothing of the kind."""
    return [
        f"{line.key}, {verdict.goal.metric}, {mode}: the goal is met; its note is stale"
        for line in LINES
        for mode in BOTH
        if not results.is_smoke(line.key, mode)
        for verdict in verdicts(results, line, mode)
        if verdict.met and of_goal(notes, line, verdict.goal)
    ]
