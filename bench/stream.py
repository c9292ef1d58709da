"""The load generator in Python, for a machine without a C compiler: the same load, the same answers, more of its own CPU."""

import selectors
import socket
import time
from collections import deque

from .load import NOTHING, Limits, Load, LoadFailed, Taken, Target
from .processes import cpu_us

RECEIVE_BYTES = 1 << 20
ASKED_EVERY_S = 0.005


class Stream:
    """One connection: sends its requests in order; of an answer it keeps its length and its error codes."""

    def __init__(self, port: int, load: Load, content: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = _split(content)
        self._load = load
        self._next = 0
        self._due: deque[float] = deque()
        self._held = bytearray()

    def room(self) -> int:
        """How many requests it may send now."""
        room = self._load.in_flight - len(self._due)
        return min(room, len(self._requests) - self._next) if self._load.once else room

    def is_spent(self) -> bool:
        return self._load.once and self._next >= len(self._requests)

    def unanswered(self) -> int:
        return len(self._due)

    def send(self, dues: list[float]) -> None:
        chosen = [
            self._requests[at % len(self._requests)] for at in range(self._next, self._next + len(dues))
        ]
        self._next += len(dues)
        self._due.extend(dues)
        self.socket.sendall(b"".join(chosen))

    def receive(self, counts: "Counts") -> None:
        content = self.socket.recv(RECEIVE_BYTES)
        if not content:
            raise LoadFailed("the broker closed the connection")
        self._held += content
        at = time.perf_counter()
        start, held = 0, self._held
        while len(held) - start >= 4:
            size = 4 + int.from_bytes(held[start : start + 4], "big")
            if len(held) - start < size:
                break
            counts.add(at - self._due.popleft(), size, self._code(start, size), at)
            start += size
        del held[:start]

    def _code(self, start: int, size: int) -> int:
        for at in self._load.codes:
            code = self._held[start + at : start + at + 2]
            if at + 2 > size or code != b"\0\0":
                return int.from_bytes(code, "big", signed=True) or -32768
        return 0


class Counts:
    """The answers of one part."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.errors = self.first_error = self.answer_bytes = 0
        self.last = time.perf_counter()

    def add(self, took: float, size: int, code: int, at: float) -> None:
        self.took.append(took)
        self.answer_bytes += size
        self.last = at
        if code:
            self.errors += 1
            self.first_error = self.first_error or code


def _split(content: bytes) -> list[bytes]:
    requests, at = [], 0
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "big")
        requests.append(content[at:end])
        at = end
    return requests


def _part(streams: list[Stream], chooser: selectors.BaseSelector, limits: Limits, rate: float) -> Counts:
    counts = Counts()
    if limits == NOTHING:
        return counts
    begun = time.perf_counter()
    end = begun + (limits.seconds or float("inf"))
    most = limits.requests or 1 << 62
    longest_wait = ASKED_EVERY_S if limits.until else 0.1
    sent, due, is_open = 0, begun, True
    while True:
        now = time.perf_counter()
        is_open = is_open and now < end and sent < most and not (limits.until and limits.until())
        for stream in streams if is_open else ():
            count = min(stream.room(), most - sent)
            if rate:
                count = min(count, int((now - due) * rate) + 1 if due <= now else 0)
            if count > 0:
                stream.send([due + number / rate if rate else now for number in range(count)])
                sent += count
                due += count / rate if rate else 0.0
        streams = streams[1:] + streams[:1]  # so that no connection is always first
        waiting = any(stream.unanswered() for stream in streams)
        if not waiting and (not is_open or all(stream.is_spent() for stream in streams)):
            return counts
        wait = min(max(due - now, 0.0), longest_wait) if rate and is_open else longest_wait
        for key, _ in chooser.select(wait):
            key.data.receive(counts)


def drive_in_python(target: Target, load: Load, counted: Limits, warm: Limits) -> Taken:
    ports = load.ports or [target.port] * len(load.contents)
    streams = [Stream(port, load, content) for port, content in zip(ports, load.contents, strict=True)]
    with selectors.DefaultSelector() as chooser:
        for stream in streams:
            chooser.register(stream.socket, selectors.EVENT_READ, stream)
        _part(streams, chooser, warm, load.rate)
        broker_us, own_us = cpu_us(target.pids), time.process_time_ns() / 1000
        begun = time.perf_counter()
        if counted == NOTHING:
            counted = Limits(requests=1 << 62)
        counts = _part(streams, chooser, counted, load.rate)
    broker_us, own_us = cpu_us(target.pids) - broker_us, time.process_time_ns() / 1000 - own_us
    for stream in streams:
        stream.socket.close()
    took = sorted(counts.took) or [0.0]
    return Taken(
        len(counts.took),
        max(counts.last - begun, 1e-9),
        counts.errors,
        counts.first_error,
        counts.answer_bytes,
        took[int(len(took) * 0.5)] * 1e6,
        took[int(len(took) * 0.99)] * 1e6,
        took[int(len(took) * 0.999)] * 1e6,
        took[-1] * 1e6,
        broker_us,
        own_us,
    )
