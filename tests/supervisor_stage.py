"""A supervisor on virtual time, with virtual processes that do what a test says, and what it did with them."""

import json
from collections.abc import Callable, Sequence

from barnabas.config.effective import BrokerOptions
from barnabas.node import StartFailed
from barnabas.partitions.waits import Waits
from barnabas.ports import Child, OnEvent, OnExit, WorldError
from barnabas.supervisor import (
    RETURNS_MS,
    Supervisor,
)
from barnabas.telemetry import Log
from barnabas.testing.processes import VirtualChild, VirtualProcesses
from barnabas.testing.virtual import VirtualLoop, VirtualTime

RESTART_MS = 3_000
BURIAL_MS = 200
HEARTBEAT_MS = 500
SESSION_MS = 2_000
Act = Callable[[VirtualChild], None]


def ready_in(delay_ms: int, silent_after_ms: int | None = None) -> Act:
    """silent_after_ms: so long after it was ready it says nothing any more, as with a SIGSTOP."""

    def act(child: VirtualChild) -> None:
        def serve() -> None:
            child.say({"event": "ready", "bound": {"PLAINTEXT": ["h", child.pid]}, "metrics_port": -1})
            beat(silent_after_ms)

        def beat(left_ms: int | None) -> None:
            if left_ms is not None:
                left_ms -= HEARTBEAT_MS
            if left_ms is None or left_ms > 0:
                child.say({"event": "alive"})
                child.after(HEARTBEAT_MS, lambda: beat(left_ms))

        child.after(delay_ms, serve)

    return act


def never(child: VirtualChild) -> None:
    """Hangs before it serves."""


def ready_after_work(delay_ms: int) -> Act:
    """Says that it lives all the while."""

    def act(child: VirtualChild) -> None:
        def beat(left_ms: int) -> None:
            if left_ms > 0:
                child.say({"event": "alive"})
                child.after(HEARTBEAT_MS, lambda: beat(left_ms - HEARTBEAT_MS))
            else:
                ready_in(0)(child)

        beat(delay_ms)

    return act


def fail_to_load(child: VirtualChild) -> None:
    child.end(1, "ModuleNotFoundError: No module named 'lost'")


def serve_for(serving_ms: int) -> Act:
    """And crash."""

    def act(child: VirtualChild) -> None:
        ready_in(10)(child)
        child.after(10 + serving_ms, lambda: child.end(1))

    return act


def refuse(child: VirtualChild) -> None:
    child.say({"event": "refused", "reason": "the port is taken"})
    child.end(1)


def crash(child: VirtualChild) -> None:
    child.after(20, lambda: child.end(-11))


class Stage:
    """N nodes; how a process of each behaves is taken from its list, then `ready_in(100)`. W1 and W2 are checked."""

    def __init__(self, count: int = 3, seed: int = 1, restart_ms: int = RESTART_MS) -> None:
        self.time = VirtualTime(seed)
        self.loop = VirtualLoop(self.time)
        self.acts: dict[int, list[Act]] = {node: [] for node in range(1, count + 1)}
        self.live: dict[int, VirtualChild] = {}
        self.starts: list[tuple[int, int]] = []
        self.burials: list[tuple[int, int]] = []
        self.burial_ms = BURIAL_MS
        self.burial_errors: list[WorldError | None] = []
        self.burying: set[int] = set()
        self.refused_starts = 0
        self.lines: list[str] = []
        self.clean_stops: set[int] = set()
        self.started: list[StartFailed | None] = []
        self.stopped: list[bool] = []
        self.processes = VirtualProcesses(self.loop, self._program)
        log = Log(lambda level, text, fields: self.lines.append(f"{text} {fields}"), self.time.mono_ms)
        setups = {node: {"node": node} for node in self.acts}
        waits = Waits(self.time, self.loop)
        options = BrokerOptions(
            {
                "barnabas.workers.restart.ms": str(restart_ms),
                "broker.heartbeat.interval.ms": str(HEARTBEAT_MS),
                "broker.session.timeout.ms": str(SESSION_MS),
            }
        )
        self.hopeless: list[str] = []
        self.supervisor = Supervisor(
            self.time, waits, self, self._take_over, setups, options, log, self.hopeless.append
        )

    # -- the world

    def start(self, arguments: Sequence[str], first_line: str, on_event: OnEvent, on_exit: OnExit) -> Child:
        node = json.loads(first_line)["node"]
        assert node not in self.live, "W1: two processes of one node"
        assert node not in self.burying, "W2: started while it is buried"
        assert not self.stopped, "started after the stop"

        def ended(status: int, words: str) -> None:
            del self.live[node]
            on_exit(status, words)

        self.starts.append((node, self.time.mono_ms()))
        if self.refused_starts:
            self.refused_starts -= 1
            raise WorldError("no memory for a process")
        child = self.processes.start(arguments, first_line, on_event, ended)
        self.live[node] = self.processes.children[-1]
        return child

    def _program(self, child: VirtualChild, arguments: Sequence[str]) -> None:
        assert arguments == ("-m", "barnabas.worker")
        node = json.loads(child.first_line)["node"]

        def asked_to_stop() -> None:
            child.say({"event": "stopped", "clean": True})
            child.end(0)

        child.on_input_closed = asked_to_stop
        acts = self.acts[node]
        (acts.pop(0) if acts else ready_in(100))(child)

    def _take_over(self, node: int, done: Callable[[WorldError | None], None]) -> None:
        assert node not in self.live, "W2: buried alive"
        assert not self.burying, "W2: two burials at once"
        self.burying.add(node)
        self.burials.append((node, self.time.mono_ms()))

        def buried() -> None:
            self.burying.remove(node)
            done(self.burial_errors.pop(0) if self.burial_errors else None)

        self.loop.after(self.burial_ms, buried)

    # -- what a test does

    def begin(self) -> "Stage":
        self.supervisor.start(self.started.append)
        self.time.run_until(lambda: bool(self.started))
        return self

    def end(self) -> bool:
        self.supervisor.stop(self.stopped.append)
        assert not self.stopped
        self.time.run_until(lambda: bool(self.stopped))
        assert not self.live and not self.burying
        self.time.run_for(2 * RETURNS_MS[-1])
        return self.stopped[0]

    def kill(self, node: int) -> None:
        self.live[node].kill()

    def states(self) -> str:
        return " ".join(worker.state for worker in self.supervisor.workers.values())

    def starts_of(self, node: int) -> list[int]:
        return [at for which, at in self.starts if which == node]
