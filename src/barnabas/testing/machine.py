"""One simulated computer: a whole node on virtual time, whose disk and metadata outlive its process.

M1  `boot` starts the node as `serve` would; `crash` ends it as a power failure would: its loop runs nothing more, its
    streams are cut, its disk keeps what was synced and whatever else the seed says; `kill` ends the process alone.
    `boot` again recovers.
M2  Several machines may share one VirtualTime and one Wire.
"""

from collections.abc import Callable, Mapping
from typing import Final

from barnabas.adapters.meta.ram import MetaContents
from barnabas.config.effective import BrokerOptions
from barnabas.node import Node, StartFailed
from barnabas.partitions.data_folder import DATABASE, DataFolder
from barnabas.ports import World
from barnabas.telemetry import Log, Telemetry, silent
from barnabas.testing.disk import VirtualDisk
from barnabas.testing.entropy import SeededEntropy
from barnabas.testing.meta import VirtualMetaStore
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime

ROOT: Final = "/var/data"


class VirtualMachine:
    """`static` are the options of its node, as in a .properties file."""

    def __init__(
        self,
        time: VirtualTime,
        wire: Wire,
        static: Mapping[str, str],
        *,
        host: str = "127.0.0.1",
        write: Callable[[str, str, dict[str, object]], None] = silent,
    ) -> None:
        self.time = time
        self.wire = wire
        self.host = host
        self.disk = VirtualDisk(time.random.getrandbits(32))
        self.contents = MetaContents()
        self._static = static
        self._write = write
        self._entropy = SeededEntropy(time.random.getrandbits(32))
        self._loop: VirtualLoop | None = None
        self._node: Node | None = None

    @property
    def loop(self) -> VirtualLoop:
        assert self._loop is not None, "the machine has been booted"
        return self._loop

    @property
    def node(self) -> Node:
        assert self._node is not None, "the machine has been booted"
        return self._node

    def boot(self) -> Node:
        """Returns when clients can connect; raises StartFailed."""
        assert self._node is None, "a machine runs one node at a time"
        self._loop = VirtualLoop(self.time)
        log = Log(self._write, self.time.mono_ms)
        folder = DataFolder(self.disk, ROOT, log)
        folder.open()
        self._keep_names()
        world = World(
            self.time,
            self._loop,
            self.disk,
            PipeNetwork(self.wire, self._loop, self.host),
            VirtualMetaStore(self._loop, self.contents),
            self._entropy,
        )
        self._node = Node(world, folder, BrokerOptions(self._static), Telemetry(), log, durable=True)
        answers: list[StartFailed | None] = []
        self._node.start(answers.append)
        self.time.run_until(lambda: bool(answers))
        if answers[0] is not None:
            self.kill()
            raise answers[0]
        return self._node

    def _keep_names(self) -> None:
        """Administrators made the folder long ago, and SQLite's own file stands in it from the first start."""
        self.disk.open(f"{ROOT}/{DATABASE}", create=True)
        folder = ROOT
        while folder:
            self.disk.sync_folder(folder)
            folder = folder.rpartition("/")[0]
        self.disk.sync_folder("/")

    def crash(self) -> None:
        """The power fails, at any moment."""
        self._down()
        self.disk.crash()

    def kill(self) -> None:
        """SIGKILL: the process ends, what it wrote stays in the page cache."""
        self._down()
        self.disk.lose_process()

    def stop(self) -> bool:
        """An orderly stop; returns whether it was clean."""
        answers: list[bool] = []
        self.node.stop(answers.append)
        self.time.run_until(lambda: bool(answers))
        self.kill()
        return answers[0]

    def _down(self) -> None:
        self.disk.interrupt(self.time.random.randint(0, 4))
        self.loop.kill()
        self.wire.lose(self.loop)
        self._node = None
