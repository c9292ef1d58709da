"""One simulated computer with a parent and its workers, as `serve --workers N` runs them: one disk, one metadata content.

M1  Each process has a loop, a view of the disk and open streams of its own: one may be killed or frozen alone. `crash` is
    the end of all.
M2  When the parent dies its workers read the end of their input some time later, and stop by themselves.
M3  A worker takes a drawn time to start; `delay_start` and `slow_start` make the next ones longer, `fail_start` ends them.
M4  One that is frozen, the parent too, may be killed so. An orderly stop needs a parent that runs.
M5  `boot` may come with another number of workers each time; with none it is a node alone, as with `serve`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from barnabas.config.effective import BrokerOptions
from barnabas.node import StartFailed
from barnabas.parent import Parent, ParentWorld
from barnabas.partitions.data_folder import DataFolder, FolderRefused
from barnabas.partitions.owners import owner_folder
from barnabas.ports import WorldError
from barnabas.supervisor import Supervisor, heartbeat_ms
from barnabas.telemetry import Log, silent
from barnabas.testing.broker_process import BrokerProcess, VirtualProcess, Write
from barnabas.testing.disk import VirtualDisk
from barnabas.testing.entropy import SeededEntropy
from barnabas.testing.machine import ROOT, new_disk
from barnabas.testing.meta import DiskContents, VirtualMetaStore
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.processes import VirtualChild, VirtualProcesses
from barnabas.testing.virtual import VirtualTime

START_MS_MAX = 200
INPUT_ENDS_MS_MAX = 50


class VirtualWorker:
    """A worker's process, from its start to its end."""

    def __init__(self, child: VirtualChild, process: BrokerProcess, each_ms: int) -> None:
        """each_ms: between two words that it lives."""
        self._each_ms = each_ms
        self.child = child
        self.process = process
        self.is_serving = False

    def start(self) -> None:
        """As worker.py does it."""
        self.child.on_input_closed = self._input_closed
        self._beat()
        try:
            self.process.start(self._started, lambda: self.child.is_asked_to_end)
        except (FolderRefused, WorldError) as error:
            self._started(StartFailed(str(error)))

    def _started(self, error: StartFailed | None) -> None:
        if error is not None:
            self.child.say({"event": "refused", "reason": str(error)})
            self._end(1)
            return
        node = self.process.node
        assert node is not None
        self.is_serving = True
        self.child.say({"event": "ready", "bound": node.bound, "metrics_port": node.metrics_port})
        if self.child.is_asked_to_end:
            self._input_closed()

    def _beat(self) -> None:
        self.child.say({"event": "alive"})
        self.process.loop.after(self._each_ms, self._beat)

    def _input_closed(self) -> None:
        """At once, or when it has started."""
        if self.is_serving and self.process.node is not None:
            self.process.loop.soon(partial(self.process.node.stop, self._stopped))

    def _stopped(self, clean: bool) -> None:
        self.child.say({"event": "stopped", "clean": clean})
        self._end(0 if clean else 1)

    def _end(self, status: int) -> None:
        self.child.end(status)


class VirtualWorkers:
    """`static`: options of the whole, as in a .properties file."""

    def __init__(
        self,
        time: VirtualTime,
        wire: Wire,
        static: Mapping[str, str],
        *,
        host: str = "127.0.0.1",
        write: Write = silent,
    ) -> None:
        self.time = time
        self.wire = wire
        self.host = host
        self.disk = new_disk(time.random.getrandbits(32))
        self.disk.takes_turns = True
        self.contents = DiskContents()
        self.parent: Parent | None = None
        self.workers: dict[int, VirtualWorker] = {}
        """Those that live, by node id: of two of one id (one an orphan) the younger."""
        self.single: BrokerProcess | None = None
        self.write = write
        self.on_store: Callable[[VirtualMetaStore], None] = lambda store: None
        """Called as a parent, or the only one, opens the metadata."""
        self.deaths = 0
        """How many processes have ended so far, at least."""
        self._static = static
        self._entropy = SeededEntropy(time.random.getrandbits(32))
        self._process: VirtualProcess | None = None
        self._children: dict[VirtualChild, BrokerProcess | None] = {}
        """Those that live, orphans too; None: it reads its setup."""
        self._delays: dict[int, list[int]] = {}
        self._failures: dict[int, int] = {}
        self._slow: dict[int, int] = {}

    @property
    def supervisor(self) -> Supervisor:
        assert self.parent is not None, "the machine runs workers"
        return self.parent.supervisor

    # -- start and stop

    def boot(self, count: int) -> None:
        """Returns when clients can connect; raises StartFailed, FolderRefused and WorldError."""
        assert self._process is None, "a machine runs one parent at a time"
        static = {**self._static, "barnabas.workers": str(max(count, 1))}
        answers: list[StartFailed | None] = []
        if count == 0:
            single = BrokerProcess(
                *self._outside(self.disk), ROOT, static, self._entropy, self.host, self.write
            )
            single.start(answers.append)
            if single.store is not None:
                self.on_store(single.store)
            self._process = self.single = single
        else:
            self._start_parent(static, answers.append)
        self.time.run_until(lambda: bool(answers) or self._process is None)
        if answers and answers[0] is not None:
            self.kill()
            raise answers[0]

    def _outside(self, disk: VirtualDisk) -> tuple[VirtualTime, Wire, VirtualDisk, DiskContents]:
        return self.time, self.wire, disk, self.contents

    def _start_parent(self, static: Mapping[str, str], done: Callable[[StartFailed | None], None]) -> None:
        process = VirtualProcess(*self._outside(self.disk), ROOT)
        log = Log(self.write, self.time.mono_ms)
        world = ParentWorld(
            self.time,
            process.loop,
            self.disk,
            PipeNetwork(self.wire, process.loop, self.host),
            self._entropy,
            VirtualProcesses(process.loop, self._program),
            lambda: self._opened(process.open_store("host")),
        )
        self._process = process
        self.parent = Parent(
            world, DataFolder(self.disk, ROOT, log), BrokerOptions(static), {"root": ROOT}, log
        )
        self.parent.start(done)

    def _opened(self, store: VirtualMetaStore) -> VirtualMetaStore:
        self.on_store(store)
        return store

    def _program(self, child: VirtualChild, _: Sequence[str]) -> None:
        """A worker process has been forked: it reads its setup, and starts."""
        self._children[child] = None
        child.on_input_closed = lambda: None  # heard of once it has started
        setup = json.loads(child.first_line)
        options: dict[str, str] = setup["options"]
        node_id = int(options["node.id"])
        delays = self._delays.get(node_id)
        delay_ms = delays.pop() if delays else self.time.random.randint(0, START_MS_MAX)
        self.time.after(delay_ms, lambda: self._start(child, node_id, options, setup["peers"]))

    def _start(
        self, child: VirtualChild, node_id: int, options: Mapping[str, str], peers: Sequence[int]
    ) -> None:
        if not child.lives:
            self._children.pop(child, None)
            return
        disk = self.disk.process()
        process = BrokerProcess(
            *self._outside(disk),
            ROOT,
            options,
            self._entropy,
            self.host,
            partial(self._write_of, node_id),
            owner_folder(ROOT, node_id),
            peers,
        )
        process.loop.slow("metadata", self._slow.pop(node_id, None))
        worker = VirtualWorker(child, process, heartbeat_ms(BrokerOptions(options)))
        self.workers[node_id] = worker
        self._children[child] = process
        child.on_ended = lambda: self._ended(child, process)
        if self._failures.get(node_id, 0) > 0:
            self._failures[node_id] -= 1
            self.time.after(self.time.random.randint(0, 30), child.kill)
        worker.start()

    def _ended(self, child: VirtualChild, process: BrokerProcess) -> None:
        self.deaths += 1
        self._children.pop(child, None)
        process.kill()

    def _write_of(self, node_id: int, level: str, text: str, fields: dict[str, object]) -> None:
        self.write(level, text, {"worker": node_id, **fields})

    def stop(self) -> bool:
        """An orderly stop; returns whether it was clean."""
        answers: list[bool] = []
        if self.single is not None and self.single.node is not None:
            self.single.node.stop(answers.append)
        else:
            assert self.parent is not None
            self.parent.stop(answers.append)
        self.time.run_until(lambda: bool(answers))
        self.kill()
        return answers[0]

    # -- what a test does to it

    def crash(self) -> None:
        """The power fails, at any moment."""
        for child in self._children:
            child.lives = False
        for process in (*self._children.values(), self._process):
            if process is not None:
                process.down()
        self._children.clear()
        self.disk.crash()
        self.contents.crash(self.time.random)
        self.workers.clear()
        self._forget()

    def kill(self) -> None:
        """SIGKILL of the parent, or of the only one. M2."""
        for child in self._children:
            self.time.after(self.time.random.randint(0, INPUT_ENDS_MS_MAX), child.orphan)
        if self._process is not None:
            self._process.kill()
        self._forget()

    def _forget(self) -> None:
        self.deaths += 1
        self._process = self.parent = self.single = None

    def living(self) -> list[int]:
        """Node ids of workers that have a process."""
        return sorted(node_id for node_id, worker in self.workers.items() if worker.child.lives)

    def kill_worker(self, node_id: int) -> None:
        worker = self.workers.get(node_id)
        if worker is not None:
            worker.child.kill()

    def freeze(self, node_id: int) -> None:
        """SIGSTOP."""
        worker = self.workers.get(node_id)
        if worker is not None and worker.child.lives:
            worker.process.loop.freeze()

    def thaw(self, node_id: int) -> None:
        """SIGCONT."""
        worker = self.workers.get(node_id)
        if worker is not None and worker.child.lives:
            worker.process.loop.thaw()
            self.wire.go_on()

    def freeze_parent(self) -> None:
        """SIGSTOP: it hears of nobody's end, and starts and buries nobody. With no workers, of the only one."""
        if self._process is not None:
            self._process.loop.freeze()

    def thaw_parent(self) -> None:
        if self._process is not None:
            self._process.loop.thaw()
            self.wire.go_on()

    @property
    def parent_is_frozen(self) -> bool:
        return self._process is not None and self._process.loop.frozen

    def fill_disk(self) -> None:
        """Files, folders and metadata: nothing can grow."""
        self.disk.platter.is_full = self.contents.is_full = True

    def free_disk(self) -> None:
        self.disk.platter.is_full = self.contents.is_full = False

    def delay_start(self, node_id: int, delays_ms: Sequence[int]) -> None:
        """M3: of its next starts, the last one first."""
        self._delays[node_id] = list(delays_ms)

    def slow_start(self, node_id: int, work_ms_max: int) -> None:
        """M3: of its next process all metadata takes so long, so that it is late in the middle of its start."""
        self._slow[node_id] = work_ms_max

    def fail_start(self, node_id: int, times: int) -> None:
        self._failures[node_id] = times

    def heal(self, *, and_go_on: bool = True) -> None:
        """Nothing more that was scripted here happens, and who is frozen goes on; if not, its parent must help itself."""
        self._delays.clear()
        self._failures.clear()
        self._slow.clear()
        self.free_disk()
        self.thaw_parent()
        if and_go_on:
            for node_id in self.living():
                self.thaw(node_id)
        for process in self.processes():
            process.loop.slow("metadata", None)
            if process.store is not None:
                process.store.heal()

    def processes(self) -> list[VirtualProcess]:
        """All that live, the parent first."""
        return [each for each in (self._process, *self._children.values()) if each is not None]

    def stores(self) -> list[VirtualMetaStore]:
        return [process.store for process in self.processes() if process.store is not None]

    @property
    def all_serve(self) -> bool:
        """All brokers but those that others took over from."""
        if self.parent is None or not self.parent.is_started:
            return self.parent is None and self._process is not None
        living = self.living()
        return all(
            (
                worker.state == "serving" and worker.node_id in living
            )  # the parent may not have heard of its end
            or (worker.state == "waiting" and worker.is_buried)
            for worker in self.supervisor.workers.values()
        )

    def told(self) -> str:
        """For a failure's text."""
        started = self.parent is not None and self.parent.is_started
        states = {each.node_id: each.state for each in self.supervisor.workers.values()} if started else {}
        return f"workers {self.living()} live, {states}"
