"""What `serve` and `dev` share: read the configuration, run one node on this thread or several workers under it, say where
they are, stop on a signal.

No command-line library is imported here: `serve` starts as fast as the node does.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TextIO

from barnabas import __version__
from barnabas.adapters.loop import AsyncLoop, new_event_loop
from barnabas.config.load import ConfigRefused, Loaded, load, number_of
from barnabas.node import StartFailed
from barnabas.process import LineWriter, settle_memory, show_crashes
from barnabas.running import RunningNode, Served
from barnabas.telemetry import Log

DEV_DEFAULTS: Final[Mapping[str, str]] = {"group.initial.rebalance.delay.ms": "0"}
MEMORY_DEFAULTS: Final[Mapping[str, str]] = {**DEV_DEFAULTS, "log.segment.bytes": str(16 * 1024 * 1024)}
"""Small segments, so that the memory cap has something to let go."""

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_INTERRUPTED: Final = 130
IN_MEMORY: Final = "in memory"


class NoConfiguration(ConfigRefused):
    """The file that was named does not exist."""


def read_configuration(path: str | None, flags: Mapping[str, str]) -> Loaded:
    """Raises ConfigRefused, also for a file that cannot be read; NoConfiguration for one that is not there."""
    text, where = "", "configuration"
    if path is not None:
        where = path
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            raise NoConfiguration([f"there is no file {path}: give the path of a .properties file"]) from None
        except (OSError, UnicodeDecodeError) as error:
            told = error.strerror if isinstance(error, OSError) else "this is not UTF-8"
            raise ConfigRefused([f"{path}: {told}. Give the path of a .properties file."]) from None
    return load(text, where, os.environ, flags)


def run(
    loaded: Loaded,
    folder: str | None,
    defaults: Mapping[str, str],
    write: LineWriter,
    welcome: "Welcome | None" = None,
) -> int:
    """Serve until a signal; returns the exit status. folder None: everything in memory."""
    show_crashes()
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    running: Running
    if folder is None or number_of("barnabas.workers", loaded.values) == 1:
        running = RunningNode(loop, folder, loaded.values, defaults, write)
    else:
        from barnabas.running_workers import RunningWorkers

        log_form = loaded.values.get("barnabas.log.format", "text")
        running = RunningWorkers(loop, folder, loaded.values, defaults, write, log_form)
    for warning in loaded.warnings:
        running.log.warning(warning)
    if loaded.inert:
        running.log.info("options without effect here", names=", ".join(sorted(loaded.inert)))
    try:
        return loop.run_until_complete(_serve(running, folder, welcome))
    except (
        KeyboardInterrupt
    ):  # before signals are heeded: what is on disk is as after a crash, which a start mends
        return EXIT_INTERRUPTED
    finally:
        loop.close()


async def _serve(running: "Running", folder: str | None, welcome: "Welcome | None") -> int:
    """A signal that comes during the start is heeded once it has started: then the stop is clean. A second one kills."""
    asked: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def signalled(name: str) -> None:
        if not asked.done():
            asked.set_result(name)
        else:
            running.kill()
            os._exit(EXIT_INTERRUPTED)

    running.loop.on_stop_signal(signalled)
    running.when_failed(lambda: None if asked.done() else asked.set_result(None))
    try:
        await running.started()
    except StartFailed as error:
        print(f"barnabas: {error}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    settle_memory()
    nodes = running.served()
    where = ", ".join(f"{name}://{_address(*address)}" for name, address in running.bound.items())
    running.log.info(
        "serving",
        version=__version__,
        listeners=where,
        data=folder or IN_MEMORY,
        metrics=",".join(str(node.metrics_port) for node in nodes),
        node=",".join(str(node.node_id) for node in nodes),
    )
    if welcome is not None:
        welcome(running.bound, folder, nodes)
    name = await asked
    if name is not None:
        running.log.info("stopping", signal=name)
    clean = await running.stopped()
    running.log.info("stopped", clean=clean)
    if running.failure is not None:
        print(f"barnabas: {running.failure}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    return 0 if clean else EXIT_ERROR


class Running(Protocol):
    """RunningNode or RunningWorkers."""

    loop: AsyncLoop
    log: Log

    @property
    def bound(self) -> Mapping[str, tuple[str, int]]: ...
    @property
    def failure(self) -> StartFailed | None: ...
    def when_failed(self, callback: Callable[[], None]) -> None: ...
    def served(self) -> Sequence[Served]: ...
    def kill(self) -> None: ...
    async def started(self) -> None: ...
    async def stopped(self) -> bool: ...


def _command(name: str) -> str:
    """How the user's shell finds what this environment brought: by name, or by its path when it is not activated."""
    own = os.path.join(os.path.dirname(sys.executable), name)
    found = shutil.which(name)
    if not os.path.exists(own) or (found is not None and os.path.samefile(found, own)):
        return name
    shorter = os.path.relpath(own)
    return own if shorter.startswith("..") else shorter


def _reachable(host: str, port: int) -> str:
    return _address("127.0.0.1" if host in ("0.0.0.0", "::", "") else host, port)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Welcome:
    """The first thing a new user reads: where it listens, where the data is, what to try."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(
        self, bound: Mapping[str, tuple[str, int]], folder: str | None, nodes: "Sequence[Served]"
    ) -> None:
        address = _reachable(*next(iter(bound.values())))
        command, python = _command("barnabas"), _command("python")
        option = "" if address == "127.0.0.1:9092" else f" -b {address}"
        pages = [f"http://127.0.0.1:{each.metrics_port}/metrics" for each in nodes if each.metrics_port >= 0]
        metrics = ", ".join(pages) or "off"
        own = ", ".join(_reachable(*next(iter(each.bound.values()))) for each in nodes)
        workers = f"\n  workers  {own}" if len(nodes) > 1 else ""
        print(
            f"""
Barnabas {__version__} speaks the Kafka protocol on {address}
  data     {IN_MEMORY if folder is None else os.path.abspath(folder)}
  metrics  {metrics}{workers}

Try, in another terminal:
  echo '{{"hello": "world"}}' | {command} produce{option} greetings
  {command} consume{option} greetings -o start -e
  {python} -c "from kafka import KafkaProducer as P; p = P(bootstrap_servers='{address}'); p.send('greetings', b'hi').get(9)"   # needs: {python} -m pip install kafka-python

Ctrl-C stops it.
""",
            file=self._stream,
            flush=True,
        )
