"""Ranges of files on their way to real sockets: system calls, the page cache, what a slow reader costs."""

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from socket_server import Server, counted

from barnabas.adapters import cold
from barnabas.adapters import network as network_module
from barnabas.adapters.files import OsFile, OsFiles
from barnabas.adapters.network import (
    COPIED_BYTES_MAX,
    SHARED_BYTES_MAX,
    TURN_BYTES,
    SocketConnection,
)
from barnabas.ports import FileRange


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


def filled(path: Path, size: int) -> tuple[OsFile, bytes]:
    """A file in the page cache."""
    content = os.urandom(size)
    file = OsFiles().open(str(path), create=True)
    file.write(0, [content])
    return file, content


@pytest.mark.parametrize("beside", [0, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1])
def test_small_ranges_leave_in_one_call_with_what_lies_around_them(
    server: Server, tmp_path: Path, beside: int
) -> None:
    """Until they fill the room that they are copied to; those behind leave in their order."""
    if not cold.RWF_NOWAIT:
        pytest.skip("this system cannot be asked what is in memory")
    peer, ear = server.peer()
    calls = counted(ear.connection).sent
    file, content = filled(tmp_path / "file", COPIED_BYTES_MAX + beside)
    half = COPIED_BYTES_MAX // 2
    first, second = FileRange(file, 0, half), FileRange(file, half, half)
    ear.connection.send([b"head", first, b"mid", second, b"tail", FileRange(file, 2 * half, beside)])
    wanted = b"head" + content[:half] + b"mid" + content[half : 2 * half] + b"tail" + content[2 * half :]
    heard = bytearray()
    while len(heard) < len(wanted):
        server.turn_until(lambda: True)
        heard += peer.recv(1 << 20)
    assert bytes(heard) == wanted
    assert calls[0] == 4 + half + 3 + half + 4


def test_what_a_slow_reader_leaves_of_small_ranges_is_in_no_memory(server: Server, tmp_path: Path) -> None:
    """Two of them share the room for copies."""
    pairs = [server.peer() for _ in range(2)]
    files = [filled(tmp_path / str(number), COPIED_BYTES_MAX) for number in range(2)]
    count = 800
    for _ in range(count):
        for (_, ear), (file, _) in zip(pairs, files, strict=True):
            ear.connection.send([b"head", FileRange(file, 0, COPIED_BYTES_MAX)])
    for (peer, ear), (_, content) in zip(pairs, files, strict=True):
        connection = ear.connection
        assert isinstance(connection, SocketConnection)
        outbox = connection._outbox
        assert outbox, "the kernel has not taken them all"
        assert sum(len(piece) for piece in outbox if not isinstance(piece, FileRange)) <= 4 * count
        heard = bytearray()
        peer.setblocking(False)

        def everything(peer: socket.socket = peer, heard: bytearray = heard) -> bool:
            try:
                heard.extend(peer.recv(1 << 20))
            except BlockingIOError:
                pass
            return len(heard) == count * (4 + COPIED_BYTES_MAX)

        server.turn_until(everything)
        assert bytes(heard) == (b"head" + content) * count


@pytest.mark.patches
@pytest.mark.parametrize(("size", "shares"), [(SHARED_BYTES_MAX, True), (SHARED_BYTES_MAX + 1, False)])
def test_a_header_shares_a_packet_with_a_range_that_fits_into_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, shares: bool
) -> None:
    """Where ranges are not copied."""
    monkeypatch.setattr(network_module, "read_warm", lambda fd, into, position: False)
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
def test_what_stands_before_a_cold_range_does_not_wait_for_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole reply may be there. The kernel would hold it for 200 ms to let the range share its packet."""
    file, content = cold_file(tmp_path, SHARED_BYTES_MAX)
    is_read = threading.Event()
    monkeypatch.setattr(network_module, "read_warm", lambda fd, into, position: False)
    monkeypatch.setattr(network_module, "is_cold", lambda fd, position, size: True)
    monkeypatch.setattr(network_module, "warm", lambda file, at, size: is_read.wait(10))
    peer, ear = server.peer()
    ear.connection.send([b"reply", b"header", FileRange(file, 0, len(content))])
    peer.settimeout(0.1)
    try:
        assert peer.recv(1 << 20) == b"replyheader"
    finally:
        is_read.set()
    server.turn_until(lambda: ear.connection.unsent_bytes() == 0)
    peer.settimeout(10)
    heard = bytearray()
    while len(heard) < len(content):
        heard += peer.recv(1 << 20)
    assert heard == content


@pytest.mark.patches
def test_the_page_cache_is_asked_once_a_turn_for_what_is_sent_in_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = OsFiles().open(f"{tmp_path}/log", create=True)
    file.write(0, [bytes(1000)])
    _peer, ear = server.peer()
    asked: list[tuple[int, int]] = []
    sent: list[tuple[int, int]] = []

    def said(fd: int, position: int, size: int) -> bool:
        asked.append((position, size))
        return False

    def slow(out: int, from_: int, position: int, size: int) -> int:
        sent.append((position, size))
        return min(size, 300 * 1024)

    monkeypatch.setattr(network_module, "is_cold", said)
    monkeypatch.setattr(os, "sendfile", slow)
    ear.connection.send([FileRange(file, 0, 2 * TURN_BYTES), FileRange(file, 7, 2 * TURN_BYTES)])
    server.turn_until(lambda: ear.connection.unsent_bytes() == 0)
    for position, size in sent:
        assert any(at <= position and position + size <= at + much for at, much in asked)
    assert len(asked) < len(sent) // 2


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
    room = memoryview(bytearray(1000))
    assert cold.read_warm(fd, room, 500) == bool(cold.RWF_NOWAIT)
    assert not cold.RWF_NOWAIT or room == content[500:1500]
    assert not cold.read_warm(fd, room, len(content) - 999), "the file is shorter"
    assert not cold.read_warm(-1, room, 0)
    assert cold.read_now(fd, 500, 1000) == content[500:1500]
    assert cold.read_now(fd, len(content) - 3, 1000) == content[-3:]
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if cold.is_cold(fd, 0, len(content)):  # a file system may keep its pages whatever it is told
        # To ask may be enough for the kernel to fetch it, by the time of the next question.
        whole = memoryview(bytearray(len(content)))
        assert not cold.read_warm(fd, whole, 0) or whole == content
        assert cold.read_now(fd, 0, len(content)) in (None, content), "not a part either"
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
    assert not cold.read_warm(3, memoryview(bytearray(10)), 0)
    assert len(calls) == 1


@pytest.mark.parametrize("there", [0, 1, 999])
def test_a_part_of_what_is_wanted_now_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """Whatever the kernel has in memory: what lies behind it would have to be waited for."""
    file, content = filled(tmp_path / "file", 1000)
    monkeypatch.setattr(cold, "_probing", True)
    monkeypatch.setattr(cold, "RWF_NOWAIT", 8)
    monkeypatch.setattr(cold.os, "preadv", lambda fd, rooms, position, flags: min(there, 1000 - position))
    assert file.read_now(0, 1000) is None
    monkeypatch.undo()
    assert file.read_now(990, 1000) == content[990:], "but the file ends here"


def test_without_such_reads_what_is_wanted_now_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content = filled(tmp_path / "file", 1000)

    def refuses(fd: int, buffers: object, position: int, flags: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(cold.os, "preadv", refuses)
    monkeypatch.setattr(cold, "_probing", True)
    assert file.read_now(10, 5000) == content[10:]
    assert file.read_now(20, 5) == content[20:25]
