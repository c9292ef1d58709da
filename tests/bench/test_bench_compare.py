"""The command as a whole, without Apache Kafka: it measures, writes its page, goes on where it was, leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "bench.compare", "--quick", "--no-kafka", "--pure"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def compare(out: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "--out", str(out), *more], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )


def measured(out: Path) -> list[tuple[str, str, int]]:
    content = json.loads((out / "performance" / "figures.json").read_text())
    assert not [run["failure"] for run in content["runs"] if run["failure"]]
    assert all(run["figures"]["requests_s"] > 0 for run in content["runs"])
    return [(run["line"], run["mode"], run["number"]) for run in content["runs"]]


def test_a_line_is_measured_in_its_modes_the_page_has_it_and_a_plan_forgets_nothing(tmp_path: Path) -> None:
    first = compare(tmp_path, "--only", "commits")
    assert first.wait(60) == 0
    assert measured(tmp_path) == [("commits", "cache", 0), ("commits", "sync", 0)]
    page = (tmp_path / "performance.md").read_text()
    assert "| OffsetCommit, 4 × 8 | – |" in page and "A smoke run is among the figures" in page

    again = compare(tmp_path, "--only", "commits", "--resume", "--rounds", "2", "--mode", "sync")
    assert again.wait(60) == 0
    assert measured(tmp_path) == [("commits", "cache", 0), ("commits", "sync", 0), ("commits", "sync", 1)]

    before = measured(tmp_path)
    plan = compare(tmp_path, "--only", "commits", "--plan")
    assert plan.stdout is not None and "commits" in plan.stdout.read() and plan.wait(60) == 0
    assert measured(tmp_path) == before


def test_an_interrupted_run_ends_its_broker_and_keeps_what_it_has(tmp_path: Path) -> None:
    run = compare(tmp_path, "--only", "produce of many", "--rounds", "50")
    assert run.stdout is not None
    first = run.stdout.readline()
    assert "produce-10 " in first and " left  cache" in first
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert children, "its broker runs"
    run.send_signal(signal.SIGINT)
    said = run.stdout.read()
    assert run.wait(30) == 130 and "interrupted; --resume goes on" in said
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert measured(tmp_path)[0] == ("produce-10", "cache", 0)
