"""The page's table of two workers beside one: how much more they serve, and what limits them."""

from collections.abc import Callable

from .catalog import LINES, METRICS, Goal, Line
from .judge import ratio_of, times
from .results import Results
from .site import BARNABAS, KAFKA, WORKERS, Figures

SHOWN = ("cpu_us", "client_us", "p50_us", "p99_us", "p999_us", "lag_p99_us")
ALL_BUSY = 0.9
"""Share of the cores from which on they are what limits."""

TEXT = """\
Each worker leads half of the partitions; a client goes to the leader of each partition. The load generator shares the machine's {cores:g} cores
with the workers, so no number of workers serves more than *at most*: all cores at what a request costs with one worker, broker and client
together. A goal above that is not within reach of a machine of {cores:g} cores. *Others* is what runs besides, and the kernel's work for nobody.
"""


def section(
    results: Results, mode: str, goal_text: Callable[[Line, str, Callable[[Goal], bool]], str]
) -> str:
    """Empty without a measurement of two workers."""
    lines = [line for line in LINES if results.median(line.key, mode, WORKERS)]
    if not lines:
        return ""
    head = " · ".join(METRICS[key].label for key in SHOWN)
    rows = [
        f"| {line.group}, {line.name} "
        f"| {cell(line, results.median(line.key, mode, BARNABAS))} | {cell(line, results.median(line.key, mode, WORKERS))} "
        f"| {_ratio(results, line, mode, BARNABAS)} | {_ratio(results, line, mode, KAFKA)} | {limits(results, line, mode)} "
        f"| {goal_text(line, mode, lambda goal: goal.who == WORKERS)} |\n"
        for line in lines
    ]
    return (
        f"### Two workers\n\n{TEXT.format(cores=results.cores)}\nCells: requests or messages a second · {head}.\n\n"
        "| line | one worker | two workers | two / one | two / Kafka | what limits | goal |\n|---|---|---|---|---|---|---|\n"
        + "".join(rows)
    )


def cell(line: Line, figures: Figures) -> str:
    if not figures:
        return "–"
    keys = (line.rate, *SHOWN)
    return " · ".join(f"{figures[key]:,.{METRICS[key].digits}f}" if key in figures else "–" for key in keys)


def _ratio(results: Results, line: Line, mode: str, beside: str) -> str:
    ratio = ratio_of(results, line, mode, line.rate, WORKERS, beside)
    return "–" if ratio is None else times(ratio)


def busy(line: Line, figures: Figures) -> tuple[float, float]:
    """Cores that the broker and the clients used."""
    rate = figures[line.rate] / 1e6
    return rate * figures["cpu_us"], rate * figures["client_us"]


def limits(results: Results, line: Line, mode: str) -> str:
    one, two = results.median(line.key, mode, BARNABAS), results.median(line.key, mode, WORKERS)
    if not one or not two:
        return "–"
    cores, idle = results.cores, two["idle_cores"]
    broker, clients = busy(line, two)
    alone = busy(line, one)
    rest = max(cores - idle - broker - clients, 0.0)
    why = "the cores" if idle < (1 - ALL_BUSY) * cores else f"not the cores: {idle:.2f} of them were idle"
    return (
        f"{why}; workers {broker:.2f} + clients {clients:.2f} + others {rest:.2f} of {cores:g} cores "
        f"(one worker: {alone[0]:.2f} + {alone[1]:.2f}); at most {times(cores / sum(alone))}"
    )
