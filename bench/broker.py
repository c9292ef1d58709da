"""`barnabas serve` in a process of its own, and what it costs: CPU, memory, time to start."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from barnabas.wire import apis
from barnabas.wire.frame import request_head, response_body_at
from barnabas.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest

from .load import Stream

CPU_CLOCK_SCHED = 2
PAGE = os.sysconf("SC_PAGE_SIZE")


class RunningBroker:
    """On a free port. started_ms: from the start of the process to the line that says where it listens."""

    def __init__(self, folder: Path, durability: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        begun = time.perf_counter()
        command = [sys.executable, "-m", "barnabas.cli.main", "serve", "--port", "0", "--data", str(folder)]
        command += ["--set", f"barnabas.durability={durability}", "--set", "barnabas.metrics.port=-1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        for text in self.process.stderr:
            found = re.search(r"listeners=PLAINTEXT://127\.0\.0\.1:(\d+)", text)
            if found:
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the broker did not start")
        self.started_ms = (time.perf_counter() - begun) * 1000
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def cpu_us(self) -> float:
        """User and system time of all its threads: Linux's CPU clock of another process."""
        return time.clock_gettime_ns(~self.process.pid << 3 | CPU_CLOCK_SCHED) / 1000

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def create(self, names: list[str], partitions: int) -> None:
        message = CreateTopicsRequest([CreatableTopic(name, partitions, 1) for name in names], 60_000, False)
        body = apis.load(19).encode_request(message, 5)
        stream = Stream("127.0.0.1", self.port, [])
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
