"""What only real sockets can show: system calls per turn, descriptors that run out, names, IPv6, resets."""

import asyncio
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from barnabas.adapters import cold
from barnabas.adapters import network as network_module
from barnabas.adapters.files import OsFile, OsFiles
from barnabas.adapters.loop import AsyncLoop, new_event_loop
from barnabas.adapters.network import (
    EXPECTED_BYTES_A_TURN,
    EXPECTED_BYTES_MAX,
    SHARED_BYTES_MAX,
    SYSTEMS_OWN,
    TURN_BYTES,
    SocketConnection,
    SocketNetwork,
)
from barnabas.ports import Connection, FileRange, WorldError

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


@pytest.fixture(params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    loop = AsyncLoop(new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop())
    made = Server(loop)
    yield made
    made.listening.close()
    made.network.close()
    for peer in made.peers:
        peer.close()
    made.turn_until(lambda: not made.network._connections)
    loop.close()
    loop.asyncio.close()


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


def reads_of(connection: Connection) -> list[int]:
    """From now on, the sizes that the kernel was asked for, one entry a call."""
    assert isinstance(connection, SocketConnection)
    calls: list[int] = []
    real = connection._socket

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def recv(self, size: int) -> bytes:
            calls.append(size)
            return real.recv(size)

    connection._socket = Counting()  # type: ignore[assignment]
    return calls


def test_what_is_expected_is_read_as_long_as_all_of_it_comes(server: Server) -> None:
    """Its size and then itself: the second of two calls needs no turn of the loop."""
    peer, ear = server.peer()
    ear.on_bytes = lambda: ear.connection.expect({4: 3000, 3004: 4}.get(len(ear.heard), 500))
    ear.connection.expect(4)
    calls = reads_of(ear.connection)
    peer.sendall(b"1234" + bytes(3000) + b"12")
    server.turn_until(lambda: len(ear.heard) == 3006)
    assert calls == [4, 3000, 4]
    peer.close()
    server.turn_until(lambda: bool(ear.reasons))
    assert ear.reasons == ["the peer closed"]


def test_who_expects_much_yields_and_asks_for_no_more_than_a_megabyte(server: Server) -> None:
    peer, ear = server.peer()
    ear.connection.expect(100 * 1024 * 1024)
    calls = reads_of(ear.connection)
    peer.sendall(bytes(1000))
    server.turn_until(lambda: len(ear.heard) == 1000)
    assert calls == [EXPECTED_BYTES_MAX]
    ear.connection.expect(1000)
    at_each_read: list[int] = []
    ear.on_bytes = lambda: at_each_read.append(len(ear.heard))
    other, other_ear = server.peer()
    other_ear.on_bytes = lambda: at_each_read.append(-1)
    ear.connection.pause()
    sending = threading.Thread(target=lambda: peer.sendall(bytes(2 * EXPECTED_BYTES_A_TURN)))
    sending.start()
    other.sendall(b"x")
    ear.connection.resume()
    server.turn_until(lambda: len(ear.heard) == 1000 + 2 * EXPECTED_BYTES_A_TURN and bool(other_ear.heard))
    sending.join()
    assert at_each_read.index(-1) <= EXPECTED_BYTES_A_TURN // 1000 + 1


def test_replies_of_one_reading_leave_in_one_call(server: Server) -> None:
    peer, ear = server.peer()
    calls = sends_of(ear.connection)

    def answer() -> None:
        for at in range(5):
            ear.connection.send([b"reply", b"%d" % at])

    ear.on_bytes = answer
    peer.sendall(b"ask")
    server.turn_until(lambda: bool(calls))
    assert calls == [30]
    assert peer.recv(100) == b"reply0reply1reply2reply3reply4"


def test_what_one_reading_causes_elsewhere_leaves_in_one_call_each(server: Server) -> None:
    """A produce request may answer fetches that wait on other connections."""
    pairs = [server.peer() for _ in range(3)]
    calls = [sends_of(ear.connection) for _, ear in pairs]

    def answer_all() -> None:
        for at in range(4):
            for _, ear in pairs:
                ear.connection.send([b"%d" % at])
        assert calls == [[], [], []]

    pairs[0][1].on_bytes = answer_all
    pairs[0][0].sendall(b"x")
    server.turn_until(lambda: all(calls))
    assert calls == [[4], [4], [4]]
    assert [peer.recv(10) for peer, _ in pairs] == [b"0123"] * 3


def test_what_is_sent_outside_a_reading_leaves_at_once(server: Server) -> None:
    peer, ear = server.peer()
    ear.connection.send([b"now"])
    assert peer.recv(10) == b"now", "no turn of the loop was needed"


def test_a_fast_reader_yields_between_its_megabytes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = OsFiles().open(f"{tmp_path}/log", create=True)
    file.write(0, [bytes(1000)])
    peer, ear = server.peer()
    asked: list[int] = []

    def greedy(out: int, from_: int, position: int, size: int) -> int:
        asked.append(size)
        return size  # a kernel that takes whatever it is given

    monkeypatch.setattr(os, "sendfile", greedy)
    ear.connection.send([FileRange(file, 0, 10 * TURN_BYTES)])
    assert asked == [TURN_BYTES]
    server.turn_until(lambda: ear.connection.unsent_bytes() == 0)
    assert asked == [TURN_BYTES] * 10
    assert peer.fileno() >= 0


def test_many_small_pieces_need_few_calls_and_stay_in_order(server: Server) -> None:
    peer, ear = server.peer()
    calls = sends_of(ear.connection)
    ear.connection.send([b"%04d" % at for at in range(1000)])
    server.turn_until(lambda: ear.connection.unsent_bytes() == 0)
    assert len(calls) == -(-1000 // network_module.GATHER_PIECES)
    heard = b""
    while len(heard) < 4000:
        heard += peer.recv(4000)
    assert heard == b"".join(b"%04d" % at for at in range(1000))


@pytest.mark.parametrize(("size", "shares"), [(SHARED_BYTES_MAX, True), (SHARED_BYTES_MAX + 1, False)])
def test_a_header_shares_a_packet_with_a_range_that_fits_into_it(
    server: Server, tmp_path: Path, size: int, shares: bool
) -> None:
    peer, ear = server.peer()
    assert isinstance(ear.connection, SocketConnection)
    flags: list[int] = []
    real = ear.connection._socket

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def send(self, content: bytes, given: int = 0) -> int:
            flags.append(given)
            return real.send(content, given)

    ear.connection._socket = Noting()  # type: ignore[assignment]
    file = OsFiles().open(str(tmp_path / "file"), create=True)
    file.write(0, [bytes(size)])
    ear.connection.send([b"header", FileRange(file, 0, size)])
    heard = bytearray()
    while len(heard) < 6 + size:
        heard += peer.recv(1 << 20)
    assert heard == b"header" + bytes(size)
    assert [bool(given & socket.MSG_MORE) for given in flags] == [shares]


def send_buffer_of(server: Server, wanted: int) -> int:
    """Of a socket that came in to a network with that setting."""
    network = SocketNetwork(server.loop, wanted)
    listening = network.listen("127.0.0.1", 0, server.connected)
    peer = socket.create_connection(("127.0.0.1", listening.port), timeout=10)
    known = len(server.ears)
    server.turn_until(lambda: len(server.ears) > known)
    connection = server.ears[-1].connection
    assert isinstance(connection, SocketConnection)
    size = connection._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    listening.close()
    network.close()
    peer.close()
    server.turn_until(lambda: not network._connections)
    return size


def test_a_socket_that_comes_in_has_the_send_buffer_asked_for(server: Server) -> None:
    own = send_buffer_of(server, SYSTEMS_OWN)
    small, larger = send_buffer_of(server, 20_000), send_buffer_of(server, 60_000)
    assert small < larger < 2 * 60_000 + 1
    assert own not in (small, larger)


def test_a_reset_is_told_by_its_name(server: Server) -> None:
    peer, ear = server.peer()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    server.turn_until(lambda: bool(ear.reasons))
    assert ear.reasons == [os.strerror(errno.ECONNRESET)]


def test_writing_to_a_peer_that_left_ends_the_stream_once(server: Server) -> None:
    peer, ear = server.peer()
    ear.connection.pause()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    ear.connection.send([b"x"])
    ear.connection.send([b"y"])
    assert ear.reasons == [], "the end does not come from inside send"
    server.turn_until(lambda: bool(ear.reasons))
    ear.connection.send([b"z"])
    ear.connection.close()
    other, _ = server.peer()
    assert len(ear.reasons) == 1
    assert other.fileno() >= 0


def test_when_descriptors_run_out_the_queue_waits(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    _, served = server.peer()
    listening = server.listening
    real = listening._socket  # type: ignore[attr-defined]
    refusals: list[int] = []

    class Exhausted:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def accept(self) -> tuple[socket.socket, object]:
            if len(refusals) < 2:
                refusals.append(1)
                raise OSError(errno.EMFILE, "too many open files")
            accepted: tuple[socket.socket, object] = real.accept()
            return accepted

    monkeypatch.setattr(network_module, "ACCEPT_PAUSE_S", 0.005)
    listening._socket = Exhausted()  # type: ignore[attr-defined]
    peer, ear = server.peer()
    assert len(refusals) == 2, "tried again after a pause, not at every turn"
    peer.sendall(b"here")
    server.turn_until(lambda: ear.heard == b"here")
    assert served.reasons == []


def test_an_address_closed_while_it_waits_for_descriptors_stays_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "ACCEPT_PAUSE_S", 0.002)
    listening = server.network.listen("127.0.0.1", 0, server.connected)
    failures: list[object] = []
    server.loop.asyncio.set_exception_handler(lambda _, context: failures.append(context))
    server.loop.asyncio.call_later(network_module.ACCEPT_PAUSE_S, listening._again)  # type: ignore[attr-defined]
    listening.close()
    server.peer()
    done: list[int] = []
    server.loop.asyncio.call_later(0.005, done.append, 1)
    server.turn_until(lambda: bool(done))
    assert failures == []


def dial(server: Server, host: str, port: int) -> tuple[Connection | None, WorldError | None]:
    answers: list[tuple[Connection | None, WorldError | None]] = []

    def dialled(connection: Connection | None, error: WorldError | None) -> Ear | None:
        answers.append((connection, error))
        return None if connection is None else Ear(connection)

    server.network.connect(host, port, dialled)
    server.turn_until(lambda: bool(answers))
    return answers[0]


def test_a_name_is_dialled_until_one_of_its_addresses_answers(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server.listening.port
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, type: found)
    connection, error = dial(server, "broker.example", port)
    assert error is None
    assert connection is not None and connection.peer_host == "127.0.0.1"


@pytest.mark.patches
def test_where_ports_cannot_be_shared_it_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "SO_REUSEPORT", 0)
    for share in (
        lambda: server.network.listen("127.0.0.1", 0, server.connected, shared=True),
        lambda: server.network.reserve("127.0.0.1", 0),
    ):
        with pytest.raises(WorldError, match="no listeners that processes share"):
            share()


def test_an_unknown_name_is_an_answer_not_an_exception(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(host: str, port: int, type: int) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    connection, error = dial(server, "nowhere.example", 9092)
    assert connection is None
    assert error is not None and "the name is not known" in error.what


def test_listening_on_an_unknown_name_is_refused(server: Server) -> None:
    with pytest.raises(WorldError):
        server.network.listen("no such host", 0, server.connected)


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_ipv6(server: Server) -> None:
    server.listening.close()
    server.listening = server.network.listen("::1", 0, server.connected)
    connection, error = dial(server, "::1", server.listening.port)
    assert error is None
    assert connection is not None
    assert (connection.peer_host, connection.local_host) == ("::1", "::1")


def test_closing_the_network_drops_even_those_that_still_send(server: Server) -> None:
    _, ear = server.peer()
    ear.connection.send([bytes(20_000_000)])
    ear.connection.close()
    server.network.close()
    server.turn_until(lambda: bool(ear.reasons))
    assert ear.reasons == ["closed"]


def test_an_idle_connection_holds_no_queue(server: Server) -> None:
    peer, ear = server.peer()
    ear.connection.send([b"x" * 10])
    server.turn_until(lambda: ear.connection.unsent_bytes() == 0)
    assert peer.recv(10) == b"x" * 10
    assert isinstance(ear.connection, SocketConnection)
    assert ear.connection._outbox is None
    assert not hasattr(ear.connection, "__dict__")


def cold_file(tmp_path: Path, size: int) -> tuple[OsFile, bytes]:
    """A file whose pages the kernel has been asked to forget."""
    content = os.urandom(1024) * (size // 1024)
    path = tmp_path / "cold"
    path.write_bytes(content)
    file = OsFiles().open(str(path))
    file.sync()
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file, content


@pytest.mark.patches
def test_a_cold_range_is_read_by_a_thread_and_keeps_its_place(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine's page cache does: the first probe of each turn says that the range is cold."""
    file, content = cold_file(tmp_path, 3 * TURN_BYTES)
    answers: list[bool] = []
    warmed: list[int] = []

    def said(fd: int, position: int, size: int) -> bool:
        answers.append(position not in warmed)
        return answers[-1]

    real = network_module.warm
    monkeypatch.setattr(network_module, "is_cold", said)
    monkeypatch.setattr(
        network_module, "warm", lambda file, at, size: (warmed.append(at), real(file, at, size))
    )
    peer, ear = server.peer()
    ear.connection.send([b"head", FileRange(file, 0, len(content))])
    ear.connection.send([b"tail"])
    heard = bytearray()
    peer.setblocking(False)

    def everything() -> bool:
        try:
            heard.extend(peer.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(heard) >= len(content) + 8

    server.turn_until(everything)
    assert bytes(heard) == b"head" + content + b"tail"
    assert warmed and warmed == sorted(warmed), "by a thread, in order"
    assert ear.connection.unsent_bytes() == 0


@pytest.mark.patches
def test_a_peer_that_leaves_while_its_range_is_read_is_forgotten(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content = cold_file(tmp_path, TURN_BYTES)
    monkeypatch.setattr(network_module, "is_cold", lambda fd, position, size: True)
    _peer, ear = server.peer()
    ear.connection.send([FileRange(file, 0, len(content))])
    ear.connection.close(after_sending=False)
    server.turn_until(lambda: bool(ear.reasons))
    assert isinstance(ear.connection, SocketConnection)
    server.turn_until(lambda: not ear.connection._warming)
    assert ear.reasons == ["closed"]


def test_the_page_cache_is_asked_and_filled(tmp_path: Path) -> None:
    file, content = cold_file(tmp_path, 4 * 1024 * 1024)
    fd = file.fileno()
    cold.warm(file, 0, len(content))
    assert not cold.is_cold(fd, 0, len(content))
    assert not cold.is_cold(fd, 100, 32 * 1024 + 5)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if cold.is_cold(fd, 0, len(content)):  # a file system may keep its pages whatever it is told
        cold.warm(file, 0, len(content))
        assert not cold.is_cold(fd, 0, len(content))


def test_a_file_system_without_such_reads_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def refuses(fd: int, buffers: object, position: int, flags: int) -> int:
        calls.append(position)
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(cold.os, "preadv", refuses)
    monkeypatch.setattr(cold, "_probing", True)
    assert not cold.is_cold(3, 0, 1 << 20)
    assert not cold.is_cold(3, 0, 1 << 20)
    assert len(calls) == 1
