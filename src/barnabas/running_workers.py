"""The parent of several workers on the real world, on this thread's loop: `serve --workers N`, `dev --workers N`, `Cluster()`.

It holds the data folder and what its workers share; it serves no client itself.

Start   folder (lock) → workers of an earlier parent have ended → metadata → one set of checkpoints, no journal (consolidate) →
        the shared addresses → spread the leaders → strays, identity → state folders → workers → all serve.
Stop    workers → one set of checkpoints → metadata → clean mark.
Crash   between any two: the workers end by themselves, the next start, of workers or of one node, consolidates.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, cast

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.entropy import SystemEntropy
from barnabas.adapters.files import OsFiles, storage_warning
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.adapters.network import SocketNetwork
from barnabas.adapters.processes import OsProcesses
from barnabas.cluster import changes, placing
from barnabas.cluster.changes import TopicResult
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import Fact, Image, Topic
from barnabas.cluster.settled import Settled
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions
from barnabas.config.load import Listener, listeners_of, node_id_of
from barnabas.config.workers import own_listeners, worker_options
from barnabas.log.folder import CLEAN_MARK
from barnabas.node import StartFailed
from barnabas.partitions.data_folder import DATABASE, DataFolder, FolderRefused
from barnabas.partitions.owners import bury, consolidate, owner_folder, owners, try_lock
from barnabas.partitions.waits import Waits
from barnabas.ports import Listening, WorldError
from barnabas.running import Served, Write
from barnabas.server.topics import rules_of
from barnabas.supervisor import Supervisor
from barnabas.telemetry import Log
from barnabas.wire.messages.create_topics import CreatableTopic

Result = TypeVar("Result")
EARLIER_S: Final = 30.0
"""For workers of an earlier parent, which stop by themselves, to end."""
EARLIER_CHECK_S: Final = 0.05
REMEDY: Final = "--host and --port, or listeners in the configuration"
OWN_REMEDY: Final = "barnabas.workers.port in the configuration; all workers have a port of their own"
OF_NO_NODE: Final = -1
"""The parent waits for others to have come as far as the metadata; it marks nothing itself."""


class RunningWorkers:
    """N brokers on one folder. `started`, then `stopped`."""

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
        self.shared: list[Listener] = []
        self._defaults = dict(defaults)
        self._log_form = log_form
        self._clock = SystemClock()
        self.log = Log(write, self._clock.mono_ms)
        self._options = BrokerOptions(static, defaults)
        self._files = OsFiles()
        self._entropy = SystemEntropy()
        self._data = DataFolder(self._files, folder, self.log)
        self._network = SocketNetwork(self.loop)
        self._reserved: list[Listening] = []
        self._store: SqliteMetaStore | None = None
        self._cluster: ClusterStore | None = None
        self._settled: Settled | None = None
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        assert self._supervisor is not None, "the workers have been started"
        return self._supervisor

    @property
    def cluster(self) -> ClusterStore:
        assert self._cluster is not None, "the metadata has been opened"
        return self._cluster

    @property
    def bound(self) -> Mapping[str, tuple[str, int]]:
        """The addresses that all workers share."""
        return {listener.name: (listener.host, listener.port) for listener in self.shared}

    def served(self) -> list[Served]:
        return [
            Served(worker.node_id, worker.bound, worker.metrics_port)
            for worker in self.supervisor.workers.values()
        ]

    # -- start

    async def started(self) -> None:
        """All workers serve. Raises StartFailed."""
        try:
            await self._start()
        except (FolderRefused, WorldError, StartFailed) as error:
            await self._close(clean=False)
            raise StartFailed(str(error)) from error

    async def _start(self) -> None:
        self._data.open()
        await self._outlive_earlier_workers()
        warning = storage_warning(self.folder)
        if warning:
            self.log.warning(warning)
        self._store = SqliteMetaStore(f"{self.folder}/{DATABASE}", self.loop, self._clock, sharing="host")
        self._cluster = ClusterStore(self._store)
        self._settled = Settled(self._store, OF_NO_NODE)
        await self._load(self._cluster)
        await self._load(self._settled)
        # Without a mark of the root nothing is taken for clean, though all workers had ended well: what a burial left to the
        # next leader may not have met one.
        was_clean = await self._consolidate() and self._data.was_clean
        self.shared = self._reserve(listeners_of(self._options.static), REMEDY)
        own = {
            node_id: self._reserve(listeners, OWN_REMEDY)
            for node_id, listeners in own_listeners(self._options).items()
        }
        settings = worker_options(self._options, self.shared, own)
        image = await self._spread(list(settings))
        self._data.write_identity(image.cluster_id, node_id_of(self._options.static), self._entropy.uuid())
        self._data.set_aside(
            {topic.name: (topic.topic_id, len(topic.partitions)) for topic in image.topics.values()},
            self._entropy.uuid,
        )
        for node_id in settings:
            self._make_state_folder(node_id, was_clean)
        self._supervisor = Supervisor(
            self._clock,
            Waits(self._clock, self.loop),
            OsProcesses(self.loop, child_environment()),
            self._take_over,
            {node_id: self._setup(options) for node_id, options in settings.items()},
            self._options.get_int("barnabas.workers.restart.ms"),
            self.log,
        )
        waiting: asyncio.Future[StartFailed | None] = asyncio.get_running_loop().create_future()
        self._supervisor.start(lambda error: None if waiting.done() else waiting.set_result(error))
        error = await waiting
        if error is not None:
            self._supervisor = None  # its processes have ended
            raise error
        await self._until_registered(set(settings))

    async def _until_registered(self, node_ids: set[int]) -> None:
        """They have told the metadata before they told us; only now do we see it there."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(image: Image, _: Sequence[Fact]) -> None:
            if not waiting.done() and node_ids <= image.brokers.keys():
                waiting.set_result(None)

        self.cluster.listen(look)
        look(self.cluster.image, ())
        await waiting

    async def _outlive_earlier_workers(self) -> None:
        """A parent that was killed leaves workers that stop when they notice."""
        deadline = asyncio.get_running_loop().time() + EARLIER_S
        for node_id in owners(self._files, self.folder):
            release = try_lock(self._files, self.folder, node_id)
            if release is None:
                self.log.info("waiting for a worker of an earlier run to end", worker=node_id)
            while release is None:
                if asyncio.get_running_loop().time() > deadline:
                    raise StartFailed(
                        f"Worker {node_id} of an earlier run still has {owner_folder(self.folder, node_id)} after "
                        f"{EARLIER_S:.0f} s: find the process with `ps -ef | grep barnabas.worker` and stop it."
                    )
                await asyncio.sleep(EARLIER_CHECK_S)
                release = try_lock(self._files, self.folder, node_id)
            release()

    async def _consolidate(self) -> bool:
        """Whether all workers of the last run had ended cleanly."""
        topics = self.cluster.image.topics
        return await self._in_pool(lambda: consolidate(self._files, self._data, topics, self.log))

    def _reserve(self, listeners: Sequence[Listener], remedy: str) -> list[Listener]:
        """With the ports that they got. They stay ours while no worker listens there: one that died comes back to its own."""
        found = []
        for listener in listeners:
            try:
                reserved = self._network.reserve(listener.host or "0.0.0.0", listener.port)
            except WorldError as error:
                raise WorldError(f"{error.what} ({remedy})", error.errno) from error
            self._reserved.append(reserved)
            found.append(Listener(listener.name, listener.host, reserved.port, listener.protocol))
        return found

    async def _spread(self, node_ids: list[int]) -> Image:
        await self._submit(lambda image: changes.name_cluster(image, self._entropy))
        moved = await self._submit(lambda image: placing.spread(image, node_ids, afresh=True))
        if moved:
            self.log.info("partitions were spread over the workers", moved=moved, workers=len(node_ids))
        return self.cluster.image

    def _make_state_folder(self, node_id: int, was_clean: bool) -> None:
        state = owner_folder(self.folder, node_id)
        self._files.make_folder(state)
        if was_clean:
            self._files.write_atomic(f"{state}/{CLEAN_MARK}", b"")

    def _setup(self, options: Mapping[str, str]) -> dict[str, object]:
        return {"root": self.folder, "options": options, "defaults": self._defaults, "log": self._log_form}

    # -- topics

    async def fresh_image(self) -> Image:
        """With all that anybody has committed by now."""
        await self._submit(lambda image: Decision(None))
        return self.cluster.image

    async def create_topics(self, asks: Sequence[CreatableTopic]) -> list[TopicResult]:
        """Made, and served by all workers that run, when this returns."""
        rules = rules_of(self._options)
        results = await self._submit(
            lambda image: changes.create_topics(image, asks, rules, self._entropy, False)
        )
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert self._settled is not None
        version = self.cluster.image.version
        settling = self._settled.wait(version, self._serving, lambda: waiting.set_result(None))
        self._settled.review()
        try:
            await waiting
        finally:
            settling.cancel()
        return results

    def _serving(self) -> list[int]:
        """Whose partitions can be waited for: one that is away opens all it leads before it serves."""
        return [worker.node_id for worker in self.supervisor.workers.values() if worker.state == "serving"]

    # -- a dead worker

    def _take_over(self, node_id: int, done: Callable[[WorldError | None], None]) -> None:
        """Fence, recover, give away. Its process has ended, so its lock can only be held by one that we do not know."""
        release = try_lock(self._files, self.folder, node_id)
        if release is None:
            self.loop.soon(lambda: done(WorldError(f"another process holds worker {node_id}'s lock")))
            return

        def buried(_: object, error: BaseException | None) -> None:
            if error is not None:
                finished(None, error if isinstance(error, WorldError) else WorldError(repr(error)))
            else:
                self.cluster.submit(lambda image: placing.take_over(image, node_id), finished)

        def finished(_: object, error: WorldError | None) -> None:
            release()
            done(error)

        def bury_it(_: object, error: WorldError | None) -> None:
            if error is not None:
                finished(None, error)
                return
            led = led_by(self.cluster.image, node_id)
            self.loop.run_in(
                "read",
                lambda: bury(self._files, self.folder, node_id, led, self._options, self._clock, self.log),
                buried,
            )

        # It may have led more than we have heard of: the image as of now has all that it can have opened.
        self.cluster.submit(lambda image: Decision(None), bury_it)

    # -- stop

    async def stopped(self) -> bool:
        """Whether the stop was clean: nothing is scanned at the next start."""
        clean = False
        if self._supervisor is not None:
            waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._supervisor.stop(waiting.set_result)
            clean = await waiting
        return await self._close(clean)

    async def _close(self, clean: bool) -> bool:
        for reserved in self._reserved:
            reserved.close()
        try:
            if clean:
                clean = await self._consolidate()
        except WorldError as error:
            self.log.error("no clean mark", reason=error.what)
            clean = False
        self.loop.close()
        if self._store is not None:
            self._store.close()
        try:
            self._data.close(clean)
        except WorldError as error:
            self.log.error("no clean mark", reason=error.what)
            clean = False
        return clean

    def kill(self) -> None:
        """Without a clean stop: no worker outlives this."""
        if self._supervisor is not None:
            self._supervisor.kill()

    # -- callbacks awaited

    async def _load(self, what: ClusterStore | Settled) -> None:
        waiting: asyncio.Future[WorldError | None] = asyncio.get_running_loop().create_future()
        what.load(waiting.set_result)
        error = await waiting
        if error is not None:
            raise error

    async def _in_pool(self, work: Callable[[], Result]) -> Result:
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(result: object, error: BaseException | None) -> None:
            if error is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(cast(Result, result))

        self.loop.run_in("read", work, done)
        return await waiting

    async def _submit(self, decide: Callable[[Image], Decision[Result]]) -> Result:
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(reply: Result | None, error: WorldError | None) -> None:
            if error is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(cast(Result, reply))

        self.cluster.submit(decide, done)
        return await waiting


def led_by(image: Image, node_id: int) -> list[tuple[Topic, int]]:
    return [
        (topic, index)
        for topic in image.topics.values()
        for index, partition in enumerate(topic.partitions)
        if partition.leader == node_id
    ]


def child_environment() -> dict[str, str]:
    """Where this package was found by a path of this process's own, its children look there too."""
    environment = dict(os.environ)
    home = str(Path(__file__).parents[1])
    if home in sys.path and not home.endswith("-packages"):
        paths = [path for path in (environment.get("PYTHONPATH"), home) if path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
