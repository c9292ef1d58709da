"""The simulated world of tests/sim: one machine that loses its power, producers and committers that never give up.

Clients speak the real protocol over simulated streams. What they were told is their `acked`; what the log holds in the end
is read back through Fetch. Checks are functions of the two.
"""

from collections.abc import Callable
from typing import Any

from barnabas.ports import Connection, WorldError
from barnabas.records.record import Record, batches, build_batch, records_of
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from barnabas.wire import apis
from barnabas.wire.frame import FrameReader, request_head, response_body_at
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from barnabas.wire.messages.find_coordinator import FindCoordinatorRequest
from barnabas.wire.messages.init_producer_id import InitProducerIdRequest
from barnabas.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from barnabas.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from barnabas.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from barnabas.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from barnabas.wire.primitives import Records

PORT = 9092
TOPIC = "t"
GROUP = "g"
VERSIONS = {0: 9, 1: 11, 3: 9, 8: 8, 9: 8, 10: 4, 22: 4}
RETRY_MS = 50
PATIENCE_MS = 2_000
OPTIONS = {
    "listeners": f"PLAINTEXT://127.0.0.1:{PORT}",
    "barnabas.metrics.port": "-1",
    "offsets.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
}


class Client:
    """One request at a time; a connection that breaks or stays mute is replaced. answered(response or None)."""

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world
        self._connection: Connection | None = None
        self._frames = FrameReader(1 << 30)
        self._waiting: tuple[int, int, Callable[[Any], None]] | None = None
        self._correlation = 0

    def ask(self, key: int, message: Any, answered: Callable[[Any], None]) -> None:
        assert self._waiting is None, "one request at a time"
        self._correlation += 1
        number = self._correlation
        self._waiting = (number, key, answered)
        self._world.time.after(PATIENCE_MS, lambda: self._lose(number))
        if self._connection is None:
            self._world.network.connect(
                "127.0.0.1",
                PORT,
                lambda connection, error: self._connected(number, message, connection, error),
            )
        else:
            self._send(message)

    def _connected(
        self, number: int, message: Any, connection: Connection | None, error: WorldError | None
    ) -> "Client | None":
        if connection is None or self._waiting is None or self._waiting[0] != number:
            self._lose(number)
            return None
        self._connection = connection
        self._frames = FrameReader(1 << 30)
        self._world.time.after(0, lambda: self._send(message))
        return self

    def _send(self, message: Any) -> None:
        if self._waiting is None or self._connection is None:
            return
        number, key, _ = self._waiting
        version = VERSIONS[key]
        body = apis.load(key).encode_request(message, version)
        self._connection.send([request_head(key, version, number, "sim", len(body)), body])

    def received(self, content: memoryview) -> None:
        for frame in self._frames.feed(content):
            number = int.from_bytes(frame[:4], "big")
            if self._waiting is None or self._waiting[0] != number:
                continue
            _, key, answered = self._waiting
            self._waiting = None
            version = VERSIONS[key]
            answered(apis.load(key).decode_response(frame, response_body_at(key, version, frame), version))

    def closed(self, reason: str) -> None:
        self._connection = None
        if self._waiting is not None:
            self._lose(self._waiting[0])

    def _lose(self, number: int) -> None:
        """No answer came: nobody knows whether it was done."""
        if self._waiting is None or self._waiting[0] != number:
            return
        answered = self._waiting[2]
        self._waiting = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(after_sending=False)
        self._world.time.after(RETRY_MS, lambda: answered(None))


class Producer:
    """Idempotent: sends batch after batch, each again and again until it is acknowledged."""

    def __init__(self, world: "SimulatedWorld", name: str, count: int) -> None:
        self._world = world
        self._client = Client(world)
        self.name = name
        self._left = count
        self._producer_id = -1
        self._sequence = 0
        self.acked: dict[bytes, int] = {}
        self._client.ask(22, InitProducerIdRequest(None, 0, -1, -1), self._named)

    @property
    def done(self) -> bool:
        return self._left == 0

    def _named(self, response: Any) -> None:
        if response is None or response.error_code:
            self._client.ask(22, InitProducerIdRequest(None, 0, -1, -1), self._named)
            return
        self._producer_id = response.producer_id
        self._produce()

    def _produce(self) -> None:
        if self.done:
            return
        value = f"{self.name}-{self._sequence}".encode()
        batch = build_batch(
            [Record(None, value, self._world.time.wall_ms())],
            producer_id=self._producer_id,
            producer_epoch=0,
            base_sequence=self._sequence,
        )
        ask = ProduceRequest(
            None,
            -1,
            1000,
            [TopicProduceData(TOPIC, partition_data=[PartitionProduceData(0, Records(batch))])],
        )
        self._client.ask(0, ask, lambda response: self._answered(value, response))

    def _answered(self, value: bytes, response: Any) -> None:
        part = None if response is None else response.responses[0].partition_responses[0]
        if part is None or part.error_code in (3, 6, 56):
            self._world.time.after(RETRY_MS, self._produce)
            return
        assert part.error_code == 0, f"seed {self._world.seed}: {value!r} was refused with {part.error_code}"
        self.acked[value] = part.base_offset
        self._sequence += 1
        self._left -= 1
        self._world.time.after(self._world.time.random.randrange(40), self._produce)


class Committer:
    """Commits rising offsets for a group and, after each, reads back what is committed."""

    def __init__(self, world: "SimulatedWorld", count: int) -> None:
        self._world = world
        self._client = Client(world)
        self._left = count
        self._next = 1
        self.acked = 0
        self._find()

    @property
    def done(self) -> bool:
        return self._left == 0

    def _find(self) -> None:
        self._client.ask(10, FindCoordinatorRequest(key_type=0, coordinator_keys=[GROUP]), self._found)

    def _found(self, response: Any) -> None:
        if response is None or response.coordinators[0].error_code:
            self._world.time.after(RETRY_MS, self._find)
        else:
            self._commit()

    def _commit(self) -> None:
        part = OffsetCommitRequestPartition(0, self._next, -1, "")
        ask = OffsetCommitRequest(
            GROUP, -1, "", None, -1, [OffsetCommitRequestTopic(TOPIC, partitions=[part])]
        )
        self._client.ask(8, ask, self._committed)

    def _committed(self, response: Any) -> None:
        code = None if response is None else response.topics[0].partitions[0].error_code
        if code != 0:
            assert code in (None, 14, 15, 16), f"seed {self._world.seed}: commit refused with {code}"
            self._world.time.after(RETRY_MS, self._find)
            return
        self.acked = self._next
        self._next += 1
        self._read()

    def _read(self) -> None:
        topics = [OffsetFetchRequestTopics(TOPIC, partition_indexes=[0])]
        ask = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(GROUP, topics=topics)])
        self._client.ask(9, ask, self._have_read)

    def _have_read(self, response: Any) -> None:
        group = None if response is None else response.groups[0]
        if group is None or group.error_code:
            self._world.time.after(RETRY_MS, self._read)
            return
        committed = group.topics[0].partitions[0].committed_offset
        assert committed == self.acked, (
            f"seed {self._world.seed}: offset {self.acked} was acknowledged, {committed} is read back"
        )
        self._left -= 1
        if not self.done:
            self._world.time.after(self._world.time.random.randrange(60), self._commit)


class SimulatedWorld:
    """One machine, its clients, and power failures drawn from the seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.time = VirtualTime(seed)
        self.wire = Wire(self.time, cut_one_in=200)
        self.machine = VirtualMachine(self.time, self.wire, OPTIONS)
        self.network = PipeNetwork(self.wire, VirtualLoop(self.time), "10.0.0.2")
        self.high_watermark_told = 0

    def run(self, producers: int = 2, batches_each: int = 12, commits: int = 8, crashes: int = 3) -> None:
        self.machine.boot()
        self._make_topic()
        actors: list[Producer | Committer] = [
            Producer(self, f"p{number}", batches_each) for number in range(producers)
        ]
        actors.append(Committer(self, commits))
        for _ in range(crashes):
            self.time.run_for(self.time.random.randrange(20, 400))
            self.machine.crash()
            self.time.run_for(self.time.random.randrange(200))
            self.machine.boot()
        self.time.run_until(lambda: all(actor.done for actor in actors))
        self.check([actor for actor in actors if isinstance(actor, Producer)])

    def _make_topic(self) -> None:
        made: list[Any] = []
        client = Client(self)

        def ask() -> None:
            message = MetadataRequest([MetadataRequestTopic(name=TOPIC)], True)
            client.ask(3, message, lambda response: made.append(response) if response is not None else ask())

        ask()
        self.time.run_until(lambda: bool(made))

    def read_all(self) -> list[Record]:
        """Through Fetch, as a consumer would, from the start to the high watermark."""
        client, records, offset = Client(self), [], 0
        while True:
            answers: list[Any] = []

            def ask(offset: int = offset, answers: list[Any] = answers) -> None:
                part = FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20)
                message = FetchRequest(
                    max_wait_ms=0,
                    min_bytes=0,
                    max_bytes=1 << 20,
                    topics=[FetchTopic(TOPIC, partitions=[part])],
                )
                client.ask(1, message, lambda response: answers.append(response) if response else ask())

            ask()
            self.time.run_until(lambda got=answers: bool(got))
            part = answers[0].responses[0].partitions[0]
            assert part.error_code == 0, f"seed {self.seed}: fetch at {offset} gives {part.error_code}"
            content = part.records.to_bytes()
            for header, at in batches(content):
                for record in records_of(content, header, at):
                    if record.offset >= offset:
                        records.append(record)
            if not records or records[-1].offset + 1 == offset or offset >= part.high_watermark:
                return records
            offset = records[-1].offset + 1

    def check(self, producers: list[Producer]) -> None:
        """Nothing acknowledged is lost, moved or doubled; offsets have no holes; each producer's order holds."""
        records = self.read_all()
        assert [record.offset for record in records] == list(range(len(records))), f"seed {self.seed}: holes"
        where: dict[bytes, int] = {}
        for record in records:
            assert record.value is not None and record.value not in where, f"seed {self.seed}: {record} twice"
            where[record.value] = record.offset
        for producer in producers:
            for value, offset in producer.acked.items():
                assert where.get(value) == offset, (
                    f"seed {self.seed}: {value!r} acknowledged at {offset}, found at {where.get(value)}"
                )
            offsets = [where[value] for value in producer.acked]
            assert offsets == sorted(offsets), f"seed {self.seed}: {producer.name} is out of order"
