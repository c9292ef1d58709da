"""`python -m bench.floor_in_python produce FILE | fetch FILE BYTES`: what CPython and its loop cost with no broker in them.

The same as floor.c, by the calls of Python that a broker makes: uvloop tells that a socket can be read; what came is received into
one buffer, its requests are counted by their lengths and go into FILE by one pwrite, or a head and a range of FILE answer
each, a small one copied behind its head; answers to what came together leave together. Nothing is read of a request but its length, none is checked, copied,
numbered or remembered: no broker in Python takes less of a core under the same load. Says its port on stdout.
"""

import os
import socket
import sys
from pathlib import Path
from struct import Struct
from typing import Final

import uvloop

HEAD_BYTES: Final = 96
RECEIVE_BYTES: Final = 1 << 21
COPIED_BYTES: Final = 16 * 1024
"""A range of up to this size leaves in one call with its head."""
SHARED_BYTES: Final = 60 * 1024
"""A head shares a packet with a range of this size at most, as in floor.c and the broker."""
SEND_BUFFER_BYTES: Final = 1 << 18
REWIND_BYTES: Final = 1 << 28
STRIDE: Final = 1099
"""Ranges of batches begin anywhere in a page."""
_size_at: Final = Struct(">I").unpack_from


class Peer:
    """One connection."""

    def __init__(self, floor: "Floor", connected: socket.socket) -> None:
        self.floor = floor
        self.socket = connected
        self.fd = connected.fileno()
        self.held = b""
        self.ranges: list[tuple[int, int]] = []
        """What is left of ranges that the socket had no room for: position, size."""

    def readable(self) -> None:
        floor = self.floor
        try:
            size = self.socket.recv_into(floor.buffer)
        except BlockingIOError:
            return
        if not size:
            floor.loop.remove_reader(self.fd)
            self.socket.close()
            return
        came = floor.view[:size] if not self.held else memoryview(self.held + floor.view[:size])
        end, at, count = len(came), 0, 0
        while end - at >= 4:
            behind = at + 4 + _size_at(came, at)[0]
            if behind > end:
                break
            at = behind
            count += 1
        self.held = bytes(came[at:]) if at < end else b""
        if count:
            if floor.range_bytes:
                self.answer_with_ranges(count)
            else:
                floor.write(came if at == end else came[:at])
                self.socket.send(floor.head * count)

    def answer_with_ranges(self, count: int) -> None:
        floor = self.floor
        if floor.range_bytes <= COPIED_BYTES:
            self.socket.send(b"".join([floor.copied() for _ in range(count)]))
            return
        for _ in range(count):
            more = socket.MSG_MORE if floor.range_bytes <= SHARED_BYTES else 0
            self.socket.send(floor.head, more)
            self.ranges.append((floor.next_range(), floor.range_bytes))
        self.send_ranges()

    def send_ranges(self) -> None:
        floor = self.floor
        while self.ranges:
            position, size = self.ranges[0]
            try:
                sent = os.sendfile(self.fd, floor.file, position, size)
            except BlockingIOError:
                floor.loop.add_writer(self.fd, self.send_ranges)
                return
            if sent < size:
                self.ranges[0] = (position + sent, size - sent)
            else:
                del self.ranges[0]
        floor.loop.remove_writer(self.fd)


class Floor:
    """The server."""

    def __init__(self, path: Path, range_bytes: int) -> None:
        self.range_bytes = range_bytes
        self.file = os.open(path, os.O_RDONLY if range_bytes else os.O_RDWR | os.O_CREAT, 0o600)
        self.file_bytes = os.fstat(self.file).st_size
        self.position = 0
        self.head = (HEAD_BYTES - 4 + range_bytes).to_bytes(4, "big") + bytes(HEAD_BYTES - 4)
        self.buffer = bytearray(RECEIVE_BYTES)
        self.view = memoryview(self.buffer)
        self.loop = uvloop.new_event_loop()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.loop.add_reader(self.listener.fileno(), self.adopt)

    def adopt(self) -> None:
        connected, _ = self.listener.accept()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(self, connected)
        self.loop.add_reader(peer.fd, peer.readable)

    def write(self, content: memoryview) -> None:
        os.pwrite(self.file, content, self.position)
        self.position = (self.position + len(content)) % REWIND_BYTES

    def copied(self) -> bytes:
        return self.head + os.pread(self.file, self.range_bytes, self.next_range())

    def next_range(self) -> int:
        if self.position + self.range_bytes > self.file_bytes:
            self.position = 0
        position = self.position
        self.position += self.range_bytes + STRIDE
        return position


def main() -> None:
    mode, path, *size = sys.argv[1:]
    floor = Floor(Path(path), int(size[0]) if mode == "fetch" else 0)
    print(floor.listener.getsockname()[1], flush=True)
    floor.loop.run_forever()


if __name__ == "__main__":
    main()
