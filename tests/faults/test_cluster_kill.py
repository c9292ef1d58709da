"""Workers killed under the load of three client families: nothing that was acknowledged is lost, nothing is stored twice.

Once with workers that come back in time, once with others that take over at once, once with the parent killed.
"""

import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import loads
import pytest
from confluent_kafka import Consumer
from process import BrokerProcess
from rawclient import RawClient

import barnabas
from barnabas.wire.messages import metadata

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

JOURNAL = {
    "barnabas.durability": "sync",
    "barnabas.journal.bytes": 4 << 20,
    "offsets.topic.num.partitions": 6,
}
"""So small that it is there from the first seconds on."""
KILLS = 5


def seed() -> int:
    return int(os.environ.get("BARNABAS_SEED") or random.SystemRandom().randrange(2**32))


class Reader:
    """A consumer group of one that reads all topics all the while."""

    def __init__(self, bootstrap: str) -> None:
        self.seen: dict[str, dict[int, set[int]]] = {
            topic: {partition: set() for partition in range(loads.PARTITIONS)} for topic in loads.KINDS
        }
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "reader",
                "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 200,
                "reconnect.backoff.max.ms": 200,
                "topic.metadata.refresh.interval.ms": 1000,
                "log_level": 0,
            }
        )
        self._consumer.subscribe(list(loads.KINDS))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            message = self._consumer.poll(0.05)
            if message is None:
                continue
            if message.error() is not None:
                if not message.error().retriable():
                    self.failures.append(str(message.error()))
                continue
            value = struct.unpack(">q", message.value() or b"")[0]
            self.seen[message.topic() or ""][message.partition() or 0].add(value)
        self._consumer.close()

    def wait_for(self, producers: list[loads.Load]) -> None:
        """Until it has read all that was acknowledged."""
        deadline = time.monotonic() + loads.PATIENCE_S
        try:
            for load in producers:
                for partition, wanted in load.acknowledged.items():
                    while wanted - self.seen[load.topic][partition]:
                        missing = len(wanted - self.seen[load.topic][partition])
                        assert time.monotonic() < deadline, (
                            f"{load.topic}-{partition}: {missing} not read; {self.failures[:3]}"
                        )
                        time.sleep(0.05)
        finally:
            self._stopped.set()
            self._thread.join()


@contextmanager
def under_load(bootstrap: str) -> Iterator[list[loads.Load]]:
    reader = Reader(bootstrap)
    producers = loads.start_all(bootstrap)
    try:
        until_acknowledged(producers, 50)
        yield producers
        until_acknowledged(producers, 50)
    finally:
        for load in producers:
            load.finish()
    reader.wait_for(producers)


def until_acknowledged(producers: list[loads.Load], more: int) -> None:
    """Each of them goes on: so many more a partition have been acknowledged."""
    wanted = [load.count() + more * loads.PARTITIONS for load in producers]
    deadline = time.monotonic() + loads.PATIENCE_S
    for load, count in zip(producers, wanted, strict=True):
        while load.count() < count:
            assert time.monotonic() < deadline, f"{load.topic} does not go on: {load.failures[:3]}"
            time.sleep(0.02)


def check_all(cluster: barnabas.Cluster, producers: list[loads.Load]) -> None:
    for load in producers:
        loads.check(load, loads.leaders(cluster, load.topic))


def test_leaders_that_are_killed_come_back(tmp_path: Path) -> None:
    chosen = seed()
    print(f"BARNABAS_SEED={chosen}")
    draw = random.Random(chosen)
    topics = dict.fromkeys(loads.KINDS, loads.PARTITIONS)
    with barnabas.Cluster(3, tmp_path, config=JOURNAL, topics=topics) as cluster:
        with under_load(cluster.bootstrap) as producers:
            for _ in range(KILLS):
                node = cluster.leader(draw.choice(list(topics)), draw.randrange(loads.PARTITIONS))
                before = cluster.brokers[node]
                for killed in (node, draw.choice([other for other in cluster.brokers if other != node])):
                    cluster.kill(killed)
                    if draw.random() < 0.6:
                        break  # else two of three at once
                cluster.wait_until(
                    lambda cluster: len(cluster.brokers) == 3, timeout=90
                )  # third time in a minute: 30 s
                assert cluster.brokers[node].address == before.address
                until_acknowledged(producers, draw.randrange(1, 60))
        assert all(cluster.leader(topic, 0) in cluster.brokers for topic in topics)
        check_all(cluster, producers)
    with barnabas.Cluster(2, tmp_path, config=JOURNAL) as cluster:
        check_all(cluster, producers)


def test_others_take_over_from_a_killed_leader_and_it_comes_back_to_new_topics(tmp_path: Path) -> None:
    topics = dict.fromkeys(loads.KINDS, loads.PARTITIONS)
    config = {**JOURNAL, "barnabas.workers.restart.ms": 0}
    with barnabas.Cluster(3, tmp_path, config=config, topics=topics) as cluster:
        with under_load(cluster.bootstrap) as producers:
            for left, node in ((2, cluster.leader("aiokafka", 0)), (1, cluster.leader("aiokafka", 1))):
                cluster.kill(node)
                cluster.wait_until(
                    lambda cluster, node=node: all(  # type: ignore[misc]
                        cluster.leader(topic, partition) != node
                        for topic in topics
                        for partition in range(loads.PARTITIONS)
                    )
                )
                assert len(cluster.brokers) == left
                until_acknowledged(producers, 50)
            cluster.wait_until(lambda cluster: len(cluster.brokers) == 3, timeout=90)
            cluster.create_topic("new", 3)
            assert {cluster.leader("new", partition) for partition in range(3)} == {1, 2, 3}
        check_all(cluster, producers)
    with barnabas.Cluster(3, tmp_path, config=config) as cluster:
        check_all(cluster, producers)


def test_a_parent_that_is_killed_ends_its_workers_and_the_next_start_is_right(tmp_path: Path) -> None:
    settings = (
        *(f"{name}={value}" for name, value in JOURNAL.items()),
        "barnabas.workers=2",
        f"barnabas.workers.port={free_ports(2)}",  # who knows them all finds them again
    )
    broker = BrokerProcess(tmp_path, *settings)
    try:
        with RawClient(broker.bootstrap) as client:
            for topic in loads.KINDS:
                client.create_topic(topic, loads.PARTITIONS)
        with under_load(broker.bootstrap) as producers:
            for _ in range(2):
                broker.kill()
                broker = BrokerProcess(tmp_path, *settings, port=broker.port)
                until_acknowledged(producers, 50)
        for load in producers:
            loads.check(load, told_leaders(broker.bootstrap, load.topic))
        assert broker.stop() == 0
    finally:
        if broker.lives():
            broker.kill()
    with barnabas.Broker(data=tmp_path) as alone:
        for load in producers:
            values = {struct.unpack(">q", each.raw_value or b"")[0] for each in alone.records(load.topic, 0)}
            assert not load.acknowledged[0] - values


def free_ports(count: int) -> int:
    """The first of so many in a row, below those that the system gives to clients, which could take one from a dead worker.

    From some place on: what runs beside this looks for its own elsewhere.
    """
    for _ in range(1_000):
        first = random.randrange(21_000, 29_000)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


def told_leaders(bootstrap: str, topic: str) -> dict[int, str]:
    with RawClient(bootstrap) as client:
        ask = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name=topic)])
        answer = client.call(metadata, ask, 12)
    addresses = {broker.node_id: f"{broker.host}:{broker.port}" for broker in answer.brokers}
    return {part.partition_index: addresses[part.leader_id] for part in answer.topics[0].partitions}
