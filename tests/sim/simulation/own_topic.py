"""A topic that one client makes and writes to alone, whatever else it does with it, and reads in the end."""

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from barnabas import errors
from barnabas.records.record import Record, build_batch
from barnabas.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from barnabas.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from barnabas.wire.primitives import Records
from simulation.log_clients import FETCH_BYTES, TRY_AGAIN, records_from
from simulation.process import MOVED, PATIENCE_MS, RETRY_MS, Client, Process

if TYPE_CHECKING:
    from simulation.workers_world import WorkersWorld

TIMEOUT_MS: Final = 20_000
PARTITIONS_MAX: Final = 4
KEEPS_ALL: Final = {"retention.bytes": "-1"}


class Answered(NamedTuple):
    """A value that was acknowledged."""

    value: bytes
    offset: int
    is_synced: bool
    """The answer promised that the record is on disk, and all before it that was there."""


class OwnTopic:
    """The topic, what was written to it, and whether everybody serves it."""

    def __init__(self, world: "WorkersWorld", name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(world, name)
        self.client = Client(self.process, world.versions)
        self.partitions = 0
        self.acked: dict[int, list[Answered]] = {}
        self.is_synced = True
        """Answers that come now promise that."""
        self.sent_once: set[bytes] = set()
        """Values whose first request was answered: they cannot turn up any more."""
        self._calm_at: int | None = None
        self._written = 0

    @property
    def is_calm(self) -> bool:
        """Nothing has come between since the last change was asked for, and it was answered in time."""
        return self._calm_at is not None and self.world.calm_at() == self._calm_at

    def changing(self, timeout_ms: int = TIMEOUT_MS) -> Callable[[bool], bool]:
        """Call it as a change is asked for, and what it returns with whether that was done as it is answered.

        It tells whether the answer came before brokers that do not follow were given up.
        """
        calm_at, asked_ms = self.world.calm_at(), self.world.time.mono_ms()

        def answered(is_done: bool) -> bool:
            in_time = self.world.time.mono_ms() < asked_ms + timeout_ms
            self._calm_at = calm_at if is_done and in_time else None
            return is_done and in_time

        return answered

    # -- making

    def make(self, made: Callable[[], None]) -> None:
        answered_with = self.changing()
        configs = [CreatableTopicConfig(name, value) for name, value in KEEPS_ALL.items()]
        ask = CreateTopicsRequest(
            [CreatableTopic(self.name, self.partitions, 1, configs=configs)], TIMEOUT_MS
        )

        def answered(response: Any) -> None:
            code = None if response is None else response.topics[0].error_code
            if code in (0, errors.TOPIC_ALREADY_EXISTS):
                answered_with(code == 0)
                made()
                return
            allowed = (None, errors.KAFKA_STORAGE_ERROR, errors.REQUEST_TIMED_OUT)
            self.world.history.require(code in allowed, "refused", f"{self.name} with {code}")
            self.process.after(RETRY_MS, lambda: self.make(made))

        self.client.ask(19, ask, answered, TIMEOUT_MS + PATIENCE_MS)

    # -- writing

    def write_all(self, written: Callable[[], None]) -> None:
        """A value to each partition, as another client, so perhaps by another broker."""
        writer = Client(self.process, self.world.versions)
        partitions = list(range(self.partitions))
        left = set(partitions)

        def one(partition: int) -> None:
            left.discard(partition)
            if not left:
                written()

        def grouped(groups: list[list[int]]) -> None:
            self.world.history.require(
                not (self.is_calm and writer.was_told) or sorted(chain(*groups)) == partitions,
                "settled",
                f"{self.name} was changed, and Metadata names leaders of {groups} only",
            )
            for partition in partitions:
                self._written += 1
                value = f"{self.name}-{self._written}-{partition}".encode()
                self.sent_once.add(value)
                self._write(writer, partition, value, one)

        writer.by_leader(self.name, partitions, grouped)

    def _write(self, writer: Client, partition: int, value: bytes, done: Callable[[int], None]) -> None:
        batch = build_batch([Record(None, value, self.world.time.wall_ms())])
        part = PartitionProduceData(partition, Records(batch))
        ask = ProduceRequest(None, -1, 1000, [TopicProduceData(self.name, partition_data=[part])])

        def answered(response: Any) -> None:
            part = None if response is None else response.responses[0].partition_responses[0]
            if part is not None and part.error_code == 0:
                known = self.acked.setdefault(partition, [])
                known.append(Answered(value, part.base_offset, self.is_synced))
                done(partition)
                return
            code = None if part is None else part.error_code
            history = self.world.history
            history.require(code in (None, *TRY_AGAIN), "refused", f"{value!r} with {code}")
            history.require(
                code not in MOVED or not self.is_calm,
                "settled",
                f"{value!r} with {code} just after {self.name} was changed",
            )
            self.sent_once.discard(value)
            self.process.after(RETRY_MS, lambda: self._write(writer, partition, value, done))

        writer.ask_leader(self.name, partition, 0, ask, answered)

    def lose_cache(self) -> None:
        """The power fails: what was answered since the last answer that promised a sync may be gone."""
        for known in self.acked.values():
            while known and not known[-1].is_synced:
                known.pop()

    # -- in the end

    def check(self, checked: Callable[[], None]) -> None:
        """What was acknowledged is there."""
        left = set(self.acked)

        def one(partition: int, log_start: int, values: list[bytes | None]) -> None:
            self.check_partition(partition, log_start, values)
            left.discard(partition)
            if not left:
                checked()

        if not left:
            checked()
        for partition in sorted(self.acked):
            self._read(partition, 0, 0, [], one)

    def check_partition(self, partition: int, log_start: int, values: list[bytes | None]) -> None:
        for value, offset, is_synced in self.acked[partition]:
            if self.world.disk_failed and not is_synced:
                continue
            self.world.history.require(
                value in values or offset < log_start,
                "lost",
                f"{value!r} was acknowledged at {offset}; {self.name}-{partition} has {values} from {log_start} on",
            )

    def _read(
        self,
        partition: int,
        offset: int,
        log_start: int,
        values: list[bytes | None],
        done: Callable[[int, int, list[bytes | None]], None],
    ) -> None:
        part = FetchPartition(partition, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
        ask = FetchRequest(max_bytes=FETCH_BYTES, topics=[FetchTopic(self.name, partitions=[part])])

        def answered(response: Any) -> None:
            found = (
                response.responses[0].partitions[0] if response is not None and response.responses else None
            )
            if found is not None and found.error_code == errors.OFFSET_OUT_OF_RANGE:
                self._read(partition, offset + 1, log_start, [], done)  # retention took what was there
            elif found is None or found.error_code:
                self.process.after(RETRY_MS, lambda: self._read(partition, offset, log_start, values, done))
            elif records := records_from(self.world, found.records.to_bytes(), offset):
                values.extend(record.value for record in records)
                self._read(partition, records[-1].offset + 1, found.log_start_offset, values, done)
            else:
                done(partition, found.log_start_offset, values)

        self.client.ask_leader(self.name, partition, 1, ask, answered)
