"""What every Network holds: real sockets on both loops, pipes on virtual time."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from barnabas.adapters.files import OsFiles
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.network import SocketNetwork
from barnabas.adapters.ram_files import RamFiles
from barnabas.ports import Clock, Connection, FileRange, Files, Loop, Network, WorldError
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop

HOST = "127.0.0.1"


class Driver(Protocol):
    clock: Clock
    loop: Loop

    def run_until(self, reached: Callable[[], bool]) -> None: ...


class Ear:
    """A Receiver that keeps what it hears."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard = bytearray()
        self.reasons: list[str] = []
        self.on_bytes: Callable[[bytes], None] = lambda content: None
        self.owned: list[bytes] = []
        """What was received as bytes that may be kept."""

    def received(self, content: memoryview) -> None:
        assert not self.reasons, "nothing comes after the end"
        assert len(content) > 0
        self.heard += content
        if isinstance(content.obj, bytes):
            self.owned.append(content.obj)
        self.on_bytes(bytes(content))

    def closed(self, reason: str) -> None:
        self.reasons.append(reason)


class Peers:
    """A network, a listening address, and pairs of ends."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        loop = driver.loop
        self.network: Network
        if isinstance(loop, VirtualLoop):
            self.network = PipeNetwork(Wire(loop.time), loop)
        else:
            assert isinstance(loop, AsyncLoop)
            self.network = SocketNetwork(loop)
        self.servers: list[Ear] = []
        self.greeting = b""
        self.listening = self.network.listen(HOST, 0, self._connected)

    def _connected(self, connection: Connection) -> Ear:
        if self.greeting:
            connection.send([self.greeting])
        self.servers.append(Ear(connection))
        return self.servers[-1]

    def dial(self) -> Ear:
        ears: list[Ear] = []

        def dialled(connection: Connection | None, error: WorldError | None) -> Ear:
            assert connection is not None, error
            ears.append(Ear(connection))
            return ears[0]

        self.network.connect(HOST, self.listening.port, dialled)
        assert ears == [], "nothing is answered inside the call"
        known = len(self.servers)
        self.driver.run_until(lambda: bool(ears) and len(self.servers) > known)
        return ears[0]

    def pair(self) -> tuple[Ear, Ear]:
        client = self.dial()
        return client, self.servers[-1]


@pytest.fixture
def peers(driver: Driver) -> Peers:
    return Peers(driver)


def pattern(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)


def test_the_ends_know_each_other(peers: Peers) -> None:
    client, server = peers.pair()
    assert (client.connection.peer_host, client.connection.peer_port) == (HOST, peers.listening.port)
    assert (server.connection.local_host, server.connection.local_port) == (HOST, peers.listening.port)
    assert server.connection.peer_host == client.connection.local_host
    assert server.connection.peer_port == client.connection.local_port


def test_pieces_arrive_in_order_both_ways(peers: Peers) -> None:
    client, server = peers.pair()
    client.connection.send([b"a", b"", b"bc"])
    client.connection.send([b"d"])
    server.connection.send([b"1234"])
    peers.driver.run_until(lambda: len(server.heard) == 4 and len(client.heard) == 4)
    assert (server.heard, client.heard) == (b"abcd", b"1234")
    assert client.connection.unsent_bytes() == server.connection.unsent_bytes() == 0


def test_an_answer_from_inside_received(peers: Peers) -> None:
    client, server = peers.pair()
    server.on_bytes = lambda content: server.connection.send([bytes([byte ^ 1]) for byte in content])
    client.connection.send([b"0123456789" * 30])
    peers.driver.run_until(lambda: len(client.heard) == 300)
    assert client.heard == b"1032547698" * 30


def test_what_is_expected_comes_apart_and_may_be_kept(peers: Peers) -> None:
    client, server = peers.pair()
    content = pattern(300_000)
    left = 250_000

    def expect_what_is_left(heard: bytes) -> None:
        nonlocal left
        left -= len(heard)
        server.connection.expect(max(left, 0))

    server.on_bytes = expect_what_is_left
    server.connection.expect(7)
    client.connection.send([content])
    peers.driver.run_until(lambda: len(server.heard) == len(content))
    assert server.heard == content
    assert len(server.owned[0]) <= 7
    assert b"".join(server.owned) == content[:250_000], "exactly what was expected, and unchanged since"


def test_nothing_that_is_expected_comes_during_a_pause(peers: Peers) -> None:
    client, server = peers.pair()
    server.on_bytes = lambda heard: server.connection.pause()
    server.connection.expect(4)
    client.connection.send([b"0123456789"])
    peers.driver.run_until(lambda: bool(server.heard))
    assert server.heard == b"0123"
    server.on_bytes = lambda heard: None
    server.connection.resume()
    peers.driver.run_until(lambda: len(server.heard) == 10)
    client.connection.close()
    peers.driver.run_until(lambda: bool(server.reasons))
    assert server.heard == b"0123456789" and server.reasons == ["the peer closed"]


def test_a_greeting_before_the_receiver_is_there(peers: Peers) -> None:
    peers.greeting = b"hello"
    client, _ = peers.pair()
    peers.driver.run_until(lambda: len(client.heard) == 5)
    assert client.heard == b"hello"


@pytest.mark.parametrize("store", ["os", "ram"])
def test_file_ranges_between_bytes(peers: Peers, tmp_path: Path, store: str) -> None:
    files: Files = OsFiles() if store == "os" else RamFiles()
    files.make_folder(str(tmp_path))
    content = pattern(900_000)[:900_000]
    file = files.open(f"{tmp_path}/log", create=True)
    file.write(0, [content[at : at + 70_000] for at in range(0, len(content), 70_000)])
    client, server = peers.pair()
    server.connection.send(
        [b"head", FileRange(file, 10, 800_000), b"mid", FileRange(file, 5, 0), FileRange(file, 1, 2), b"tail"]
    )
    expected = b"head" + content[10:800_010] + b"mid" + content[1:3] + b"tail"
    peers.driver.run_until(lambda: len(client.heard) >= len(expected))
    assert client.heard == expected


def test_a_range_beyond_the_end_of_its_file_ends_the_stream(peers: Peers, tmp_path: Path) -> None:
    file = OsFiles().open(f"{tmp_path}/log", create=True)
    file.write(0, [b"short"])
    client, server = peers.pair()
    server.connection.send([FileRange(file, 0, 50)])
    peers.driver.run_until(lambda: bool(client.reasons) and bool(server.reasons))
    assert "shorter than a reply that names it" in server.reasons[0]
    assert b"short".startswith(client.heard)


def test_much_to_a_peer_that_pauses(peers: Peers) -> None:
    client, server = peers.pair()
    client.connection.pause()
    content = pattern(12_000_000)[:12_000_000]
    for at in range(0, len(content), 1_000_000):
        server.connection.send([content[at : at + 1_000_000]])
    client.connection.send([b"still heard"])
    peers.driver.run_until(lambda: server.heard == b"still heard")
    assert server.connection.unsent_bytes() > 0
    assert client.heard == b""
    client.connection.resume()
    client.connection.resume()
    peers.driver.run_until(lambda: len(client.heard) == len(content))
    assert client.heard == content
    peers.driver.run_until(lambda: server.connection.unsent_bytes() == 0)


def test_a_pause_inside_received_holds_what_follows(peers: Peers) -> None:
    client, server = peers.pair()
    server.on_bytes = lambda content: server.connection.pause()
    client.connection.send([b"x"])
    peers.driver.run_until(lambda: len(server.heard) == 1)
    client.connection.send([b"y"])
    other, _ = peers.pair()  # turns in which y could have come
    assert server.heard == b"x"
    server.connection.resume()
    peers.driver.run_until(lambda: len(server.heard) == 2)
    assert other.reasons == []


def test_an_orderly_close_sends_what_is_queued_first(peers: Peers) -> None:
    client, server = peers.pair()
    content = pattern(5_000_000)
    server.connection.send([content])
    server.connection.close()
    server.connection.close()
    server.connection.send([b"too late"])
    assert server.reasons == [], "the end is told later"
    peers.driver.run_until(lambda: bool(client.reasons) and bool(server.reasons))
    assert client.heard == content
    assert server.reasons == ["closed"]
    assert client.reasons == ["the peer closed"]


def test_a_reply_survives_a_close_over_unread_bytes(peers: Peers) -> None:
    client, server = peers.pair()
    server.connection.pause()
    client.connection.pause()
    client.connection.send([b"never read " * 1000])
    peers.pair()  # turns in which it arrives
    server.connection.send([b"the reason why"])
    server.connection.close()
    peers.pair()
    client.connection.resume()
    peers.driver.run_until(lambda: bool(client.reasons) and bool(server.reasons))
    assert client.heard == b"the reason why"
    assert client.reasons == ["the peer closed"]


def test_an_abrupt_close_does_not_wait_for_the_peer(peers: Peers) -> None:
    client, server = peers.pair()
    client.connection.pause()
    server.connection.send([pattern(12_000_000)])
    server.connection.close()
    server.connection.close(after_sending=False)
    peers.driver.run_until(lambda: bool(server.reasons))
    assert server.reasons == ["closed"]
    assert server.connection.unsent_bytes() == 0
    client.connection.resume()
    peers.driver.run_until(lambda: bool(client.reasons))
    assert len(client.heard) < 12_000_000


def test_the_end_is_told_once_and_nothing_after(peers: Peers) -> None:
    client, server = peers.pair()
    client.connection.close()
    peers.driver.run_until(lambda: bool(client.reasons) and bool(server.reasons))
    server.connection.send([b"x"])
    server.connection.close()
    server.connection.resume()
    other, _ = peers.pair()
    assert len(client.reasons) == len(server.reasons) == 1
    assert other.reasons == []


def test_a_taken_address_and_a_dead_one(peers: Peers) -> None:
    port = peers.listening.port
    with pytest.raises(WorldError) as raised:
        peers.network.listen(HOST, port, Ear)
    assert raised.value.errno == errno.EADDRINUSE
    peers.listening.close()
    peers.listening.close()
    errors: list[WorldError | None] = []

    def dialled(connection: Connection | None, error: WorldError | None) -> None:
        assert connection is None
        errors.append(error)

    peers.network.connect(HOST, port, dialled)
    peers.driver.run_until(lambda: bool(errors))
    assert errors[0] is not None and errors[0].errno == errno.ECONNREFUSED
    peers.listening = peers.network.listen(HOST, port, Ear)
    assert peers.listening.port == port


def test_listeners_that_share_an_address_all_get_connections(peers: Peers) -> None:
    heard: dict[str, list[Ear]] = {"one": [], "other": []}

    def ear_of(name: str, connection: Connection) -> Ear:
        heard[name].append(Ear(connection))
        return heard[name][-1]

    reserved = peers.network.reserve(HOST, 0)
    listenings = [
        peers.network.listen(
            HOST, reserved.port, lambda connection, name=name: ear_of(name, connection), shared=True
        )
        for name in heard
    ]

    def dial() -> None:
        known = sum(map(len, heard.values()))
        peers.network.connect(HOST, reserved.port, lambda connection, error: connection and Ear(connection))
        peers.driver.run_until(lambda: sum(map(len, heard.values())) > known)

    while not all(heard.values()):
        assert len(heard["one"]) + len(heard["other"]) < 200, "one of them gets nothing"
        dial()
    listenings[0].close()
    before = len(heard["one"])
    for _ in range(5):
        dial()
    assert len(heard["one"]) == before
    listenings[1].close()
    reserved.close()


def test_an_address_is_shared_only_by_those_who_say_so(peers: Peers) -> None:
    def taken(listen: Callable[[], object]) -> bool:
        with pytest.raises(WorldError) as raised:
            listen()
        return raised.value.errno == errno.EADDRINUSE

    reserved = peers.network.reserve(HOST, 0)
    port = reserved.port
    assert taken(lambda: peers.network.reserve(HOST, port)), "reserved twice, before anybody listens"
    assert taken(lambda: peers.network.listen(HOST, port, Ear))
    shared = peers.network.listen(HOST, port, Ear, shared=True)
    assert taken(lambda: peers.network.reserve(HOST, port))
    assert taken(lambda: peers.network.listen(HOST, port, Ear))
    assert taken(lambda: peers.network.listen(HOST, peers.listening.port, Ear, shared=True))
    assert taken(lambda: peers.network.reserve(HOST, peers.listening.port))
    shared.close()
    reserved.close()
    peers.network.listen(HOST, port, Ear).close()


def test_a_reserved_address_gets_no_connections(peers: Peers) -> None:
    reserved = peers.network.reserve(HOST, 0)
    errors: list[WorldError | None] = []
    peers.network.connect(HOST, reserved.port, lambda connection, error: errors.append(error))
    peers.driver.run_until(lambda: bool(errors))
    assert errors[0] is not None and errors[0].errno == errno.ECONNREFUSED


def test_a_dialler_without_a_receiver_hangs_up(peers: Peers) -> None:
    peers.network.connect(HOST, peers.listening.port, lambda connection, error: None)
    peers.driver.run_until(lambda: bool(peers.servers) and bool(peers.servers[0].reasons))
    assert peers.servers[0].heard == b""


def test_many_streams_do_not_mix(peers: Peers) -> None:
    pairs = [peers.pair() for _ in range(20)]
    for at, (client, server) in enumerate(pairs):
        server.on_bytes = lambda content, server=server: server.connection.send([content])  # type: ignore[misc]
        client.connection.send([bytes([at]) * 1000])
    peers.driver.run_until(lambda: all(len(client.heard) == 1000 for client, _ in pairs))
    assert all(client.heard == bytes([at]) * 1000 for at, (client, _) in enumerate(pairs))
