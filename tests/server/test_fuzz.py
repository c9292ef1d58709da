"""Nearly right requests of every API and version, on virtual time: each connection is answered or closed, nobody else notices.

The long run, against a process and with its memory watched, is tests/faults/test_garbage.py.
"""

import random
from collections.abc import Iterator

import pytest
from mutations import MAY_WAIT, REQUESTS, TOPIC, Mutator, pieces
from rawclient import frame_of, header_of

from barnabas.ports import Connection, WorldError
from barnabas.server.handlers import SERVED
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from barnabas.wire.frame import FrameReader

PORT = 9092
STATIC = {
    "listeners": f"PLAINTEXT://127.0.0.1:{PORT}",
    "barnabas.metrics.port": "-1",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1",
    "offsets.topic.num.partitions": "1",
}
ANSWER_MS = 5_000
ROUNDS = 40
PROBE = 0x5EED
API_VERSIONS = 18


class Peer:
    """One connection, which keeps the correlation ids of what it gets."""

    def __init__(self, time: VirtualTime, wire: Wire) -> None:
        self.time = time
        self.answered: list[int] = []
        self.ended = False
        self._frames = FrameReader(1 << 30)
        self._connection: Connection | None = None
        PipeNetwork(wire, VirtualLoop(time), "10.0.0.9").connect("127.0.0.1", PORT, self._connected)
        time.run_until(lambda: self._connection is not None)

    def _connected(self, connection: Connection | None, error: WorldError | None) -> "Peer":
        assert connection is not None, error
        self._connection = connection
        return self

    def received(self, content: memoryview) -> None:
        self.answered += [int.from_bytes(frame[:4], "big") for frame in self._frames.feed(content)]

    def closed(self, reason: str) -> None:
        self.ended = True

    def send(self, content: bytes) -> None:
        assert self._connection is not None
        self._connection.send([content])

    def leave(self) -> None:
        assert self._connection is not None
        self._connection.close(after_sending=False)

    def is_served(self, wait_ms: int) -> bool:
        """A probe behind all that was sent is answered, or the connection closes."""
        self.send(frame_of(header_of(API_VERSIONS, 0, PROBE)))
        try:
            self.time.run_until(lambda: self.ended or PROBE in self.answered, wait_ms)
        except AssertionError:
            return False
        return True


class Field:
    """A broker, and a connection that must notice nothing."""

    def __init__(self, seed: int) -> None:
        self.lines: list[str] = []
        self.time = VirtualTime(seed)
        self.wire = Wire(self.time)
        self.machine = VirtualMachine(self.time, self.wire, STATIC, write=self._write)
        self.machine.boot()
        self.machine.make_topics(TOPIC)
        self.sentinel = Peer(self.time, self.wire)

    def _write(self, level: str, text: str, fields: dict[str, object]) -> None:
        if level == "error":
            self.lines.append(f"{text} {fields}")

    def check_sentinel(self) -> None:
        self.sentinel.answered.clear()
        assert self.sentinel.is_served(ANSWER_MS) and not self.sentinel.ended


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    yield Field(1)


@pytest.fixture(autouse=True)
def sentinel() -> None:
    """This module has its own world, and its own sentinel in it."""


@pytest.mark.parametrize("key", SERVED, ids=SERVED.get)
def test_requests_that_are_nearly_right_are_answered_or_close(field: Field, key: int) -> None:
    chance = random.Random(key)
    mutator = Mutator(chance)
    versions = [version for served, version in REQUESTS if served == key]
    for number in range(ROUNDS * len(versions)):
        version = versions[number % len(versions)]
        peer = Peer(field.time, field.wire)
        count = chance.choice((1, 1, 2, 5))
        sent = b"".join(mutator.frame(key, version, at) for at in range(count))
        for piece in pieces(chance, sent):
            peer.send(piece)
            field.time.run_for(chance.choice((0, 0, 3)))
        is_served = peer.is_served(ANSWER_MS)
        peer.leave()
        assert is_served or key in MAY_WAIT or mutator.wrong_sizes, (
            f"{SERVED[key]} v{version} is not answered"
        )
        mutator.wrong_sizes = 0
        assert not field.lines, field.lines
    field.check_sentinel()
