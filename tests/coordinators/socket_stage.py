"""A stage of a whole broker over sockets: the same requests, in real time."""

import select
import socket
import time
from types import ModuleType
from typing import Any, NamedTuple

from transcript import GROUP, Stage, Tell, duration_ms

from barnabas.wire.frame import request_head, response_body_at
from barnabas.wire.messages import create_topics, describe_groups, find_coordinator, metadata

WAIT_S = 20.0
LINGER_S = 0.05


class Asked(NamedTuple):
    """A request that is not answered yet."""

    name: str
    api: ModuleType
    version: int
    tell: Tell
    peer: socket.socket


class SocketStage(Stage):
    """Each request has a connection of its own while it waits; commands that need virtual time are not known here."""

    def __init__(self, address: tuple[str, int], groups: str) -> None:
        self._suffix = f"-{groups}"
        self._address = address
        self._idle: list[socket.socket] = []
        self._asked: list[Asked] = []
        self._topics: dict[str, bytes] = {}
        self.expected: list[str] = []
        super().__init__()

    def group_id(self, name: str) -> str:
        return name + self._suffix if name == GROUP else name

    def topic_id(self, name: str) -> bytes:
        return self._topics.get(name, super().topic_id(name))

    def topic_of(self, topic_id: bytes) -> str:
        known = next((name for name, each in self._topics.items() if each == topic_id), None)
        return super().topic_of(topic_id) if known is None else known

    def close(self) -> None:
        for peer in [*self._idle, *(each.peer for each in self._asked)]:
            peer.close()

    def prepare(self) -> None:
        """Topics t and u, and a coordinator that serves the stage's group."""
        names = ("t", "u")
        topics = [
            create_topics.CreatableTopic(name=name, num_partitions=3, replication_factor=1) for name in names
        ]
        self.call(create_topics, create_topics.CreateTopicsRequest(topics=topics, timeout_ms=10_000), 7)
        deadline = time.monotonic() + WAIT_S
        while True:
            ask = metadata.MetadataRequest([metadata.MetadataRequestTopic(name=name) for name in names])
            found = self.call(metadata, ask, 12).topics
            group = find_coordinator.FindCoordinatorRequest(coordinator_keys=[self.group_id(GROUP)])
            described = describe_groups.DescribeGroupsRequest([self.group_id(GROUP)])
            if (
                all(each.error_code == 0 for each in found)
                and self.call(find_coordinator, group, 4).coordinators[0].error_code == 0
                and self.call(describe_groups, described, 6).groups[0].error_code in (0, 69)
            ):
                self._topics = {each.name: each.topic_id for each in found}
                return
            assert time.monotonic() < deadline, "the broker does not get ready"
            time.sleep(0.05)

    def waiting(self, api: str) -> set[str]:
        """The clients that an answer of this API is due to."""
        return {each.name for each in self._asked if each.api.__name__.endswith(f".{api}")}

    # -- requests

    def post(self, name: str, api: ModuleType, request: Any, version: int) -> socket.socket:
        peer = self._idle.pop() if self._idle else socket.create_connection(self._address, timeout=WAIT_S)
        body = api.encode_request(request, version)
        peer.sendall(request_head(api.API_KEY, version, 1, name, len(body)) + body)
        return peer

    def read(self, peer: socket.socket, api: ModuleType, version: int) -> bytes:
        """The response's body."""
        size = int.from_bytes(exactly(peer, 4), "big")
        frame = exactly(peer, size)
        self._idle.append(peer)
        return frame[response_body_at(api.API_KEY, version, frame) :]

    def call(self, api: ModuleType, request: Any, version: int) -> Any:
        content = self.read(self.post("stage", api, request, version), api, version)
        return api.decode_response(content, 0, version)

    def ask(
        self, name: str, api: ModuleType, request: Any, version: int, tell: Tell, client: str | None = None
    ) -> None:
        self._asked.append(Asked(name, api, version, tell, self.post(client or name, api, request, version)))

    def settle(self) -> None:
        """Wait for as many answers as the transcript says, then see that no more come."""
        waiting = [line.partition(" ")[0] for line in self.expected if line.endswith(" waits")]
        wanted = len([line for line in self.expected if line[0] not in " -"]) - len(waiting)
        come = self._come(wanted, WAIT_S)
        self.call(describe_groups, describe_groups.DescribeGroupsRequest([self.group_id(GROUP)]), 6)
        come += self._come(len(self._asked), LINGER_S)
        self.lines += [f"{each.name} waits" for each in self._asked if each.name in waiting]
        for asked, content in sorted(come, key=self._place):
            self.deliver(asked.name, asked.api, asked.version, asked.tell, content)

    def _place(self, come: tuple[Asked, bytes]) -> int:
        """Answers on several connections come in any order: they are told in the transcript's."""
        names = [line.partition(" ")[0] for line in self.expected]
        return names.index(come[0].name) if come[0].name in names else len(names)

    def _come(self, count: int, wait_s: float) -> list[tuple[Asked, bytes]]:
        come: list[tuple[Asked, bytes]] = []
        deadline = time.monotonic() + wait_s
        while len(come) < count and self._asked:
            left_s = max(deadline - time.monotonic(), 0)
            ready, _, _ = select.select([each.peer for each in self._asked], [], [], left_s)
            if not ready:
                break
            for asked in [each for each in self._asked if each.peer in ready]:
                self._asked.remove(asked)
                come.append((asked, self.read(asked.peer, asked.api, asked.version)))
        return come

    # -- moves of the world

    def do_tick(self, duration: str) -> None:
        time.sleep(duration_ms(duration) / 1000)


def exactly(peer: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = peer.recv(size - len(parts))
        assert part, "the broker closed the connection"
        parts += part
    return parts
