"""A node on the real world, on this thread's loop or on a thread of its own: shared by `serve`, `dev` and `Broker()`."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.entropy import SystemEntropy
from barnabas.adapters.files import OsFiles, raise_descriptor_limit, storage_warning
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.meta.ram import RamMetaStore
from barnabas.adapters.network import SocketNetwork
from barnabas.adapters.ram_files import RamFiles
from barnabas.config.effective import BrokerOptions
from barnabas.config.load import node_id_of
from barnabas.node import Node, StartFailed
from barnabas.partitions.data_folder import DATABASE, DataFolder, FolderRefused
from barnabas.partitions.owners import owner_folder
from barnabas.ports import Files, MetaStore, World, WorldError
from barnabas.telemetry import Log, Telemetry

RAM_ROOT = "/ram"
DESCRIPTORS_FOR_OTHERS = 1024
"""Left for sockets and indexes; the rest may be segment files."""

DEFAULTS: Final[Mapping[str, str]] = {"socket.send.buffer.bytes": "262144"}
"""A buffer that grows as the system likes takes megabytes ahead of the reader, out of the processor's caches: answers of 1 MB
cost 370 µs instead of 262 on a busy machine, and the reader a fifth more. With Kafka's 100 KB those of 256 KB cost 99 µs
instead of 72."""

Write = Callable[[str, str, dict[str, object]], None]


class Served:
    """Where one node serves."""

    def __init__(self, node_id: int, bound: Mapping[str, tuple[str, int]], metrics_port: int) -> None:
        self.node_id = node_id
        self.bound = bound
        self.metrics_port = metrics_port


class RunningNode:
    """One node, its loop and its adapters. folder None: everything in memory."""

    failure: Final[StartFailed | None] = None
    """Only a parent's workers can fail and leave it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        folder: str | None,
        static: Mapping[str, str],
        defaults: Mapping[str, str],
        write: Write,
        *,
        is_worker: bool = False,
        peers: Collection[int] = (),
        is_orphan: Callable[[], bool] = lambda: False,
    ) -> None:
        """is_worker: the folder's parent has it open, and others work in it (parent.py). peers: those that start together
        with it. is_orphan: that parent has ended, or stops.
        """
        self.loop = AsyncLoop(loop)
        self.in_memory = folder is None
        self.folder = RAM_ROOT if folder is None else folder
        self.telemetry = Telemetry()
        self._clock = SystemClock()
        self.log = Log(write, self._clock.mono_ms)
        self._options = BrokerOptions(static, {**DEFAULTS, **defaults})
        self.network = SocketNetwork(self.loop, self._options.get_int("socket.send.buffer.bytes"))
        self._is_worker = is_worker
        self._peers = peers
        self._is_orphan = is_orphan
        self._store: MetaStore | None = None
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        assert self._node is not None, "the node has been started"
        return self._node

    @property
    def bound(self) -> Mapping[str, tuple[str, int]]:
        return self.node.bound

    def served(self) -> list[Served]:
        return [Served(self.node.node_id, self.node.bound, self.node.metrics_port)]

    def when_failed(self, callback: Callable[[], None]) -> None:
        """Never."""

    def kill(self) -> None:
        """Nothing of it outlives this process."""

    def start(self, done: Callable[[StartFailed | None], None]) -> None:
        """The folder is locked before the metadata store in it is opened."""
        files: Files = RamFiles() if self.in_memory else OsFiles()
        state = owner_folder(self.folder, node_id_of(self._options.static)) if self._is_worker else None
        data = DataFolder(files, self.folder, self.log, state)
        try:
            data.open()
            if self._is_orphan():  # the next parent may have come and gone on before the lock was ours
                raise FolderRefused("The parent of this worker has ended.")
            self._store = self._open_store()
        except (FolderRefused, WorldError) as error:
            data.close(clean=False)
            done(StartFailed(str(error)))
            return
        limit = raise_descriptor_limit()
        self._node = Node(
            World(self._clock, self.loop, files, self.network, self._store, SystemEntropy()),
            data,
            self._options,
            self.telemetry,
            self.log,
            durable=not self.in_memory,
            open_files_max=max(limit - DESCRIPTORS_FOR_OTHERS, limit // 2),
            peers=self._peers,
        )
        self._node.start(done)

    def _open_store(self) -> MetaStore:
        if self.in_memory:
            return RamMetaStore(self.loop, self._clock)
        from barnabas.adapters.meta.sqlite import SqliteMetaStore

        path = f"{self.folder}/{DATABASE}"
        if self._is_worker:
            return SqliteMetaStore(path, self.loop, self._clock, sharing="guest")
        warning = storage_warning(self.folder)
        if warning:
            self.log.warning(warning)
        return SqliteMetaStore(path, self.loop, self._clock)

    def stop(self, done: Callable[[bool], None]) -> None:
        def stopped(clean: bool) -> None:
            self.network.close()
            done(clean)

        if self._node is None:
            stopped(False)
        else:
            self._node.stop(stopped)

    def close(self) -> None:
        """After stop: pools first, then the store they work for."""
        self.loop.close()
        if self._store is not None:
            self._store.close()

    async def started(self) -> None:
        """Raises StartFailed."""
        waiting: asyncio.Future[StartFailed | None] = asyncio.get_running_loop().create_future()
        self.start(lambda error: waiting.set_result(error) if not waiting.done() else None)
        error = await waiting
        if error is not None:
            self.network.close()
            self.close()
            raise error

    async def stopped(self) -> bool:
        """Whether the stop was clean."""
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.stop(lambda clean: waiting.set_result(clean) if not waiting.done() else None)
        clean = await waiting
        await asyncio.sleep(0)  # connections that were told to close have their last turn
        self.close()
        return clean
