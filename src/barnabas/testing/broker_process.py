"""One broker process on virtual time: a node, its loop, its view of the disk, and how all of it ends at once."""

from collections.abc import Callable, Collection, Mapping

from barnabas.adapters.meta import Sharing
from barnabas.config.effective import BrokerOptions
from barnabas.node import Node, StartFailed
from barnabas.partitions.data_folder import DATABASE, DataFolder, FolderRefused
from barnabas.ports import Entropy, World
from barnabas.telemetry import Log, Telemetry
from barnabas.testing.disk import VirtualDisk
from barnabas.testing.meta import DiskContents, VirtualMetaStore
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime

Write = Callable[[str, str, dict[str, object]], None]


class VirtualProcess:
    """What every process of a machine has. `kill` ends it as SIGKILL does."""

    def __init__(
        self, time: VirtualTime, wire: Wire, disk: VirtualDisk, contents: DiskContents, root: str
    ) -> None:
        self.time = time
        self.wire = wire
        self.disk = disk
        self.root = root
        self.loop = VirtualLoop(time)
        self._contents = contents
        self.store: VirtualMetaStore | None = None

    def open_store(self, sharing: Sharing) -> VirtualMetaStore:
        if sharing != "guest":
            self._keep_names()
        self.store = VirtualMetaStore(self.loop, self._contents, sharing)
        return self.store

    def _keep_names(self) -> None:
        """Administrators made the folder long ago, and SQLite's own file stands in it from the first start."""
        self.disk.open(f"{self.root}/{DATABASE}", create=True)
        folder = self.root
        while folder:
            self.disk.sync_folder(folder)
            folder = folder.rpartition("/")[0]
        self.disk.sync_folder("/")

    def down(self) -> None:
        """Some of what its threads still ask of the disk happens, then nothing more."""
        if self.loop.alive:
            self.disk.interrupt(self.time.random.randint(0, 4))
            self.loop.kill()
            self.wire.lose(self.loop)
            if self.store is not None:
                self.store.close()

    def kill(self) -> None:
        """What it wrote stays in the page cache."""
        self.down()
        self.disk.lose_process()


class BrokerProcess(VirtualProcess):
    """A node: one that has the folder alone, or, with a state folder, a worker."""

    def __init__(
        self,
        time: VirtualTime,
        wire: Wire,
        disk: VirtualDisk,
        contents: DiskContents,
        root: str,
        static: Mapping[str, str],
        entropy: Entropy,
        host: str,
        write: Write,
        state: str | None = None,
        peers: Collection[int] = (),
    ) -> None:
        super().__init__(time, wire, disk, contents, root)
        self.node: Node | None = None
        self._static = static
        self._peers = peers
        self._entropy = entropy
        self._host = host
        self._log = Log(write, time.mono_ms)
        self._folder = DataFolder(disk, root, self._log, state)

    def start(
        self, done: Callable[[StartFailed | None], None], is_orphan: Callable[[], bool] = lambda: False
    ) -> None:
        """As running.py does it. Raises FolderRefused and WorldError."""
        self._folder.open()
        if is_orphan():
            raise FolderRefused("The parent of this worker has ended.")
        world = World(
            self.time,
            self.loop,
            self.disk,
            PipeNetwork(self.wire, self.loop, self._host),
            self.open_store("guest" if self._folder.is_shared else "alone"),
            self._entropy,
        )
        options = BrokerOptions(self._static)
        self.node = Node(
            world, self._folder, options, Telemetry(), self._log, durable=True, peers=self._peers
        )
        self.node.start(done)
