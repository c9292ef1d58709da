"""The loop's lag over a stretch of work, from the metrics pages before and after it."""

from pathlib import Path

from bench.broker import RunningBroker
from bench.lag import Lag, lag_of, read_buckets

PAGE = """\
# TYPE barnabas_loop_lag_seconds histogram
barnabas_loop_lag_seconds_bucket{{le="0.0005"}} {0}
barnabas_loop_lag_seconds_bucket{{le="0.002"}} {1}
barnabas_loop_lag_seconds_bucket{{le="+Inf"}} {2}
barnabas_loop_lag_seconds_count {2}
barnabas_loop_lag_p99_seconds 7
"""


def p99_us(before: tuple[int, int, int], after: tuple[int, int, int]) -> float | None:
    lag = Lag()
    lag.before, lag.after = (read_buckets([PAGE.format(*counts)]) for counts in (before, after))
    return lag.figures().get("lag_p99_us")


def test_the_bound_is_that_of_the_samples_that_came_between() -> None:
    assert p99_us((0, 50, 50), (99, 150, 150)) == 500
    assert p99_us((0, 0, 50), (98, 99, 150)) == 2000
    assert p99_us((0, 0, 0), (0, 1, 100)) == 2000, "what is above all bounds counts as the last"


def test_without_samples_or_without_the_metric_there_is_no_figure() -> None:
    assert p99_us((1, 2, 3), (1, 2, 3)) is None
    assert Lag().figures() == {} and read_buckets(["other 1\n"]) == {}


def test_samples_of_all_workers_count_together() -> None:
    assert read_buckets([PAGE.format(1, 2, 3), PAGE.format(10, 20, 30)]) == {
        0.0005: 11,
        0.002: 22,
        float("inf"): 33,
    }


def test_a_broker_tells_its_lag(tmp_path: Path) -> None:
    broker = RunningBroker(tmp_path / "data", "cache")
    try:
        with lag_of(broker) as lag:
            while read_buckets(broker.metrics_pages()) == lag.before:
                pass
        assert lag.figures()["lag_p99_us"] > 0
    finally:
        broker.stop()
