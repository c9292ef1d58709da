"""Several workers and their parent (parent.py) on the real world: `serve --workers N`, `dev --workers N`, `Cluster()`."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.entropy import SystemEntropy
from barnabas.adapters.files import OsFiles, storage_warning
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.adapters.network import SocketNetwork
from barnabas.adapters.processes import OsProcesses
from barnabas.cluster.changes import TopicResult
from barnabas.cluster.image import Image
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions
from barnabas.node import StartFailed
from barnabas.parent import Parent, ParentWorld
from barnabas.partitions.data_folder import DATABASE, DataFolder
from barnabas.ports import MetaStore, WorldError
from barnabas.running import Served, Write
from barnabas.supervisor import Supervisor
from barnabas.telemetry import Log
from barnabas.wire.messages.create_topics import CreatableTopic

Answer = TypeVar("Answer")


class RunningWorkers:
    """N brokers on one folder, from this thread's loop. `started`, then `stopped`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        folder: str,
        static: Mapping[str, str],
        defaults: Mapping[str, str],
        write: Write,
        log_form: str | None,
    ) -> None:
        """log_form: of the workers' log lines, text or json; None: they write none."""
        self.loop = AsyncLoop(loop)
        self.folder = folder
        self._clock = SystemClock()
        self.log = Log(write, self._clock.mono_ms)
        self._network = SocketNetwork(self.loop)
        self._store: MetaStore | None = None
        files = OsFiles()
        self._parent = Parent(
            ParentWorld(
                self._clock,
                self.loop,
                files,
                self._network,
                SystemEntropy(),
                OsProcesses(self.loop, child_environment()),
                self._open_store,
            ),
            DataFolder(files, folder, self.log),
            BrokerOptions(static, defaults),
            {"root": folder, "defaults": defaults, "log": log_form},
            self.log,
        )

    def _open_store(self) -> MetaStore:
        warning = storage_warning(self.folder)
        if warning:
            self.log.warning(warning)
        self._store = SqliteMetaStore(f"{self.folder}/{DATABASE}", self.loop, self._clock, sharing="host")
        return self._store

    @property
    def supervisor(self) -> Supervisor:
        return self._parent.supervisor

    @property
    def cluster(self) -> ClusterStore:
        return self._parent.cluster

    @property
    def bound(self) -> Mapping[str, tuple[str, int]]:
        """The addresses that all workers share."""
        return {listener.name: (listener.host, listener.port) for listener in self._parent.shared}

    def served(self) -> list[Served]:
        return [
            Served(worker.node_id, worker.bound, worker.metrics_port)
            for worker in self.supervisor.workers.values()
        ]

    async def started(self) -> None:
        """All workers serve. Raises StartFailed."""
        error: StartFailed | None = await _answer(self._parent.start)
        if error is not None:
            self._close()
            raise error

    async def fresh_image(self) -> Image:
        """With all that anybody has committed by now. Raises WorldError."""
        waiting: asyncio.Future[Image] = asyncio.get_running_loop().create_future()
        self._parent.refresh(_into(waiting))
        return await waiting

    async def create_topics(self, asks: Sequence[CreatableTopic]) -> list[TopicResult]:
        """Made, and served by all workers that run, when this returns. Raises WorldError."""
        waiting: asyncio.Future[list[TopicResult]] = asyncio.get_running_loop().create_future()
        self._parent.create_topics(asks, _into(waiting))
        return await waiting

    async def stopped(self) -> bool:
        """Whether the stop was clean: nothing is scanned at the next start."""
        clean: bool = await _answer(self._parent.stop)
        self._close()
        return clean

    def _close(self) -> None:
        """Pools first, then the store they work for."""
        self._network.close()
        self.loop.close()
        if self._store is not None:
            self._store.close()

    @property
    def failure(self) -> StartFailed | None:
        """Why no worker is left, and none will be started: then all that is left to do is to stop."""
        return self._parent.failure

    def when_failed(self, callback: Callable[[], None]) -> None:
        """callback() once there is a failure, after the start."""
        self._parent.on_failed = lambda failure: callback()

    def kill(self) -> None:
        """Without a clean stop: no worker outlives this."""
        self._parent.kill()


async def _answer(ask: Callable[[Callable[[Answer], None]], None]) -> Answer:
    """What ask tells its callback."""
    waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    ask(lambda answer: None if waiting.done() else waiting.set_result(answer))
    return await waiting


def _into(waiting: "asyncio.Future[Answer]") -> Callable[[Answer | None, WorldError | None], None]:
    def told(answer: Answer | None, error: WorldError | None) -> None:
        if waiting.done():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(cast(Answer, answer))

    return told


def child_environment() -> dict[str, str]:
    """Where this package was found by a path of this process's own, its children look there too."""
    environment = dict(os.environ)
    home = str(Path(__file__).parents[1])
    if home in sys.path and not home.endswith("-packages"):
        paths = [path for path in (environment.get("PYTHONPATH"), home) if path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
