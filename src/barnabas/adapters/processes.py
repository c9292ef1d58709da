"""Child processes of the operating system: a line goes in, lines of JSON come out, an exit status ends it.

Each child has one thread here, which writes its first line, reads what it says and waits for its end, so the loop never
waits for a child. A child's input is a socket pair whose other end this process alone has: when this process is killed,
the kernel closes it. An end by close_input() is a shutdown, which a forked copy of this process cannot hold open.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from barnabas.adapters.loop import AsyncLoop
from barnabas.ports import Child, Event, WorldError


class OsChild:
    """One child process and its thread."""

    def __init__(
        self,
        loop: AsyncLoop,
        process: subprocess.Popen[str],
        to_child: socket.socket,
        on_event: Callable[[Event], None],
        on_exit: Callable[[int], None],
    ) -> None:
        self.pid = process.pid
        self._loop = loop
        self._process = process
        self._input = to_child
        self._on_event = on_event
        self._on_exit = on_exit
        self._written = threading.Event()
        self._is_closing = False

    def begin(self, first_line: str) -> None:
        name = f"barnabas-child-{self.pid}"
        threading.Thread(target=self._run, args=(first_line,), name=name, daemon=True).start()

    def close_input(self) -> None:
        self._is_closing = True
        if self._written.is_set():
            self._shut()

    def kill(self) -> None:
        self._process.kill()

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._input.shutdown(socket.SHUT_WR)

    def _run(self, first_line: str) -> None:
        with contextlib.suppress(OSError):  # it has ended already: its status will say so
            self._input.sendall(first_line.encode() + b"\n")
        self._written.set()
        if self._is_closing:
            self._shut()
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # half a line: it was killed while it wrote
                event = json.loads(line)
                if isinstance(event, dict):
                    self._tell(partial(self._on_event, event))
        status = self._process.wait()
        self._process.stdout.close()
        self._input.close()
        self._tell(lambda: self._on_exit(status))

    def _tell(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is left to be told
            self._loop.from_thread(callback)


class OsProcesses:
    """Children that run this Python."""

    def __init__(self, loop: AsyncLoop, environment: Mapping[str, str]) -> None:
        self._loop = loop
        self._environment = environment

    def start(
        self,
        arguments: Sequence[str],
        first_line: str,
        on_event: Callable[[Event], None],
        on_exit: Callable[[int], None],
    ) -> Child:
        try:
            ours, childs = socket.socketpair()
        except OSError as error:
            raise WorldError(f"no socket pair for a child: {error.strerror}", error.errno or 0) from error
        try:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=childs.fileno(),
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            text = f"{sys.executable}: {error.strerror or error}"
            raise WorldError(text, error.errno or 0) from error
        finally:
            childs.close()
        child = OsChild(self._loop, process, ours, on_event, on_exit)
        child.begin(first_line)
        return child
