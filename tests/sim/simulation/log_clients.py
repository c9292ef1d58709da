"""Clients of the log: producers that never give up, a reader of everything, somebody who deletes records."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from barnabas import errors
from barnabas.records.batch import check_crc
from barnabas.records.record import Record, batches, build_batch, records_of
from barnabas.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from barnabas.wire.messages.init_producer_id import InitProducerIdRequest
from barnabas.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from barnabas.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from barnabas.wire.primitives import Records
from simulation.process import PATIENCE_MS, RETRY_MS, Client, Process

if TYPE_CHECKING:
    from simulation.world import World

TOPIC: Final = "t"
EARLIEST: Final = -2
FETCH_BYTES: Final = 1 << 20
TRY_AGAIN: Final = (
    errors.UNKNOWN_TOPIC_OR_PARTITION,
    errors.NOT_LEADER_OR_FOLLOWER,
    errors.KAFKA_STORAGE_ERROR,
)


class Producer:
    """Idempotent, to one partition. Up to `window` batches are under way; after a failure all from the first
    unacknowledged one on are sent again, in order. The first of all goes alone: of a producer that a partition does not
    know it takes any sequence, as Kafka does, so were the first refused and the second taken, the first would be too late.
    """

    def __init__(self, world: "World", name: str, partition: int, batches: int, window: int) -> None:
        self._world = world
        self._process = Process(world, name)
        self._client = Client(self._process, world.versions)
        self.name = name
        self._partition = partition
        self._window = window
        self._batches = [self._values(number) for number in range(batches)]
        self._first = 0
        """The first batch that is not acknowledged."""
        self._next = 0
        self._acked: set[int] = set()
        self._retrying = False
        self._producer_id = -1
        self._name()

    def _values(self, number: int) -> list[bytes]:
        """Names that rise with the order of sending."""
        count = self._world.time.random.choice((1, 1, 1, 2, 5))
        return [f"{self.name}-{number * 10 + at}".encode() for at in range(count)]

    @property
    def done(self) -> bool:
        return self._first == len(self._batches)

    def _name(self) -> None:
        self._client.ask(22, InitProducerIdRequest(None, 0, -1, -1), self._named)

    def _named(self, response: Any) -> None:
        if response is None or response.error_code:
            self._process.after(RETRY_MS, self._name)
            return
        self._producer_id = response.producer_id
        self._fill()

    def _fill(self) -> None:
        while (
            not self._retrying
            and self._next < len(self._batches)
            and self._next < self._first + (self._window if self._acked else 1)
        ):
            self._send(self._next)
            self._next += 1

    def _send(self, number: int) -> None:
        values = self._batches[number]
        now_ms = self._world.time.wall_ms()
        batch = build_batch(
            [Record(None, value, now_ms) for value in values],
            producer_id=self._producer_id,
            producer_epoch=0,
            base_sequence=sum(map(len, self._batches[:number])),
        )
        part = PartitionProduceData(self._partition, Records(batch))
        ask = ProduceRequest(None, -1, 1000, [TopicProduceData(TOPIC, partition_data=[part])])
        self._world.history.sent(self._partition, values)
        self._client.ask_leader(
            TOPIC, self._partition, 0, ask, lambda response: self._answered(number, response)
        )

    def _answered(self, number: int, response: Any) -> None:
        part = None if response is None else response.responses[0].partition_responses[0]
        if part is not None and part.error_code == 0:
            self._world.history.acked(self._partition, self._batches[number], part.base_offset)
            self._acked.add(number)
            while self._first in self._acked:
                self._first += 1
            self._next = max(self._next, self._first)
        else:
            self._failed(number, part)
        if not self._client.busy:
            if self._retrying:
                self._retrying = False
                self._next = self._first
            self._process.after(self._world.time.random.randrange(self._world.plan.pace_ms), self._fill)

    def _failed(self, number: int, part: Any) -> None:
        code = 0 if part is None else part.error_code
        allowed = code in (0, *TRY_AGAIN) or (
            code == errors.OUT_OF_ORDER_SEQUENCE_NUMBER and (self._retrying or number > self._first)
        )
        self._world.history.require(allowed, "refused", f"{self._batches[number]} with {code}")
        self._retrying = True


class Reader:
    """Reads one partition to its end, again and again, as a consumer without a group."""

    def __init__(self, world: "World", name: str, partition: int) -> None:
        self._world = world
        self.process = Process(world, name)
        self._client = Client(self.process, world.versions)
        self._partition = partition
        self._offset = 0
        self._read()

    def _read(self) -> None:
        wait_ms = self._world.time.random.choice((0, 100))
        fetch(self._world, self._client, {self._partition: self._offset}, self._have_read, wait_ms)

    def _have_read(self, found: "list[Fetched]") -> None:
        for each in found:
            if each.code == errors.OFFSET_OUT_OF_RANGE:
                find_start(self._world, self._client, self._partition, self._start_at)
                return
            if each.records:
                self._offset = each.records[-1].offset + 1
        self.process.after(self._world.time.random.choice((1, 10, 100)), self._read)

    def _start_at(self, offset: int | None) -> None:
        self._offset = max(self._offset, offset or 0)
        self.process.after(RETRY_MS, self._read)


class Fetched:
    """What a fetch gave of one partition."""

    def __init__(self, partition: int, code: int, records: list[Record]) -> None:
        self.partition = partition
        self.code = code
        self.records = records


def fetch(
    world: "World",
    client: Client,
    positions: dict[int, int],
    found: Callable[[list[Fetched]], None],
    wait_ms: int = 0,
) -> None:
    """found(what came of each partition): [] when no answer came. It is held against the rules first."""
    results: list[Fetched] = []
    left: list[int] = []

    def one(answers: list[Fetched]) -> None:
        results.extend(answers)
        left.pop()
        if not left:
            found(results)

    def grouped(groups: list[list[int]]) -> None:
        left.extend(range(len(groups)))
        if not groups:
            client.forget_leaders()
            world.time.after(RETRY_MS, lambda: found([]))
        for group in groups:
            fetch_from(world, client, {index: positions[index] for index in group}, one, wait_ms)

    client.by_leader(TOPIC, list(positions), grouped)


def fetch_from(
    world: "World",
    client: Client,
    positions: dict[int, int],
    found: Callable[[list[Fetched]], None],
    wait_ms: int,
) -> None:
    """Of partitions that one broker leads."""
    floors = floors_of(world, positions)
    parts = [
        FetchPartition(partition, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
        for partition, offset in positions.items()
    ]
    ask = FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=1 if wait_ms else 0,
        max_bytes=FETCH_BYTES,
        topics=[FetchTopic(TOPIC, partitions=parts)],
    )

    def answered(response: Any) -> None:
        parts = response.responses[0].partitions if response is not None and response.responses else ()
        results = [
            checked(world, part, positions[part.partition_index], floors[part.partition_index])
            for part in parts
        ]
        found(results)

    client.ask_leader(TOPIC, next(iter(positions)), 1, ask, answered, PATIENCE_MS + wait_ms)


def floors_of(world: "World", partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Of each what an answer to who asks now must know: a high watermark, and up to where records were deleted."""
    history = world.history
    return {each: (history.high_watermark[each], history.deleted_to[each]) for each in partitions}


def checked(world: "World", part: Any, position: int, floors: tuple[int, int]) -> Fetched:
    """What a fetch at position gave of a partition, held against the rules."""
    history, partition = world.history, part.partition_index
    history.require(
        part.error_code in (0, errors.OFFSET_OUT_OF_RANGE, *TRY_AGAIN),
        "refused",
        f"fetch of partition {partition} with {part.error_code}",
    )
    records: list[Record] = []
    if part.error_code == 0:
        high_watermark, deleted_to = floors
        content = part.records.to_bytes()
        records = records_from(world, content, position)
        history.fetched(partition, position, records, part.high_watermark, high_watermark)
        epochs = [(each.base_offset, each.leader_epoch) for each, _ in batches(content)]
        history.epochs_read(partition, epochs)
        history.log_start_seen(partition, part.log_start_offset, deleted_to)
    return Fetched(partition, part.error_code, records)


def find_start(world: "World", client: Client, partition: int, found: Callable[[int | None], None]) -> None:
    """found(log start), or None when no answer came or the partition does not serve."""
    history = world.history
    floor = history.deleted_to[partition]
    asked = ListOffsetsPartition(partition, -1, EARLIEST)

    def answered(response: Any) -> None:
        part = None if response is None else response.topics[0].partitions[0]
        if part is None or part.error_code in TRY_AGAIN:
            found(None)
            return
        history.require(part.error_code == 0, "refused", f"ListOffsets with {part.error_code}")
        history.log_start_seen(partition, part.offset, floor)
        found(part.offset)

    ask = ListOffsetsRequest(-1, 0, [ListOffsetsTopic(TOPIC, [asked])])
    client.ask_leader(TOPIC, partition, 2, ask, answered)


def records_from(world: "World", content: bytes, offset: int) -> list[Record]:
    """Records at or behind offset; a cut batch at the end is passed over."""
    found: list[Record] = []
    for header, at in batches(content):
        is_whole = check_crc(content, at, header.size, header.crc)
        world.history.require(is_whole, "damaged", f"the batch at {header.base_offset} has another checksum")
        found += [each for each in records_of(content, header, at) if each.offset >= offset]
    return found


class Deleter:
    """Deletes records up to some offset below the high watermark, until it is told that it was done."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self._process = Process(world, name)
        self._client = Client(self._process)
        self.busy = False

    def delete(self, partition: int) -> None:
        if not self.busy:
            self.busy = True
            offset = self._world.time.random.randint(0, self._world.history.high_watermark[partition])
            self._ask(partition, offset)

    def _ask(self, partition: int, offset: int) -> None:
        self._world.history.wants_deleted(partition, offset)
        parts = [DeleteRecordsPartition(partition, offset)]
        ask = DeleteRecordsRequest([DeleteRecordsTopic(TOPIC, parts)], 1000)
        self._client.ask_leader(
            TOPIC, partition, 21, ask, lambda response: self._answered(partition, offset, response)
        )

    def _answered(self, partition: int, offset: int, response: Any) -> None:
        part = None if response is None else response.topics[0].partitions[0]
        is_late = part is not None and part.error_code == errors.REQUEST_TIMED_OUT and self._world.may_be_mute
        if part is None or is_late or part.error_code in TRY_AGAIN:
            self._process.after(RETRY_MS, lambda: self._ask(partition, offset))
            return
        history = self._world.history
        history.require(part.error_code == 0, "refused", f"DeleteRecords with {part.error_code}")
        history.require(part.low_watermark >= offset, "log start", f"{part.low_watermark} for {offset}")
        history.deleted(partition, offset)
        self.busy = False
