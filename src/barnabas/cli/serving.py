"""What `serve` and `dev` share: read the configuration, run one node on this thread, say where it is, stop on a signal.

No command-line library is imported here: `serve` starts as fast as the node does.
"""

import asyncio
import contextlib
import faulthandler
import gc
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import Final, TextIO

from barnabas import __version__
from barnabas.adapters.loop import new_event_loop
from barnabas.config.load import ConfigRefused, Loaded, load
from barnabas.node import StartFailed
from barnabas.running import RunningNode

DEV_DEFAULTS: Final[Mapping[str, str]] = {"group.initial.rebalance.delay.ms": "0"}
MEMORY_DEFAULTS: Final[Mapping[str, str]] = {**DEV_DEFAULTS, "log.segment.bytes": str(16 * 1024 * 1024)}
"""Small segments, so that the memory cap has something to let go."""

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_INTERRUPTED: Final = 130
GC_THRESHOLD: Final = 50_000
"""Objects made before the collector looks: requests make no cycles, so it rarely has anything to find."""


IN_MEMORY: Final = "in memory"


class NoConfiguration(ConfigRefused):
    """The file that was named does not exist."""


class LineWriter:
    """Log lines on a stream, as text or as one JSON object each."""

    def __init__(self, stream: TextIO, form: str) -> None:
        self._stream = stream
        self._json = form == "json"

    def __call__(self, level: str, message: str, fields: dict[str, object]) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        if self._json:
            line = json.dumps({"time": stamp, "level": level, "message": message, **fields}, default=str)
        else:
            told = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
            line = f"{stamp} {level.upper():7} {message}{' ' if told else ''}{told}"
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._stream, flush=True)


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or "\n" in text or '"' in text else text


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
    faulthandler.enable()
    with contextlib.suppress(AttributeError, ValueError):
        faulthandler.register(signal.SIGQUIT, all_threads=True)
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    running = RunningNode(loop, folder, loaded.values, defaults, write)
    for warning in loaded.warnings:
        running.log.warning(warning)
    if loaded.inert:
        running.log.info("options without effect here", names=", ".join(sorted(loaded.inert)))
    try:
        return loop.run_until_complete(_serve(running, folder, welcome))
    except KeyboardInterrupt:  # before it serves: what is on disk is as after a crash, which a start mends
        return EXIT_INTERRUPTED
    finally:
        loop.close()


async def _serve(running: RunningNode, folder: str | None, welcome: "Welcome | None") -> int:
    try:
        await running.started()
    except StartFailed as error:
        print(f"barnabas: {error}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running.loop.on_stop_signal(
        lambda name: asked.set_result(name) if not asked.done() else os._exit(EXIT_INTERRUPTED)
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    node = running.node
    where = ", ".join(f"{name}://{_address(host, port)}" for name, (host, port) in node.bound.items())
    running.log.info(
        "serving",
        version=__version__,
        listeners=where,
        data=folder or IN_MEMORY,
        metrics=node.metrics_port,
        node=node.node_id,
    )
    if welcome is not None:
        welcome(node.bound, folder, node.metrics_port)
    name = await asked
    running.log.info("stopping", signal=name)
    clean = await running.stopped()
    running.log.info("stopped", clean=clean)
    return 0 if clean else EXIT_ERROR


def _command(name: str) -> str:
    """How the user's shell finds what this environment brought: by name, or by its path when it is not activated."""
    own = os.path.join(os.path.dirname(sys.executable), name)
    found = shutil.which(name)
    if not os.path.exists(own) or (found is not None and os.path.samefile(found, own)):
        return name
    shorter = os.path.relpath(own)
    return own if shorter.startswith("..") else shorter


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Welcome:
    """The first thing a new user reads: where it listens, where the data is, what to try."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, bound: Mapping[str, tuple[str, int]], folder: str | None, metrics_port: int) -> None:
        host, port = next(iter(bound.values()))
        address = _address("127.0.0.1" if host in ("0.0.0.0", "::") else host, port)
        command, python = _command("barnabas"), _command("python")
        option = "" if address == "127.0.0.1:9092" else f" -b {address}"
        metrics = f"http://127.0.0.1:{metrics_port}/metrics" if metrics_port >= 0 else "off"
        print(
            f"""
Barnabas {__version__} speaks the Kafka protocol on {address}
  data     {IN_MEMORY if folder is None else os.path.abspath(folder)}
  metrics  {metrics}

Try, in another terminal:
  echo '{{"hello": "world"}}' | {command} produce{option} greetings
  {command} consume{option} greetings -o start -e
  {python} -c "from kafka import KafkaProducer as P; p = P(bootstrap_servers='{address}'); p.send('greetings', b'hi').get(9)"   # needs: {python} -m pip install kafka-python

Ctrl-C stops it.
""",
            file=self._stream,
            flush=True,
        )
