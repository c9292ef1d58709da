"""`python -m bench [--durability cache|sync] [--quick]`: the broker in a process of its own, loads from this one.

Prints a line a load: requests a second and CPU microseconds of the broker a request (user + system of all its threads),
the median of three; then start, memory and 10,000 partitions. Other processes on the machine make the figures worse.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from barnabas.wire import apis
from barnabas.wire.frame import request_head, response_body_at
from barnabas.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest

from .load import Line, Stream, fetch_request, produce_request, run

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
ROUNDS = 3
TOPIC = "bench"


class RunningBroker:
    """`barnabas serve` on a free port."""

    def __init__(self, folder: Path, durability: str) -> None:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "barnabas.cli.main", "serve", "--port", "0", "--data", str(folder)]
        command += ["--set", f"barnabas.durability={durability}", "--set", "barnabas.metrics.port=-1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for text in self.process.stderr:
            found = re.search(r"listeners=PLAINTEXT://127\.0\.0\.1:(\d+)", text)
            if found:
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the broker did not start")
        self.started_ms = (time.perf_counter() - begun) * 1000

    def cpu_us(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS * 1e6

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def create(self, names: list[str], partitions: int) -> None:
        message = CreateTopicsRequest([CreatableTopic(name, partitions, 1) for name in names], 60_000, False)
        body = apis.load(19).encode_request(message, 5)
        stream = Stream("127.0.0.1", self.port, b"")
        stream.socket.sendall(request_head(19, 5, 1, "bench", len(body)) + body)
        content = b""
        while len(content) < 4 or len(content) < 4 + int.from_bytes(content[:4], "big"):
            content += stream.socket.recv(1 << 20)
        stream.socket.close()
        frame = content[4:]
        response = apis.load(19).decode_response(frame, response_body_at(19, 5, frame), 5)
        bad = [topic.error_message for topic in response.topics if topic.error_code]
        if bad:
            raise SystemExit(bad[0])

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(60)


def lines(now_ms: int, scale: float) -> list[Line]:
    def produce(name: str, size: int, connections: int, in_flight: int, requests: int) -> Line:
        payload = [produce_request(TOPIC, number % 4, size, now_ms) for number in range(connections)]
        return Line(name, connections, in_flight, int(requests * scale), payload)

    def fetch(name: str, size: int, connections: int, requests: int) -> Line:
        payload = [fetch_request(TOPIC, number % 4, size) for number in range(connections)]
        return Line(name, connections, 1, int(requests * scale), payload)

    return [
        produce("Produce 1 KB, 4 x 8", 1024, 4, 8, 40_000),
        produce("Produce 1 KB, 32 x 1", 1024, 32, 1, 20_000),
        produce("Produce 1 KB, 1 x 1", 1024, 1, 1, 5_000),
        produce("Produce 16 KB, 4 x 5", 16_384, 4, 5, 10_000),
        produce("Produce 100 KB, 4 x 5", 102_400, 4, 5, 2_000),
        fetch("Fetch 1 KB, 4 x 1", 1_100, 4, 20_000),
        fetch("Fetch 64 KB, 4 x 1", 65_536, 4, 10_000),
        fetch("Fetch 1 MB, 2 x 1", 1 << 20, 2, 1_000),
    ]


def measure(broker: RunningBroker, line: Line) -> tuple[float, float]:
    """(requests a second, broker's CPU microseconds a request), medians."""
    run("127.0.0.1", broker.port, line, max(line.requests // 10, line.connections * line.in_flight))
    rates, costs = [], []
    for _ in range(ROUNDS):
        before = broker.cpu_us()
        seconds = run("127.0.0.1", broker.port, line, line.requests)
        costs.append((broker.cpu_us() - before) / line.requests)
        rates.append(line.requests / seconds)
    return statistics.median(rates), statistics.median(costs)


def many_partitions(folder: Path) -> None:
    """100 topics of 100 partitions: make them, weigh them, start again."""
    broker = RunningBroker(folder, "cache")
    idle = broker.resident_bytes()
    begun = time.perf_counter()
    for number in range(10):
        broker.create([f"many-{number}-{each}" for each in range(10)], 100)
    made = time.perf_counter() - begun
    weight = (broker.resident_bytes() - idle) / 10_000
    broker.stop()
    again = RunningBroker(folder, "cache")
    again.stop()
    print(
        f"10,000 partitions        created in {made:.2f} s, {weight:.0f} bytes each, restart {again.started_ms:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--durability", choices=("cache", "sync"), default="cache")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = RunningBroker(Path(folder) / "data", given.durability)
        print(
            f"start to serving         {broker.started_ms:.0f} ms, {broker.resident_bytes() / 2**20:.1f} MiB resident"
        )
        broker.create([TOPIC], 4)
        for line in lines(int(time.time() * 1000), 0.1 if given.quick else 1.0):
            rate, cost = measure(broker, line)
            print(f"{line.name:24} {rate:9,.0f} requests/s {cost:8.1f} us CPU a request", flush=True)
        broker.stop()
        many_partitions(Path(folder) / "many")


if __name__ == "__main__":
    main()
