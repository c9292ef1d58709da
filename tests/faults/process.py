"""A broker as a process of its own, which a test may kill, starve and start again on the same folder."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 30.0
LISTENERS = re.compile(r"listeners=\S*PLAINTEXT://([^\s,]+)")


class BrokerProcess:
    """`barnabas serve` on a folder. Its log lines are kept for the message of a failed test."""

    def __init__(
        self,
        folder: Path,
        *settings: str,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.lines: list[str] = []
        self.bootstrap = ""
        self._listening = threading.Event()
        source = str(Path(__file__).parents[2] / "src")
        command = [*prefix, sys.executable, "-m", "barnabas.cli.main", "serve"]
        command += ["--port", str(port), "--data", str(folder)]
        for setting in (
            "barnabas.metrics.port=-1",
            "group.initial.rebalance.delay.ms=0",
            "offsets.topic.num.partitions=4",
            *settings,
        ):
            command += ["--set", setting]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": source, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(START_S) or not self.bootstrap:
            self.kill()
            raise AssertionError("the broker did not start:\n" + "\n".join(self.lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            found = LISTENERS.search(line)
            if found and not self.bootstrap:
                self.bootstrap = found[1]
                self._listening.set()
        self._listening.set()

    @property
    def port(self) -> int:
        return int(self.bootstrap.rpartition(":")[2])

    def lives(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing of the process gets a last word."""
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(START_S)
        self._reader.join(START_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code

    def peak_rss_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lives():
            self.kill()
