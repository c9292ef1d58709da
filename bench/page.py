"""docs/performance.md from the figures: `python -m bench.page [--out docs]` writes it anew without measuring."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import notes, scaling
from .catalog import BOTH, CACHE, GROUPS_IN_ORDER, LINES, METRICS, SYNC, Goal, Line
from .judge import ratio_of, times, verdicts
from .plot import Row, bars
from .results import Results
from .site import BARNABAS, KAFKA

PAGE, FOLDER = "performance.md", "performance"
FIGURES, WHERE = "figures.json", "where.json"
OWN_LOAD = 3.0
"""Load average that the measurements before may have left."""
SLOW_PACE, SLOW_NAMED = 1.25, 12

HEAD = """\
# Performance beside Apache Kafka

Written by `make bench-kafka`; the figures of every measurement are in [{folder}/{figures}]({folder}/{figures}). Absolute figures hold for
this machine and this hour only: what counts is the ratio of two figures that were taken in turn in one run.
"""

HOW = """\
## How it was measured

- Both brokers run on this machine, on loopback, beside the clients that load them: they share its cores. Apache Kafka 4.3 is one
  KRaft node with 1 GB of heap and G1, log4j at WARN, a session with its controller that outlasts its standing still, else its defaults; Barnabas has its defaults. Deleted files go after a second
  (`log.segment.delete.delay.ms`), not a minute, so that no line pays for the files of another.
- Two modes, in both of which `acks=all`. **cache**: Kafka's defaults beside `barnabas.durability=cache`: a record is acknowledged when
  the kernel has it. **sync**: Kafka with `log.flush.interval.messages=1` beside `barnabas.durability=sync`: it is on the disk.
- A line is measured in turn: Kafka, Barnabas (and Barnabas with two workers), then the other way round, and so on; what is shown is the median of the rounds, metric by metric.
  Whoever is not measured stands still meanwhile (SIGSTOP): an idle JVM beside it took the p99 of a report at 1,000/s from 0.3 to 1.7 ms.
  Before a round, everything written is synced, so that nobody pays for the other's pages. A Produce line has a topic of its own that goes afterwards.
- Before a round, memory is filled with page cache until 1 GiB is free, by reading a file without content: so a broker finds a machine that has
  run for a day, and a page it writes takes the place of an old one. On a virtual machine the first touch of *free* memory, which its host has taken
  back, cost 2,500 µs a megabyte where a reused page costs 200: it decided every line from 16 KB on, and who paid was chance.
- Before the first line of a kind of load Kafka gets 20 s of it uncounted (a JVM becomes fast with time), Barnabas 2 s. Kinds are: Produce,
  idempotent Produce, Fetch, Fetch with sessions, OffsetCommit, and librdkafka's produce, consume, reports and round trips. A further size
  of a kind that is warm gets a quarter of that, and shapes of one size share it.
- *4 × 8* is four connections with eight unanswered requests each. Requests are encoded once and sent again and again by
  `bench/load.c`; Produce requests are version 9 with one batch of one record a partition, Fetch requests version 11, at offsets all over a log that is in memory.
- *Python* is the interpreter of the broker. *Optimized* is one that was compiled with a profile, as those of python.org, Docker, uv and Debian
  are, *static* one that is not in a shared library. One that is neither takes up to a fifth more CPU a request (docs/decisions/0007).
- CPU is user and system time of all threads of the broker (of all its processes), by request or message.
- The loop lag is how late the broker's event loop ran what was due, sampled each 100 ms by the broker itself: the bound of its histogram that
  99 % of the samples of a line are not above. The first bound is 500 µs, which is also as fine as the loop's timers are.
- The cold read is of a log (5 GB in a whole run) whose pages were dropped (`posix_fadvise`, after a sync), proven by reads with `RWF_NOWAIT`; the produce load
  lasts as long as the reading.
- From 16 KB on what a new page costs stands beside a line: what the kernel takes for a megabyte of a new file right after the load (*fresh MB*).
"""


def write(out: Path, results: Results) -> None:
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    reasons = notes.read()
    parts = [HEAD.format(folder=FOLDER, figures=FIGURES), _taken(results), _goals(results, reasons)]
    for mode in BOTH:
        parts += _mode(results, mode, folder, reasons)
    where = folder / WHERE
    if where.exists():
        parts.append(steps_table(json.loads(where.read_text())))
    parts.append(HOW)
    (out / PAGE).write_text("\n".join(part for part in parts if part))


def _taken(results: Results) -> str:
    if not results.runs:
        return "Nothing has been measured yet.\n"
    days = sorted(run.taken_at for run in results.runs)
    rows = {"Taken": f"{days[0]} to {days[-1]} UTC", **results.machine}
    busiest = max(run.load_average for run in results.runs)
    text = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    note = ""
    if any(run.quick for run in results.runs):
        note += "\n**A smoke run is among the figures** (`--quick`): each measurement lasted a fraction of a second. They show that the lines work, not how fast.\n"
    if busiest > OWN_LOAD:
        note += f"\n**Other work ran beside it**: the load average before a measurement was up to {busiest:.1f}.\n"
    return f"| | |\n|---|---|\n{text}{note}{_slow_times(results)}"


def _slow_times(results: Results) -> str:
    """Measurements that fell into a time in which the machine itself was slow."""
    paces = [run.pace_us for run in results.runs if run.pace_us]
    best = min(paces, default=0.0)
    slow = [run for run in results.runs if run.pace_us > SLOW_PACE * best]
    if not slow:
        return ""
    slow.sort(key=lambda run: -run.pace_us)
    named = [
        f"{run.line} ({run.mode}, {run.contender}, round {run.number + 1}: {run.pace_us / best:.1f}×)"
        for run in slow[:SLOW_NAMED]
    ]
    more = f" and {len(slow) - SLOW_NAMED} more" if len(slow) > SLOW_NAMED else ""
    return (
        f"\n**The machine's own pace changed**: a fixed piece of work (bench/pace.py) before or after a measurement took more than {SLOW_PACE} "
        f"times what it took at best in {len(slow)} of {len(paces)} measurements: {', '.join(named)}{more}.\n"
    )


def _goals(results: Results, reasons: Sequence[notes.Note]) -> str:
    lines = []
    met = asked = 0
    for line in LINES:
        for mode in line.modes:
            for verdict in verdicts(results, line, mode):
                asked += 1
                met += bool(verdict.met)
                if not verdict.met:
                    reason = notes.of_goal(reasons, line, verdict.goal)
                    told = f"{verdict.text()}. {reason}" if reason else verdict.text()
                    lines.append(f"- {line.group}, {line.name} ({mode}): {told}\n")
    missing = "Not met or not measured:\n\n" + "".join(lines) if lines else ""
    return f"\n## Goals\n\n{met} of {asked} are met. {missing}"


def _mode(results: Results, mode: str, folder: Path, reasons: Sequence[notes.Note]) -> list[str]:
    def goal_text(line: Line, mode: str, counts: Callable[[Goal], bool]) -> str:
        """The verdicts of a cell; a missed goal that has a note says so, and the list of goals has the note."""
        told = []
        for verdict in verdicts(results, line, mode):
            if counts(verdict.goal):
                reason = not verdict.met and notes.of_goal(reasons, line, verdict.goal)
                told.append(f"{verdict.text()} ([why](#goals))" if reason else verdict.text())
        return "<br>".join(told)

    beside = {
        CACHE: "Apache Kafka beside `cache`",
        SYNC: "Apache Kafka flushing every message beside `sync`",
    }
    parts = [f"\n## {beside[mode]}\n"]
    for name, title, text in _plots(results, mode):
        (folder / name).write_text(text)
        parts.append(f"![{title}]({FOLDER}/{name})\n")
    for group in GROUPS_IN_ORDER:
        lines = [line for line in LINES if line.group == group and mode in line.modes]
        lines = [line for line in lines if _is_measured(results, line, mode)]
        if lines:
            parts.append(_table(results, group, lines, mode, goal_text))
    parts += [text for text in (scaling.section(results, mode, goal_text),) if text]
    return parts if len(parts) > 1 else []


def _is_measured(results: Results, line: Line, mode: str) -> bool:
    return any(
        results.median(line.key, mode, who) or results.failure(line.key, mode, who)
        for who in (KAFKA, BARNABAS)
    )


GoalText = Callable[[Line, str, Callable[[Goal], bool]], str]


def _table(results: Results, group: str, lines: list[Line], mode: str, goal_text: GoalText) -> str:
    """A column block for each contender: the metrics of the group, then ratios and goals."""
    keys = list(dict.fromkeys(key for line in lines for key in line.shown))
    measured = [results.median(line.key, mode, who) for line in lines for who in (KAFKA, BARNABAS)]
    keys = [key for key in keys if any(key in figures for figures in measured)]
    head = " · ".join(METRICS[key].label for key in keys)
    rows = [
        f"| {line.name} | {_cell(results, line, mode, KAFKA, keys)} | {_cell(results, line, mode, BARNABAS, keys)} "
        f"| {_ratios(results, line, mode, keys)} | {goal_text(line, mode, lambda goal: goal.who == BARNABAS)} |\n"
        for line in lines
    ]
    own = [METRICS[key].label for key in keys if METRICS[key].own]
    without = f" Ratios are of all but {', '.join(own)}." if own else ""
    return (
        f"### {group}\n\nCells: {head}.{without}\n\n"
        f"| line | Apache Kafka | Barnabas | Barnabas / Kafka | goal |\n|---|---|---|---|---|\n"
        + "".join(rows)
    )


def _cell(results: Results, line: Line, mode: str, who: str, keys: list[str]) -> str:
    figures = results.median(line.key, mode, who)
    if not figures:
        return results.failure(line.key, mode, who) or "–"
    text = " · ".join(f"{figures[key]:,.{METRICS[key].digits}f}" if key in figures else "–" for key in keys)
    count = results.count(line.key, mode, who)
    return text if count >= 3 else f"{text} ({count} round{'s' if count > 1 else ''})"


def _ratios(results: Results, line: Line, mode: str, keys: list[str]) -> str:
    found = []
    for key in (key for key in keys if not METRICS[key].own):
        ratio = ratio_of(results, line, mode, key)
        found.append("–" if ratio is None else times(ratio))
    return " · ".join(found)


def _plots(results: Results, mode: str) -> list[tuple[str, str, str]]:
    """(file, title, SVG): how many times Kafka's rate, and the 99th percentile of both."""
    rates, waits = [], []
    for line in LINES:
        if mode not in line.modes:
            continue
        metric = line.rate
        ratio = ratio_of(results, line, mode, metric) if metric else None
        label = f"{line.group.partition(',')[0]}: {line.name}"
        if ratio:
            goals = [
                goal.ratio
                for goal in line.goals
                if goal.metric == metric and goal.mode == mode and goal.beside == KAFKA
            ]
            rates.append(Row(label, (ratio,), goals[0] if goals else None))
        kafka = results.median(line.key, mode, KAFKA).get("p99_us")
        ours = results.median(line.key, mode, BARNABAS).get("p99_us")
        if kafka and ours and "p99_us" in line.shown:
            waits.append(Row(label, (ours, kafka)))
    found = []
    if rates:
        title = f"Rate, Barnabas to Kafka ({mode})"
        found.append((f"rate-{mode}.svg", title, bars(title, ["Barnabas / Kafka"], rates, "×", origin=1.0)))
    if waits:
        title = f"99th percentile, microseconds ({mode})"
        found.append((f"p99-{mode}.svg", title, bars(title, ["Barnabas", "Apache Kafka"], waits)))
    return found


def steps_table(content: dict[str, Any]) -> str:
    """What bench.where has found: {"how": text, "loads": [names], "steps": {step: [microseconds]}, "total": [..],
    "floors": {name: [(microseconds, requests a second)]}}.
    """
    loads, steps, total = content["loads"], content["steps"], content["total"]
    head = f"| microseconds of CPU a request | {' | '.join(loads)} |\n|---|{'---|' * len(loads)}\n"
    rows = "".join(
        f"| {step} | {' | '.join(f'{value:.2f}' for value in values)} |\n" for step, values in steps.items()
    )
    sums = f"| **all** | {' | '.join(f'**{value:.2f}**' for value in total)} |\n"
    for name, found in content.get("floors", {}).items():
        sums += f"| {name} | {' | '.join(f'{cpu:.2f}' for cpu, _ in found)} |\n"
        sums += f"| … requests/s of it | {' | '.join(f'{rate:,.0f}' for _, rate in found)} |\n"
    return f"\n## Where each microsecond goes\n\n{content['how']}\n\n{head}{rows}{sums}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    out = parser.parse_args().out
    write(out, Results(out / FOLDER / FIGURES))


if __name__ == "__main__":
    main()
