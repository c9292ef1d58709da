"""One simulated computer: a whole node on virtual time, whose disk and metadata outlive its process.

M1  `boot` starts the node as `serve` would; `crash` ends it as a power failure would: its loop runs nothing more, its
    streams are cut, its disk keeps what was synced and whatever else the seed says; `kill` ends the process alone.
    `boot` again recovers.
M2  Several machines may share one VirtualTime and one Wire.
M3  An empty ballast file lies on a new disk already: no test needs its bytes, and each first start would write 16 MiB.
"""

from collections.abc import Mapping
from typing import Final

from barnabas.node import Node, StartFailed
from barnabas.partitions.data_folder import BALLAST
from barnabas.partitions.partition import Partition
from barnabas.telemetry import silent
from barnabas.testing.broker_process import BrokerProcess, Write
from barnabas.testing.disk import VirtualDisk
from barnabas.testing.entropy import SeededEntropy
from barnabas.testing.meta import DiskContents
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime

ROOT: Final = "/var/data"


def new_disk(seed: int) -> VirtualDisk:
    """M3. As with all that was not synced, a crash may take the ballast file away: then the next start makes a whole one."""
    disk = VirtualDisk(seed)
    disk.make_folder(ROOT)
    disk.open(f"{ROOT}/{BALLAST}", create=True)
    return disk


class VirtualMachine:
    """`static` are the options of its node, as in a .properties file."""

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
        self.contents = DiskContents()
        self._static = static
        self._write = write
        self._entropy = SeededEntropy(time.random.getrandbits(32))
        self._process: BrokerProcess | None = None

    @property
    def loop(self) -> VirtualLoop:
        assert self._process is not None, "the machine has been booted"
        return self._process.loop

    @property
    def node(self) -> Node:
        assert self._process is not None and self._process.node is not None, "the machine has been booted"
        return self._process.node

    def make_topics(self, *names: str) -> None:
        """With as many partitions as the node's options say; returns when they serve."""
        made: list[object] = []
        self.node.topics.create_automatically(list(names), made.append)
        self.time.run_until(lambda: bool(made))

    def partition(self, topic: str, index: int = 0) -> Partition:
        found = self.node.partitions.get(topic, index)
        assert found is not None, f"there is no partition {index} of {topic}"
        return found

    def boot(self) -> Node:
        """Returns when clients can connect; raises StartFailed, FolderRefused and WorldError."""
        assert self._process is None, "a machine runs one node at a time"
        process = BrokerProcess(
            self.time,
            self.wire,
            self.disk,
            self.contents,
            ROOT,
            self._static,
            self._entropy,
            self.host,
            self._write,
        )
        answers: list[StartFailed | None] = []
        process.start(answers.append)
        self._process = process
        self.time.run_until(lambda: bool(answers))
        if answers[0] is not None:
            self.kill()
            raise answers[0]
        return self.node

    def crash(self) -> None:
        """The power fails, at any moment."""
        self._down()
        self.disk.crash()
        self.contents.crash(self.time.random)

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
        if self._process is not None:
            self._process.down()
            self._process = None
