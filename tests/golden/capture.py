"""Captures golden frames: real clients work against Apache Kafka, each listener behind a tap.

    python tests/golden/capture.py FOLDER_OF_KAFKA_JARS

Every client makes what it needs under a name of its own. Commands that Kafka refuses are frames too. Kafka's Java clients
do all they can again and again, each time against a broker that seems one version older. What nobody asks any more is
asked by OldVersions.java. Takes some minutes; the folder of frames is written anew.
"""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import apache_kafka
from frame_files import advertised_pairs, write_frames
from tap import Kept, Tap

from barnabas.wire import apis
from barnabas.wire.frame import RequestHeader

JAVA = Path(__file__).parent / "java"
WAIT_SECONDS_MAX = 20
VERSIONS_BACK_MAX = 14
OLD_FROM = 2
"""So many versions back, static members and the newer kinds of groups do not work any more."""


def with_confluent(address: str, topic: str) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    time.sleep(1)
    producer = Producer({"bootstrap.servers": address, "transactional.id": topic, "compression.type": "lz4"})
    producer.init_transactions()
    for group_protocol in ("classic", "consumer"):
        producer.begin_transaction()
        producer.produce(topic, b"value", b"key", headers={"a": b"b"})
        producer.flush()
        consumer = Consumer(
            {
                "bootstrap.servers": address,
                "group.id": f"{topic}-{group_protocol}",
                "group.protocol": group_protocol,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([topic])
        producer.commit_transaction()
        message = poll(partial(consumer.poll, 1))
        assert message is not None
        consumer.commit(asynchronous=False)
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, 1)], consumer.consumer_group_metadata()
        )
        producer.abort_transaction()
        consumer.get_watermark_offsets(TopicPartition(topic, 0))
        consumer.offsets_for_times([TopicPartition(topic, 0, 1000)])
        consumer.committed([TopicPartition(topic, 0)])
        groups = [f"{topic}-{group_protocol}"]
        admin.describe_consumer_groups(groups)[groups[0]].result()
        consumer.close()
        admin.delete_consumer_groups(groups)[groups[0]].result()
    admin.list_consumer_groups().result()
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
    resource = ConfigResource("TOPIC", topic, set_config={"retention.ms": "100000"})
    admin.describe_configs([resource])[resource].result()
    admin.alter_configs([resource])[resource].result()
    admin.describe_cluster().result()
    admin.delete_records([TopicPartition(topic, 0, 0)])
    admin.delete_topics([topic])[topic].result()


def with_kafka_python(address: str, topic: str) -> None:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka.admin import NewTopic

    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(topic, 2, 1)])
    time.sleep(1)
    producer = KafkaProducer(bootstrap_servers=address, compression_type="gzip")
    for number in range(4):
        producer.send(topic, b"value %d" % number, key=b"key", partition=number % 2).get(WAIT_SECONDS_MAX)
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=topic,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    assert poll(lambda: consumer.poll(1000))
    consumer.commit()
    consumer.end_offsets(consumer.assignment())
    consumer.close()
    admin.list_topics()
    admin.describe_topics([topic])
    admin.delete_topics([topic])
    admin.close()


def with_aiokafka(address: str, topic: str) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 2, 1)])
        await asyncio.sleep(1)
        producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=topic)
        await producer.start()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"value", key=b"key")
        await producer.stop()
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=address, group_id=topic, auto_offset_reset="earliest"
        )
        await consumer.start()
        await asyncio.wait_for(consumer.getone(), WAIT_SECONDS_MAX)
        await consumer.commit()
        await consumer.end_offsets(list(consumer.assignment()))
        await consumer.stop()
        await admin.describe_consumer_groups([topic])
        await admin.list_consumer_groups()
        await admin.delete_topics([topic])
        await admin.close()

    asyncio.run(work())


def with_java(addresses: list[str], back: int, jars: str) -> None:
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", jars, "GoldenClients"]
    java += [*addresses, f"golden-java-{back}", "old" if back >= OLD_FROM else "new"]
    done = subprocess.run(java, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
    print(done.stdout)


def missing(kept: Kept) -> Iterator[tuple[int, int, int, bytes]]:
    """Key, a version of which there is a request, the version of which there is none, and the body of that request."""
    frames = kept.frames()
    for key, version in advertised_pairs(frames):
        sent = [
            each for each in frames if each.api == apis.BY_KEY[key].module and each.direction == "request"
        ]
        if version not in {each.version for each in sent}:
            for each in sorted(sent, key=lambda each: (abs(each.version - version), -each.version)):
                body = each.content[RequestHeader(each.content).body_at :]
                yield key, each.version, version, body


def with_old_versions(address: str, kept: Kept, jars: str) -> None:
    lines = [f"{key} {known} {version} {body.hex()}\n" for key, known, version, body in missing(kept)]
    java = ["java", "-cp", jars, "OldVersions", address]
    print(subprocess.run(java, input="".join(lines), stdout=subprocess.PIPE, text=True, check=True).stdout)


def poll(attempt: Callable[[], object]) -> object:
    until = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < until:
        if answer := attempt():
            return answer
    return None


def listening(taps: list[Tap]) -> None:
    started = threading.Event()

    async def serve() -> None:
        for tap in taps:
            await tap.listen()
        started.set()
        await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    started.wait()


def work_all(clients: Tap, sasl: Tap, strangers: Tap, jars: str) -> None:
    works: dict[str, Callable[[str, str], None]] = {
        "librdkafka": with_confluent,
        "kafka_python": with_kafka_python,
        "aiokafka": with_aiokafka,
    }
    address = f"127.0.0.1:{clients.port}"
    for clients.client, work in works.items():
        try:
            work(address, f"golden-{clients.client}")
        except Exception as failure:
            print(f"{clients.client} stopped early: {failure!r}")
    clients.client = "java"
    for back in range(VERSIONS_BACK_MAX + 1):
        print(f"-- java, {back} versions back")
        clients.versions_back = sasl.versions_back = back
        with_java([f"127.0.0.1:{tap.port}" for tap in (clients, sasl, strangers)], back, jars)
    clients.versions_back = 0
    clients.client = "old_versions"
    with_old_versions(address, clients.kept, jars)


def main(jars: Path) -> None:
    kept, own, ports = Kept(), apache_kafka.free_ports(), apache_kafka.free_ports()
    clients, sasl, *between = (
        Tap(port, kafka_port, kept, client)
        for port, kafka_port, client in zip(ports, own, ("java", "java", "broker", "broker"))
    )
    strangers = Tap(ports.strangers, own.sasl, kept, "java_stranger")
    listening([clients, sasl, *between, strangers])
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        classes = Path(folder) / "classes"
        sources = [str(path) for path in JAVA.glob("*.java")]
        subprocess.run(["javac", "-cp", str(jars / "*"), "-d", str(classes), *sources], check=True)
        class_path = f"{classes}:{jars / '*'}"
        with apache_kafka.running(Path(folder), class_path, own, ports):
            work_all(clients, sasl, strangers, class_path)
    write_frames(kept.frames())
    print(len(kept.by_kind), "frames")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
