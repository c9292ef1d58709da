"""A network of real sockets that listens, for tests: its loop is turned by hand."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.network import (
    SocketConnection,
    SocketNetwork,
)
from barnabas.ports import Connection

ROUNDS_MAX = 5_000


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
        async def wait() -> None:
            for _ in range(ROUNDS_MAX):
                if reached():
                    return
                await asyncio.sleep(0.001)
            raise AssertionError("not reached")

        self.loop.asyncio.run_until_complete(wait())

    def peer(self) -> tuple[socket.socket, Ear]:
        peer = socket.create_connection(("127.0.0.1", self.listening.port), timeout=10)
        self.peers.append(peer)
        known = len(self.ears)
        self.turn_until(lambda: len(self.ears) > known)
        return peer, self.ears[-1]


def sends_of(connection: Connection) -> list[int]:
    """From now on, the sizes that were handed to the kernel, one entry a call."""
    assert isinstance(connection, SocketConnection)
    calls: list[int] = []
    real = connection._socket

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def send(self, content: bytes, flags: int = 0) -> int:
            calls.append(len(content))
            return real.send(content, flags)

        def sendmsg(self, pieces: list[bytes], ancillary: tuple[()], flags: int) -> int:
            calls.append(sum(map(len, pieces)))
            return real.sendmsg(pieces, ancillary, flags)

    connection._socket = Counting()  # type: ignore[assignment]
    return calls
