"""Somebody who makes a topic, writes to each partition of it at once, perhaps deletes it and makes it anew, and reads it in
the end.
"""

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from barnabas import errors
from barnabas.records.record import Record, build_batch
from barnabas.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from barnabas.wire.messages.delete_topics import DeleteTopicsRequest
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from barnabas.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from barnabas.wire.primitives import Records
from simulation.log_clients import FETCH_BYTES, TRY_AGAIN, records_from
from simulation.process import MOVED, PATIENCE_MS, RETRY_MS, Client, Process

if TYPE_CHECKING:
    from simulation.workers_world import WorkersWorld

TIMEOUT_MS: Final = 20_000
PARTITIONS_MAX: Final = 4
KEEPS_ALL: Final = [CreatableTopicConfig("retention.bytes", "-1")]


class Maker:
    """One topic, in one or two lives of it."""

    def __init__(self, world: "WorkersWorld", name: str) -> None:
        self._world = world
        self.name = name
        self._process = Process(world, name)
        self._client = Client(self._process, world.versions)
        self._lives_left = world.time.random.choice((0, 0, 1))
        self._partitions = 0
        self._acked: dict[int, bytes] = {}
        self._calm_at: int | None = None
        self.done = False
        self._begin()

    # -- making

    def _begin(self) -> None:
        self._partitions = self._world.time.random.randint(1, PARTITIONS_MAX)
        self._acked = {}
        self._make()

    def _make(self) -> None:
        calm_at, asked_ms = self._world.calm_at(), self._world.time.mono_ms()
        topic = CreatableTopic(self.name, self._partitions, 1, configs=KEEPS_ALL)
        ask = CreateTopicsRequest([topic], TIMEOUT_MS)

        def answered(response: Any) -> None:
            code = None if response is None else response.topics[0].error_code
            if code in (0, errors.TOPIC_ALREADY_EXISTS):
                in_time = self._world.time.mono_ms() < asked_ms + TIMEOUT_MS
                self._calm_at = calm_at if code == 0 and in_time else None
                self._write_all()
                return
            allowed = (None, errors.KAFKA_STORAGE_ERROR, errors.REQUEST_TIMED_OUT)
            self._world.history.require(code in allowed, "refused", f"{self.name} with {code}")
            self._process.after(RETRY_MS, self._make)

        self._client.ask(19, ask, answered, TIMEOUT_MS + PATIENCE_MS)

    @property
    def _is_calm(self) -> bool:
        """Nothing has come between since it was asked for."""
        return self._calm_at is not None and self._world.calm_at() == self._calm_at

    def _write_all(self) -> None:
        """As another client, so perhaps by another broker."""
        writer = Client(self._process, self._world.versions)
        partitions = list(range(self._partitions))

        def grouped(groups: list[list[int]]) -> None:
            self._world.history.require(
                not (self._is_calm and writer.was_told) or sorted(chain(*groups)) == partitions,
                "settled",
                f"{self.name} was made, and Metadata names leaders of {groups} only",
            )
            for partition in partitions:
                self._write(writer, partition)

        writer.by_leader(self.name, partitions, grouped)

    def _write(self, writer: Client, partition: int) -> None:
        value = f"{self.name}-{self._lives_left}-{partition}".encode()
        batch = build_batch([Record(None, value, self._world.time.wall_ms())])
        part = PartitionProduceData(partition, Records(batch))
        ask = ProduceRequest(None, -1, 1000, [TopicProduceData(self.name, partition_data=[part])])

        def answered(response: Any) -> None:
            code = None if response is None else response.responses[0].partition_responses[0].error_code
            if code == 0:
                self._acked[partition] = value
                if len(self._acked) == self._partitions:
                    self._written()
                return
            history = self._world.history
            history.require(code in (None, *TRY_AGAIN), "refused", f"{value!r} with {code}")
            history.require(
                code not in MOVED or not self._is_calm,
                "settled",
                f"{value!r} with {code} just after it was made",
            )
            self._process.after(RETRY_MS, lambda: self._write(writer, partition))

        writer.ask_leader(self.name, partition, 0, ask, answered)

    # -- deleting

    def _written(self) -> None:
        self._calm_at = None
        if self._lives_left:
            self._process.after(self._world.time.random.choice((0, 50, 1_000)), self._delete)
        else:
            self.done = True

    def _delete(self) -> None:
        def answered(response: Any) -> None:
            code = None if response is None else response.responses[0].error_code
            if code in (0, errors.UNKNOWN_TOPIC_OR_PARTITION):
                self._lives_left -= 1
                self._begin()
            else:
                self._process.after(RETRY_MS, self._delete)

        self._client.ask(20, DeleteTopicsRequest(topic_names=[self.name], timeout_ms=TIMEOUT_MS), answered)

    # -- in the end

    def check(self, checked: Callable[[], None]) -> None:
        """What was acknowledged is there."""
        left = set(self._acked)

        def one(partition: int) -> None:
            left.discard(partition)
            if not left:
                checked()

        for partition in sorted(self._acked):
            self._read(partition, 0, [], one)

    def _read(
        self, partition: int, offset: int, values: list[bytes | None], done: Callable[[int], None]
    ) -> None:
        part = FetchPartition(partition, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
        ask = FetchRequest(max_bytes=FETCH_BYTES, topics=[FetchTopic(self.name, partitions=[part])])

        def answered(response: Any) -> None:
            found = (
                response.responses[0].partitions[0] if response is not None and response.responses else None
            )
            if found is None or found.error_code:
                self._process.after(RETRY_MS, lambda: self._read(partition, offset, values, done))
                return
            records = records_from(found.records.to_bytes(), offset)
            if records:
                values.extend(record.value for record in records)
                self._read(partition, records[-1].offset + 1, values, done)
                return
            value = self._acked[partition]
            self._world.history.require(
                value in values, "lost", f"{value!r} was acknowledged; {self.name}-{partition} has {values}"
            )
            done(partition)

        self._client.ask_leader(self.name, partition, 1, ask, answered)
