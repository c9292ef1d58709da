"""How late the broker's loop was over a stretch of work, from the histogram on its metrics page, read before and after."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from .broker import Running
from .site import Figures

BUCKET = re.compile(
    r'^barnabas_loop_lag_seconds_bucket\{le="(?P<bound>[^"]+)"\} (?P<count>\d+)$', re.MULTILINE
)
Buckets = dict[float, int]
"""Samples that are not above a bound in seconds, of all processes of a broker; empty where it has no such metric."""


class Lag:
    """What came between two readings."""

    def __init__(self) -> None:
        self.before: Buckets = {}
        self.after: Buckets = {}

    def figures(self) -> Figures:
        """The bound in microseconds that 99 % of the samples are not above (of what is above all bounds, the last of them);
        nothing without samples."""
        came = {bound: count - self.before.get(bound, 0) for bound, count in sorted(self.after.items())}
        total = max(came.values(), default=0)
        if not total:
            return {}
        bounds = [bound for bound, count in came.items() if count >= 0.99 * total]
        finite = [bound for bound in came if bound != float("inf")]
        return {"lag_p99_us": min(bounds[0], finite[-1]) * 1e6}


def read_buckets(pages: list[str]) -> Buckets:
    sums: Buckets = {}
    for page in pages:
        for found in BUCKET.finditer(page):
            bound = float(found["bound"])
            sums[bound] = sums.get(bound, 0) + int(found["count"])
    assert all(one <= other for one, other in pairwise(sums.values())), "buckets of different brokers differ"
    return sums


@contextmanager
def lag_of(broker: Running) -> Iterator[Lag]:
    lag = Lag()
    lag.before = read_buckets(broker.metrics_pages())
    yield lag
    lag.after = read_buckets(broker.metrics_pages())
