"""OffsetCommits that one connection sends without waiting: they wait together for the disk, and for nothing else's sake."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from rawclient import RawClient, batch_of, frame_of, produce_request
from trouble import on_loop, partition_of, served_of

import barnabas
from barnabas.coordinators.group.coordinator import java_hash
from barnabas.records.record import all_records, batches
from barnabas.wire.frame import request_head
from barnabas.wire.messages import find_coordinator, heartbeat, offset_commit, offset_fetch, produce

Asked = tuple[ModuleType, Any, int]
OFFSETS = "__consumer_offsets"


@pytest.fixture
def group(client: RawClient, request: pytest.FixtureRequest) -> str:
    """A group with one committed offset, whose coordinator serves."""
    name = str(request.node.name)
    ask = find_coordinator.FindCoordinatorRequest(coordinator_keys=[name])
    assert client.call(find_coordinator, ask, 4).coordinators[0].error_code == 0
    module, commit, version = commit_of(name, 0)
    assert client.call(module, commit, version).topics[0].partitions[0].error_code == 0
    return name


def commit_of(group: str, offset: int) -> Asked:
    part = offset_commit.OffsetCommitRequestPartition(0, offset)
    topic = offset_commit.OffsetCommitRequestTopic("plain", partitions=[part])
    return offset_commit, offset_commit.OffsetCommitRequest(group, topics=[topic]), 9


def frames_of(asked: Sequence[Asked]) -> bytes:
    """Correlation ids count from 1."""
    content = b""
    for number, (module, ask, version) in enumerate(asked, 1):
        body = module.encode_request(ask, version)
        content += request_head(module.API_KEY, version, number, "raw", len(body)) + body
    return content


def begun(broker: barnabas.Broker, client: RawClient, content: bytes) -> int:
    """How many requests begin when their bytes come at once, before the turn of the loop ends."""
    served = served_of(broker, client)
    counts: list[int] = []

    def take() -> None:
        served.received(memoryview(content))
        counts.append(len(served._slots))

    on_loop(broker, take)
    return counts[0]


def ids(client: RawClient, count: int) -> list[int]:
    """Correlation ids of the next answers."""
    frames = [client.read_frame() for _ in range(count)]
    return [int.from_bytes((frame or b"")[:4], "big") for frame in frames]


def test_commits_that_come_at_once_share_a_batch(
    broker: barnabas.Broker, client: RawClient, group: str
) -> None:
    commits = [commit_of(group, offset) for offset in range(1, 9)]
    assert begun(broker, client, frames_of(commits)) == 8
    assert ids(client, 8) == list(range(1, 9))
    index = (java_hash(group) & 0x7FFFFFFF) % 50
    partition = partition_of(broker, OFFSETS, index)
    content = partition.read_bytes(partition.log_start_offset, 1 << 20)
    assert [header.record_count for header, _ in batches(content)][-1] == 8
    written = [int.from_bytes((record.value or b"")[2:10], "big") for record in all_records(content)]
    assert written[-8:] == list(range(1, 9))


@pytest.mark.parametrize(
    "other",
    [
        (offset_fetch, offset_fetch.OffsetFetchRequest("nobody"), 7),
        (heartbeat, heartbeat.HeartbeatRequest("nobody"), 4),
        (produce, produce_request("plain", batch_of([b"v"])), 8),
    ],
    ids=["OffsetFetch", "Heartbeat", "Produce"],
)
def test_anything_else_waits_for_the_commits_before_it(
    broker: barnabas.Broker, client: RawClient, group: str, other: Asked
) -> None:
    asked = [commit_of(group, 1), commit_of(group, 2), other, commit_of(group, 3)]
    assert begun(broker, client, frames_of(asked)) == 2
    assert ids(client, 4) == [1, 2, 3, 4]


def test_a_commit_waits_for_the_produce_before_it(
    broker: barnabas.Broker, client: RawClient, group: str
) -> None:
    """So a commit of what was made of a record is never durable without the record."""
    asked = [(produce, produce_request("plain", batch_of([b"v"])), 8), commit_of(group, 1)]
    assert begun(broker, client, frames_of(asked)) == 1
    assert ids(client, 2) == [1, 2]


@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_cut_frame_behind_commits_waits_for_their_answers(
    broker: barnabas.Broker, client: RawClient, group: str, size: int
) -> None:
    content = frames_of([commit_of(group, 1), commit_of(group, 2)]) + frame_of(bytes(size))
    assert begun(broker, client, content) == 2
    assert ids(client, 2) == [1, 2]
    assert client.is_closed_by_peer()
