"""A network of real sockets that listens, for tests: its loop is turned by hand."""

import socket
from collections.abc import Callable
from typing import Any

from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.network import (
    SocketConnection,
    SocketNetwork,
)
from barnabas.ports import Connection
from real_loop import turn_until


class Ear:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard = bytearray()
        self.reasons: list[str] = []
        self.on_bytes: Callable[[], None] = lambda: None

    def received(self, content: memoryview) -> None:
        self.heard += content
        self.on_bytes()

    def closed(self, reason: str) -> None:
        self.reasons.append(reason)


class Server:
    """A network that listens, and plain blocking peers."""

    def __init__(self, loop: AsyncLoop) -> None:
        self.loop = loop
        self.network = SocketNetwork(loop)
        self.ears: list[Ear] = []
        self.listening = self.network.listen("127.0.0.1", 0, self.connected)
        self.peers: list[socket.socket] = []

    def connected(self, connection: Connection) -> Ear:
        self.ears.append(Ear(connection))
        return self.ears[-1]

    def turn_until(self, reached: Callable[[], bool]) -> None:
        turn_until(self.loop.asyncio, reached)

    def peer(self) -> tuple[socket.socket, Ear]:
        peer = socket.create_connection(("127.0.0.1", self.listening.port), timeout=10)
        self.peers.append(peer)
        known = len(self.ears)
        self.turn_until(lambda: len(self.ears) > known)
        return peer, self.ears[-1]


class Counting:
    """A socket that remembers the size of each call: what was handed to the kernel, and what it was asked for."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.sent: list[int] = []
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def send(self, content: bytes, flags: int = 0) -> int:
        self.sent.append(len(content))
        return self._real.send(content, flags)

    def sendmsg(self, pieces: list[bytes], ancillary: tuple[()], flags: int) -> int:
        self.sent.append(sum(map(len, pieces)))
        return self._real.sendmsg(pieces, ancillary, flags)

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        return self._real.recv(size)


def counted(connection: Connection) -> Counting:
    """The calls of this connection from now on."""
    assert isinstance(connection, SocketConnection)
    counting = Counting(connection._socket)
    connection._socket = counting  # type: ignore[assignment]
    return counting
