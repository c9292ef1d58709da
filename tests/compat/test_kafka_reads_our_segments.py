"""Segments that our broker wrote, read by Apache Kafka's own code: whoever produced the records, in whatever codec.

What clients sent is stored as they built it; what `barnabas produce` sent was built by our own code.
"""

import asyncio
import subprocess
import sys
from itertools import product

import aiokafka
import kafka
import pytest
from confluent_kafka import Producer
from dump import Dumped, dump
from java_programs import needs_java

import barnabas

pytestmark = [*needs_java, pytest.mark.timeout(180)]

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
WRITERS = ["confluent", "kafka-python", "aiokafka", "barnabas"]
COUNT = 50
WAIT_S = 60.0


def value(writer: str, codec: str, number: int) -> str:
    return f"{writer} {codec} {number} " + "x" * 50


def write(broker: barnabas.Broker, writer: str, codec: str, topic: str) -> None:
    values = [value(writer, codec, number).encode() for number in range(COUNT)]
    chosen = None if codec == "none" else codec
    if writer == "confluent":
        confluent = Producer(
            {"bootstrap.servers": broker.bootstrap, "compression.type": codec, "linger.ms": 50}
        )
        for each in values:
            confluent.produce(topic, each)
        assert confluent.flush(WAIT_S) == 0
    elif writer == "kafka-python":
        producer = kafka.KafkaProducer(
            bootstrap_servers=broker.bootstrap, compression_type=chosen, linger_ms=50
        )
        for each in values:
            producer.send(topic, each)
        producer.close()
    elif writer == "aiokafka":
        asyncio.run(write_with_aiokafka(broker, chosen, topic, values))
    else:
        words = ["produce", topic, "--format", "raw", "--compression", codec, "-b", broker.bootstrap]
        command = [sys.executable, "-m", "barnabas.cli.main", *words]
        subprocess.run(command, input=b"\n".join(values), check=True, capture_output=True, timeout=60)


async def write_with_aiokafka(
    broker: barnabas.Broker, codec: str | None, topic: str, values: list[bytes]
) -> None:
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, compression_type=codec, linger_ms=50
    ) as producer:
        await asyncio.gather(*[await producer.send(topic, each) for each in values])


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dumped]:
    """By topic: one of every writer and codec, all in one segment each."""
    folder = tmp_path_factory.mktemp("segments")
    with barnabas.Broker(data=folder) as broker:
        for writer, codec in product(WRITERS, CODECS):
            broker.create_topic(f"{writer}-{codec}")
            write(broker, writer, codec, f"{writer}-{codec}")
    found = dump([path for topic in WRITERS for path in sorted(folder.glob(f"{topic}-*/*.log"))])
    return {path.parent.name.removesuffix("-0"): each for path, each in found.items()}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("writer", WRITERS)
def test_kafka_reads_every_record(dumped: dict[str, Dumped], writer: str, codec: str) -> None:
    batches, records = dumped[f"{writer}-{codec}"]
    assert {(name, is_valid) for name, _, is_valid in batches} == {(codec, True)}
    assert sum(count for _, count, _ in batches) == COUNT
    assert records == [(number, value(writer, codec, number)) for number in range(COUNT)]
