"""`python -m bench.compare`: Barnabas beside Apache Kafka 4.3, line by line in turn, in one run; writes docs/performance.md.

Kafka's jars are fetched on first use (tools/kafka_jars.sh: Java and Maven). Barnabas runs compiled when there is a compiled
environment (`make compiled`), else pure. Every measurement is kept at once: `--resume` goes on where a run was cut off.
Ctrl-C ends all brokers. Nothing else should run on the machine. `--plan` tells what would run, and how long.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from . import notes, page, where
from .attempt import attempt
from .broker import Running, RunningBroker, compiled_python
from .catalog import BOTH, SYNC, chosen
from .kafka import RunningKafka, find_jars, java_version
from .native import generator
from .pace import Pace
from .page_cache import FullPageCache
from .plan import Progress, Step, described, steps
from .results import Results, Run, this_machine
from .site import BARNABAS, KAFKA, QUICK, WORKERS, Scale, Site

CONTENDERS = (KAFKA, BARNABAS, WORKERS)
WARM_S = {KAFKA: 20.0, BARNABAS: 2.0, WORKERS: 2.0}
QUICK_WARM_S = {KAFKA: 0.5, BARNABAS: 0.1, WORKERS: 0.1}
PROFILE_S, QUICK_PROFILE_S = 3.0, 0.3
QUICK_PACE = 0.4
"""Of the seconds of a whole run's plan: brokers start as slowly."""
INTERRUPTED = 130


def say(text: str) -> None:
    print(text, flush=True)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Comparison:
    """The run: its brokers, and what becomes of each step."""

    def __init__(self, given: argparse.Namespace, results: Results, folder: Path, total_s: float) -> None:
        self.given = given
        self.results = results
        self.folder = folder
        self.jars = None if given.no_kafka else find_jars()
        if self.jars is None and not given.no_kafka:
            raise SystemExit("Kafka needs Java and, once, Maven; without them: --no-kafka")
        self.python = None if given.pure else compiled_python()
        self.scale = QUICK if given.quick else Scale(cold_bytes=int(given.cold_gb * (1 << 30)))
        self.progress = Progress(total_s)
        self.failed = 0
        self.pages = None if given.quick else FullPageCache(folder)
        self.pace = Pace()
        facts = {"Barnabas": "compiled" if self.python else "pure Python"}
        facts["Load generator"] = "bench/load.c" if generator() else "Python (no C compiler)"
        facts["Java"] = java_version() if self.jars else "–"
        results.machine = {**this_machine(self.python), **facts}

    def starter(self, who: str, mode: str) -> Callable[[Path], Running]:
        if who == KAFKA:
            jars = self.jars
            assert jars is not None
            return lambda folder: RunningKafka(folder, jars, flush=mode == SYNC)
        workers = 2 if who == WORKERS else 1
        return lambda folder: RunningBroker(folder, mode, self.python, workers)

    def run_mode(self, mode: str, planned: list[Step]) -> None:
        warm = QUICK_WARM_S if self.given.quick else WARM_S
        sites = {
            who: Site(who, self.folder / f"{mode}-{who}", self.starter(who, mode), warm[who], self.scale)
            for who in dict.fromkeys(step.who for step in planned)
        }
        try:
            for step in planned:
                for who, site in sites.items():
                    if who != step.who:
                        site.stand_still()
                sites[step.who].go_on()
                self.measure(step, sites[step.who])
        finally:
            for site in sites.values():
                site.close()

    def measure(self, step: Step, site: Site) -> None:
        os.sync()
        if self.pages is not None:
            self.pages.fill()
        load_average, pace_us = os.getloadavg()[0], self.pace.us()
        figures, failure = attempt(step.line, site)
        pace_us = max(pace_us, self.pace.us())
        told = "  ".join(f"{key} {figures[key]:,.1f}" for key in step.line.shown if key in figures)
        if failure:
            told = f"FAILED: {failure}"
            self.failed += 1
        taken_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        key, mode, who, number = step.line.key, step.mode, step.who, step.number
        self.results.add(
            Run(key, mode, who, number, figures, self.given.quick, taken_at, load_average, failure, pace_us)
        )
        self.progress.did(step.seconds)
        say(
            f"{self.progress.left():>5} left  {mode:5} {key:16} {number + 1}/{self.given.rounds} {who:10} {told}"
        )

    def close(self) -> None:
        if self.pages is not None:
            self.pages.close()

    def profile(self) -> None:
        seconds = QUICK_PROFILE_S if self.given.quick else PROFILE_S
        try:
            where.write(self.given.out, self.python, "cache", seconds)
        except where.CannotProfile as error:
            say(f"no table of where the microseconds go: {error}")


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
    parser.add_argument("--plan", action="store_true", help="tell what would run, and for how long")
    parser.add_argument("--rounds", type=int, help="measurements of each (3; quick: 1)")
    parser.add_argument("--cold-gb", type=float, default=5.0, help="size of the log that is read cold (5)")
    parser.add_argument("--out", type=Path, help="folder of performance.md (docs)")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.out = given.out or Path("build/quick" if given.quick else "docs")
    return given


def plan(given: argparse.Namespace, results: Results) -> list[Step]:
    """What is to be measured; unless it is to be kept, what was measured of it before is forgotten."""
    lines = chosen(given.only)
    modes = [given.mode] if given.mode else list(BOTH)
    if not given.resume:
        results.forget((line.key for line in lines), modes)
    if not given.quick:
        results.forget_smoke()
    contenders = [who for who in CONTENDERS if who != KAFKA or not given.no_kafka]
    planned = steps(lines, modes, contenders, given.rounds, results, QUICK_WARM_S if given.quick else WARM_S)
    return [replace(step, seconds=step.seconds * QUICK_PACE) for step in planned] if given.quick else planned


def main() -> None:
    given = read_options()
    results = Results(given.out / page.FOLDER / page.FIGURES)
    planned = plan(given, results)
    more = {} if given.only or given.mode else {"where each microsecond goes": where.SECONDS}
    if given.plan:
        say(described(planned, more))
        return
    # Set even where a shell made a background job ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    Path("build").mkdir(exist_ok=True)
    status = 0
    with tempfile.TemporaryDirectory(prefix="bench-", dir="build") as folder:
        total_s = sum(step.seconds for step in planned) + sum(more.values())
        comparison = Comparison(given, results, Path(folder).absolute(), total_s)
        try:
            for mode in BOTH:
                comparison.run_mode(mode, [step for step in planned if step.mode == mode])
            if more:
                comparison.profile()
        except KeyboardInterrupt:
            say("interrupted; --resume goes on from here")
            status = INTERRUPTED
        finally:
            comparison.close()
    page.write(given.out, results)
    say(f"{given.out / page.PAGE} is written")
    stale = notes.stale(notes.read(), results)
    for text in stale:
        say(f"bench/notes.toml: {text}")
    sys.exit(status or int(comparison.failed > 0 or bool(stale)))


if __name__ == "__main__":
    main()
