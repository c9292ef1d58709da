"""A network in memory: the same contract as the sockets', with chunks, delays and cuts drawn from the seed.

P1  Bytes of one stream arrive in order, in pieces of drawn sizes, after drawn delays; nothing arrives inside send().
P2  The receiver's view is overwritten after its call, so that who keeps it reads nonsense and the test sees it. What it
    expects it gets as bytes of its own.
P3  A file range is read when it leaves, not when it is queued, as sendfile does.
P4  A cut stream loses what has not arrived; both ends are told. A stalled pair of hosts keeps it until healed.
P5  After closed() a connection calls nobody.
P6  A frozen node reads nothing and is told nothing until it goes on; to who connects meanwhile it is not there.
"""

import errno
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from barnabas.ports import Connection, FileRange, Listening, Piece, Receiver, WorldError
from barnabas.testing.virtual import VirtualLoop, VirtualTime

CHUNK_BYTES_MAX: Final = 64 * 1024
FIRST_FREE_PORT: Final = 40_000

OnConnect = Callable[[Connection], Receiver]
OnDialled = Callable[[Connection | None, WorldError | None], Receiver | None]


class PipeConnection:
    """One end of a stream."""

    def __init__(
        self, wire: "Wire", loop: VirtualLoop, local: tuple[str, int], peer: tuple[str, int]
    ) -> None:
        self.local_host, self.local_port = local
        self.peer_host, self.peer_port = peer
        self.other: PipeConnection | None = None
        self.receiver: Receiver | None = None
        self.reading = False
        self.expected = 0
        self.open = True
        self._wire = wire
        self._loop = loop
        self._outbox: deque[Piece] = deque()
        self._unsent = 0
        self._closing = False
        self._moving = False

    # -- the port

    def send(self, pieces: Sequence[Piece]) -> None:
        if not self.open or self._closing:
            return
        for piece in pieces:
            size = piece.size if isinstance(piece, FileRange) else len(piece)
            if size:
                self._outbox.append(piece)
                self._unsent += size
        self.move()

    def unsent_bytes(self) -> int:
        return self._unsent

    def expect(self, size: int) -> None:
        self.expected = size

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        if self.open and not self._closing:
            self.reading = True
            if self.other is not None:
                self.other.move()

    def close(self, *, after_sending: bool = True) -> None:
        if not self.open or (self._closing and after_sending):
            return
        self._closing = True
        self.reading = False
        if not after_sending:
            self._outbox.clear()
            self._unsent = 0
        self.move()

    # -- the wire

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.resume()
        self.move()

    def move(self) -> None:
        """Let the next bytes, or the end, travel, unless some are under way."""
        if self.open and not self._moving and (self._outbox or self._closing):
            self._moving = True
            self._loop.after(self._wire.delay_ms(), self._arrive)

    def _arrive(self) -> None:
        self._moving = False
        if not self.open:
            return
        other = self.other
        if other is not None and other._closing:
            self._outbox.clear()  # the peer reads no more: its kernel takes the bytes and drops them
            self._unsent = 0
        if not self._outbox:
            if self._closing:
                self.end("closed")
        elif (
            other is not None
            and other.reading
            and not other._loop.frozen
            and not self._wire.is_stalled(self.local_host, self.peer_host)
        ):
            self._deliver(other)

    def _deliver(self, other: "PipeConnection") -> None:
        try:
            size = self._wire.chunk_bytes()
            content = self._take(min(size, other.expected) if other.expected else size)
        except WorldError as error:
            self.end(error.what)
            return
        if self._wire.wants_cut():
            self.end("connection reset by peer")
            return
        if other.node_lives:
            assert other.receiver is not None
            view = memoryview(bytes(content) if other.expected else content)
            other.receiver.received(view)
            content[:] = b"\xaa" * len(content)
        self.move()

    @property
    def node_lives(self) -> bool:
        return self._loop.alive

    def _take(self, size: int) -> bytearray:
        """Up to size bytes of the outbox, from one piece or several."""
        taken = bytearray()
        while self._outbox and len(taken) < size:
            piece = self._outbox[0]
            room = size - len(taken)
            if isinstance(piece, FileRange):
                part = piece.file.read(piece.position, min(room, piece.size))
                if not part:
                    raise WorldError(f"{piece.file.path}: shorter than a reply that names it")
                rest: Piece = FileRange(piece.file, piece.position + len(part), piece.size - len(part))
                is_all = len(part) == piece.size
            else:
                part = piece[:room]
                rest = piece[room:]
                is_all = len(part) == len(piece)
            taken += part
            if is_all:
                self._outbox.popleft()
            else:
                self._outbox[0] = rest
        self._unsent -= len(taken)
        return taken

    def end(self, reason: str) -> None:
        """This end is over now; the other one hears of it after the wire's delay."""
        if not self.open:
            return
        self.open = False
        self.reading = False
        self._outbox.clear()
        self._unsent = 0
        self._wire.forget(self)
        receiver, self.receiver = self.receiver, None
        if receiver is not None and self._loop.frozen:
            self._loop.after(0, lambda: receiver.closed(reason))
        elif receiver is not None and self.node_lives:
            receiver.closed(reason)
        other = self.other
        if other is not None and other.open:
            told = "the peer closed" if reason == "closed" else "connection reset by peer"
            self._wire.time.after(self._wire.delay_ms(), lambda: other.end(told))


class PipeListening:
    """A listening address."""

    def __init__(
        self,
        wire: "Wire",
        loop: VirtualLoop,
        host: str,
        port: int,
        on_connect: OnConnect | None,
        shared: bool = False,
    ) -> None:
        """on_connect None: the address is only reserved."""
        self.host = host
        self.port = port
        self.loop = loop
        self.on_connect = on_connect
        self.shared = shared
        self._wire = wire

    def close(self) -> None:
        self._wire.unlisten(self)


class Wire:
    """What lies between the nodes of one simulation. `cut_one_in` cuts about one delivery in so many (0: none)."""

    def __init__(self, time: VirtualTime, *, delay_ms_max: int = 2, cut_one_in: int = 0) -> None:
        self.time = time
        self.delay_ms_max = delay_ms_max
        self.cut_one_in = cut_one_in
        self._listening: dict[tuple[str, int], list[PipeListening]] = {}
        self._connections: dict[int, PipeConnection] = {}
        self._stalled: set[frozenset[str]] = set()
        self._next_port = FIRST_FREE_PORT

    # -- what a test does to it

    def cut(self, host: str = "") -> None:
        """Reset every stream (of that host)."""
        for connection in list(self._connections.values()):
            if host in ("", connection.local_host):
                connection.end("connection reset by peer")

    def stall(self, one: str, other: str) -> None:
        """Nothing passes between two hosts, and neither is told."""
        self._stalled.add(frozenset((one, other)))

    def heal(self) -> None:
        self.cut_one_in = 0
        self.unstall()

    def unstall(self) -> None:
        self._stalled.clear()
        self.go_on()

    def go_on(self) -> None:
        """What was held back moves again, where nothing holds it back any more."""
        for connection in list(self._connections.values()):
            connection.move()

    def lose(self, loop: VirtualLoop) -> None:
        """The node of a killed loop: its kernel closes its sockets, and its addresses are free again."""
        for listening in [each for sharing in self._listening.values() for each in sharing]:
            if listening.loop is loop:
                listening.close()
        for connection in list(self._connections.values()):
            if connection._loop is loop:
                connection.end("connection reset by peer")

    # -- what the ends ask of it

    def delay_ms(self) -> int:
        return self.time.random.randint(0, self.delay_ms_max)

    def chunk_bytes(self) -> int:
        """Often small, sometimes large: frames must be put together from any pieces."""
        return self.time.random.randint(1, self.time.random.choice((8, 512, CHUNK_BYTES_MAX)))

    def wants_cut(self) -> bool:
        return self.cut_one_in > 0 and self.time.random.randrange(self.cut_one_in) == 0

    def is_stalled(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._stalled

    def free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def listen(self, listening: PipeListening) -> None:
        sharing = self._listening.setdefault((listening.host, listening.port), [])
        is_reserve = listening.on_connect is None
        if any(not (listening.shared and each.shared) or is_reserve for each in sharing):
            text = "another process listens there: stop it or choose another port"
            raise WorldError(f"{listening.host}:{listening.port}: {text}", errno.EADDRINUSE)
        sharing.append(listening)

    def unlisten(self, listening: PipeListening) -> None:
        sharing = self._listening.get((listening.host, listening.port), [])
        if listening in sharing:
            sharing.remove(listening)

    def forget(self, connection: PipeConnection) -> None:
        self._connections.pop(id(connection), None)

    def dial(self, loop: VirtualLoop, source: str, host: str, port: int, on_connect: OnDialled) -> None:
        sharing = [
            each for each in self._listening.get((host, port), ()) if each.on_connect and each.loop.alive
        ]
        if not sharing or self.is_stalled(source, host):
            number = errno.ETIMEDOUT if self.is_stalled(source, host) else errno.ECONNREFUSED
            on_connect(None, WorldError(f"{host}:{port}: no connection", number))
            return
        listening = sharing[0] if len(sharing) == 1 else self.time.random.choice(sharing)
        if listening.loop.frozen:
            on_connect(None, WorldError(f"{host}:{port}: no connection", errno.ETIMEDOUT))
            return
        near = (source, self.free_port())
        here = PipeConnection(self, loop, near, (host, port))
        there = PipeConnection(self, listening.loop, (host, port), near)
        here.other, there.other = there, here
        self._connections[id(here)] = here
        self._connections[id(there)] = there
        assert listening.on_connect is not None
        there.start(listening.on_connect(there))
        receiver = on_connect(here, None)
        if receiver is None:
            here.close(after_sending=False)
        else:
            here.start(receiver)


class PipeNetwork:
    """The Network port of one simulated node, whose host name is its own."""

    def __init__(self, wire: Wire, loop: VirtualLoop, host: str = "127.0.0.1") -> None:
        self._wire = wire
        self._loop = loop
        self._host = host

    def listen(self, host: str, port: int, on_connect: OnConnect, *, shared: bool = False) -> Listening:
        port = port or self._wire.free_port()
        listening = PipeListening(self._wire, self._loop, host, port, on_connect, shared)
        self._wire.listen(listening)
        return listening

    def reserve(self, host: str, port: int) -> Listening:
        listening = PipeListening(
            self._wire, self._loop, host, port or self._wire.free_port(), None, shared=True
        )
        self._wire.listen(listening)
        return listening

    def connect(self, host: str, port: int, on_connect: OnDialled) -> None:
        delay_ms = self._wire.delay_ms()
        self._loop.after(delay_ms, lambda: self._wire.dial(self._loop, self._host, host, port, on_connect))
