"""How late the loop is: a timer each 100 ms compares when it runs with when it was due.

A callback that holds the loop for longer than the timer's own coarseness (up to 1 ms) shows as lag of all that was due
meanwhile, this timer too. It is a sample: of turns that are shorter than the period, and rare, some are missed.
"""

from collections import deque
from typing import Final

from barnabas.partitions.waits import Timer, Waits
from barnabas.ports import Clock
from barnabas.telemetry import Telemetry

PERIOD_MS: Final = 100
WINDOW: Final = 60_000 // PERIOD_MS
"""Samples of the last minute."""
LAG_BUCKETS_US: Final = (
    500,
    1_000,
    1_500,
    2_000,
    3_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    5_000_000,
)


class LoopLag:
    """Measures from start to stop."""

    def __init__(self, clock: Clock, waits: Waits, telemetry: Telemetry) -> None:
        self._clock = clock
        self._waits = waits
        self._recent: deque[int] = deque(maxlen=WINDOW)
        self._due_ms = 0
        self._timer: Timer | None = None
        text = "How late the loop ran what was due, sampled each 100 ms"
        self._lag = telemetry.histogram("barnabas_loop_lag_seconds", text, LAG_BUCKETS_US)
        telemetry.gauge(
            "barnabas_loop_lag_p99_seconds", "99 % of the last minute's samples are not above"
        ).read_from(lambda: self.quantile_us(99) / 1e6)
        telemetry.gauge("barnabas_loop_lag_max_seconds", "The greatest sample of the last minute").read_from(
            lambda: self.quantile_us(100) / 1e6
        )

    def start(self) -> None:
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._due_ms = self._clock.mono_ms() + PERIOD_MS
        self._timer = self._waits.call_at(self._due_ms, self._sample)

    def _sample(self) -> None:
        lag_us = self._clock.mono_us() - self._due_ms * 1000
        self._lag.observe(lag_us)
        self._recent.append(lag_us)
        self._arm()

    def quantile_us(self, percent: int) -> int:
        """The smallest sample of the last minute that percent of them do not exceed; 0 when there is none."""
        ordered = sorted(self._recent)
        return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)] if ordered else 0
