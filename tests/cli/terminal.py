"""The command line as a human meets it: a process on a pseudo-terminal, or one whose stdin and stdout are pipes."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner, Result

from barnabas.cli.main import main

Run = Callable[..., Result]
"""The command line in this process, against the module's broker."""
Rows = Callable[..., list[dict[str, Any]]]
"""The same, and the objects that it prints."""

SOURCE = str(Path(__file__).parents[2] / "src")
COMMAND = [sys.executable, "-m", "barnabas.cli.main"]
HASTY = [
    sys.executable,
    "-c",
    """
import sys
from barnabas.cli import source
from barnabas.cli.main import main
from barnabas.client import cluster
cluster.RETRY_WAIT_MS = 1
source.BEAT_MS = source.COMMIT_MS = source.LOOK_MS = 100
main(args=sys.argv[1:])
""",
]
"""The same with little patience: a lost broker is given up soon, a rebalance is seen and a commit made at once."""

LAST = "\0last\0"
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ONCE_MORE_S = 2.0
END_S = 30


def environment(bootstrap: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    own = {"BARNABAS_BOOTSTRAP": bootstrap, "PYTHONPATH": SOURCE, "TERM": "xterm", "COLUMNS": "120"}
    foreign = ("NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**kept, **own, **(more or {})}


def piped(
    bootstrap: str, *args: str, stdin: bytes = b"", more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A process of its own that gets stdin and ends."""
    return subprocess.run(
        [*COMMAND, *args],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env=environment(bootstrap, more),
    )


def invoked(bootstrap: str, args: Sequence[str], stdin: str | bytes | None = None):
    """In this process: fast, and stdin, stdout and stderr are no terminals."""
    return CliRunner().invoke(main, list(args), input=stdin, env={"BARNABAS_BOOTSTRAP": bootstrap})


class Terminal:
    """A command whose stdin, stdout and stderr are one terminal. `stdin` may be something else."""

    def __init__(
        self,
        bootstrap: str,
        *args: str,
        more: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            stdin=self._theirs if stdin is None else stdin,
            stdout=self._theirs if stdout is None else stdout,
            stderr=self._theirs,
            env=environment(bootstrap, more),
            start_new_session=True,
        )
        self.seen = ""

    def until(self, text: str) -> str:
        """Everything so far, once text is there."""
        while text not in self.seen:
            self._read()
        return self.seen

    def write(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def interrupt_question(self) -> None:
        """Once more after a while: Python misses a signal that comes when it is just about to wait for a line."""
        while self.process.poll() is None:
            self.interrupt()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(ONCE_MORE_S)

    def end(self) -> tuple[int, str]:
        """Exit code, and all that was shown without its styles."""
        reader = threading.Thread(target=self.until, args=[LAST])
        reader.start()  # or the command would wait for somebody to read
        code = self.process.wait(END_S)
        os.write(self._theirs, LAST.encode())
        reader.join()
        self.seen = self.seen.partition(LAST)[0].replace("\r\n", "\n")
        return code, STYLES.sub("", self.seen)

    def _read(self) -> None:
        self.seen += os.read(self._ours, 65536).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(END_S)
        os.close(self._ours)
        os.close(self._theirs)
