"""`python -m bench.compare`: Barnabas beside Apache Kafka 4.3, line by line in turn, in one run; writes docs/performance.md.

Kafka's jars are fetched on first use (tools/kafka_jars.sh: Java and Maven). Barnabas runs compiled when there is a compiled
environment (`make test-compiled`), else pure. Every measurement is kept at once: `--resume` goes on where a run was cut off.
Ctrl-C ends both brokers. Nothing else should run on the machine.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from . import page
from .attempt import attempt
from .broker import Running, RunningBroker, compiled_python
from .catalog import BOTH, SYNC, Line, chosen
from .kafka import RunningKafka, find_jars, java_version
from .native import generator
from .results import BARNABAS, CONTENDERS, KAFKA, Results, Run, this_machine
from .site import QUICK, Scale, Site

WARM_S = {KAFKA: 20.0, BARNABAS: 2.0}
QUICK_WARM_S = {KAFKA: 0.5, BARNABAS: 0.1}
INTERRUPTED = 130


def say(text: str) -> None:
    print(text, flush=True)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Comparison:
    """The run: which lines, of whom, how often."""

    def __init__(self, given: argparse.Namespace, results: Results, folder: Path) -> None:
        self.given = given
        self.results = results
        self.folder = folder
        self.jars = None if given.no_kafka else find_jars()
        if self.jars is None and not given.no_kafka:
            raise SystemExit("Kafka needs Java and, once, Maven; without them: --no-kafka")
        self.python = None if given.pure else compiled_python()
        self.scale = QUICK if given.quick else Scale(cold_bytes=int(given.cold_gb * (1 << 30)))
        self.contenders = (BARNABAS,) if given.no_kafka else CONTENDERS
        self.failed = 0
        facts = {"Barnabas": "compiled" if self.python else "pure Python"}
        facts["Load generator"] = "bench/load.c" if generator() else "Python (no C compiler)"
        facts["Java"] = java_version() if self.jars else "–"
        results.machine = {**this_machine(), **facts}

    def starter(self, who: str, mode: str) -> Callable[[Path], Running]:
        if who == KAFKA:
            jars = self.jars
            assert jars is not None
            return lambda folder: RunningKafka(folder, jars, flush=mode == SYNC)
        return lambda folder: RunningBroker(folder, mode, self.python)

    def run_mode(self, lines: list[Line], mode: str) -> None:
        warm = QUICK_WARM_S if self.given.quick else WARM_S
        sites = {
            who: Site(who, self.folder / f"{mode}-{who}", self.starter(who, mode), warm[who], self.scale)
            for who in self.contenders
        }
        try:
            for line in sorted(lines, key=lambda line: not line.alone):
                for number in range(self.given.rounds):
                    in_turn = self.contenders if number % 2 == 0 else self.contenders[::-1]
                    for who in in_turn:
                        if not self.results.has(line.key, mode, who, number):
                            self.measure(line, mode, sites[who], number)
        finally:
            for site in sites.values():
                site.close()

    def measure(self, line: Line, mode: str, site: Site, number: int) -> None:
        os.sync()
        load_average = os.getloadavg()[0]
        figures, failure = attempt(line, site)
        told = "  ".join(f"{key} {figures[key]:,.1f}" for key in line.shown if key in figures)
        if failure:
            told = f"FAILED: {failure}"
            self.failed += 1
        taken_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        self.results.add(
            Run(line.key, mode, site.name, number, figures, self.given.quick, taken_at, load_average, failure)
        )
        say(f"{mode:5} {line.key:20} {number + 1}/{self.given.rounds} {site.name:8} {told}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run; writes build/quick unless --out is given"
    )
    parser.add_argument(
        "--only",
        metavar="WORD",
        help="lines whose key, group or name holds it; the others keep their figures",
    )
    parser.add_argument("--mode", choices=BOTH, help="only cache or only sync")
    parser.add_argument("--no-kafka", action="store_true", help="Barnabas alone")
    parser.add_argument("--pure", action="store_true", help="Barnabas in pure Python though it is compiled")
    parser.add_argument("--resume", action="store_true", help="keep what is measured already")
    parser.add_argument("--rounds", type=int, help="measurements of each (3; quick: 1)")
    parser.add_argument("--cold-gb", type=float, default=1.0, help="size of the log that is read cold (1)")
    parser.add_argument("--out", type=Path, help="folder of performance.md (docs)")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.out = given.out or Path("build/quick" if given.quick else "docs")
    return given


def main() -> None:
    given = read_options()
    lines = chosen(given.only)
    modes = [given.mode] if given.mode else list(BOTH)
    results = Results(given.out / page.FOLDER / page.FIGURES)
    if not given.resume:
        results.forget((line.key for line in lines), modes)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # set even where a shell made a background job ignore SIGINT
        signal.signal(number, interrupt)
    Path("build").mkdir(exist_ok=True)
    status = 0
    with tempfile.TemporaryDirectory(prefix="bench-", dir="build") as folder:
        comparison = Comparison(given, results, Path(folder).absolute())
        try:
            for mode in modes:
                comparison.run_mode([line for line in lines if mode in line.modes], mode)
        except KeyboardInterrupt:
            say("interrupted; --resume goes on from here")
            status = INTERRUPTED
    page.write(given.out, results)
    say(f"{given.out / page.PAGE} is written")
    sys.exit(status or int(comparison.failed > 0))


if __name__ == "__main__":
    main()
