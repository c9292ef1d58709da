"""A machine whose journal is in use, on virtual time and a disk that forgets."""

from dataclasses import replace

from barnabas.partitions.node_journal import Journal
from barnabas.partitions.partition import Partition
from barnabas.records.record import Record, all_records, build_batch
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime

TOPICS = ("a", "b", "c")
ROUNDS_OF_A_HALF = 8


class Bench:
    """A machine whose journal is in use, with some topics of one partition."""

    def __init__(
        self,
        journal_bytes: int = 4096 * (1 + 2 * ROUNDS_OF_A_HALF),
        seed: int = 3,
        topics: tuple[str, ...] = TOPICS,
    ) -> None:
        self.topics = topics
        self.time = VirtualTime(seed)
        options = {
            "listeners": "PLAINTEXT://127.0.0.1:9092",
            "barnabas.metrics.port": "-1",
            "barnabas.journal.bytes": str(journal_bytes),
        }
        self.machine = VirtualMachine(self.time, Wire(self.time), options)
        self.machine.boot()
        self.answered: dict[str, list[bytes]] = {name: [] for name in topics}
        self.machine.make_topics(*topics)
        self.serial = 0
        self.put("a")
        self.time.run_for(200)  # the journal is made meanwhile

    @property
    def journal(self) -> Journal:
        return self.machine.node.partitions.journal

    def partition(self, name: str) -> Partition:
        return self.machine.partition(name)

    def put(self, *names: str, size: int = 10) -> None:
        """One batch for each, in one turn; those that were committed are remembered as answered."""
        told: list[int] = []
        for name in names:
            self.serial += 1
            value = b"%d:" % self.serial + b"x" * size
            partition = self.partition(name)
            end = partition.append_own(
                build_batch([Record(None, value, self.time.wall_ms())]), self.time.wall_ms()
            )
            if end < 0:
                told.append(-end)
                continue
            partition.when_committed(
                end, lambda code, name=name, value=value: self.told(told, name, value, code)
            )
        self.time.run_until(lambda: len(told) == len(names))

    def told(self, told: list[int], name: str, value: bytes, code: int) -> None:
        told.append(code)
        if code == 0:
            self.answered[name].append(value)

    def set(self, name: str, **options: str) -> None:
        """Options of the topic, from the next batch on."""
        overrides = {key.replace("_", "."): value for key, value in options.items()}
        partitions = self.machine.node.partitions
        partitions.reconfigure(replace(self.machine.node.cluster.image.topics[name], overrides=overrides))

    def syncs(self) -> int:
        return self.machine.disk.calls.get("sync", 0)

    def stored(self, name: str) -> list[bytes]:
        partition = self.partition(name)
        found: list[bytes] = []
        offset = partition.log_start_offset
        while offset < partition.high_watermark:
            records = list(all_records(partition.read_bytes(offset, 1 << 20)))
            found.extend(bytes(record.value or b"") for record in records)
            offset = records[-1].offset + 1
        return found

    def check(self) -> None:
        for name in self.topics:
            assert self.stored(name) == self.answered[name], name
