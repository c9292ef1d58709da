"""What the load sends: requests in wire form, and where their answers hold error codes."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

from barnabas.records.record import Record, build_batch
from barnabas.wire import apis
from barnabas.wire.frame import request_head, response_body_at, response_head
from barnabas.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from barnabas.wire.messages.metadata import MetadataResponse
from barnabas.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from barnabas.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from barnabas.wire.primitives import Records

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT = 0, 1, 2, 3, 8
FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, SYNC_GROUP = 10, 11, 12, 14
API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS = 18, 19, 20
VERSIONS = {
    PRODUCE: 9,
    FETCH: 11,
    LIST_OFFSETS: 5,
    METADATA: 9,
    OFFSET_COMMIT: 8,
    FIND_COORDINATOR: 2,
    JOIN_GROUP: 5,
    HEARTBEAT: 3,
    SYNC_GROUP: 3,
    API_VERSIONS: 0,
    CREATE_TOPICS: 5,
    DELETE_TOPICS: 5,
}
CLIENT = "bench"
BATCH_BESIDE_VALUE = 75
"""Bytes of a batch of one record that are not its value."""


def encode(key: int, message: Any) -> bytes:
    body: bytes = apis.load(key).encode_request(message, VERSIONS[key])
    return request_head(key, VERSIONS[key], 1, CLIENT, len(body)) + body


def read_frame(stream: socket.socket) -> bytes:
    """One answer without its length."""
    held = b""
    while len(held) < 4 or len(held) < 4 + int.from_bytes(held[:4], "big"):
        part = stream.recv(1 << 20)
        if not part:
            raise ConnectionError("the broker closed the connection")
        held += part
    return held[4:]


def decode(key: int, frame: bytes) -> Any:
    at = response_body_at(key, VERSIONS[key], frame)
    return apis.load(key).decode_response(frame, at, VERSIONS[key])


def ask(port: int, key: int, message: Any, timeout_s: float = 120.0) -> Any:
    """One request over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as stream:
        stream.sendall(encode(key, message))
        return decode(key, read_frame(stream))


def ports_of_leaders(answer: MetadataResponse) -> dict[str, list[int]]:
    """The port of each partition's leader, by topic and number; 0 where none is known."""
    ports = {broker.node_id: broker.port for broker in answer.brokers}
    found = {}
    for topic in answer.topics:
        by_number = {part.partition_index: ports.get(part.leader_id, 0) for part in topic.partitions}
        found[topic.name or ""] = [by_number[number] for number in sorted(by_number)]
    return found


def produce_message(
    topic: str, partitions: Iterable[int], batch_bytes: int, now_ms: int, **producer: Any
) -> ProduceRequest:
    """One record in one batch for each partition. producer: id, epoch and sequence of an idempotent one."""
    value = b"x" * max(batch_bytes - BATCH_BESIDE_VALUE, 1)
    batch = build_batch([Record(None, value, now_ms)], **producer)
    asked = [PartitionProduceData(partition, Records(batch)) for partition in partitions]
    return ProduceRequest(None, -1, 30_000, [TopicProduceData(topic, partition_data=asked)])


def produce_request(topic: str, partition: int, batch_bytes: int, now_ms: int, **producer: Any) -> bytes:
    return encode(PRODUCE, produce_message(topic, [partition], batch_bytes, now_ms, **producer))


def fetch_message(
    topic: str, partitions: Iterable[int], max_bytes: int, offset: int = 0, session: tuple[int, int] = (0, -1)
) -> FetchRequest:
    """max_bytes of each partition. session: its id and epoch; (0, -1) asks for none."""
    asked = [
        FetchPartition(partition, fetch_offset=offset, partition_max_bytes=max_bytes)
        for partition in partitions
    ]
    return FetchRequest(
        max_wait_ms=500,
        min_bytes=1,
        max_bytes=max_bytes * max(len(asked), 1) if session[0] == 0 else 1 << 30,
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchTopic(topic, partitions=asked)] if asked else [],
    )


def fetch_request(topic: str, partition: int, max_bytes: int, offset: int = 0) -> bytes:
    return encode(FETCH, fetch_message(topic, [partition], max_bytes, offset))


def commit_request(group: str, topic: str, partition: int) -> bytes:
    """By a consumer without a group membership, as one that assigns itself its partitions."""
    asked = [OffsetCommitRequestPartition(partition, 42)]
    return encode(
        OFFSET_COMMIT, OffsetCommitRequest(group, topics=[OffsetCommitRequestTopic(topic, partitions=asked)])
    )


def _changing(key: int, answer: Callable[[int], Any]) -> tuple[int, ...]:
    """Where an answer changes when its codes do, counted from its length field."""
    frames = []
    for code in (0, -1):
        content = apis.load(key).encode_response(answer(code), VERSIONS[key])
        body = content if isinstance(content, bytes) else b"".join(bytes(part) for part in content)
        frames.append(response_head(1, key, VERSIONS[key], len(body)) + body)
    changed = [at for at, (one, other) in enumerate(zip(*frames, strict=True)) if one != other]
    return tuple(changed[::2])


def produce_codes(topic: str, partitions: int = 1) -> tuple[int, ...]:
    def answer(code: int) -> ProduceResponse:
        parts = [PartitionProduceResponse(number, code) for number in range(partitions)]
        return ProduceResponse([TopicProduceResponse(topic, partition_responses=parts)])

    return _changing(PRODUCE, answer)


def fetch_codes(topic: str) -> tuple[int, ...]:
    """Of the request and of its first partition: what follows lies behind records."""

    def answer(code: int) -> FetchResponse:
        parts = [PartitionData(0, code, records=Records(b""))]
        return FetchResponse(error_code=code, responses=[FetchableTopicResponse(topic, partitions=parts)])

    return _changing(FETCH, answer)


def commit_codes(topic: str) -> tuple[int, ...]:
    def answer(code: int) -> OffsetCommitResponse:
        parts = [OffsetCommitResponsePartition(0, code)]
        return OffsetCommitResponse(topics=[OffsetCommitResponseTopic(topic, partitions=parts)])

    return _changing(OFFSET_COMMIT, answer)
