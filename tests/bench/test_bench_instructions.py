"""What the guard of instructions says, and how it reads callgrind's counts."""

import json
import sys
from pathlib import Path

import pytest
from bench.instructions import TURNS, _difference, judge

from bench import broker, instructions


@pytest.mark.parametrize(
    ("counted", "good", "said"),
    [
        (1000, True, "1,000 instructions a request of 1,000"),
        (1050, True, "of 1,000"),
        (1051, False, "ABOVE its budget of 1,000 by 5.1%"),
        (900, True, "of 1,000"),
        (899, True, "10.1% below its budget of 1,000; lower it with --rewrite"),
    ],
)
def test_a_count_is_judged_by_its_budget(counted: int, good: bool, said: str) -> None:
    (text,), is_good = judge("pure", {"produce": counted}, {"produce": 1000})
    assert is_good == good and text.endswith(said)


def test_one_kind_above_its_budget_fails_all_and_so_does_one_without() -> None:
    said, good = judge("pure", {"produce": 2000, "fetch64": 10}, {"produce": 1000, "fetch64": 10})
    assert not good and len(said) == 2
    said, good = judge("pure", {"produce": 2000}, {})
    assert not good and said[0].endswith("no budget: --rewrite")


def test_the_difference_of_two_lengths_has_no_start_in_it(tmp_path: Path) -> None:
    start, each, per_turn = 5_000_000, 700, 32
    lengths = [start + turns * per_turn * each for turns in TURNS]
    for cut, total in zip((5, 6, 7, 8), (123, lengths[0], 456, lengths[1]), strict=True):
        (tmp_path / f"counts.{cut}").write_text(f"summary: {total}\nfn=(1)\n1 2\ntotals: {total}\n")
    assert _difference(tmp_path / "counts", 4, per_turn) == each


OURS, OTHER = "CPython of this environment", "CPython of the compiled one"


@pytest.fixture
def budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All counts are twice their budgets, and the compiled environment has another interpreter."""
    path = tmp_path / "budgets.json"
    kinds = {"pure": {"produce": 1000}, "compiled": {"produce": 1000}}
    path.write_text(json.dumps({"interpreter": OURS, **kinds}))
    monkeypatch.setattr(instructions, "BUDGETS", path)
    monkeypatch.setattr(instructions, "count", lambda python: {"produce": 2000})
    monkeypatch.setattr(broker, "compiled_python", lambda: Path("python"))
    monkeypatch.setattr(instructions.shutil, "which", lambda name: name)
    monkeypatch.setattr(instructions.interpreter, "described", lambda python=None: OTHER if python else OURS)
    return path


@pytest.mark.parametrize(("build", "status"), [("pure", 1), ("compiled", 0)])
def test_the_counts_of_another_interpreter_are_shown_and_not_judged(
    build: str,
    status: int,
    budgets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["instructions", "--only", build])
    with pytest.raises(SystemExit) as ended:
        instructions.main()
    said = capsys.readouterr().out
    assert ended.value.code == status and "2,000 instructions a request" in said
    assert (f"the budgets are of {OURS}, this is {OTHER}: not judged" in said) == (status == 0)


def test_the_counts_of_another_interpreter_are_not_written(
    budgets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["instructions", "--rewrite"])
    with pytest.raises(SystemExit):
        instructions.main()
    written = json.loads(budgets.read_text())
    assert written == {"interpreter": OURS, "pure": {"produce": 2000}, "compiled": {"produce": 1000}}
