"""A load generator over raw sockets: requests are encoded once and sent again and again, so the broker is what is measured.

Each connection keeps `in_flight` requests unanswered. Runs in a process of its own, so that its CPU is not the broker's.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from barnabas.records.record import Record, build_batch
from barnabas.wire import apis
from barnabas.wire.frame import request_head
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from barnabas.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from barnabas.wire.primitives import Records

PRODUCE_VERSION = 9
FETCH_VERSION = 11
RECEIVE_BYTES = 1 << 20


Payload = Callable[[int, int], Sequence[bytes]]
"""(connection, count) → what the connection sends, again and again from the first on; count are enough for a round."""


@dataclass
class Line:
    """One line of the bench: what is sent, by how many."""

    name: str
    connections: int
    in_flight: int
    requests: int
    payload: Payload


def produce_message(
    topic: str, partitions: Iterable[int], batch_bytes: int, now_ms: int, **producer: int
) -> ProduceRequest:
    """One record in one batch for each partition. producer: id, epoch and sequence of an idempotent one."""
    batch = build_batch([Record(None, b"x" * max(batch_bytes - 75, 1), now_ms)], **producer)
    asked = [PartitionProduceData(partition, Records(batch)) for partition in partitions]
    return ProduceRequest(None, -1, 30_000, [TopicProduceData(topic, partition_data=asked)])


def produce_request(topic: str, partition: int, batch_bytes: int, now_ms: int, **producer: int) -> bytes:
    message = produce_message(topic, [partition], batch_bytes, now_ms, **producer)
    body = apis.load(0).encode_request(message, PRODUCE_VERSION)
    return request_head(0, PRODUCE_VERSION, 1, "bench", len(body)) + body


def fetch_request(topic: str, partition: int, max_bytes: int) -> bytes:
    part = FetchPartition(partition, fetch_offset=0, partition_max_bytes=max_bytes)
    message = FetchRequest(
        max_wait_ms=500, min_bytes=1, max_bytes=max_bytes, topics=[FetchTopic(topic, partitions=[part])]
    )
    body = apis.load(1).encode_request(message, FETCH_VERSION)
    return request_head(1, FETCH_VERSION, 1, "bench", len(body)) + body


class Stream:
    """One connection: sends its payload in order, counts answers by their length prefix."""

    def __init__(self, host: str, port: int, payload: Sequence[bytes]) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._payload = payload
        self._next = 0
        self._held = bytearray()
        self._skip = 0

    def send(self, count: int) -> None:
        if len(self._payload) == 1:
            self.socket.sendall(self._payload[0] * count)
            return
        chosen = [self._payload[at % len(self._payload)] for at in range(self._next, self._next + count)]
        self._next += count
        self.socket.sendall(b"".join(chosen))

    def answers(self) -> int:
        """Answers that are complete by what has arrived."""
        content = self.socket.recv(RECEIVE_BYTES)
        if not content:
            raise ConnectionError("the broker closed the connection")
        self._held += content
        count = 0
        while True:
            if self._skip:
                taken = min(self._skip, len(self._held))
                del self._held[:taken]
                self._skip -= taken
                if self._skip:
                    return count
                count += 1
            if len(self._held) < 4:
                return count
            self._skip = int.from_bytes(self._held[:4], "big")
            del self._held[:4]


def run(host: str, port: int, line: Line, requests: int) -> float:
    """Sends requests in all; returns the seconds they took."""
    each = -(-requests // line.connections) + line.in_flight
    streams = [Stream(host, port, line.payload(number, each)) for number in range(line.connections)]
    chooser = selectors.DefaultSelector()
    sent = answered = 0
    begun = time.perf_counter()
    for stream in streams:
        chooser.register(stream.socket, selectors.EVENT_READ, stream)
        stream.send(line.in_flight)
        sent += line.in_flight
    while answered < requests:
        for key, _ in chooser.select():
            stream = key.data
            count = stream.answers()
            answered += count
            more = min(count, requests - sent) if sent < requests else 0
            if more > 0:
                stream.send(more)
                sent += more
    seconds = time.perf_counter() - begun
    for stream in streams:
        stream.socket.close()
    return seconds
