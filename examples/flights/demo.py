"""336,776 real flights through a broker: one producer, three readers at their own pace, every figure checked.

    python examples/flights/demo.py                        starts a broker of its own, in a temporary folder
    python examples/flights/demo.py --bootstrap HOST:PORT  takes one that runs; the topic `flights` must not exist there

The exit code is 1 when any figure differs from the one computed from the file.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from brokers import BrokerProcess, NoBroker
from flights import AirportDelays, CarrierSums, Flight, NoFlights, load_flights, middle_hour_ms, of_hour
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError
from readers import PARTITIONS, TOPIC, Acknowledged, Advance, read_in_group, read_live, replay_hour, write
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class Outcome:
    """What was read, beside what the file says."""

    def __init__(self, flights: list[Flight]) -> None:
        self.flights = flights
        self.acknowledged: Acknowledged = {}
        self.rows: list[tuple[str, object, object]] = []
        self.per_member: list[int] = []
        self.airports: dict[str, float] = {}

    def compare(self, what: str, read: object, computed: object) -> None:
        self.rows.append((what, read, computed))

    @property
    def differences(self) -> list[str]:
        return [
            f"{what}: read {read}, the file says {wanted}"
            for what, read, wanted in self.rows
            if read != wanted
        ]


def create_topic(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    topic = NewTopic(TOPIC, PARTITIONS, 1, topic_configs={"retention.ms": "-1"})
    admin.create_topics([topic])
    admin.close()


def run(bootstrap: str, flights: list[Flight], advance: Advance, before: Callable[[int], None]) -> Outcome:
    """Write and read at the same time, then replay one hour."""
    outcome = Outcome(flights)
    create_topic(bootstrap)
    halted = Event()
    with ThreadPoolExecutor(2) as pool:
        group = pool.submit(read_in_group, bootstrap, len(flights), halted)
        live = pool.submit(read_live, bootstrap, len(flights), halted)
        try:
            outcome.acknowledged = write(bootstrap, flights, advance, before)
            seen, delays = group.result(), live.result()
        finally:
            halted.set()
    outcome.compare("acknowledged", len(outcome.acknowledged), len(flights))
    outcome.compare("read by the group", len(seen.places), len(flights))
    read, computed = seen.sums.figures(), CarrierSums().add_all(flights).figures()
    for carrier in sorted(read.keys() | computed.keys()):
        outcome.compare(f"{carrier}: flights, miles", read.get(carrier), computed.get(carrier))
    averages, expected = delays.averages(), AirportDelays().add_all(flights).averages()
    for airport in sorted(averages.keys() | expected.keys()):
        outcome.compare(f"{airport}: mean delay", averages.get(airport), expected.get(airport))
    start_ms = middle_hour_ms(flights)
    hour, wanted = replay_hour(bootstrap, start_ms), of_hour(flights, start_ms)
    outcome.compare("replayed of one hour", hour.total(), wanted.total())
    outcome.compare("  as in the file", (hour & wanted).total(), wanted.total())
    outcome.per_member = [seen.members[number] for number in range(3)]
    outcome.airports = averages
    return outcome


def show(outcome: Outcome, seconds: float, console: Console) -> None:
    table = Table("figure", "from the broker", "from the file", "")
    for what, read, computed in outcome.rows:
        table.add_row(what, _text(read), _text(computed), "=" if read == computed else "DIFFERS")
    console.print(table)
    shares = " + ".join(f"{count:,}" for count in outcome.per_member)
    console.print(
        f"{len(outcome.flights):,} flights in {seconds:.1f} s; the three members of the group read {shares}."
    )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{each:,}" for each in value)
    return (
        f"{value:,.4f} min"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def main() -> int:
    options = argparse.ArgumentParser(description="Real flights through a broker, every figure checked.")
    options.add_argument("--bootstrap", help="a broker that runs; default: one of its own")
    options.add_argument("--limit", type=int, help="only the first so many flights")
    asked = options.parse_args()
    console = Console(stderr=True)
    with ExitStack() as stack:
        try:
            flights = load_flights(asked.limit)
            bootstrap = asked.bootstrap
            if bootstrap is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="flights-"))
                broker = BrokerProcess(Path(folder))
                stack.callback(broker.stop)
                broker.start()
                bootstrap = broker.bootstrap
            columns = TextColumn("flights"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            began = time.monotonic()
            with Progress(*columns, console=console) as progress:
                task = progress.add_task("", total=len(flights))
                outcome = run(bootstrap, flights, lambda count: progress.advance(task, count), lambda _: None)
            show(outcome, time.monotonic() - began, Console())
        except (NoFlights, NoBroker, KafkaError) as error:
            console.print(f"demo: {error}")
            return 1
    for difference in outcome.differences:
        console.print(f"DIFFERS: {difference}")
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
