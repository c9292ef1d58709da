"""Lines of many: partitions, idle connections, members of a group; and what a broker costs that does nothing."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import requests
from .broker import Running
from .drive import drive
from .lag import lag_of
from .load import Limits, Load
from .raw import now_ms
from .site import Figures, Measure, Site

PARTITIONS = 100
TOPICS_A_REQUEST = 10
DIRTY_TOPICS = 10
BATCH_BYTES = 1024
IDLE_PROCESSES = 2
SETTLE_S = 1.0


def _start_and_stop(site: Site) -> Figures:
    """An empty folder: start to the first answer, memory a second later, clean stop."""
    broker = site.start(site.folder / site.fresh_name("empty"))
    time.sleep(SETTLE_S)
    resident = broker.resident_bytes()
    broker.stop()
    return {
        "start_ms": broker.started_ms,
        "stop_ms": broker.stopped_ms,
        "resident_mib": resident / (1 << 20),
    }


def many_partitions(hundreds: int, seconds: float, kafka_seconds: float = 0.0) -> Measure:
    """Topics of 100 partitions: make them, weigh them, start again; then write to 1,000 and pull the plug.

    A start lasts until Metadata names a leader for every partition and those of the 1,000 answer for their logs.
    """

    def run(site: Site) -> Figures:
        topics = max(int(hundreds * site.scale.topics), 2)
        return _with_many(site, [f"many-{number}" for number in range(topics)])

    return Measure(run, seconds=seconds, kafka_seconds=kafka_seconds)


def _with_many(site: Site, names: list[str]) -> Figures:
    folder = site.folder / site.fresh_name("many")
    count = len(names) * PARTITIONS
    broker = site.start(folder)
    time.sleep(SETTLE_S)
    before = broker.resident_bytes()
    with lag_of(broker) as lag:
        begun = time.perf_counter()
        for at in range(0, len(names), TOPICS_A_REQUEST):
            broker.create_with_leaders(names[at : at + TOPICS_A_REQUEST], PARTITIONS)
        figures = {"create_s": time.perf_counter() - begun}
    figures |= lag.figures()
    figures["bytes_each"] = (broker.resident_bytes() - before) / count
    broker.stop()
    broker, figures["restart_ms"] = _start_with(site, folder, names)
    _write_to_some(broker, names[:DIRTY_TOPICS])
    broker.stop(signal.SIGKILL)
    broker, figures["restart_killed_ms"] = _start_with(site, folder, names)
    broker.stop()
    shutil.rmtree(folder)
    return figures


def _start_with(site: Site, folder: Path, names: list[str]) -> tuple[Running, float]:
    begun = time.perf_counter()
    broker = site.start(folder)
    broker.wait_for_leaders(names, PARTITIONS)
    broker.wait_until_served(names[:DIRTY_TOPICS], PARTITIONS)
    return broker, (time.perf_counter() - begun) * 1000


def _write_to_some(broker: Running, names: list[str]) -> None:
    """A batch for each partition of the topics, one request a topic; waits for the answers."""
    content = b"".join(
        requests.encode(
            requests.PRODUCE, requests.produce_message(name, range(PARTITIONS), BATCH_BYTES, now_ms())
        )
        for name in names
    )
    codes = requests.produce_codes(names[0], PARTITIONS)
    drive(broker, Load([content], 1, codes, once=True), Limits(requests=len(names)))


def _idle_connections(site: Site) -> Figures:
    """Each has been served once: what it weighs is a connection in use, now silent. They come from two processes."""
    figures = {}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the broker's too, as it is started from here
    broker = site.start(site.folder / site.fresh_name("idle"))
    try:
        for count in site.scale.idle:
            before = broker.resident_bytes()
            clients = [_idle_process(broker.port, count // IDLE_PROCESSES) for _ in range(IDLE_PROCESSES)]
            for client in clients:
                assert client.stdout is not None and client.stdout.readline(), "a client could not connect"
            figures[f"idle_{count}_bytes"] = (broker.resident_bytes() - before) / count
            for client in clients:
                client.communicate("")
            time.sleep(SETTLE_S)
    finally:
        broker.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return figures


def _idle_process(port: int, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.idle", str(port), str(count)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )


start_and_stop = Measure(_start_and_stop, seconds=1.5, kafka_seconds=4.5)
idle_connections = Measure(_idle_connections, seconds=8.0, kafka_seconds=15.0)
