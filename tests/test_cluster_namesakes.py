"""A topic is deleted and made anew while a worker that led it is away: neither takes what is the other's."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rawclient import RawClient, batch_of
from reading import list_one

import barnabas
from barnabas.adapters.files import OsFiles
from barnabas.log.folder import read_topic_id
from barnabas.wire.messages import create_topics, delete_records, delete_topics, metadata

TOPIC = "again"
AWAY, HERE = 2, 1
LATEST, EARLIEST = -1, -2
SHORT_MS = 200
"""No answer waits longer for the worker that is away."""


def make(client: RawClient, leader: int, timeout_ms: int = 10_000) -> None:
    placed = [create_topics.CreatableReplicaAssignment(partition_index=0, broker_ids=[leader])]
    topic = create_topics.CreatableTopic(
        name=TOPIC, num_partitions=-1, replication_factor=-1, assignments=placed
    )
    ask = create_topics.CreateTopicsRequest(topics=[topic], timeout_ms=timeout_ms)
    assert client.call(create_topics, ask, 7).topics[0].error_code == 0


def delete(client: RawClient) -> None:
    topic = delete_topics.DeleteTopicState(name=TOPIC)
    ask = delete_topics.DeleteTopicsRequest(topics=[topic], timeout_ms=SHORT_MS)
    assert client.call(delete_topics, ask, 6).responses[0].error_code == 0


def cut(client: RawClient, offset: int) -> None:
    partition = delete_records.DeleteRecordsPartition(partition_index=0, offset=offset)
    topic = delete_records.DeleteRecordsTopic(name=TOPIC, partitions=[partition])
    ask = delete_records.DeleteRecordsRequest(topics=[topic], timeout_ms=10_000)
    assert client.call(delete_records, ask, 2).topics[0].partitions[0].error_code == 0


def id_at(client: RawClient) -> bytes:
    ask = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name=TOPIC)])
    found: bytes = client.call(metadata, ask, 12).topics[0].topic_id
    return found


def to(cluster: barnabas.Cluster, node_id: int) -> RawClient:
    return RawClient(cluster.brokers[node_id].address)


def bounds(client: RawClient) -> tuple[int, int]:
    first, end = (list_one(client, TOPIC, at) for at in (EARLIEST, LATEST))
    assert first.error_code == end.error_code == 0, (first, end)
    return first.offset, end.offset


@contextmanager
def anew(tmp_path: Path, leader: int, restart_ms: int) -> Iterator[tuple[barnabas.Cluster, int]]:
    """Five records, two of them deleted; then the topic is made anew under that leader while AWAY is stopped: its pid."""
    config = {"barnabas.workers.restart.ms": restart_ms, "log.segment.delete.delay.ms": 0}
    with (
        barnabas.Cluster(3, tmp_path, config=config) as cluster,
        to(cluster, HERE) as here,
        to(cluster, AWAY) as away,
    ):
        make(here, AWAY)
        for _ in range(5):
            assert away.produce(TOPIC, batch_of([b"old"])).error_code == 0
        cut(away, 2)
        pid = cluster.brokers[AWAY].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            delete(here)
            make(here, leader, SHORT_MS)
            yield cluster, pid
        finally:
            if cluster.brokers.get(AWAY, (0, 0))[1] == pid:
                os.kill(pid, signal.SIGCONT)


def test_a_worker_that_comes_back_does_not_serve_the_old_records_as_the_new_topics(tmp_path: Path) -> None:
    with anew(tmp_path, AWAY, restart_ms=30_000) as (cluster, _):
        cluster.kill(AWAY)
        cluster.wait_until(lambda cluster: AWAY in cluster.brokers)
        with to(cluster, AWAY) as away:
            assert bounds(away) == (0, 0)
            assert away.produce(TOPIC, batch_of([b"new"])).base_offset == 0
            assert read_topic_id(OsFiles(), str(tmp_path / f"{TOPIC}-0")) == id_at(away)


def test_what_is_taken_over_is_not_the_old_topics(tmp_path: Path) -> None:
    with anew(tmp_path, AWAY, restart_ms=0) as (cluster, _):
        cluster.kill(AWAY)
        cluster.wait_until(lambda cluster: cluster.leader(TOPIC, 0) != AWAY)
        with to(cluster, cluster.leader(TOPIC, 0)) as heir:
            deadline = time.monotonic() + 10
            while heir.produce(TOPIC, batch_of([b"new"])).error_code:
                assert time.monotonic() < deadline
            assert bounds(heir) == (0, 1)
    with barnabas.Cluster(3, tmp_path) as cluster, to(cluster, cluster.leader(TOPIC, 0)) as leader:
        assert bounds(leader) == (0, 1)


def test_a_worker_that_hears_late_deletes_nothing_of_the_new_topic(tmp_path: Path) -> None:
    with anew(tmp_path, HERE, restart_ms=30_000) as (cluster, pid):
        with to(cluster, HERE) as here:
            assert here.produce(TOPIC, batch_of([b"new"])).error_code == 0
            new = id_at(here)
        os.kill(pid, signal.SIGCONT)
        with to(cluster, AWAY) as away:
            deadline = time.monotonic() + 10
            while id_at(away) != new:
                assert time.monotonic() < deadline
    with barnabas.Cluster(3, tmp_path) as cluster, to(cluster, cluster.leader(TOPIC, 0)) as leader:
        assert bounds(leader) == (0, 1)
