"""`python -m bench.instructions [--rewrite] [--only pure|compiled]`: instructions a request against bench/budgets.json.

Time on a shared machine tells little; the count of instructions of the same work repeats within a few in a thousand. Work
of bench.inprocess runs under callgrind at two lengths; the difference of the two, divided by the requests, has no start in
it. Strings hash alike each time, nothing is collected, and no CRC is computed: how it is depends on the processor.

A count more than 5 % above its budget fails. One more than 10 % below asks to lower the budget. `--rewrite` writes what was
counted. Budgets hold for the interpreter they name: another build of Python has other counts, and nothing is judged there,
nor written: what counts as theirs is the interpreter that runs this, where the compiled environment may have another.
"""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from . import interpreter

BUDGETS: Final = Path(__file__).with_name("budgets.json")
KINDS: Final = ("produce", "idempotent", "fetch", "fetch64", "commit", "one", "wide", "fetch100", "idle100")
TURNS: Final = (20, 60)
ABOVE, FAR_BELOW = 1.05, 0.90
Counts = dict[str, int]


def run_marked() -> None:
    """The counted process: each length of each kind lies between two calls of getpgid, which nothing else calls.

    Callgrind cuts its counts there; what the cuts themselves cost goes out in the difference.
    """
    from fastcrc import crc32

    assert "barnabas.records.batch" not in sys.modules, "it has taken the function that is replaced here"
    crc32.iscsi = lambda data, initial=None: 0
    from .inprocess import Work

    gc.disable()
    for kind in KINDS:
        work = Work(kind)
        print(kind, work.per_turn, flush=True)
        for turns in TURNS:
            prepared = work.prepared(turns)
            os.getpgid(0)
            work.take(prepared)
            os.getpgid(0)


def count(python: Path | None) -> Counts:
    """python: the interpreter of the compiled environment; None: this one, pure."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    if python is not None:
        environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getpgid*"]
        command += [str(python or sys.executable), "-m", "bench.instructions", "--marked"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"valgrind failed: {done.stderr[-2000:]}")
        per_turn = {kind: int(size) for kind, size in (line.split() for line in done.stdout.splitlines())}
        return {kind: _difference(out, 4 * number, per_turn[kind]) for number, kind in enumerate(KINDS)}


def _difference(out: Path, cuts_before: int, per_turn: int) -> int:
    """A kind makes four cuts; the parts that end with the second and the fourth hold its two lengths."""
    short, long = (_total(out.with_name(f"{out.name}.{cuts_before + cut}")) for cut in (2, 4))
    return (long - short) // ((TURNS[1] - TURNS[0]) * per_turn)


def _total(part: Path) -> int:
    for line in part.read_text().splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise SystemExit(f"callgrind left no totals in {part.name}")


def judge(build: str, counts: Counts, budgets: Counts) -> tuple[list[str], bool]:
    """What is said of each kind, and whether all are within their budgets."""
    said, good = [], True
    for kind, counted in counts.items():
        budget = budgets.get(kind)
        text = f"{build:9} {kind:11} {counted:8,} instructions a request"
        if budget is None:
            text, good = f"{text}, and no budget: --rewrite", False
        elif counted > budget * ABOVE:
            text, good = f"{text}: ABOVE its budget of {budget:,} by {counted / budget - 1:.1%}", False
        elif counted < budget * FAR_BELOW:
            text += f": {1 - counted / budget:.1%} below its budget of {budget:,}; lower it with --rewrite"
        else:
            text += f" of {budget:,}"
        said.append(text)
    return said, good


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rewrite", action="store_true", help="make what is counted now the budget")
    parser.add_argument("--only", choices=("pure", "compiled"), help="by default both, where both are there")
    parser.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.marked:
        run_marked()
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed")
    kept = json.loads(BUDGETS.read_text()) if BUDGETS.exists() else {}
    builds: dict[str, Path | None] = {"pure": None}
    if given.only != "pure":
        from .broker import (
            compiled_python,  # what is counted must not be imported before its checksum is replaced
        )

        builds["compiled"] = compiled_python()
    ours = interpreter.described() if given.rewrite else kept.get("interpreter")
    if ours != kept.get("interpreter"):
        kept = {}
    all_good = True
    for build, python in builds.items():
        if given.only not in (None, build) or (build == "compiled" and python is None):
            continue
        counts, counted_on = count(python), interpreter.described(python)
        if given.rewrite and counted_on == ours:
            kept[build] = counts
        said, good = judge(build, counts, kept.get(build, {}))
        print("\n".join(said), flush=True)
        if counted_on == ours:
            all_good = all_good and good
        else:
            print(f"the budgets are of {ours}, this is {counted_on}: not judged")
    if given.rewrite:
        kept["interpreter"] = ours
        BUDGETS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    sys.exit(0 if all_good else 1)


if __name__ == "__main__":
    main()
