"""A thousand members join one group: how long until all of them are in one generation and have their assignment.

The members speak the classic protocol as a client does: join, sync, heartbeat, and join again when a rebalance is on.
The group begins without the initial delay, so the first members form generations of their own, which the others break.
"""

import selectors
import socket
import time
from collections.abc import Callable, Sequence

from barnabas.wire.messages.heartbeat import HeartbeatRequest
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from barnabas.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

from . import requests
from .lag import lag_of
from .raw import wait_for_coordinator
from .site import Figures, Measure, Site, percentiles

REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
SESSION_MS, REBALANCE_MS = 45_000, 300_000
HEARTBEAT_S = 0.5
GIVE_UP_S = 300.0


class Member:
    """One client of the group. send: bytes of whole requests; their answers go to take()."""

    def __init__(self, group: str, send: Callable[[bytes], object]) -> None:
        self.group = group
        self._send = send
        self.member_id = ""
        self.generation = -1
        self.settled = False
        self.group_size = 0
        self.heartbeat_at = self.settled_at = float("inf")
        self._asked = requests.JOIN_GROUP

    def join(self) -> None:
        self.settled = False
        protocols = [JoinGroupRequestProtocol("range", b"\0\0\0\0\0\0")]
        message = JoinGroupRequest(
            self.group, SESSION_MS, REBALANCE_MS, self.member_id, None, "consumer", protocols
        )
        self._ask(requests.JOIN_GROUP, message)

    def beat(self) -> None:
        self.heartbeat_at = float("inf")
        self._ask(requests.HEARTBEAT, HeartbeatRequest(self.group, self.generation, self.member_id))

    def _ask(self, key: int, message: object) -> None:
        self._asked = key
        self._send(requests.encode(key, message))

    def take(self, frame: bytes) -> None:
        """The answer to what was asked, without its length."""
        answer = requests.decode(self._asked, frame)
        if answer.error_code == MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            self.join()
        elif answer.error_code == REBALANCE_IN_PROGRESS:
            self.join()
        elif answer.error_code:
            raise AssertionError(f"a member was answered error {answer.error_code}")
        elif self._asked == requests.JOIN_GROUP:
            self._sync(answer)
        else:
            now = time.perf_counter()
            if not self.settled:
                self.settled, self.settled_at = True, now
            self.heartbeat_at = now + HEARTBEAT_S

    def _sync(self, joined: JoinGroupResponse) -> None:
        self.member_id, self.generation = joined.member_id, joined.generation_id
        self.group_size = len(joined.members)
        assigned = [SyncGroupRequestAssignment(member.member_id, b"\0" * 10) for member in joined.members]
        self._ask(
            requests.SYNC_GROUP,
            SyncGroupRequest(self.group, self.generation, self.member_id, assignments=assigned),
        )


class RemoteMember(Member):
    """One with a connection."""

    def __init__(self, port: int, group: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        super().__init__(group, self.socket.sendall)
        self._held = bytearray()

    def receive(self) -> None:
        content = self.socket.recv(1 << 20)
        if not content:
            raise ConnectionError("the broker closed a member's connection")
        self._held += content
        if len(self._held) < 4 or len(self._held) < 4 + int.from_bytes(self._held[:4], "big"):
            return
        frame = bytes(self._held[4:])
        self._held.clear()
        self.take(frame)


def _join_together(site: Site) -> Figures:
    """The percentiles are of the time from the first member's first request until a member has its last assignment."""
    group = site.fresh_name("joining")
    wait_for_coordinator(site.broker.port, group)
    members = [RemoteMember(site.broker.port, group) for _ in range(site.scale.members)]
    with lag_of(site.broker) as lag:
        before, begun = site.broker.cpu_us(), time.perf_counter()
        _settle(members, begun)
        seconds = time.perf_counter() - begun
        cpu_us = site.broker.cpu_us() - before
    for member in members:
        member.socket.close()
    return {
        "join_s": seconds,
        "cpu_us": cpu_us / len(members),
        "generations": float(members[0].generation),
        **percentiles([member.settled_at - begun for member in members]),
        **lag.figures(),
    }


join_together = Measure(_join_together, seconds=3.0, kafka_seconds=4.0)


def _settle(members: list[RemoteMember], begun: float) -> None:
    with selectors.DefaultSelector() as chooser:
        for member in members:
            chooser.register(member.socket, selectors.EVENT_READ, member)
            member.join()
        while not are_one_generation(members):
            now = time.perf_counter()
            if now - begun > GIVE_UP_S:
                raise AssertionError(f"{len(members)} members did not come together")
            for member in members:
                if member.heartbeat_at <= now:
                    member.beat()
            for key, _ in chooser.select(HEARTBEAT_S / 10):
                key.data.receive()


def are_one_generation(members: Sequence[Member]) -> bool:
    if not members[0].settled or not all(member.settled for member in members):
        return False
    generations = {member.generation for member in members}
    return len(generations) == 1 and max(member.group_size for member in members) == len(members)
