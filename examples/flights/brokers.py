"""A broker process of the demo's own: started, killed and started again on the same folder and port."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

START_S: Final = 20.0


class NoBroker(Exception):
    """The broker did not come up."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class BrokerProcess:
    """`barnabas serve` on 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it accepts connections. Raises NoBroker."""
        command = [sys.executable, "-m", "barnabas.cli.main", "serve", "--data", str(self.folder / "data")]
        command += ["--port", str(self.port), "--set", "barnabas.metrics.port=-1"]
        command += ["--set", "group.initial.rebalance.delay.ms=0"]
        with open(self.folder / "broker.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise NoBroker(f"the broker did not start:\n{(self.folder / 'broker.log').read_text()}")

    def kill(self) -> None:
        """SIGKILL: it has no chance to write anything more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
