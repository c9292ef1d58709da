"""Plaintext sockets of our own on the event loop: recv_into one shared buffer, sendmsg, sendfile.

N1  The receiver sees the shared buffer during its call only.
N2  Pieces leave in the order they were queued. At most GATHER_BYTES of bytes are put together for one sendmsg; a file
    range goes by sendfile where the file has a descriptor, in slices of RANGE_BYTES where it has none, so a slow
    reader costs no memory.
N3  After closed() a connection calls nobody.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from barnabas.adapters.loop import AsyncLoop
from barnabas.ports import Connection, FileRange, Listening, Piece, Receiver, WorldError

RECEIVE_BYTES: Final = 256 * 1024
GATHER_BYTES: Final = 256 * 1024
GATHER_PIECES: Final = 64
RANGE_BYTES: Final = 256 * 1024
ACCEPTS_PER_WAKE: Final = 64
ACCEPT_PAUSE_S: Final = 0.1


class SocketConnection:
    """One connected stream."""

    __slots__ = (
        "_closing",
        "_connected",
        "_fd",
        "_loop",
        "_network",
        "_outbox",
        "_reading",
        "_receiver",
        "_socket",
        "_unsent",
        "_writing",
        "local_host",
        "local_port",
        "peer_host",
        "peer_port",
    )

    def __init__(self, network: "SocketNetwork", connected: socket.socket, loop: AsyncLoop) -> None:
        self._network = network
        self._socket = connected
        self._fd = connected.fileno()
        self._loop = loop.asyncio
        self._receiver: Receiver | None = None
        self._outbox: deque[Piece | memoryview] = deque()
        self._unsent = 0
        self._reading = False
        self._writing = False
        self._closing = False
        self._connected = True
        self.peer_host, self.peer_port = _address(connected.getpeername())
        self.local_host, self.local_port = _address(connected.getsockname())

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self._connected:
            self.resume()

    # -- reading

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if not self._reading and self._connected and not self._closing:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        view = self._network.receive_view
        try:
            size = self._socket.recv_into(view)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(os.strerror(error.errno or 0))
            return
        if size == 0:
            self._end("the peer closed")
            return
        assert self._receiver is not None
        self._receiver.received(view[:size])

    # -- writing

    def send(self, pieces: Sequence[Piece]) -> None:
        if not self._connected or self._closing:
            return
        if not self._outbox and len(pieces) == 1:
            piece = pieces[0]
            if isinstance(piece, bytes):
                # The common case: one reply, nothing queued before it.
                try:
                    sent = self._socket.send(piece)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                except OSError as error:
                    self._loop.call_soon(self._end, os.strerror(error.errno or 0))
                    return
                if sent == len(piece):
                    return
                self._outbox.append(memoryview(piece)[sent:])
                self._unsent += len(piece) - sent
                self._write_later()
                return
        for piece in pieces:
            size = piece.size if isinstance(piece, FileRange) else len(piece)
            if size:
                self._outbox.append(piece)
                self._unsent += size
        if not self._writing:
            self._drain()

    def unsent_bytes(self) -> int:
        return self._unsent

    def _write_later(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._drain)

    def _drain(self) -> None:
        outbox = self._outbox
        try:
            while outbox:
                first = outbox[0]
                sent = self._send_range(first) if isinstance(first, FileRange) else self._send_bytes()
                if sent == 0:
                    self._write_later()
                    return
                self._unsent -= sent
        except (BlockingIOError, InterruptedError):
            self._write_later()
            return
        except WorldError as error:
            self._loop.call_soon(self._end, error.what)
            return
        except OSError as error:
            self._loop.call_soon(self._end, os.strerror(error.errno or 0))
            return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        if self._closing:
            self._end("closed")

    def _send_bytes(self) -> int:
        outbox = self._outbox
        gathered: list[bytes | memoryview] = []
        size = 0
        for piece in outbox:
            if isinstance(piece, FileRange) or size >= GATHER_BYTES or len(gathered) == GATHER_PIECES:
                break
            gathered.append(piece)
            size += len(piece)
        sent = self._socket.send(gathered[0]) if len(gathered) == 1 else self._socket.sendmsg(gathered)
        left = sent
        while left:
            piece = outbox[0]
            assert not isinstance(piece, FileRange)
            if left >= len(piece):
                left -= len(piece)
                outbox.popleft()
            else:
                outbox[0] = memoryview(piece)[left:]
                left = 0
        return sent

    def _send_range(self, piece: FileRange) -> int:
        fd = piece.file.fileno()
        if fd >= 0:
            sent = os.sendfile(self._fd, fd, piece.position, piece.size)
            if sent == 0:
                raise WorldError(f"{piece.file.path}: shorter than a reply that names it")
        else:
            content = piece.file.read(piece.position, min(piece.size, RANGE_BYTES))
            if not content:
                raise WorldError(f"{piece.file.path}: shorter than a reply that names it")
            sent = self._socket.send(content)
        if sent == piece.size:
            self._outbox.popleft()
        else:
            self._outbox[0] = FileRange(piece.file, piece.position + sent, piece.size - sent)
        return sent

    # -- the end

    def close(self, *, after_sending: bool = True) -> None:
        if not self._connected or self._closing:
            return
        self._closing = True
        self.pause()
        if not after_sending or not self._outbox:
            self._loop.call_soon(self._end, "closed")

    def _end(self, reason: str) -> None:
        if not self._connected:
            return
        self.pause()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        self._connected = False
        self._outbox.clear()
        self._unsent = 0
        self._network.forget(self)
        self._socket.close()
        if self._receiver is not None:
            self._receiver.closed(reason)


class SocketListening:
    """One listening socket."""

    def __init__(self, network: "SocketNetwork", listener: socket.socket, on_connect: "OnConnect") -> None:
        self._network = network
        self._socket = listener
        self._on_connect = on_connect
        self.host, self.port = _address(listener.getsockname())
        network.loop.asyncio.add_reader(listener.fileno(), self._acceptable)

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS_PER_WAKE):
            try:
                accepted, _address_of_peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # No descriptor left: leave the queue alone for a moment instead of turning round it.
                    self._network.loop.asyncio.remove_reader(self._socket.fileno())
                    self._network.loop.asyncio.call_later(ACCEPT_PAUSE_S, self._again)
                return
            self._network.adopt(accepted, self._on_connect)

    def _again(self) -> None:
        if self._socket.fileno() >= 0:
            self._network.loop.asyncio.add_reader(self._socket.fileno(), self._acceptable)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._network.loop.asyncio.remove_reader(self._socket.fileno())
            self._socket.close()


OnConnect = Callable[[Connection], Receiver]


class SocketNetwork:
    """TCP of this machine."""

    def __init__(self, loop: AsyncLoop) -> None:
        self.loop = loop
        self.receive_view = memoryview(bytearray(RECEIVE_BYTES))
        self._connections: set[SocketConnection] = set()

    def listen(self, host: str, port: int, on_connect: OnConnect) -> Listening:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((host, port))
            listener.listen(max(1024, socket.SOMAXCONN))
        except OSError as error:
            listener.close()
            text = os.strerror(error.errno or 0)
            if error.errno == errno.EADDRINUSE:
                text = "another process listens there: stop it or choose another port"
            raise WorldError(f"{host}:{port}: {text}", error.errno or 0) from error
        return SocketListening(self, listener, on_connect)

    def connect(
        self,
        host: str,
        port: int,
        on_connect: Callable[[Connection | None, WorldError | None], Receiver | None],
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        stream = socket.socket(family, socket.SOCK_STREAM)
        stream.setblocking(False)
        loop = self.loop.asyncio

        def finish() -> None:
            loop.remove_writer(stream.fileno())
            number = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                fail(number)
            else:
                self._adopt_outgoing(stream, on_connect)

        def fail(number: int) -> None:
            stream.close()
            on_connect(None, WorldError(f"{host}:{port}: {os.strerror(number)}", number))

        number = stream.connect_ex((host, port))
        if number in (0, errno.EINPROGRESS):
            loop.add_writer(stream.fileno(), finish)
        else:
            loop.call_soon(fail, number)

    def _adopt_outgoing(
        self,
        stream: socket.socket,
        on_connect: Callable[[Connection | None, WorldError | None], Receiver | None],
    ) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = SocketConnection(self, stream, self.loop)
        self._connections.add(connection)
        receiver = on_connect(connection, None)
        if receiver is None:
            connection.close(after_sending=False)
        else:
            connection.start(receiver)

    def adopt(self, accepted: socket.socket, on_connect: OnConnect) -> None:
        """A peer came in."""
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = SocketConnection(self, accepted, self.loop)
        except OSError:
            accepted.close()  # it left again before we looked
            return
        self._connections.add(connection)
        connection.start(on_connect(connection))

    def forget(self, connection: SocketConnection) -> None:
        self._connections.discard(connection)

    def close(self) -> None:
        """Drop every connection now."""
        for connection in list(self._connections):
            connection.close(after_sending=False)


def _address(name: object) -> tuple[str, int]:
    if isinstance(name, tuple):
        host = str(name[0])
        return (host[7:] if host.startswith("::ffff:") else host), int(name[1])
    return str(name), 0
