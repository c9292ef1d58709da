"""SIGKILL at random moments under producers that count only what was acknowledged.

Each round kills the broker and starts it on the same folder. At the end the log is read whole: of one idempotent
producer every acknowledged value is there once and all are in order; of raw producers, each acknowledged value lies at
the offset that was acknowledged.
"""

import os
import random
import struct
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from process import BrokerProcess
from rawclient import RawClient, batch_of

from barnabas.records.record import all_records
from barnabas.wire.messages import fetch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

ROUNDS = 5
PARTITIONS = 2
TOPIC = "killed"
SMALL_RING = "barnabas.journal.bytes=131072"
"""Full after sixteen rounds: a kill meets a checkpoint."""


def seed() -> int:
    return int(os.environ.get("BARNABAS_SEED") or random.SystemRandom().randrange(2**32))


class Idempotent:
    """A confluent producer for the whole test: values count upward in each partition."""

    def __init__(self, bootstrap: str) -> None:
        self.acknowledged: dict[int, dict[int, int]] = {index: {} for index in range(PARTITIONS)}
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 2,
                "batch.num.messages": 20,
                "message.timeout.ms": 60_000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        value = 0
        while not self._stopped.is_set():
            for index in range(PARTITIONS):
                try:
                    self._producer.produce(
                        TOPIC, struct.pack(">q", value), partition=index, on_delivery=self._delivered
                    )
                except BufferError:
                    break
            else:
                value += 1
            self._producer.poll(0.001)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failures.append(str(error))
            return
        (value,) = struct.unpack(">q", message.value())
        self.acknowledged[message.partition()][value] = message.offset()

    def finish(self) -> None:
        self._stopped.set()
        self._thread.join()
        assert self._producer.flush(60) == 0, "the producer is stuck after the last start"


class Raw:
    """acks=all by hand on a topic of its own: a lost connection makes what was under way unknown."""

    def __init__(self, port: int) -> None:
        self.acknowledged: dict[int, int] = {}
        self.bad: list[int] = []
        self._port = port
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        value = 0
        while not self._stopped.is_set():
            try:
                with RawClient(f"127.0.0.1:{self._port}") as client:
                    while not self._stopped.is_set():
                        value += 1
                        answer = client.produce("raw", batch_of([struct.pack(">q", value)]))
                        if answer.error_code == 0:
                            self.acknowledged[value] = answer.base_offset
                        else:
                            self.bad.append(answer.error_code)
            except (OSError, AssertionError):
                time.sleep(0.02)

    def finish(self) -> None:
        self._stopped.set()
        self._thread.join()


def read_all(bootstrap: str, topic: str, partition: int) -> list[tuple[int, int]]:
    """(offset, value) of every record, by raw fetches up to the high watermark."""
    found: list[tuple[int, int]] = []
    offset = 0
    with RawClient(bootstrap) as client:
        while True:
            ask = fetch.FetchRequest(
                max_wait_ms=0,
                min_bytes=0,
                max_bytes=1 << 22,
                session_epoch=-1,
                topics=[
                    fetch.FetchTopic(
                        topic=topic,
                        partitions=[
                            fetch.FetchPartition(
                                partition=partition, fetch_offset=offset, partition_max_bytes=1 << 22
                            )
                        ],
                    )
                ],
            )
            (part,) = client.call(fetch, ask, 12).responses[0].partitions
            assert part.error_code == 0
            if part.high_watermark <= offset:
                return found
            for record in all_records(part.records.to_bytes()):
                if record.offset >= offset:
                    assert record.value is not None
                    found.append((record.offset, struct.unpack(">q", record.value)[0]))
            assert found, "below the high watermark there are records"
            offset = found[-1][0] + 1


@pytest.mark.parametrize(
    "settings",
    [
        ("barnabas.durability=cache",),
        ("barnabas.durability=sync",),
        ("barnabas.durability=sync", SMALL_RING),
    ],
    ids=["cache", "sync", "checkpoints"],
)
def test_nothing_acknowledged_is_missing_doubled_or_out_of_order(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    chosen = seed()
    print(f"BARNABAS_SEED={chosen}")
    chance = random.Random(chosen)
    broker = BrokerProcess(tmp_path, *settings)
    try:
        with RawClient(broker.bootstrap) as client:
            client.create_topic(TOPIC, partitions=PARTITIONS)
            client.create_topic("raw")
        idempotent = Idempotent(broker.bootstrap)
        raw = Raw(broker.port)
        try:
            for _ in range(ROUNDS):
                time.sleep(chance.uniform(0.3, 1.2))
                broker.kill()
                broker = BrokerProcess(tmp_path, *settings, port=broker.port)
            time.sleep(0.5)
        finally:
            raw.finish()
            idempotent.finish()
        check_idempotent(broker.bootstrap, idempotent)
        check_raw(broker.bootstrap, raw)
    finally:
        broker.kill()


def check_idempotent(bootstrap: str, idempotent: Idempotent) -> None:
    assert not idempotent.failures
    for index in range(PARTITIONS):
        acknowledged = idempotent.acknowledged[index]
        log = read_all(bootstrap, TOPIC, index)
        values = [value for _, value in log]
        assert len(acknowledged) > 50, "too little was sent to say anything"
        assert values == sorted(set(values)), "doubled or out of order"
        assert not set(acknowledged) - set(values), "acknowledged and missing"
        assert [offset for offset, _ in log] == list(range(len(log)))


def check_raw(bootstrap: str, raw: Raw) -> None:
    assert not raw.bad
    log = dict(read_all(bootstrap, "raw", 0))
    assert len(raw.acknowledged) > 50, "too little was sent to say anything"
    wrong = {value: offset for value, offset in raw.acknowledged.items() if log.get(offset) != value}
    assert not wrong
    values = list(log.values())
    assert len(values) == len(set(values))


@pytest.mark.parametrize("durability", ["cache", "sync"])
def test_committed_offsets_survive(tmp_path: Path, durability: str) -> None:
    """A group commits between kills; after each start it gets what it was told is committed."""
    setting = f"barnabas.durability={durability}"
    broker = BrokerProcess(tmp_path, setting)
    try:
        with RawClient(broker.bootstrap) as client:
            client.create_topic(TOPIC)
            for _ in range(10):
                assert client.produce(TOPIC, batch_of([b"v"])).error_code == 0
        for turn in range(1, 4):
            commit(broker.bootstrap, turn)
            broker.kill()
            broker = BrokerProcess(tmp_path, setting, port=broker.port)
            assert committed(broker.bootstrap) == turn
    finally:
        broker.kill()


def member(bootstrap: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "survivors",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )


def commit(bootstrap: str, offset: int) -> None:
    consumer = member(bootstrap)
    try:
        consumer.commit(offsets=[TopicPartition(TOPIC, 0, offset)], asynchronous=False)
    finally:
        consumer.close()


def committed(bootstrap: str) -> int:
    consumer = member(bootstrap)
    try:
        offset: int = consumer.committed([TopicPartition(TOPIC, 0)], timeout=30)[0].offset
        return offset
    finally:
        consumer.close()
