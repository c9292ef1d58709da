"""The command line as a human meets it: a process on a pseudo-terminal, or one whose stdin and stdout are pipes."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from click.testing import CliRunner

from barnabas.cli.main import main

SOURCE = str(Path(__file__).parents[2] / "src")
COMMAND = [sys.executable, "-m", "barnabas.cli.main"]
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
END_S = 30


def environment(bootstrap: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    own = {"BARNABAS_BOOTSTRAP": bootstrap, "PYTHONPATH": SOURCE, "TERM": "xterm", "COLUMNS": "120"}
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
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
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            stdin=theirs if stdin is None else stdin,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            env=environment(bootstrap, more),
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str) -> str:
        """Everything so far, once text is there."""
        while text not in self.seen:
            if not self._read():
                raise AssertionError(f"{text!r} did not come:\n{self.seen}")
        return self.seen

    def write(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Exit code, and all that was shown without its styles."""
        while self._read():
            pass
        return self.process.wait(END_S), STYLES.sub("", self.seen).replace("\r\n", "\n")

    def _read(self) -> bool:
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += read.decode()
        return bool(read)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(END_S)
        os.close(self._ours)
