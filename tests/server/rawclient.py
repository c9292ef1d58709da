"""A client of bare sockets for tests: it sends what a test says, also what no real client would send."""

import socket
import struct
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Any, Self

from covers import TRAFFIC

from barnabas.records.record import Record, build_batch
from barnabas.wire import apis
from barnabas.wire.frame import request_head, response_body_at
from barnabas.wire.messages import create_topics, delete_topics, produce
from barnabas.wire.primitives import Records

WAIT_S = 10.0


class RawClient:
    """One connection. Reads are bounded by WAIT_S: a broker that stays mute fails the test.

    Whole requests and their responses go to TRAFFIC, where `covers` looks for what a test claims.
    """

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self._correlation = 0
        self._unanswered: dict[int, tuple[ModuleType, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def read_exactly(self, size: int) -> bytes | None:
        """None when the peer closed first."""
        parts = b""
        while len(parts) < size:
            try:
                part = self.socket.recv(size - len(parts))
            except ConnectionResetError:
                return None
            if not part:
                return None
            parts += part
        return parts

    def read_frame(self) -> bytes | None:
        head = self.read_exactly(4)
        frame = None if head is None else self.read_exactly(int.from_bytes(head, "big"))
        if frame is not None:
            self._note(frame)
        return frame

    def _note(self, frame: bytes) -> None:
        """Frames that answer hand-written bytes are nobody's."""
        asked = self._unanswered.pop(int.from_bytes(frame[:4], "big"), None)
        if asked is not None:
            module, version = asked
            at = response_body_at(module.API_KEY, version, frame)
            TRAFFIC.received(module.API_KEY, version, module.decode_response(frame, at, version))

    def is_closed_by_peer(self) -> bool:
        """The broker closes without another byte; raises TimeoutError when it does nothing."""
        return self.read_exactly(1) is None

    # -- whole requests

    def post(self, module: ModuleType, ask: object, version: int) -> int:
        """Send and do not wait; the correlation id."""
        self._correlation += 1
        body = module.encode_request(ask, version)
        TRAFFIC.sent(module.API_KEY, version, ask)
        self._unanswered[self._correlation] = module, version
        self.send(request_head(module.API_KEY, version, self._correlation, "raw", len(body)) + body)
        return self._correlation

    def body_of(self, module: ModuleType, ask: object, version: int) -> bytes:
        """Send, wait, check the head; the response's body."""
        correlation = self.post(module, ask, version)
        frame = self.read_frame()
        assert frame is not None, f"{module.__name__} v{version}: the connection was closed"
        assert int.from_bytes(frame[:4], "big") == correlation
        return frame[response_body_at(module.API_KEY, version, frame) :]

    def call(self, module: ModuleType, ask: object, version: int) -> Any:
        return module.decode_response(self.body_of(module, ask, version), 0, version)

    # -- shorthands

    def create_topic(self, name: str, partitions: int = 1, **configs: str) -> None:
        ask = create_topics.CreateTopicsRequest(
            topics=[
                create_topics.CreatableTopic(
                    name=name,
                    num_partitions=partitions,
                    replication_factor=1,
                    configs=[
                        create_topics.CreatableTopicConfig(name=key.replace("_", "."), value=value)
                        for key, value in configs.items()
                    ],
                )
            ],
            timeout_ms=10_000,
        )
        (result,) = self.call(create_topics, ask, 7).topics
        assert result.error_code == 0, result

    def delete_topic(self, name: str) -> None:
        ask = delete_topics.DeleteTopicsRequest(
            topics=[delete_topics.DeleteTopicState(name=name)], timeout_ms=10_000
        )
        (result,) = self.call(delete_topics, ask, 6).responses
        assert result.error_code == 0, result

    def produce(
        self, topic: str, batch: bytes | None, *, partition: int = 0, acks: int = -1, version: int = 12
    ) -> Any:
        """The answer for the one partition."""
        response = self.call(produce, produce_request(topic, batch, partition=partition, acks=acks), version)
        return response.responses[0].partition_responses[0]


def produce_request(
    topic: str, batch: bytes | None, *, partition: int = 0, acks: int = -1
) -> produce.ProduceRequest:
    return produce.ProduceRequest(
        acks=acks,
        timeout_ms=10_000,
        topic_data=[
            produce.TopicProduceData(
                name=topic,
                partition_data=[
                    produce.PartitionProduceData(
                        index=partition, records=None if batch is None else Records(batch)
                    )
                ],
            )
        ],
    )


def batch_of(values: Sequence[bytes], timestamp: int = -1, **fields: Any) -> bytes:
    """A good batch; timestamp -1 (none) passes every topic's limits."""
    return build_batch([Record(None, value, timestamp, ()) for value in values], **fields)


def frame_of(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def header_of(key: int, version: int, correlation: int = 7, client_id: bytes | None = b"raw") -> bytes:
    """A request header written by hand; its tags are not."""
    head = struct.pack(">hhi", key, version, correlation)
    return head + (
        struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id
    )


def is_flexible(key: int, version: int) -> bool:
    return version >= apis.BY_KEY[key].flexible_from
