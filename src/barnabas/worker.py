"""One worker: a broker process under a parent, `python -m barnabas.worker`. Its parent (supervisor.py) speaks with it.

Input   the first line is one JSON object: {"root": the data folder, "options": …, "defaults": …, "log": "text", "json" or
        null for no lines, "peers": node ids of the workers that start together with it}. Nothing follows; the end of the input
        asks the worker to stop cleanly, and comes when the parent dies.
Output  one JSON object a line: {"event": "ready", "bound": {listener: [host, port]}, "metrics_port": …} once clients can
        connect, and from then on {"event": "alive"} each broker.heartbeat.interval.ms; {"event": "refused", "reason": …} when
        that will never be; {"event": "stopped", "clean": …} as the last word.
        Log lines go to the error output, each with worker=<node id>.
Exit    0 after a clean stop, else 1.
"""

import asyncio
import contextlib
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from barnabas.adapters.loop import new_event_loop
from barnabas.config.load import Listener
from barnabas.node import Node, StartFailed
from barnabas.process import LineWriter, settle_memory, show_crashes
from barnabas.running import RunningNode, Write
from barnabas.supervisor import heartbeat_ms
from barnabas.telemetry import silent

INPUT: Final = 0
OUTPUT: Final = 1
ERROR_OUTPUT: Final = 2
EXIT_ERROR: Final = 1
ALIVE: Final = {"event": "alive"}

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    with open(INPUT, "rb", closefd=False) as heard:
        line = heard.readline()
    if not line.endswith(b"\n"):
        sys.exit(EXIT_ERROR)  # the parent died as it started this one
    # What any library prints must not come between the events.
    to_parent = os.dup(OUTPUT)
    os.dup2(ERROR_OUTPUT, OUTPUT)
    sys.exit(run(json.loads(line), partial(_say, to_parent)))


def _say(to_parent: int, event: Mapping[str, Any]) -> None:
    if event is ALIVE and not select.select([], [to_parent], [], 0)[1]:
        return  # a parent that hangs reads nothing: the pipe is full, and must not hold up this process too
    with contextlib.suppress(OSError):  # the parent is gone: nobody listens
        os.write(to_parent, json.dumps(event).encode() + b"\n")


def run(setup: Mapping[str, Any], say: Say) -> int:
    """Serve until the input ends or a signal comes; the exit status."""
    show_crashes()
    options: Mapping[str, str] = setup["options"]
    write: Write = silent
    if setup["log"]:
        write = LineWriter(sys.stderr, setup["log"], worker=int(options["node.id"]))
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    running = RunningNode(
        loop,
        setup["root"],
        options,
        setup["defaults"],
        write,
        is_worker=True,
        peers=setup["peers"],
        is_orphan=_has_ended,
    )
    try:
        return loop.run_until_complete(_serve(running, say))
    finally:
        loop.close()


async def _serve(running: RunningNode, say: Say) -> int:
    asked = _asked_to_stop(running)
    try:
        await running.started()
    except StartFailed as error:
        say({"event": "refused", "reason": str(error)})
        return EXIT_ERROR
    settle_memory()
    node = running.node
    told = ", ".join(repr(Listener(name, host, port, "")) for name, (host, port) in node.bound.items())
    running.log.info("this worker serves", at=told, metrics=node.metrics_port, pid=os.getpid())
    say({"event": "ready", "bound": node.bound, "metrics_port": node.metrics_port})
    node.waits.call_after(0, partial(_beat, node, heartbeat_ms(node.broker.options), say))
    reason = await asked
    running.log.info("stopping", reason=reason)
    clean = await running.stopped()
    say({"event": "stopped", "clean": clean})
    return 0 if clean else EXIT_ERROR


def _beat(node: Node, each_ms: int, say: Say) -> None:
    """From the loop that serves: whoever waits for it waits in vain when nothing more is said."""
    say(ALIVE)
    node.waits.call_after(each_ms, partial(_beat, node, each_ms, say))


def _has_ended() -> bool:
    """Whether the input has: nothing comes after the first line."""
    return bool(select.select([INPUT], [], [], 0)[0])


def _asked_to_stop(running: RunningNode) -> "asyncio.Future[str]":
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[str] = loop.create_future()

    def ask(reason: str) -> None:
        if not asked.done():
            asked.set_result(reason)

    def readable() -> None:
        loop.remove_reader(INPUT)
        ask("the parent asks for it, or is gone")

    loop.add_reader(INPUT, readable)
    running.loop.on_stop_signal(ask)
    return asked


if __name__ == "__main__":
    main()
