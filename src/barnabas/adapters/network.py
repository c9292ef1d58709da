"""Plaintext sockets of our own on the event loop: recv_into one shared buffer, sendmsg, sendfile.

N1  The receiver sees the shared buffer during its call only.
N2  Pieces leave in the order they were queued. What received() queues leaves together when it returns; what is queued at
    other times leaves at once, for the layers above gather the replies of a turn themselves. At most GATHER_BYTES of
    bytes go into one sendmsg, and ranges of up to COPIED_BYTES_MAX among them, copied to a room that all connections share: of
    what does not leave, the range is kept and not the copy. A larger range goes by sendfile where the file has a descriptor, in slices
    of RANGE_BYTES where it has none, so a slow reader costs no memory; a fast one gets TURN_BYTES before the others have their turn.
    A range that is not in the page cache is brought there by the read pool first: the loop never waits for the disk, the
    pieces before it do not wait, and those behind it keep their place.
N3  closed() never comes from inside a call of the receiver's own; after it a connection calls nobody.
N4  An orderly close reads what lies unread first: a socket closed over unread bytes sends RST, and the peer would lose
    the reply that it has not read yet.
N5  What a receiver expects is read into bytes of its own, which it may keep. Memory for them is asked for by what is
    expected and given back at once by what has come: pages that nothing was written to cost nothing.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final

from barnabas.adapters.cold import is_cold, read_warm, warm
from barnabas.adapters.dial import Dial
from barnabas.adapters.loop import AsyncLoop
from barnabas.ports import Connection, FileRange, Listening, Piece, Receiver, WorldError

RECEIVE_BYTES: Final = 256 * 1024
GATHER_BYTES: Final = 256 * 1024
GATHER_PIECES: Final = 64
TINY_BYTES_MAX: Final = 8 * 1024
"""A range of up to this size is read into bytes of its own."""
COPIED_BYTES_MAX: Final = 16 * 1024
"""Ranges of up to this size together are copied where they are in the page cache, and sent with what lies around them in one
call: to ask whether they are there, a send and a sendfile, three packets and as many wake-ups of the reader cost more. At 64 KB
sendfile is cheaper: 35 µs of CPU a Fetch, not 42."""
JOINED_BYTES_MAX: Final = 8 * 1024
"""Up to this size one run of bytes is cheaper than a call for several."""
RANGE_BYTES: Final = 256 * 1024
EXPECTED_BYTES_MAX: Final = 1024 * 1024
EXPECTED_BYTES_A_TURN: Final = 512 * 1024
"""What is expected of one connection is read on up to here before the others have their turn."""
TURN_BYTES: Final = 1024 * 1024
UNREAD_BYTES_MAX: Final = 1024 * 1024
MSG_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)
"""Linux: more follows at once, so a header and the file range behind it share a packet."""
SHARED_BYTES_MAX: Final = 60 * 1024
"""Up to this size of the range they do. Beyond it the header would shift each page of the file across the bounds of the
largest packets (64 KB, 16 pages): 64 KB cost the kernel 26 µs instead of 17, 256 KB 46 instead of 35."""
SO_REUSEPORT: Final[int] = getattr(socket, "SO_REUSEPORT", 0)
"""Sockets of one user that set it listen on one address together; the kernel deals new connections out to them. 0: not here."""
SYSTEMS_OWN: Final = -1
ACCEPTS_PER_WAKE: Final = 64
ACCEPT_PAUSE_S: Final = 0.1


class SocketConnection:
    """One connected stream."""

    __slots__ = (
        "_closing",
        "_connected",
        "_expected",
        "_fd",
        "_loop",
        "_network",
        "_outbox",
        "_queued",
        "_reading",
        "_receiver",
        "_socket",
        "_unsent",
        "_warming",
        "_writing",
        "local_host",
        "local_port",
        "peer_host",
        "peer_port",
    )

    def __init__(self, network: "SocketNetwork", connected: socket.socket) -> None:
        self._network = network
        self._socket = connected
        self._fd = connected.fileno()
        self._loop = network.loop.asyncio
        self._receiver: Receiver | None = None
        self._outbox: list[Piece | memoryview] | None = None
        self._unsent = 0
        self._expected = 0
        self._queued = False
        self._reading = False
        self._writing = False
        self._warming = False
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

    def expect(self, size: int) -> None:
        self._expected = size

    def _readable(self) -> None:
        network = self._network
        if self._expected:
            self._read_expected()
            return
        try:
            size = self._socket.recv_into(network.receive_view)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(os.strerror(error.errno or 0))
            return
        if size == 0:
            self._end("the peer closed")
            return
        receiver = self._receiver
        assert receiver is not None, "reading begins with a receiver"
        network.vigil.heard()
        network.reading = True
        try:
            receiver.received(network.receive_view[:size])
        finally:
            network.reading = False
            if network.queued:
                network.flush()

    def _read_expected(self) -> None:
        """N5. Once more while all that was asked for has come: there may be more at once."""
        network = self._network
        receiver = self._receiver
        assert receiver is not None, "reading begins with a receiver"
        turn_bytes = 0
        network.reading = True
        try:
            while self._expected and self._reading and turn_bytes < EXPECTED_BYTES_A_TURN:
                wanted = min(self._expected, EXPECTED_BYTES_MAX)
                run = self._run_of(wanted)
                size = len(run)
                if size:
                    network.vigil.heard()
                    receiver.received(memoryview(run))
                    turn_bytes += size
                if size < wanted:
                    return
        finally:
            network.reading = False
            if network.queued:
                network.flush()

    def _run_of(self, wanted: int) -> bytes:
        """Nothing when nothing is there, or at the end of the stream, which is then told."""
        try:
            run = self._socket.recv(wanted)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self._end(os.strerror(error.errno or 0))
            return b""
        if not run:
            self._end("the peer closed")
        return run

    # -- writing

    def send(self, pieces: Sequence[Piece]) -> None:
        if not self._connected or self._closing:
            return
        outbox = self._outbox
        if outbox is None:
            if len(pieces) == 1 and not self._network.reading and self._has_left(pieces[0]):
                return
            outbox = self._outbox = []
        for piece in pieces:
            size = piece.size if isinstance(piece, FileRange) else len(piece)
            if size:
                outbox.append(piece)
                self._unsent += size
        if self._queued or self._writing or self._warming:
            return
        if self._network.reading:
            self._queued = True
            self._network.queued.append(self)
        else:
            self._drain()

    def _has_left(self, piece: Piece) -> bool:
        """Most often an answer is one run of bytes that nothing is before, and the socket has room for it."""
        if isinstance(piece, FileRange):
            return False
        try:
            sent = self._socket.send(piece)
        except OSError:
            return False  # the way of all others meets it again
        if sent < len(piece):
            self._outbox = [memoryview(piece)[sent:]]
            self._unsent = len(piece) - sent
            self._write_later()
        return True

    def unsent_bytes(self) -> int:
        return self._unsent

    def flush(self) -> None:
        """received() has returned."""
        self._queued = False
        if self._connected and not self._writing and not self._warming:
            self._drain()

    def _drain(self) -> None:
        turn_bytes = 0
        asked: FileRange | None = None  # in the page cache: what is sent now was asked for in this turn, once
        try:
            while self._outbox:
                sent = self._send_small()
                if sent:
                    asked = None
                else:
                    first = self._outbox[0]
                    assert isinstance(first, FileRange)
                    if asked is None or not asked.size:
                        asked = FileRange(first.file, first.position, min(first.size, TURN_BYTES))
                        if self._is_cold(asked):
                            self._warm(first, asked.size)
                            return
                    sent = self._send_range(first, asked.size)
                    asked = behind(asked, sent)
                self._unsent -= sent
                turn_bytes += sent
                if turn_bytes >= TURN_BYTES and self._outbox:
                    self._write_later()
                    return
        except (BlockingIOError, InterruptedError):
            self._write_later()
            return
        except WorldError as error:
            self._loop.call_soon(self._end, error.what)
            return
        except OSError as failed:
            self._loop.call_soon(self._end, os.strerror(failed.errno or 0))
            return
        self._outbox = None  # an idle connection holds no empty list
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        if self._closing:
            self._end("closed")

    def _is_cold(self, piece: FileRange) -> bool:
        fd = piece.file.fileno()
        return fd >= 0 and is_cold(fd, piece.position, piece.size)

    def _warm(self, piece: FileRange, size: int) -> None:
        """The first size bytes of it, and send them."""
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        # What was sent with MSG_MORE is held for this range, up to 200 ms: to set the option again pushes it out.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._warming = True

        def warmed(_: object | None, error: BaseException | None) -> None:
            self._warming = False
            if not self._connected:
                return
            if error is not None:
                self._end(str(error))
                return
            try:
                # Not asked again: a page cache that lets go at once must not hold up the reply for ever.
                self._unsent -= self._send_range(piece, size)
            except (BlockingIOError, InterruptedError):
                pass
            except WorldError as refused:
                self._end(refused.what)
                return
            except OSError as failed:
                self._end(os.strerror(failed.errno or 0))
                return
            self._drain()

        self._network.loop.run_in("read", lambda: warm(piece.file, piece.position, size), warmed)

    def _write_later(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._drain)

    def _send_small(self) -> int:
        """What is small leaves together: bytes, and ranges that are in memory. Returns how many bytes left; 0: the first
        piece is one for _send_range.
        """
        outbox = self._outbox
        assert outbox
        gathered: list[bytes | memoryview] = []
        size = room_used = more = 0
        for piece in outbox:
            if size >= GATHER_BYTES or len(gathered) == GATHER_PIECES:
                break
            if isinstance(piece, FileRange):
                part = self._network.copied(piece, room_used)
                if part is None:
                    more = MSG_MORE if piece.size <= SHARED_BYTES_MAX else 0
                    break
                room_used += piece.size
                gathered.append(part)
                size += piece.size
            else:
                gathered.append(piece)
                size += len(piece)
        if not gathered:
            return 0
        if len(gathered) == 1:
            sent = self._socket.send(gathered[0], more)
        elif size <= JOINED_BYTES_MAX:
            sent = self._socket.send(b"".join(gathered), more)
        else:
            sent = self._socket.sendmsg(gathered, (), more)
        if sent == size and len(gathered) == len(outbox):
            outbox.clear()
            return sent
        left, whole = sent, 0
        for done in gathered:
            if left < len(done):
                break
            left -= len(done)
            whole += 1
        del outbox[:whole]
        if left:
            first = outbox[0]
            outbox[0] = behind(first, left) if isinstance(first, FileRange) else memoryview(first)[left:]
        return sent

    def _send_range(self, piece: FileRange, size_max: int) -> int:
        """Of the first piece, at most so many bytes; returns how many left."""
        fd = piece.file.fileno()
        if fd >= 0:
            sent = os.sendfile(self._fd, fd, piece.position, size_max)
            if sent == 0:
                raise WorldError(f"{piece.file.path}: shorter than a reply that names it")
        else:
            content = piece.file.read(piece.position, min(size_max, RANGE_BYTES))
            if not content:
                raise WorldError(f"{piece.file.path}: shorter than a reply that names it")
            sent = self._socket.send(content)
        outbox = self._outbox
        assert outbox is not None
        if sent == piece.size:
            del outbox[0]
        else:
            outbox[0] = behind(piece, sent)
        return sent

    # -- the end

    def close(self, *, after_sending: bool = True) -> None:
        if not self._connected or (self._closing and after_sending):
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
        if self._closing and not self._outbox:
            self._read_what_is_left()
        self._outbox = None
        self._unsent = 0
        self._network.forget(self)
        self._socket.close()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(reason)

    def _read_what_is_left(self) -> None:
        """N4. Bounded, for the peer may write faster than we throw away."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            for _ in range(UNREAD_BYTES_MAX // RECEIVE_BYTES):
                if self._socket.recv_into(self._network.receive_view) == 0:
                    return
        except OSError:
            return  # nothing is left, or the peer is gone


def behind(piece: FileRange, size: int) -> FileRange:
    """What is left of a range when so many bytes of it are gone."""
    return FileRange(piece.file, piece.position + size, piece.size - size)


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


class Reserved:
    """An address that is bound and not listened on: it gets no connections."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        self.host, self.port = _address(bound.getsockname())

    def close(self) -> None:
        self._socket.close()


OnConnect = Callable[[Connection], Receiver]
OnDialled = Callable[[Connection | None, WorldError | None], Receiver | None]


class SocketNetwork:
    """TCP of this machine."""

    def __init__(self, loop: AsyncLoop, send_buffer_bytes: int = SYSTEMS_OWN) -> None:
        """send_buffer_bytes: of each socket that comes in; SYSTEMS_OWN, or any below 1: as large as the system makes it."""
        self.loop = loop
        self.vigil = loop.vigil
        self._send_buffer_bytes = send_buffer_bytes
        self.receive_view = memoryview(bytearray(RECEIVE_BYTES))
        self._copy_view = memoryview(bytearray(COPIED_BYTES_MAX))
        self.reading = False
        self.queued: list[SocketConnection] = []
        self._connections: set[SocketConnection] = set()

    def copied(self, piece: FileRange, room_used: int) -> bytes | memoryview | None:
        """The bytes of a small range that is in memory, until the next call: of one that is tiny, or fits into the room behind
        room_used; else None. Raises WorldError when the file is shorter than that.
        """
        size = piece.size
        if size <= TINY_BYTES_MAX:
            content = piece.file.read_now(piece.position, size)
            if content is None:
                return None
            if len(content) < size:
                raise WorldError(f"{piece.file.path}: shorter than a reply that names it")
            return content
        fd = piece.file.fileno()
        if fd < 0 or room_used + size > COPIED_BYTES_MAX:
            return None
        room = self._copy_view[room_used : room_used + size]
        return room if read_warm(fd, room, piece.position) else None

    def flush(self) -> None:
        """Send what was queued while received() ran, for whichever connection; the end of one may queue for another."""
        while self.queued:
            queued, self.queued = self.queued, []
            for connection in queued:
                connection.flush()

    def listen(self, host: str, port: int, on_connect: OnConnect, *, shared: bool = False) -> Listening:
        listener = _bound(host, port, shared=shared, listen=True)
        if self._send_buffer_bytes > 0:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)  # inherited
        return SocketListening(self, listener, on_connect)

    def reserve(self, host: str, port: int) -> Listening:
        # Sharing would also be shared with a listener of somebody else: one that does not share meets it first.
        alone = _bound(host, port, shared=False, listen=True)
        _, taken = _address(alone.getsockname())
        alone.close()
        bound = _bound(host, taken, shared=True, listen=False)
        # Needed to bind beside closed connections of before; left on, another reservation could be made beside this one.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return Reserved(bound)

    def connect(self, host: str, port: int, on_connect: OnDialled) -> None:
        def dialled(stream: socket.socket | None, error: WorldError | None) -> None:
            if stream is None:
                on_connect(None, error)
                return
            connection = self._connection(stream)
            if connection is None:
                on_connect(None, WorldError(f"{host}:{port}: the peer closed at once", errno.ECONNRESET))
                return
            receiver = on_connect(connection, None)
            if receiver is None:
                connection.close(after_sending=False)
            else:
                connection.start(receiver)

        Dial(self.loop, host, port, dialled).start()

    def adopt(self, accepted: socket.socket, on_connect: OnConnect) -> None:
        """A peer came in."""
        accepted.setblocking(False)
        connection = self._connection(accepted)
        if connection is not None:
            connection.start(on_connect(connection))

    def _connection(self, stream: socket.socket) -> SocketConnection | None:
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = SocketConnection(self, stream)
        except OSError:
            stream.close()  # it left again before we looked
            return None
        self._connections.add(connection)
        return connection

    def forget(self, connection: SocketConnection) -> None:
        self._connections.discard(connection)

    def close(self) -> None:
        """Drop every connection now."""
        for connection in list(self._connections):
            connection.close(after_sending=False)


def _bound(host: str, port: int, *, shared: bool, listen: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            if not SO_REUSEPORT:
                raise OSError(errno.ENOPROTOOPT, "this system has no listeners that processes share")
            listener.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # "::" takes IPv4 peers too
        listener.setblocking(False)
        listener.bind((host, port))
        if listen:
            listener.listen(max(1024, socket.SOMAXCONN))
    except OSError as error:
        listener.close()
        text = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            text = "another process listens there: stop it or choose another port"
        raise WorldError(f"{host}:{port}: {text}", error.errno or 0) from error
    except (OverflowError, TypeError, ValueError) as refused:  # no port, or no name of a host
        listener.close()
        raise WorldError(f"{host}:{port}: {refused}") from refused
    return listener


def _address(name: object) -> tuple[str, int]:
    if isinstance(name, tuple):
        host = str(name[0])
        return (host[7:] if host.startswith("::ffff:") else host), int(name[1])
    return str(name), 0
