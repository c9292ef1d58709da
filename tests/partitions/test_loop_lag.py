"""The gauge of loop lag, on virtual time whose loop is held."""

import re
from pathlib import Path

from barnabas.partitions.loop_lag import LoopLag
from barnabas.partitions.waits import Waits
from barnabas.server.exposition import render
from barnabas.telemetry import Telemetry
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime

METRICS_PAGE = Path(__file__).parents[2] / "docs" / "guide" / "metrics.md"


class Stage:
    """A loop with a gauge on it."""

    def __init__(self) -> None:
        self.time = VirtualTime(1)
        self.loop = VirtualLoop(self.time)
        self.telemetry = Telemetry()
        self.lag = LoopLag(self.time, Waits(self.time, self.loop), self.telemetry)
        self.lag.start()

    def shown(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", render(self.telemetry), re.M)
        assert found is not None, f"{name} is not on the page"
        return float(found[1])


def test_a_loop_that_nothing_holds_is_on_time() -> None:
    stage = Stage()
    stage.time.run_for(10_000)
    assert stage.shown("barnabas_loop_lag_seconds_count") == 100
    assert stage.shown('barnabas_loop_lag_seconds_bucket{le="0.0005"}') == 100
    assert stage.shown("barnabas_loop_lag_max_seconds") == 0


def test_a_held_loop_shows_by_how_much_and_how_often() -> None:
    stage = Stage()
    stage.loop.after(1_090, lambda: stage.time.hold(40))  # what is due at 1,100 runs at 1,130
    stage.time.run_for(2_000)
    assert stage.lag.quantile_us(100) == 30_000
    assert stage.shown("barnabas_loop_lag_max_seconds") == 0.03
    assert stage.shown("barnabas_loop_lag_seconds_sum") == 0.03
    below = stage.shown('barnabas_loop_lag_seconds_bucket{le="0.02"}')
    assert stage.shown('barnabas_loop_lag_seconds_bucket{le="0.05"}') == below + 1
    stage.time.run_for(9_000)
    assert stage.lag.quantile_us(99) == 0, "one of a hundred may be above"
    for _ in range(2):
        stage.time.hold(150)  # longer than the period: whenever it begins, a sample is at least 50 ms late
        stage.time.run_for(1_000)
    assert stage.shown("barnabas_loop_lag_p99_seconds") >= 0.03


def test_the_gauges_forget_what_is_older_than_a_minute() -> None:
    stage = Stage()
    stage.loop.after(90, lambda: stage.time.hold(40))
    stage.time.run_for(59_000)
    assert stage.lag.quantile_us(100) == 30_000
    stage.time.run_for(2_000)
    assert stage.lag.quantile_us(100) == 0


def test_a_node_measures_from_start_to_stop_and_every_metric_has_its_line_in_the_guide() -> None:
    time = VirtualTime(2)
    machine = VirtualMachine(time, Wire(time), {"barnabas.metrics.port": "-1"})
    machine.boot()
    telemetry = machine.node.telemetry
    time.run_for(1_000)
    assert "barnabas_loop_lag_seconds_count" in render(telemetry)
    page = METRICS_PAGE.read_text()
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    assert set(telemetry.families) <= told
    assert told - set(telemetry.families) == {"barnabas_requests_total"}, "counted from the first request on"
    machine.node.stop(lambda clean: None)
    time.run_for(1_000)
    samples = render(telemetry)
    time.run_for(1_000)
    assert render(telemetry) == samples
