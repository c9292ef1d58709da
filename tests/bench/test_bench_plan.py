"""What a run measures, in which order, and what it says of the time it takes."""

from pathlib import Path

import pytest
from bench.catalog import Line
from bench.plan import Progress, Step, clock, described, steps
from bench.results import Results, Run
from bench.site import BARNABAS, KAFKA, WORKERS, Figures, Measure, Site

from bench import plan

WARM = {KAFKA: 20.0, BARNABAS: 2.0, WORKERS: 2.0}


def nothing(site: Site) -> Figures:
    return {}


def line(key: str, kind: str = "", **more: object) -> Line:
    measure = Measure(nothing, kind, seconds=3.0, kafka_seconds=5.0)
    return Line(key, "Group", key, measure, (), **more)  # type: ignore[arg-type]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "figures.json")


def told(planned: list[Step]) -> list[tuple[str, str, str, int, float]]:
    return [(step.mode, step.line.key, step.who, step.number, step.seconds) for step in planned]


def test_contenders_take_turns_and_lines_that_want_the_machine_alone_go_first(results: Results) -> None:
    lines = [line("b", contenders=(KAFKA, BARNABAS, WORKERS)), line("a", alone=True, modes=("cache",))]
    planned = steps(lines, ["cache", "sync"], (KAFKA, BARNABAS, WORKERS), 2, results, WARM)
    assert [(step.line.key, step.who) for step in planned[:4]] == [
        ("a", KAFKA),
        ("a", BARNABAS),
        ("a", BARNABAS),
        ("a", KAFKA),
    ]
    rest = [step.who for step in planned if step.mode == "sync"]
    assert rest == [KAFKA, BARNABAS, WORKERS, WORKERS, BARNABAS, KAFKA]


def test_the_first_of_a_kind_takes_longer_and_what_is_measured_is_left_out(results: Results) -> None:
    results.add(Run("one", "cache", KAFKA, 0, {"requests_s": 1.0}, False, "", 0.0))
    results.add(Run("one", "cache", BARNABAS, 0, {}, False, "", 0.0, "failed"))
    planned = steps(
        [line("one", "kind"), line("two", "kind")], ["cache"], (KAFKA, BARNABAS), 1, results, WARM
    )
    assert told(planned) == [
        ("cache", "one", BARNABAS, 0, 5.0),
        ("cache", "two", KAFKA, 0, 25.0),
        ("cache", "two", BARNABAS, 0, 3.0),
    ]


def test_a_further_size_of_a_warm_family_gets_a_quarter(results: Results) -> None:
    lines = [
        line("one", "produce, 1"),
        line("two", "produce, 2"),
        line("three", "produce, 2"),
        line("four", "fetch, 2"),
    ]
    planned = steps(lines, ["cache"], (KAFKA,), 1, results, WARM)
    assert [step.seconds for step in planned] == [25.0, 10.0, 5.0, 25.0]


def test_the_plan_is_told_by_line_with_its_seconds_together(results: Results) -> None:
    text = described(
        steps([line("one")], ["sync"], (KAFKA, BARNABAS), 3, results, WARM), {"other work": 60.0}
    ).splitlines()
    assert text[0].split() == ["sync", "one", "kafka", "×", "3,", "barnabas", "×", "3", "24", "s"]
    assert text[1].split() == ["other", "work", "60", "s"] and text[2] == "together about 1:24 min"


def test_what_is_left_follows_the_pace_of_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(plan.time, "monotonic", lambda: now)
    progress = Progress(600.0)
    assert progress.left() == "10:00"
    progress.did(240.0)
    now += 540.0  # with the minute that the plan is trusted: 600 s for 300
    assert progress.left() == clock(720.0) == "12:00"


def test_a_smoke_run_is_no_round_of_a_run_that_measures(tmp_path: Path) -> None:
    results = Results(tmp_path / "figures.json")
    results.add(Run("one", "cache", KAFKA, 0, {"requests_s": 1.0}, True, "", 0.0))
    results.add(Run("one", "cache", KAFKA, 1, {"requests_s": 1.0}, False, "", 0.0))
    results.forget_smoke()
    assert [results.has("one", "cache", KAFKA, number) for number in (0, 1)] == [False, True]
