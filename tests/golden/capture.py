"""Captures golden frames: real clients work against a running Apache Kafka through the tap.

    python tests/golden/capture.py HOST:PORT FOLDER_OF_KAFKA_JARS

Every client makes what it needs under a name of its own and removes it. Commands that Kafka refuses are frames too.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tap import Tap

FRAMES = Path(__file__).parent / "frames"
WAIT_SECONDS_MAX = 20
TOOLS = "org.apache.kafka.tools."


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


def java_commands(address: str, topic: str) -> list[str]:
    """Class and words of Kafka's own tools, which are its Java client and admin client."""
    to, named, group = f"--bootstrap-server {address}", f"--topic {topic}", f"--group {topic}"
    read = f"consumer.ConsoleConsumer {to} {named} --from-beginning --max-messages 1 --timeout-ms 9000"
    groups = f"consumer.group.ConsumerGroupCommand {to}"
    return [
        f"TopicCommand {to} --create {named} --partitions 2",
        f"ProducerPerformance {named} --num-records 3 --record-size 20 --throughput -1"
        f" --transactional-id {topic} --transaction-duration-ms 1000 {to}",
        f"{read} {group}",
        f"{read} {group}-new --command-property group.protocol=consumer",
        f"TopicCommand {to} --describe {named}",
        f"TopicCommand {to} --alter {named} --partitions 3",
        f"GetOffsetShell {to} {named} --time -1",
        f"{groups} --describe --all-groups --members",
        f"{groups} --describe {group} --offsets",
        f"{groups} --delete-offsets {group} {named}",
        f"{groups} --delete {group} {group}-new",
        f"GroupsCommand {to} --list",
        f"TransactionsCommand {to} list",
        f"TransactionsCommand {to} describe --transactional-id {topic}",
        f"TransactionsCommand {to} describe-producers {named} --partition 0",
        f"LogDirsCommand {to} --describe --topic-list {topic}",
        f"MetadataQuorumCommand {to} describe --status",
        f"FeatureCommand {to} describe",
        f"ClusterTool list-endpoints {to}",
        f"ClientMetricsCommand {to} --list",
        f"LeaderElectionCommand {to} --election-type preferred {named} --partition 0",
        f"reassign.ReassignPartitionsCommand {to} --list",
        f"TopicCommand {to} --delete {named}",
    ]


def with_java(address: str, topic: str, jars: Path) -> None:
    java = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", str(jars / "*")]
    for command in java_commands(address, topic):
        tool, *words = command.split()
        asked = [*java, TOOLS + tool, *words]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
        print(tool, done.returncode, (done.stdout + done.stderr).strip()[-200:].replace("\n", " "))
    config = [*java, "kafka.admin.ConfigCommand", "--bootstrap-server", address]
    user = f"--entity-type users --entity-name {topic}"
    for words in (
        f"--alter {user} --add-config producer_byte_rate=1",
        f"--describe {user}",
        f"--alter {user} --delete-config producer_byte_rate",
        "--describe --entity-type brokers --entity-default",
    ):
        subprocess.run([*config, *words.split()], capture_output=True, timeout=60, check=False)


def poll(attempt: Callable[[], object]) -> object:
    until = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < until:
        if answer := attempt():
            return answer
    return None


def main(kafka: str, jars: Path) -> None:
    host, _, port = kafka.partition(":")
    tap = Tap((host, int(port)), FRAMES)
    FRAMES.mkdir(exist_ok=True)
    started = threading.Event()

    async def serve() -> None:
        async with await tap.listen() as server:
            started.set()
            await server.serve_forever()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    started.wait()
    works: dict[str, Callable[[str, str], None]] = {
        "librdkafka": with_confluent,
        "kafka_python": with_kafka_python,
        "aiokafka": with_aiokafka,
        "java": lambda address, topic: with_java(address, topic, jars),
    }
    for tap.client, work in works.items():
        try:
            work(f"127.0.0.1:{tap.port}", f"golden-{tap.client}-{os.getpid()}")
        except Exception as failure:
            print(f"{tap.client} stopped early: {failure!r}")
        print(tap.client, len(list(FRAMES.glob(f"*-{tap.client}.bin"))), "frames")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
