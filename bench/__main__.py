"""`python -m bench [--durability cache|sync] [--quick] [--only WORD]`: the broker in a process of its own, loads from here.

Prints a line a load: requests a second and CPU microseconds of the broker a request (user + system of all its threads),
the median of three; then librdkafka end to end, idle connections, 10,000 partitions, start and memory. Other processes
on the machine make the figures worse.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import clients, scale
from .broker import RunningBroker
from .load import Line, Payload, fetch_request, produce_request, run

ROUNDS = 3
TOPIC = "bench"
PARTITIONS = 4


def producing(size: int) -> Payload:
    now_ms = int(time.time() * 1000)
    return lambda number, count: [produce_request(TOPIC, number % PARTITIONS, size, now_ms)]


def idempotent(size: int) -> Payload:
    """Each connection of each round is a producer of its own, whose sequences go on."""
    now_ms = int(time.time() * 1000)
    ids = itertools.count(1_000_000)

    def requests(number: int, count: int) -> Sequence[bytes]:
        who = next(ids)
        return [
            produce_request(
                TOPIC, number % PARTITIONS, size, now_ms, producer_id=who, producer_epoch=0, base_sequence=at
            )
            for at in range(count)
        ]

    return requests


def fetching(size: int) -> Payload:
    return lambda number, count: [fetch_request(TOPIC, number % PARTITIONS, size)]


FILL = Line("something to read", 4, 8, 8_000, producing(1024))
LINES = (
    Line("Produce 1 KB, 4 x 8", 4, 8, 40_000, producing(1024)),
    Line("Produce 1 KB, 32 x 1", 32, 1, 20_000, producing(1024)),
    Line("Produce 1 KB, 1 x 1", 1, 1, 5_000, producing(1024)),
    Line("idempotent 1 KB, 4 x 5", 4, 5, 20_000, idempotent(1024)),
    Line("Produce 16 KB, 4 x 5", 4, 5, 10_000, producing(16_384)),
    Line("Produce 100 KB, 4 x 5", 4, 5, 2_000, producing(102_400)),
    Line("Produce 1 MB, 2 x 2", 2, 2, 300, producing(1_048_000)),
    Line("Fetch 1 KB, 4 x 1", 4, 1, 20_000, fetching(1_100)),
    Line("Fetch 64 KB, 4 x 1", 4, 1, 10_000, fetching(65_536)),
    Line("Fetch 1 MB, 2 x 1", 2, 1, 1_000, fetching(1 << 20)),
)


def measure(broker: RunningBroker, line: Line, requests: int) -> tuple[float, float]:
    """(requests a second, broker's CPU microseconds a request), medians."""
    run("127.0.0.1", broker.port, line, max(requests // 10, line.connections * line.in_flight))
    rates, costs = [], []
    for _ in range(ROUNDS):
        before = broker.cpu_us()
        seconds = run("127.0.0.1", broker.port, line, requests)
        costs.append((broker.cpu_us() - before) / requests)
        rates.append(requests / seconds)
    return statistics.median(rates), statistics.median(costs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--durability", choices=("cache", "sync"), default="cache")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument(
        "--only",
        metavar="WORD",
        help="lines whose name holds it: Produce, Fetch, librdkafka, idle, partitions",
    )
    given = parser.parse_args()
    scale_of = 0.1 if given.quick else 1.0

    def wanted(name: str) -> bool:
        return given.only is None or given.only.lower() in name.lower()

    with tempfile.TemporaryDirectory() as folder:
        broker = RunningBroker(Path(folder) / "data", given.durability)
        print(
            f"start to serving         {broker.started_ms:.0f} ms, {broker.resident_bytes() / 2**20:.1f} MiB resident",
            flush=True,
        )
        if wanted("idle connections"):
            scale.idle_connections(broker)
        broker.create([TOPIC], PARTITIONS)
        run("127.0.0.1", broker.port, FILL, FILL.requests)
        for line in LINES:
            if wanted(line.name):
                rate, cost = measure(broker, line, int(line.requests * scale_of))
                print(f"{line.name:24} {rate:9,.0f} requests/s {cost:8.1f} us CPU a request", flush=True)
        if wanted("librdkafka produce to report"):
            clients.print_lines(broker, scale_of)
        print(f"resident after the load  {broker.resident_bytes() / 2**20:.1f} MiB", flush=True)
        broker.stop()
        if wanted("10,000 partitions"):
            scale.many_partitions(Path(folder) / "many")


if __name__ == "__main__":
    main()
