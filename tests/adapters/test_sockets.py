"""What only real sockets can show: system calls per turn, descriptors that run out, names, IPv6, resets."""

import errno
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from socket_server import Ear, Server, counted

from barnabas.adapters import network as network_module
from barnabas.adapters.network import (
    EXPECTED_BYTES_A_TURN,
    EXPECTED_BYTES_MAX,
    SYSTEMS_OWN,
    SocketConnection,
    SocketNetwork,
)
from barnabas.ports import Connection, WorldError


def test_what_is_expected_is_read_as_long_as_all_of_it_comes(server: Server) -> None:
    """Its size and then itself: the second of two calls needs no turn of the loop."""
    peer, ear = server.peer()
    ear.on_bytes = lambda: ear.connection.expect({4: 3000, 3004: 4}.get(len(ear.heard), 500))
    ear.connection.expect(4)
    calls = counted(ear.connection).asked
    peer.sendall(b"1234" + bytes(3000) + b"12")
    server.turn_until(lambda: len(ear.heard) == 3006)
    assert calls == [4, 3000, 4]
    peer.close()
    server.turn_until(lambda: bool(ear.reasons))
    assert ear.reasons == ["the peer closed"]


def test_who_expects_much_yields_and_asks_for_no_more_than_a_megabyte(server: Server) -> None:
    peer, ear = server.peer()
    ear.connection.expect(100 * 1024 * 1024)
    calls = counted(ear.connection).asked
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
    calls = counted(ear.connection).sent

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
    calls = [counted(ear.connection).sent for _, ear in pairs]

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


def test_many_small_pieces_need_few_calls_and_stay_in_order(server: Server) -> None:
    peer, ear = server.peer()
    calls = counted(ear.connection).sent
    ear.connection.send([b"%04d" % at for at in range(1000)])
    server.turn_until(lambda: ear.connection.unsent_bytes() == 0)
    assert len(calls) == -(-1000 // network_module.GATHER_PIECES)
    heard = b""
    while len(heard) < 4000:
        heard += peer.recv(4000)
    assert heard == b"".join(b"%04d" % at for at in range(1000))


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


@pytest.mark.parametrize(
    ("host", "port"), [("no such host", 0), ("a" * 64, 0), ("null\0byte", 0), ("127.0.0.1", 65_536)]
)
def test_listening_on_what_is_no_address_is_refused(server: Server, host: str, port: int) -> None:
    with pytest.raises(WorldError):
        server.network.listen(host, port, server.connected)
    with pytest.raises(WorldError):
        server.network.reserve(host, port)


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
