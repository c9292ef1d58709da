"""Many partitions and many idle connections: what each weighs, and how long a start with them takes."""

import signal
import socket
import time
from pathlib import Path

from barnabas.wire import apis
from barnabas.wire.frame import request_head

from .broker import RunningBroker
from .load import PRODUCE_VERSION, Stream, produce_message

TOPICS, PARTITIONS = 100, 100
DIRTY = 1000
IDLE = 1000
BATCH_BYTES = 1024


def many_partitions(folder: Path) -> None:
    """100 topics of 100 partitions: make them, weigh them, start again; then write to 1,000 and pull the plug."""
    broker = RunningBroker(folder, "cache")
    idle = broker.resident_bytes()
    begun = time.perf_counter()
    for number in range(TOPICS // 10):
        broker.create([f"many-{number}-{each}" for each in range(10)], PARTITIONS)
    made = time.perf_counter() - begun
    weight = (broker.resident_bytes() - idle) / (TOPICS * PARTITIONS)
    broker.stop()
    again = RunningBroker(folder, "cache")
    write_to_many(again.port)
    again.stop(signal.SIGKILL)
    dirty = RunningBroker(folder, "cache")
    dirty.stop()
    clean = RunningBroker(folder, "cache")
    clean.stop()
    print(
        f"10,000 partitions        created in {made:.2f} s, {weight:.0f} bytes each; start without logs"
        f" {again.started_ms:.0f} ms, after SIGKILL with {DIRTY} dirty {dirty.started_ms:.0f} ms,"
        f" clean with {DIRTY} logs {clean.started_ms:.0f} ms",
        flush=True,
    )


def write_to_many(port: int) -> None:
    """A batch for each of 1,000 partitions, one request a topic; waits for the answers."""
    now_ms = int(time.time() * 1000)
    requests = []
    for number in range(DIRTY // PARTITIONS):
        message = produce_message(f"many-{number}-0", range(PARTITIONS), BATCH_BYTES, now_ms)
        body = apis.load(0).encode_request(message, PRODUCE_VERSION)
        requests.append(request_head(0, PRODUCE_VERSION, 1, "bench", len(body)) + body)
    stream = Stream("127.0.0.1", port, requests)
    stream.send(len(requests))
    answered = 0
    while answered < len(requests):
        answered += stream.answers()
    stream.socket.close()


def idle_connections(broker: RunningBroker) -> None:
    before = broker.resident_bytes()
    peers = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(IDLE)]
    request = request_head(18, 0, 1, "idle", 0)
    for peer in peers:  # each has been served once: what it weighs is a connection in use, now silent
        peer.sendall(request)
        peer.recv(1 << 16)
    weight = (broker.resident_bytes() - before) / IDLE
    for peer in peers:
        peer.close()
    print(f"{IDLE:,} idle connections    {weight:,.0f} bytes each", flush=True)
