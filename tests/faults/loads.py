"""Producers of three client families that count what was acknowledged, and the check of what the logs hold afterwards.

Each has a topic of its own and sends rising numbers to each partition. They are idempotent: whatever is killed, of a partition
the log has each number once and in order, and none that was acknowledged is missing.
"""

import asyncio
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import kafka
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from rawclient import RawClient

import barnabas
from barnabas.records.record import all_records
from barnabas.wire.messages import fetch

PARTITIONS: Final = 6
PAUSE_S: Final = 0.002
PATIENCE_S: Final = 90
FETCH_BYTES: Final = 1 << 22


class Load(ABC):
    """One producer in a thread of its own."""

    def __init__(self, topic: str, bootstrap: str) -> None:
        self.topic = topic
        self.bootstrap = bootstrap
        self.acknowledged: dict[int, set[int]] = defaultdict(set)
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=topic)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.send()
        except Exception as error:
            self.failures.append(repr(error))

    @abstractmethod
    def send(self) -> None: ...

    def values(self) -> Iterator[tuple[int, bytes]]:
        """(partition, value) until it is stopped."""
        number = 0
        while not self._stopped.is_set():
            for partition in range(PARTITIONS):
                yield partition, struct.pack(">q", number)
            number += 1
            time.sleep(PAUSE_S)

    def count(self) -> int:
        return sum(map(len, list(self.acknowledged.values())))

    def is_acknowledged(self, partition: int, value: bytes) -> None:
        self.acknowledged[partition].add(struct.unpack(">q", value)[0])

    def finish(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S + 30)
        assert not self._thread.is_alive(), f"{self.topic} is stuck"
        assert not self.failures, f"{self.topic}: {self.failures[:3]}"


class ConfluentLoad(Load):
    def send(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.timeout.ms": PATIENCE_S * 1000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                self.failures.append(str(error))
            else:
                self.is_acknowledged(message.partition(), message.value())

        for partition, value in self.values():
            producer.produce(self.topic, value, partition=partition, on_delivery=delivered)
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0


class KafkaPythonLoad(Load):
    def send(self) -> None:
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=PATIENCE_S * 1000,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
        )
        for partition, value in self.values():
            sent = producer.send(self.topic, value, partition=partition)
            sent.add_callback(
                lambda _, partition=partition, value=value: self.is_acknowledged(partition, value)
            )
            sent.add_errback(lambda error: self.failures.append(repr(error)))
        producer.flush(PATIENCE_S)
        producer.close()


class AiokafkaLoad(Load):
    def send(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            retry_backoff_ms=50,
            metadata_max_age_ms=1000,
        )
        await producer.start()
        pending: set[asyncio.Future[Any]] = set()

        def answered(sent: "asyncio.Future[Any]", partition: int, value: bytes) -> None:
            pending.discard(sent)
            if sent.exception() is not None:
                self.failures.append(repr(sent.exception()))
            else:
                self.is_acknowledged(partition, value)

        for partition, value in self.values():
            sent = await producer.send(self.topic, value, partition=partition)
            pending.add(sent)
            sent.add_done_callback(
                lambda sent, partition=partition, value=value: answered(sent, partition, value)
            )
        await asyncio.wait_for(asyncio.gather(*pending), PATIENCE_S)
        await producer.stop()


KINDS: Final[dict[str, type[Load]]] = {
    "confluent-kafka": ConfluentLoad,
    "kafka-python": KafkaPythonLoad,
    "aiokafka": AiokafkaLoad,
}


def start_all(bootstrap: str) -> list[Load]:
    return [kind(topic, bootstrap) for topic, kind in KINDS.items()]


def log_of(address: str, topic: str, partition: int) -> list[tuple[int, int]]:
    """(offset, value) of every record, from its leader."""
    found: list[tuple[int, int]] = []
    offset = 0
    with RawClient(address) as client:
        while True:
            part = fetch.FetchPartition(
                partition=partition, fetch_offset=offset, partition_max_bytes=FETCH_BYTES
            )
            ask = fetch.FetchRequest(
                max_wait_ms=0,
                min_bytes=0,
                max_bytes=FETCH_BYTES,
                session_epoch=-1,
                topics=[fetch.FetchTopic(topic=topic, partitions=[part])],
            )
            (answer,) = client.call(fetch, ask, 12).responses[0].partitions
            assert answer.error_code == 0
            if answer.high_watermark <= offset:
                return found
            for record in all_records(answer.records.to_bytes()):
                if record.offset >= offset:
                    found.append((record.offset, struct.unpack(">q", record.value or b"")[0]))
                    offset = record.offset + 1


def check(load: Load, leader: "dict[int, str]") -> None:
    """leader: the address of each partition's."""
    for partition in range(PARTITIONS):
        log = log_of(leader[partition], load.topic, partition)
        acknowledged = load.acknowledged[partition]
        values = [value for _, value in log]
        assert len(acknowledged) > 50, "too little was sent to say anything"
        assert [offset for offset, _ in log] == list(range(len(log))), "a hole"
        assert not acknowledged - set(values), "acknowledged and missing"
        assert values == sorted(set(values)), "doubled or out of order"


def leaders(cluster: barnabas.Cluster, topic: str) -> dict[int, str]:
    brokers = cluster.brokers
    return {partition: brokers[cluster.leader(topic, partition)].address for partition in range(PARTITIONS)}
