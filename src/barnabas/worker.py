"""One worker: a broker process under a parent, `python -m barnabas.worker`. Its parent (supervisor.py) speaks with it.

Input   the first line is one JSON object: {"root": the data folder, "options": …, "defaults": …, "log": "text", "json" or
        null for no lines, "peers": node ids of the workers that start together with it}. Nothing follows; the end of the input
        asks the worker to stop cleanly, and comes when the parent dies.
Output  one JSON object a line: {"event": "alive"} each broker.heartbeat.interval.ms in which the start had work to do;
        {"event": "ready", "bound": {listener: [host, port]}, "metrics_port": …} once clients can connect, and from then on
        {"event": "alive"} each broker.heartbeat.interval.ms; {"event": "refused", "reason": …} when that will never be, or
        no longer is;
        {"event": "stopped", "clean": …} as the last word.
        Log lines go to the error output, each with worker=<node id>.
Exit    0 after a clean stop, else 1.
"""

import asyncio
import contextlib
import json
import os
import resource
import select
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from barnabas.adapters.loop import new_event_loop
from barnabas.adapters.processes import claim_error_output
from barnabas.config.effective import BrokerOptions
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
WORK_MIN: Final = 0.02
"""Of the time that passes: recovery takes far more, and a node that only waits a seventh of it."""
BLOCK_S: Final = 10e-6
"""What a block of 512 bytes from or to the disk counts for: one that gives 1 MB/s keeps a recovery alive, though the processor
has next to nothing to do for it.
"""

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    claim_error_output()
    with open(INPUT, "rb", closefd=False) as heard:
        line = heard.readline()
    if not line.endswith(b"\n"):
        sys.exit(EXIT_ERROR)  # the parent died as it started this one
    # What any library prints must not come between the events.
    to_parent = os.dup(OUTPUT)
    os.dup2(ERROR_OUTPUT, OUTPUT)
    say = partial(_say, to_parent)
    try:
        status = run(json.loads(line), say)
    except Exception as bug:
        say({"event": "refused", "reason": f"{type(bug).__name__}: {bug}"})
        raise
    sys.exit(status)


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
    work = Work(heartbeat_ms(BrokerOptions(options, setup["defaults"])), say)
    work.begin()
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
        return loop.run_until_complete(_serve(running, work, say))
    finally:
        work.end()
        loop.close()


async def _serve(running: RunningNode, work: "Work", say: Say) -> int:
    asked = _asked_to_stop(running)
    try:
        await running.started()
    except StartFailed as error:
        say({"event": "refused", "reason": str(error)})
        return EXIT_ERROR
    work.end()
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


class Work:
    """Says from a thread of its own that the start goes on, as long as the process does anything for it.

    A start holds up its loop for as long as it recovers logs, so the loop cannot say it; and the thread of a process whose start
    waits for ever would say it for ever.
    """

    def __init__(self, each_ms: int, say: Say, done_s: "Callable[[], float] | None" = None) -> None:
        """done_s: how much this process has done so far, in seconds of a processor."""
        self._each_s = each_ms / 1000
        self._say = say
        self._done_s = work_done_s if done_s is None else done_s
        self._is_over = threading.Event()

    def begin(self) -> None:
        threading.Thread(target=self._run, name="barnabas-start", daemon=True).start()

    def end(self) -> None:
        self._is_over.set()

    def _run(self) -> None:
        before_s = self._done_s()
        while not self._is_over.wait(self._each_s):
            now_s = self._done_s()
            if now_s - before_s >= WORK_MIN * self._each_s:
                self._say(ALIVE)
            before_s = now_s


def work_done_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime + BLOCK_S * (usage.ru_inblock + usage.ru_oublock)


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
