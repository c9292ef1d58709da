"""A client's process: it can be stopped for a while, and killed; and its connections, which never give up.

A client finds who leads a partition by Metadata, and forgets all it knows of leaders as soon as one does not answer or says
that it leads no longer.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from barnabas import errors
from barnabas.ports import Connection, WorldError
from barnabas.testing.network import PipeNetwork
from barnabas.testing.virtual import VirtualLoop
from barnabas.wire import apis
from barnabas.wire.frame import FrameReader, request_head, response_body_at
from barnabas.wire.messages.metadata import MetadataRequest, MetadataRequestTopic

if TYPE_CHECKING:
    from simulation.world import World

Address: TypeAlias = tuple[str, int]
TopicPartition: TypeAlias = tuple[str, int]
ANYBODY: Final = ("127.0.0.1", 9092)
"""Where every broker listens."""
MOVED: Final = frozenset(
    (errors.UNKNOWN_TOPIC_OR_PARTITION, errors.NOT_LEADER_OR_FOLLOWER, errors.LEADER_NOT_AVAILABLE)
)
EPOCHS_SINCE: Final = 7
MAY_WAIT_LONG: Final = (11, 14)
"""JoinGroup and SyncGroup, for who else is in the group."""
RETRY_MS: Final = 50
PATIENCE_MS: Final = 2_000
VERSIONS: Final = {
    0: 9,
    1: 11,
    2: 6,
    3: 12,
    8: 8,
    9: 8,
    10: 4,
    11: 9,
    12: 4,
    13: 5,
    14: 5,
    19: 5,
    20: 4,
    21: 2,
    22: 4,
    32: 4,
    37: 3,
    44: 1,
}
OLD_VERSIONS: Final = {**VERSIONS, 0: 3, 1: 5, 3: 4, 8: 3, 9: 5, 11: 2, 12: 1, 13: 1, 14: 1}
"""Before flexible versions, static members, and member ids that the coordinator gives out first."""


class Process:
    """One process on a host of its own."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.host = f"host-{name}"
        self.alive = True
        self.network = PipeNetwork(world.wire, VirtualLoop(world.time), self.host)
        self._paused = False
        self._held: deque[Callable[[], None]] = deque()

    def run(self, callback: Callable[[], None]) -> None:
        """Now; when the process is stopped, once it goes on; never when it has died."""
        if self._paused:
            self._held.append(callback)
        elif self.alive:
            callback()

    def after(self, delay_ms: int, callback: Callable[[], None]) -> None:
        self.world.time.after(delay_ms, lambda: self.run(callback))

    def pause(self, duration_ms: int) -> None:
        """SIGSTOP, and SIGCONT after that time."""
        if not self._paused:
            self._paused = True
            self.world.time.after(duration_ms, self.resume)

    def resume(self) -> None:
        self._paused = False
        while self._held and not self._paused:
            self.run(self._held.popleft())

    def kill(self) -> None:
        self.alive = False
        self._held.clear()
        self.world.wire.cut(self.host)


class Client:
    """A client of the cluster: it asks the leader of a partition, whoever it was told to turn to, or anybody.

    Who asked is told the response, or None when nobody knows whether the request was done, or there was no leader.
    """

    def __init__(self, process: Process, versions: Mapping[int, int] = VERSIONS) -> None:
        self._process = process
        self._versions = versions
        self._links: dict[Address, _Link] = {}
        self._turned_to = ANYBODY
        self._leaders: dict[TopicPartition, Address] = {}
        self._learning: list[Callable[[], None]] = []
        self.was_told = False
        """Whether the last question for leaders was answered."""

    @property
    def busy(self) -> bool:
        return bool(self._learning) or any(link.busy for link in self._links.values())

    def ask(
        self, key: int, message: Any, answered: Callable[[Any], None], patience_ms: int = PATIENCE_MS
    ) -> None:
        """Of whom this client has turned to."""
        self._link(self._turned_to).ask(key, message, answered, patience_ms)

    def turn_to(self, address: Address = ANYBODY) -> None:
        self._turned_to = address

    def ask_leader(
        self,
        topic: str,
        partition: int,
        key: int,
        message: Any,
        answered: Callable[[Any], None],
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        """In the order of these calls."""
        self._when_known(
            [(topic, partition)],
            lambda: self._ask_known((topic, partition), key, message, answered, patience_ms),
        )

    def by_leader(
        self, topic: str, partitions: Sequence[int], found: Callable[[list[list[int]]], None]
    ) -> None:
        """found(the partitions in groups of one leader each; those without one are left out)."""

        def grouped() -> None:
            groups: dict[Address, list[int]] = {}
            for partition in partitions:
                address = self._leaders.get((topic, partition))
                if address is not None:
                    groups.setdefault(address, []).append(partition)
            found(list(groups.values()))

        self._when_known([(topic, partition) for partition in partitions], grouped)

    def forget_leaders(self) -> None:
        self._leaders.clear()

    def _ask_known(
        self,
        partition: TopicPartition,
        key: int,
        message: Any,
        answered: Callable[[Any], None],
        patience_ms: int,
    ) -> None:
        address = self._leaders.get(partition)
        if address is None:
            self._process.after(RETRY_MS, lambda: answered(None))
            return

        def told(response: Any) -> None:
            if response is None or not MOVED.isdisjoint(codes_of(key, response)):
                self.forget_leaders()
            answered(response)

        self._link(address).ask(key, message, told, patience_ms)

    def _when_known(self, partitions: Sequence[TopicPartition], act: Callable[[], None]) -> None:
        """Metadata is asked for once, if it must be; whether it says who leads or not."""
        if not self._learning and all(each in self._leaders for each in partitions):
            act()
            return
        self._learning.append(act)
        if len(self._learning) > 1:
            return
        topics = [MetadataRequestTopic(name=name) for name in dict.fromkeys(name for name, _ in partitions)]
        ask = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
        link = self._link(ANYBODY)
        floor = link.told_epochs
        link.ask(3, ask, lambda response: self._learned(response, floor), PATIENCE_MS)

    def _learned(self, response: Any, floor: "dict[TopicPartition, int]") -> None:
        self.was_told = response is not None
        if response is not None:
            brokers = {broker.node_id: (broker.host, broker.port) for broker in response.brokers}
            for topic in response.topics:
                for part in topic.partitions:
                    self._know((topic.name, part.partition_index), part, brokers.get(part.leader_id), floor)
        waiting, self._learning = self._learning, []
        for act in waiting:
            act()

    def _know(
        self,
        partition: TopicPartition,
        part: Any,
        address: Address | None,
        floor: "dict[TopicPartition, int]",
    ) -> None:
        if address is None or part.error_code:
            self._leaders.pop(partition, None)
            return
        self._leaders[partition] = address
        if self._versions[3] >= EPOCHS_SINCE:
            self._process.world.history.leader_told(partition, part.leader_epoch, part.leader_id, floor)

    def _link(self, address: Address) -> "_Link":
        return self._links.setdefault(address, _Link(self._process, self._versions, address))


def codes_of(key: int, response: Any) -> set[int]:
    """Of the partitions in a response to one of the requests that go to leaders."""
    topics = response.responses if key in (0, 1) else response.topics
    parts = [
        part for topic in topics for part in (topic.partition_responses if key == 0 else topic.partitions)
    ]
    return {part.error_code for part in parts}


class _Link:
    """Requests and replies on one connection to one address; one that breaks or stays mute is replaced."""

    def __init__(self, process: Process, versions: Mapping[int, int], address: Address) -> None:
        self.told_epochs: dict[TopicPartition, int] = {}
        """What this connection, so one broker, has told of leader epochs."""
        self._process = process
        self._versions = versions
        self._address = address
        self._stream: _Stream | None = None
        self._connecting = False
        self._waiting: dict[int, tuple[int, Any, Callable[[Any], None]]] = {}
        self._correlation = 0

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def ask(
        self, key: int, message: Any, answered: Callable[[Any], None], patience_ms: int = PATIENCE_MS
    ) -> None:
        self._correlation += 1
        number = self._correlation
        self._waiting[number] = key, message, answered
        self._process.after(patience_ms, lambda: self._give_up(number, key))
        if self._stream is not None:
            self._send(self._stream, number)
        elif not self._connecting:
            self._connecting = True
            self._process.network.connect(*self._address, self._connected)

    def _give_up(self, number: int, key: int) -> None:
        """Nobody has answered in the time that the request gives, and more."""
        if number in self._waiting:
            world = self._process.world
            may_be_mute = key in MAY_WAIT_LONG or world.may_be_mute
            what = f"{apis.BY_KEY[key].name} of {self._process.name} is not answered"
            world.history.require(may_be_mute, "mute", what)
            self._lose()

    def _connected(self, connection: Connection | None, error: WorldError | None) -> "_Stream | None":
        self._connecting = False
        if not self._process.alive:
            return None
        if connection is None:
            self._process.run(self._lose)
            return None
        stream = self._stream = _Stream(self, connection)
        self._process.after(0, lambda: self._send_all(stream))
        return stream

    def _send_all(self, stream: "_Stream") -> None:
        if self._stream is stream:
            for number in list(self._waiting):
                self._send(stream, number)

    def _send(self, stream: "_Stream", number: int) -> None:
        key, message, _ = self._waiting[number]
        if number in stream.sent:
            return
        stream.sent.add(number)
        version = self._versions[key]
        body = apis.load(key).encode_request(message, version)
        stream.connection.send([request_head(key, version, number, self._process.name, len(body)), body])

    def take(self, stream: "_Stream", content: bytes) -> None:
        """Bytes arrived on a stream."""
        self._process.run(lambda: self._read(stream, content))

    def _read(self, stream: "_Stream", content: bytes) -> None:
        for frame in stream.frames.feed(memoryview(content)):
            if stream is not self._stream:
                return
            waiting = self._waiting.pop(int.from_bytes(frame[:4], "big"), None)
            if waiting is not None:
                key, _, answered = waiting
                version = self._versions[key]
                answered(
                    apis.load(key).decode_response(frame, response_body_at(key, version, frame), version)
                )

    def end(self, stream: "_Stream") -> None:
        """A stream was cut."""
        self._process.run(lambda: self._lose() if stream is self._stream else None)

    def _lose(self) -> None:
        stream, self._stream = self._stream, None
        self.told_epochs = {}
        if stream is not None:
            stream.connection.close(after_sending=False)
        waiting, self._waiting = self._waiting, {}
        for _, _, answered in waiting.values():
            self._process.after(RETRY_MS, lambda answered=answered: answered(None))  # type: ignore[misc]


class _Stream:
    """One connection of a client: what arrives late on an old one is not taken for the new one's."""

    def __init__(self, link: _Link, connection: Connection) -> None:
        self.connection = connection
        self.frames = FrameReader(1 << 30)
        self.sent: set[int] = set()
        self._link = link

    def received(self, content: memoryview) -> None:
        self._link.take(self, bytes(content))

    def closed(self, reason: str) -> None:
        self._link.end(self)
