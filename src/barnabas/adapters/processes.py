"""Child processes of the operating system: a line goes in, lines of JSON come out, an exit status ends it.

Each child has one thread here, which writes its first line, reads what it says and waits for its end, so the loop never
waits for a child. A child's input is a socket pair whose other end this process alone has: when this process is killed,
the kernel closes it. An end by close_input() is a shutdown, which a forked copy of this process cannot hold open.

What a child writes to its error output goes into a file in memory until its program claims the one of this process: a child
whose program cannot even be loaded leaves its last words there, and this process passes them on. A pipe all the way would hold
up the child as soon as this process hangs.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from barnabas.adapters.loop import AsyncLoop
from barnabas.ports import Child, OnEvent, OnExit, WorldError

CLAIM: Final = "BARNABAS_ERROR_OUTPUT"
"""The descriptor of a child's error output to be, as an environment variable."""
ERROR_OUTPUT: Final = 2
WORDS_BYTES_MAX: Final = 64 * 1024
WORDS_MAX: Final = 500


def claim_error_output() -> None:
    """In a child, once its program runs: from here on it writes where its parent does."""
    told = os.environ.pop(CLAIM, None)
    if told is not None:
        os.dup2(int(told), ERROR_OUTPUT)
        os.close(int(told))


def _own_error_output() -> int:
    """A copy to pass on. A daemon may have closed its own."""
    try:
        return os.dup(ERROR_OUTPUT)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


class OsChild:
    """One child process and its thread."""

    def __init__(
        self,
        loop: AsyncLoop,
        process: subprocess.Popen[str],
        to_child: socket.socket,
        on_event: OnEvent,
        on_exit: OnExit,
        words: int,
    ) -> None:
        """words: descriptor of what it writes before it claims its error output; ours to close."""
        self.pid = process.pid
        self._loop = loop
        self._process = process
        self._input = to_child
        self._on_event = on_event
        self._on_exit = on_exit
        self._words = words
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
        words = self._last_words()
        self._tell(lambda: self._on_exit(status, words))

    def _last_words(self) -> str:
        size = os.fstat(self._words).st_size
        told = os.pread(self._words, WORDS_BYTES_MAX, max(size - WORDS_BYTES_MAX, 0))
        os.close(self._words)
        if told:
            with contextlib.suppress(OSError):  # nobody reads ours
                os.write(ERROR_OUTPUT, told)
        lines = told.decode(errors="replace").split("\n")
        return next((line.strip()[:WORDS_MAX] for line in reversed(lines) if line.strip()), "")

    def _tell(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is left to be told
            self._loop.from_thread(callback)


class OsProcesses:
    """Children that run this Python."""

    def __init__(self, loop: AsyncLoop, environment: Mapping[str, str]) -> None:
        self._loop = loop
        self._environment = environment

    def start(self, arguments: Sequence[str], first_line: str, on_event: OnEvent, on_exit: OnExit) -> Child:
        try:
            ours, childs = socket.socketpair()
        except OSError as error:
            raise WorldError(f"no socket pair for a child: {error.strerror}", error.errno or 0) from error
        with contextlib.ExitStack() as opened:
            opened.callback(childs.close)
            in_vain = opened.enter_context(contextlib.ExitStack())
            in_vain.callback(ours.close)
            try:
                words = os.memfd_create("last words")
                in_vain.callback(os.close, words)
                claim = _own_error_output()
                opened.callback(os.close, claim)
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=childs.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=words,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    env={**self._environment, CLAIM: str(claim)},
                    pass_fds=(claim,),
                    start_new_session=True,
                )
            except OSError as error:
                text = f"{sys.executable}: {error.strerror or error}"
                raise WorldError(text, error.errno or 0) from error
            in_vain.pop_all()
        child = OsChild(self._loop, process, ours, on_event, on_exit, words)
        child.begin(first_line)
        return child
