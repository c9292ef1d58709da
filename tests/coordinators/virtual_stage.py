"""A stage of one coordinator shard on virtual time: it can hold back durability, crash, and wait for days."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from covers import TRAFFIC
from transcript import Stage, Tell, duration_ms

from barnabas.cluster.image import Image, PartitionImage, Topic, TopicSet, apply
from barnabas.config.effective import BrokerOptions
from barnabas.coordinators.group.coordinator import GroupCoordinator
from barnabas.coordinators.group.shard import GroupShard
from barnabas.partitions.waits import Parked, Waits
from barnabas.ports import Cold
from barnabas.records.record import batches
from barnabas.server import handlers
from barnabas.telemetry import Log
from barnabas.testing.entropy import SeededEntropy
from barnabas.testing.virtual import VirtualLoop, VirtualTime


class RecordedPartition:
    """A partition of __consumer_offsets that keeps its batches; `hold` delays commits, `refuse` fails appends."""

    log_start_offset = 0

    def __init__(self) -> None:
        self.content: list[bytes] = []
        self.end_offset = 0
        self.high_watermark = 0
        self.held = False
        self.refuses = 0
        self.is_cold = False
        self._waiting: list[tuple[int, Callable[[int], None]]] = []

    def append_own(self, batch: bytes, now_ms: int) -> int:
        if self.refuses:
            return -self.refuses
        (header, _), *_more = batches(batch)
        moved = self.end_offset.to_bytes(8, "big") + batch[8:]
        self.content.append(moved)
        self.end_offset += header.last_offset_delta + 1
        if not self.held:
            self.high_watermark = self.end_offset
        return self.end_offset

    def when_committed(self, end_offset: int, callback: Callable[[int], None]) -> None:
        if end_offset <= self.high_watermark:
            callback(0)
        else:
            self._waiting.append((end_offset, callback))

    def release(self, code: int = 0) -> None:
        self.held = False
        self.high_watermark = self.end_offset
        waiting, self._waiting = self._waiting, []
        for _, callback in waiting:
            callback(code)

    def read_bytes(self, offset: int, max_bytes: int, waits: bool = True) -> bytes:
        """One batch at a time, so that loading takes as many turns of the loop as there are batches."""
        if self.is_cold and not waits:
            raise Cold(lambda: None)
        return next((each for each in self.content if int.from_bytes(each[:8], "big") >= offset), b"")


class HandTurn:
    """The end of a loop turn, which comes when it is called for."""

    def __init__(self) -> None:
        self._writers: list[Callable[[], None]] = []
        self.is_long = False

    def write(self, callback: Callable[[], None]) -> None:
        self._writers.append(callback)

    def end(self) -> None:
        if self.is_long:
            return
        writers, self._writers = self._writers, []
        for write in writers:
            write()


class VirtualStage(Stage):
    """Requests and responses pass through the codec and the handlers, as they would from a socket."""

    partitions = 1
    """Of __consumer_offsets. The first is on the stage; whoever says more opens the others."""

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__()
        self.time = VirtualTime(1)
        self.options = {"group.initial.rebalance.delay.ms": "0", **options}
        self.partition = RecordedPartition()
        self.entropy = SeededEntropy(1)
        topics = [
            TopicSet(Topic(name, self.topic_id(name), (PartitionImage(1, 0, (1,), (1,)),) * 3))
            for name in ("t", "u")
        ]
        self.image = apply(Image(), topics)
        self.loads = True
        self.logged: list[tuple[str, str, dict[str, object]]] = []
        self.boot()

    def boot(self) -> None:
        self.loop = VirtualLoop(self.time)
        self.turn = HandTurn()
        self.coordinator = GroupCoordinator(
            self.time,
            Waits(self.time, self.loop),
            self.loop,
            self.turn,
            self.entropy,
            lambda: self.image,
            BrokerOptions(self.options),
            lambda: self.partitions,
            Log(lambda *line: self.logged.append(line), self.time.mono_ms),
        )
        self.coordinator.start()
        self.coordinator.on_partition_opened(0, self.partition)
        self.settle()

    @property
    def shard(self) -> GroupShard:
        return self.coordinator._shards[0]

    def ask(
        self, name: str, api: ModuleType, request: Any, version: int, tell: Tell, client: str | None = None
    ) -> None:
        def respond(response: object) -> None:
            content = api.encode_response(response, version)
            TRAFFIC.received(api.API_KEY, version, api.decode_response(content, 0, version))
            self.deliver(name, api, version, tell, content)

        request = api.decode_request(api.encode_request(request, version), 0, version)
        TRAFFIC.sent(api.API_KEY, version, request)
        broker: Any = SimpleNamespace(groups=self.coordinator)
        caller: Any = SimpleNamespace(client_id=client or name, host="/127.0.0.1")
        answer = handlers.load(api.API_KEY).handle(broker, request, version, caller)
        self.turn.end()
        if isinstance(answer, Parked):
            if answer.reply is None:
                self.lines.append(f"{name} waits")
            answer.then(lambda told, reply: told(reply), respond)
        else:
            respond(answer)

    def settle(self) -> None:
        if self.loads:
            self.time.settle()

    # -- moves of the world

    def do_tick(self, duration: str) -> None:
        self.time.run_for(duration_ms(duration))

    def do_crash(self) -> None:
        self.loop.kill()
        self.boot()

    def do_begin_load(self) -> None:
        """A crash; what follows meets a shard that has not read its records yet."""
        self.loads = False
        self.do_crash()

    def do_end_load(self) -> None:
        self.loads = True

    def do_close(self) -> None:
        """The partition goes elsewhere."""
        self.coordinator.on_partition_closed(0)

    def do_restart(self, **options: str) -> None:
        """As a crash, with other options. Written as name=value."""
        self.options.update(options)
        self.do_crash()

    def do_recreate_topic(self, topic: str) -> None:
        """Under another topic id, and nobody told the coordinator."""
        partitions = self.image.topics[topic].partitions
        self.image = apply(self.image, [TopicSet(Topic(topic, bytes(15) + b"n", partitions))])

    def do_begin_turn(self) -> None:
        """What follows happens in one turn of the loop."""
        self.turn.is_long = True

    def do_end_turn(self) -> None:
        self.turn.is_long = False
        self.turn.end()

    def do_hold(self) -> None:
        self.partition.held = True

    def do_release(self) -> None:
        self.partition.release()

    def do_fail_commits(self) -> None:
        self.partition.release(56)

    def do_refuse(self, code: str = "56") -> None:
        self.partition.refuses = int(code)

    def do_drop_topic(self, topic: str) -> None:
        self.coordinator.on_topic_deleted(topic)
