"""Two workers: each connection of a load goes to the worker that leads what it asks for, and all processes are counted."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.broker import RunningBroker
from bench.catalog import chosen
from bench.site import QUICK, WORKERS, Site

from barnabas.config.effective import BrokerOptions
from barnabas.wire.messages.metadata import MetadataRequest
from bench import requests

FIXED_PORT = BrokerOptions({}).get_int("barnabas.workers.port")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(WORKERS, tmp_path, lambda folder: RunningBroker(folder, "cache", workers=2), 0.0, QUICK)
    yield site
    site.close()


@pytest.mark.parametrize("key", ["produce-1k-4x8", "idempotent", "fetch-64k"])
def test_a_line_is_served_by_both(site: Site, key: str) -> None:
    (line,) = chosen(key)
    figures = line.measure.run(site)
    assert figures["requests_s"] > 0 and figures["lag_p99_us"] > 0
    produced = [read_produced(page) for page in site.broker.metrics_pages()]
    assert len(produced) == 2 and all(produced), "each has served Produce requests"
    assert len(site.broker.pids) == 3, "a parent and two workers"
    brokers = requests.ask(site.broker.port, requests.METADATA, MetadataRequest([], False)).brokers
    assert not {broker.port for broker in brokers} & {FIXED_PORT, FIXED_PORT + 1}, (
        "two benches fit on one machine"
    )


def read_produced(page: str) -> float:
    lines = [
        line for line in page.splitlines() if line.startswith("barnabas_requests_total") and "Produce" in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_who_is_not_measured_stands_still_with_its_workers_and_goes_on_where_it_was(site: Site) -> None:
    broker = site.broker
    site.stand_still()
    until(lambda: [state_of(pid) for pid in broker.pids] == ["T", "T", "T"])
    site.go_on()
    until(lambda: "T" not in [state_of(pid) for pid in broker.pids])
    assert requests.ask(broker.port, requests.METADATA, MetadataRequest([], False)).brokers


def test_one_that_stands_still_is_ended_as_it_likes(site: Site) -> None:
    broker = site.broker
    site.stand_still()
    site.close()
    assert broker.process.returncode == 0


def until(reached: Callable[[], bool]) -> None:
    """A process that runs on another core takes a signal a moment later."""
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end, "it never comes"
        time.sleep(0.001)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
