"""What is kept of a run and what the page says of it."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench.catalog import LINES, METRICS, Goal, Line, chosen
from bench.judge import Verdict, verdicts
from bench.pace import Pace
from bench.plot import Row, bars
from bench.results import Results, Run
from bench.site import BARNABAS, KAFKA, WORKERS

from bench import notes, page


def run(line: str, who: str, number: int, mode: str = "cache", failure: str = "", **figures: float) -> Run:
    return Run(line, mode, who, number, figures, False, "2026-01-01 00:00", 0.5, failure)


def of_one_worker(results: Results, line: Line, mode: str) -> list[Verdict]:
    return [verdict for verdict in verdicts(results, line, mode) if verdict.goal.who == BARNABAS]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "performance" / "figures.json")


def test_every_metric_of_a_line_and_a_goal_is_known_and_keys_are_unique() -> None:
    assert len({line.key for line in LINES}) == len(LINES)
    for line in LINES:
        assert set(line.shown) <= set(METRICS), line.key
        assert {goal.metric for goal in line.goals} <= set(line.shown), line.key
        assert {goal.mode for goal in line.goals} <= set(line.modes), line.key
        assert {goal.who for goal in line.goals} <= set(line.contenders), line.key


def test_lines_are_chosen_by_a_word_of_key_group_or_name() -> None:
    assert {line.group for line in chosen("librdkafka")} == {"librdkafka, flat out", "librdkafka, latency"}
    assert [line.key for line in chosen("64 kb")] == ["fetch-64k"]
    assert chosen("no such line") == []


def test_a_run_that_was_cut_off_is_read_again_and_a_failure_is_measured_anew(results: Results) -> None:
    results.add(run("fetch-64k", KAFKA, 0, requests_s=10))
    results.add(run("fetch-64k", BARNABAS, 0, failure="closed"))
    again = Results(results.path)
    assert again.has("fetch-64k", "cache", KAFKA, 0) and not again.has("fetch-64k", "cache", KAFKA, 1)
    assert not again.has("fetch-64k", "cache", BARNABAS, 0)
    again.forget(["fetch-64k"], ["sync"])
    assert len(again.runs) == 2
    again.forget(["fetch-64k"], ["cache"])
    assert again.runs == []


def test_the_median_is_taken_metric_by_metric(results: Results) -> None:
    for number, (rate, cpu) in enumerate([(1, 9), (5, 7), (3, 8)]):
        results.add(run("fetch-64k", KAFKA, number, requests_s=rate, cpu_us=cpu))
    assert results.median("fetch-64k", "cache", KAFKA) == {"requests_s": 3, "cpu_us": 8}
    assert results.median("fetch-64k", "cache", BARNABAS) == {}


@pytest.mark.parametrize(
    ("rate", "cpu", "met"),
    [(700, 8, [True, True]), (699, 8, [False, True]), (700, 9.5, [True, False]), (700, 8.01, [True, False])],
)
def test_a_goal_is_met_from_its_ratio_on_and_within_its_bound(
    results: Results, rate: float, cpu: float, met: list[bool]
) -> None:
    kafka_cpu = 100 if cpu > 9 else 64
    results.add(run("produce-1k-4x8", KAFKA, 0, requests_s=100, cpu_us=kafka_cpu))
    results.add(run("produce-1k-4x8", BARNABAS, 0, requests_s=rate, cpu_us=cpu))
    (line,) = chosen("produce-1k-4x8")
    assert [verdict.met for verdict in of_one_worker(results, line, "cache")] == met


def test_sync_is_also_held_against_kafka_that_does_not_flush(results: Results) -> None:
    results.add(run("produce-1k-4x8", KAFKA, 0, requests_s=100))
    results.add(run("produce-1k-4x8", KAFKA, 0, mode="sync", requests_s=10))
    results.add(run("produce-1k-4x8", BARNABAS, 0, mode="sync", requests_s=90))
    (line,) = chosen("produce-1k-4x8")
    flushed, unflushed = of_one_worker(results, line, "sync")
    assert (flushed.ratio, flushed.met, unflushed.ratio, unflushed.met) == (9.0, True, 0.9, False)
    assert "of Kafka unflushed" in unflushed.text() and "**missed**" in unflushed.text()


def test_the_page_has_medians_ratios_verdicts_and_failures(results: Results, tmp_path: Path) -> None:
    for number in range(3):
        results.add(run("fetch-64k", KAFKA, number, requests_s=1000, cpu_us=100, p99_us=500))
        results.add(run("fetch-64k", BARNABAS, number, requests_s=4000, cpu_us=25, p99_us=100))
    results.add(run("fetch-1k", BARNABAS, 0, failure="the broker closed the connection"))
    page.write(tmp_path, results)
    text = (tmp_path / "performance.md").read_text()
    assert "| 64 KB, 4 × 1 | 1,000 · 100.0 · 500 | 4,000 · 25.0 · 100 | 4.00× · 0.25× · 0.20× |" in text
    assert "requests/s ≥ 3×: 4.00×, met" in text and "the broker closed the connection" in text
    assert "Flush" not in text and "smoke run" not in text
    assert (tmp_path / "performance" / "rate-cache.svg").exists()


def test_the_page_names_what_was_measured_while_the_machine_was_slow(
    results: Results, tmp_path: Path
) -> None:
    made = [run("produce-1k-4x8", KAFKA, number, requests_s=1.0) for number in range(3)]
    results.runs = taken = [replace(each, pace_us=1000.0) for each in made]
    page.write(tmp_path, results)
    assert "own pace" not in (tmp_path / page.PAGE).read_text()
    results.runs = [replace(taken[0], pace_us=1900.0), *taken[1:]]
    page.write(tmp_path, results)
    slow = taken[0]
    named = f"in 1 of {len(taken)} measurements: {slow.line} ({slow.mode}, {slow.contender}, round {slow.number + 1}: 1.9×)."
    assert named in (tmp_path / page.PAGE).read_text()


def test_a_walk_through_memory_takes_a_while() -> None:
    pace = Pace()
    assert 0 < pace.us() < 1e6 and 0 < pace.us() < 1e6


def test_a_page_without_figures_says_so(results: Results, tmp_path: Path) -> None:
    page.write(tmp_path, results)
    assert "Nothing has been measured yet" in (tmp_path / "performance.md").read_text()


def test_a_plot_is_well_formed_and_its_bars_grow_from_the_origin_to_either_side() -> None:
    rows = [Row("one & all", (2.0,), goal=3.0), Row("twenty", (20.0,)), Row("half", (0.5,))]
    root = ElementTree.fromstring(bars("A & B <ratio>", ["x"], rows, origin=1.0))
    drawn = [
        (float(each.get("x", 0)), float(each.get("width", 0))) for each in root if each.get("height") == "8"
    ]
    (more, more_width), (most, most_width), (less, less_width) = drawn
    assert more == most == pytest.approx(less + less_width), "all touch the origin"
    assert most_width > more_width > 0


def test_a_goal_with_a_missing_figure_is_neither_met_nor_missed(results: Results) -> None:
    (line,) = chosen("fetch-64k")
    (verdict,) = of_one_worker(results, line, "cache")
    assert verdict.goal == Goal("requests_s", 3) and verdict.met is None
    assert verdict.text().endswith("not measured")


def add_two_workers(results: Results, rate: float, idle_cores: float = 0.0) -> Line:
    """One worker at 1,000/s, 500 µs of the broker and 250 of the client each: 0.75 of the 2 cores."""
    results.machine = {"Cores": "2 (any)"}
    for who, its_rate, idle in ((BARNABAS, 1000.0, 1.25), (WORKERS, rate, idle_cores)):
        figures = {"requests_s": its_rate, "cpu_us": 500.0, "client_us": 250.0, "idle_cores": idle}
        results.add(run("fetch-64k", who, 0, **figures))
    return chosen("fetch-64k")[0]


def test_many_partitions_are_held_beside_one(results: Results) -> None:
    (line,) = [line for line in LINES if line.key == "produce-64-each"]
    for who, one, each in ((KAFKA, 10, 90), (BARNABAS, 100, 79)):
        results.add(run("produce-64-one", who, 0, "sync", requests_s=one))
        results.add(run(line.key, who, 0, "sync", requests_s=each))
    (verdict,) = verdicts(results, line, "sync")
    assert verdict.text() == "requests/s ≥ 0.8× of one partition: 0.79×, **missed**"


def test_two_workers_are_held_beside_one(results: Results) -> None:
    line = add_two_workers(results, 1800)
    (verdict,) = [verdict for verdict in verdicts(results, line, "cache") if verdict.goal.who == WORKERS]
    assert (verdict.ratio, verdict.met) == (1.8, True)
    assert verdict.text() == "requests/s ≥ 1.8× of one worker: 1.80×, met"


@pytest.mark.parametrize(
    ("rate", "idle", "why"),
    [
        (2400, 0.1, "the cores; workers 1.20 + clients 0.60 + others 0.10"),
        (2000, 0.5, "not the cores: 0.50 of them were idle; workers 1.00 + clients 0.50 + others 0.00"),
    ],
)
def test_the_page_says_what_limits_two_workers(
    results: Results, tmp_path: Path, rate: float, idle: float, why: str
) -> None:
    add_two_workers(results, rate, idle)
    page.write(tmp_path, results)
    text = (tmp_path / "performance.md").read_text()
    assert "### Two workers" in text and "no number of workers serves more" in text
    assert why in text and "(one worker: 0.50 + 0.25); at most 2.67×" in text


NOTE = """
[[note]]
line = "fetch-64k"
metric = "requests_s"
mode = "cache"
beside = "kafka"
text = \"\"\"the kernel copies
64 KB in 20 µs\"\"\"
"""


def test_a_missed_goal_has_its_reason_beside_it(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = tmp_path / "notes.toml"
    reasons.write_text(NOTE)
    (note,) = notes.read(reasons)
    monkeypatch.setattr(notes, "read", lambda: [note])
    results.add(run("fetch-64k", KAFKA, 0, requests_s=100))
    results.add(run("fetch-64k", BARNABAS, 0, requests_s=299))
    page.write(tmp_path, results)
    text = (tmp_path / "performance.md").read_text()
    assert "requests/s ≥ 3×: 2.99×, **missed**. the kernel copies 64 KB in 20 µs\n" in text
    assert "**missed** ([why](#goals))" in text
    assert notes.stale([note], results) == []

    results.forget(["fetch-64k"], ["cache"])
    results.add(run("fetch-64k", KAFKA, 0, requests_s=100))
    results.add(run("fetch-64k", BARNABAS, 0, requests_s=300))
    assert notes.stale([note], results) == [
        "fetch-64k, requests_s, cache: the goal is met; its note is stale"
    ]


def test_a_smoke_run_makes_no_note_stale(results: Results) -> None:
    note = notes.Note("fetch-64k", "requests_s", "cache", KAFKA, "why")
    for who, rate in ((KAFKA, 1), (BARNABAS, 10)):
        results.add(replace(run("fetch-64k", who, 0, requests_s=rate), quick=True))
    assert notes.stale([note], results) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("fetch-64k", "fetch-65k"), "there is no such goal"),
        (('beside = "kafka"', 'beside = "redpanda"'), "there is no such goal"),
        (('mode = "cache"', ""), "a note has beside, line, metric, mode, text"),
    ],
)
def test_a_note_about_no_goal_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "notes.toml"
    path.write_text(NOTE.replace(*change))
    with pytest.raises(SystemExit, match=said):
        notes.read(path)


def test_the_notes_of_the_project_are_about_goals() -> None:
    notes.read()
