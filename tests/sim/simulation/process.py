"""A client's process: it can be stopped for a while, and killed; and its connections, which never give up."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from barnabas.ports import Connection, WorldError
from barnabas.testing.network import PipeNetwork
from barnabas.testing.virtual import VirtualLoop
from barnabas.wire import apis
from barnabas.wire.frame import FrameReader, request_head, response_body_at

if TYPE_CHECKING:
    from simulation.world import World

PORT: Final = 9092
RETRY_MS: Final = 50
PATIENCE_MS: Final = 2_000
VERSIONS: Final = {0: 9, 1: 11, 2: 6, 8: 8, 9: 8, 10: 4, 11: 9, 12: 4, 13: 5, 14: 5, 19: 5, 21: 2, 22: 4}
OLD_VERSIONS: Final = {**VERSIONS, 0: 3, 1: 5, 8: 3, 9: 5, 11: 2, 12: 1, 13: 1, 14: 1}
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
    """Requests and replies on one connection of a process; one that breaks or stays mute is replaced.

    Who asked is told the response, or None when nobody knows whether the request was done.
    """

    def __init__(self, process: Process, versions: Mapping[int, int] = VERSIONS) -> None:
        self._process = process
        self._versions = versions
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
        self._process.after(patience_ms, lambda: self._lose() if number in self._waiting else None)
        if self._stream is not None:
            self._send(self._stream, number)
        elif not self._connecting:
            self._connecting = True
            self._process.network.connect("127.0.0.1", PORT, self._connected)

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
        if stream is not None:
            stream.connection.close(after_sending=False)
        waiting, self._waiting = self._waiting, {}
        for _, _, answered in waiting.values():
            self._process.after(RETRY_MS, lambda answered=answered: answered(None))  # type: ignore[misc]


class _Stream:
    """One connection of a client: what arrives late on an old one is not taken for the new one's."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self.connection = connection
        self.frames = FrameReader(1 << 30)
        self.sent: set[int] = set()
        self._client = client

    def received(self, content: memoryview) -> None:
        self._client.take(self, bytes(content))

    def closed(self, reason: str) -> None:
        self._client.end(self)
