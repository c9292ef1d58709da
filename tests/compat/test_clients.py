"""Three clients of three families, unchanged: librdkafka, kafka-python, aiokafka, against a broker on disk."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import aiokafka
import kafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AioNewTopic
from client_tools import WAIT_S, YOUNG_MS, until
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka import admin as confluent

import barnabas

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

AnyConsumer = TypeVar("AnyConsumer")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
    (b"key", b"value", []),
    (None, b"no key", []),
    (b"tombstone", None, []),
    (b"", b"", []),
    (b"headers", b"h", [("one", b"1"), ("one", b"again"), ("empty", b"")]),
    (b"long", bytes(range(256)) * 200, []),
    ("Schlüssel".encode(), "Größe ☃".encode(), [("ü", b"\xff\x00")]),
]

# -- records, codec by codec


def confluent_producer(broker: barnabas.Broker, **options: object) -> Producer:
    return Producer({"bootstrap.servers": broker.bootstrap, **options})


def confluent_consumer(broker: barnabas.Broker, group: str, **options: object) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,
            **options,
        }
    )


def python_consumer(kind: Callable[..., AnyConsumer], broker: barnabas.Broker, topic: str) -> AnyConsumer:
    """kafka-python's or aiokafka's, of the group that has the topic's name."""
    return kind(
        topic,
        bootstrap_servers=broker.bootstrap,
        group_id=topic,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
    )


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("idempotent", [False, True])
def test_confluent_round_trip(broker: barnabas.Broker, topic: str, codec: str, idempotent: bool) -> None:
    errors: list[KafkaError] = []
    producer = confluent_producer(
        broker, **{"compression.type": codec, "enable.idempotence": idempotent, "linger.ms": 50}
    )
    for key, value, headers in RECORDS:
        producer.produce(
            topic,
            key=key,
            value=value,
            headers=headers,
            partition=1,
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    assert producer.flush(WAIT_S) == 0
    assert not errors
    consumer = confluent_consumer(broker, topic)
    consumer.assign([TopicPartition(topic, 1, 0)])
    try:
        found = [consumer.poll(WAIT_S) for _ in RECORDS]
    finally:
        consumer.close()
    assert [message.offset() for message in found] == list(range(len(RECORDS)))
    assert [(message.key(), message.value(), message.headers() or []) for message in found] == RECORDS


@pytest.mark.parametrize("codec", CODECS)
def test_kafka_python_round_trip(broker: barnabas.Broker, topic: str, codec: str) -> None:
    producer = kafka.KafkaProducer(
        bootstrap_servers=broker.bootstrap,
        compression_type=None if codec == "none" else codec,
        linger_ms=50,
    )
    sent = [
        producer.send(topic, key=key, value=value, headers=headers, partition=2)
        for key, value, headers in RECORDS
    ]
    assert [future.get(WAIT_S).offset for future in sent] == list(range(len(RECORDS)))
    producer.close()
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    consumer.assign([kafka.TopicPartition(topic, 2)])
    try:
        found = [next(consumer) for _ in RECORDS]
    finally:
        consumer.close()
    assert [(record.key, record.value, list(record.headers)) for record in found] == RECORDS


@pytest.mark.parametrize("codec", CODECS)
def test_aiokafka_round_trip(broker: barnabas.Broker, topic: str, codec: str) -> None:
    async def there_and_back() -> list[Any]:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap,
            compression_type=None if codec == "none" else codec,
            enable_idempotence=True,
            linger_ms=50,
        )
        async with producer:
            sent = [
                await producer.send(topic, key=key, value=value, headers=headers, partition=3)
                for key, value, headers in RECORDS
            ]
            done = await asyncio.gather(*sent)
            assert [each.offset for each in done] == list(range(len(RECORDS)))
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
        consumer.assign([aiokafka.TopicPartition(topic, 3)])
        async with consumer:
            return [await asyncio.wait_for(consumer.getone(), WAIT_S) for _ in RECORDS]

    found = asyncio.run(there_and_back())
    assert [(record.key, record.value, list(record.headers)) for record in found] == RECORDS


@pytest.mark.parametrize("codec", CODECS)
def test_each_reads_what_another_wrote(broker: barnabas.Broker, topic: str, codec: str) -> None:
    producer = confluent_producer(broker, **{"compression.type": codec, "linger.ms": 20})
    for number in range(500):
        producer.produce(topic, value=f"{number} {'x' * 100}", partition=0)
    assert producer.flush(WAIT_S) == 0
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    consumer.assign([kafka.TopicPartition(topic, 0)])
    try:
        values = [next(consumer).value for _ in range(500)]
    finally:
        consumer.close()
    assert values == [f"{number} {'x' * 100}".encode() for number in range(500)]
    assert [record.offset for record in broker.records(topic, 0)] == list(range(500))


# -- groups


def owned(consumers: list[Consumer]) -> list[set[int]]:
    for consumer in consumers:
        consumer.poll(0.05)
    return [{each.partition for each in consumer.assignment()} for consumer in consumers]


def is_shared(parts: list[set[int]], count: int = 4) -> bool:
    """All partitions are owned, none twice, and everyone has one."""
    together = [each for part in parts for each in part]
    return sorted(together) == list(range(count)) and all(parts)


@pytest.mark.parametrize("assignor", ["range", "roundrobin", "cooperative-sticky"])
def test_confluent_members_come_and_go(broker: barnabas.Broker, topic: str, assignor: str) -> None:
    options = {"partition.assignment.strategy": assignor}
    consumers = [confluent_consumer(broker, topic, **options)]
    consumers[0].subscribe([topic])
    until(lambda: is_shared(owned(consumers)), "one member owns all")
    for size in (2, 3):
        consumers.append(confluent_consumer(broker, topic, **options))
        consumers[-1].subscribe([topic])
        until(lambda: is_shared(owned(consumers)), f"{size} members share all")
    for _ in range(2):
        consumers.pop().close()
        until(lambda: is_shared(owned(consumers)), "those who stay take over")
    consumers.pop().close()


def test_confluent_static_member_returns_without_a_rebalance(broker: barnabas.Broker, topic: str) -> None:
    rebalances: list[list[TopicPartition]] = []
    first = confluent_consumer(broker, topic, **{"group.instance.id": "one"})
    second = confluent_consumer(broker, topic, **{"group.instance.id": "two"})
    first.subscribe([topic], on_assign=lambda _, parts: rebalances.append(parts))
    second.subscribe([topic])
    until(lambda: is_shared(owned([first, second])), "two static members share all")
    before, mine = len(rebalances), {each.partition for each in second.assignment()}
    second.close()
    again = confluent_consumer(broker, topic, **{"group.instance.id": "two"})
    again.subscribe([topic])
    until(lambda: owned([first, again])[1] == mine, "the same partitions again")
    assert len(rebalances) == before
    first.close()
    again.close()


def test_a_second_static_member_of_one_name_fences_the_first(broker: barnabas.Broker, topic: str) -> None:
    first = confluent_consumer(broker, topic, **{"group.instance.id": "same"})
    first.subscribe([topic])
    until(lambda: is_shared(owned([first])), "the first owns all")
    second = confluent_consumer(broker, topic, **{"group.instance.id": "same"})
    second.subscribe([topic])
    fenced: list[int] = []

    def is_fenced() -> bool:
        second.poll(0.05)
        message = first.poll(0.05)
        if message is not None and message.error():
            fenced.append(message.error().code())
        return bool(fenced)

    until(is_fenced, "the first is told")
    assert fenced[0] in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL)
    second.close()
    first.close()


def test_confluent_commits_and_resumes(broker: barnabas.Broker, topic: str) -> None:
    for number in range(10):
        broker.produce(topic, f"{number}", partition=0)
    first = confluent_consumer(broker, topic)
    first.subscribe([topic])
    for _ in range(4):
        message = first.poll(WAIT_S)
        assert message is not None and message.error() is None
        first.commit(message, asynchronous=False)
    first.close()
    second = confluent_consumer(broker, topic)
    second.subscribe([topic])
    message = second.poll(WAIT_S)
    assert message is not None and message.value() == b"4"
    assert second.committed([TopicPartition(topic, 0)], WAIT_S)[0].offset == 4
    second.close()


def test_kafka_python_group_shares_commits_and_resumes(broker: barnabas.Broker, topic: str) -> None:
    for number in range(20):
        broker.produce(topic, f"{number}", partition=number % 4)

    def member() -> Any:
        return python_consumer(kafka.KafkaConsumer, broker, topic)

    values: set[bytes] = set()
    parts: list[set[Any]] = [set(), set()]
    finished = threading.Event()

    def read(number: int) -> None:
        """A thread for each, and long polls: this client gives up a join that takes longer than its poll."""
        mine = member()
        while not finished.is_set():
            for records in mine.poll(timeout_ms=1000).values():
                values.update(record.value for record in records)
                mine.commit()
            parts[number] = set(mine.assignment())
        mine.close()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(values) == 20 and all(parts) and len(parts[0] | parts[1]) == 4, "both read all")
        assert not parts[0] & parts[1]
    finally:
        finished.set()
        for thread in threads:
            thread.join()
    again = member()
    for index in range(4):
        assert again.committed(kafka.TopicPartition(topic, index)) == 5
    until(lambda: not again.poll(timeout_ms=1000) and len(again.assignment()) == 4, "joined, nothing left")
    broker.produce(topic, "new", partition=1)
    found: list[bytes] = []

    def one() -> bool:
        found.extend(record.value for records in again.poll(timeout_ms=1000).values() for record in records)
        return bool(found)

    until(one, "the new record")
    again.close()
    assert found == [b"new"]


def test_aiokafka_group_shares_commits_and_resumes(broker: barnabas.Broker, topic: str) -> None:
    for number in range(20):
        broker.produce(topic, f"{number}", partition=number % 4)

    def member() -> aiokafka.AIOKafkaConsumer:
        return python_consumer(aiokafka.AIOKafkaConsumer, broker, topic)

    async def read_in_turn() -> tuple[set[bytes], list[bytes]]:
        values: set[bytes] = set()
        first, second = member(), member()
        async with first, second:
            deadline = time.monotonic() + WAIT_S
            while len(values) < 20 or not (first.assignment() and second.assignment()):
                assert time.monotonic() < deadline, "in vain: both read all twenty"
                for each in (first, second):
                    for records in (await each.getmany(timeout_ms=100)).values():
                        values.update(record.value for record in records if record.value)
            assert len(first.assignment() | second.assignment()) == 4
            assert not first.assignment() & second.assignment()
            await first.commit()
            await second.commit()
        third = member()
        async with third:
            await asyncio.to_thread(broker.produce, topic, "new", partition=2)
            record = await asyncio.wait_for(third.getone(), WAIT_S)
        return values, [record.value or b""]

    values, after = asyncio.run(read_in_turn())
    assert values == {f"{number}".encode() for number in range(20)}
    assert after == [b"new"]


# -- administration


def settled(futures: dict[Any, Any]) -> dict[Any, Any]:
    return {key: future.result(WAIT_S) for key, future in futures.items()}


@pytest.fixture
def admin(broker: barnabas.Broker) -> confluent.AdminClient:
    return confluent.AdminClient({"bootstrap.servers": broker.bootstrap})


def test_confluent_makes_grows_and_deletes_topics(admin: confluent.AdminClient) -> None:
    settled(admin.create_topics([confluent.NewTopic("made", 2, 1, config={"retention.ms": "1000000"})]))
    assert len(admin.list_topics("made", WAIT_S).topics["made"].partitions) == 2
    with pytest.raises(KafkaException) as refused:
        settled(admin.create_topics([confluent.NewTopic("made", 2, 1)]))
    assert refused.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    settled(admin.create_partitions([confluent.NewPartitions("made", 5)]))
    assert len(admin.list_topics("made", WAIT_S).topics["made"].partitions) == 5
    with pytest.raises(KafkaException) as refused:
        settled(admin.create_partitions([confluent.NewPartitions("made", 3)]))
    assert refused.value.args[0].code() == KafkaError.INVALID_PARTITIONS
    settled(admin.delete_topics(["made"]))
    assert "made" not in admin.list_topics(timeout=WAIT_S).topics


def test_confluent_describes_and_alters_options(admin: confluent.AdminClient, topic: str) -> None:
    resource = confluent.ConfigResource(confluent.ResourceType.TOPIC, topic)
    (options,) = settled(admin.describe_configs([resource])).values()
    assert options["retention.ms"].value == "604800000"
    assert options["retention.ms"].is_default
    change = confluent.ConfigEntry(
        "retention.ms", "5000000", incremental_operation=confluent.AlterConfigOpType.SET
    )
    changed = confluent.ConfigResource(confluent.ResourceType.TOPIC, topic, incremental_configs=[change])
    settled(admin.incremental_alter_configs([changed]))
    (options,) = settled(admin.describe_configs([resource])).values()
    assert options["retention.ms"].value == "5000000"
    assert not options["retention.ms"].is_default
    broken = confluent.ConfigEntry(
        "retention.ms", "soon", incremental_operation=confluent.AlterConfigOpType.SET
    )
    with pytest.raises(KafkaException) as refused:
        settled(
            admin.incremental_alter_configs(
                [confluent.ConfigResource(confluent.ResourceType.TOPIC, topic, incremental_configs=[broken])]
            )
        )
    assert refused.value.args[0].code() == KafkaError.INVALID_CONFIG


def test_confluent_deletes_records_and_lists_offsets(
    broker: barnabas.Broker, admin: confluent.AdminClient, topic: str
) -> None:
    for number in range(10):
        broker.produce(topic, f"{number}", timestamp=YOUNG_MS + number * 1000)
    gone = settled(admin.delete_records([TopicPartition(topic, 0, 4)]))
    assert next(iter(gone.values())).low_watermark == 4
    asked = {
        "earliest": (confluent.OffsetSpec.earliest(), 4),
        "latest": (confluent.OffsetSpec.latest(), 10),
        "greatest": (confluent.OffsetSpec.max_timestamp(), 9),
        "by time": (confluent.OffsetSpec.for_timestamp(YOUNG_MS + 6500), 7),
    }
    for name, (spec, offset) in asked.items():
        found = settled(admin.list_offsets({TopicPartition(topic, 0): spec}))
        assert next(iter(found.values())).offset == offset, name


def test_confluent_administers_groups(
    broker: barnabas.Broker, admin: confluent.AdminClient, topic: str
) -> None:
    broker.produce(topic, "v")
    consumer = confluent_consumer(broker, topic)
    consumer.subscribe([topic])
    until(lambda: is_shared(owned([consumer])), "the member owns all")
    consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    described = settled(admin.describe_consumer_groups([topic]))[topic]
    assert described.state.name == "STABLE"
    assert len(described.members) == 1
    with pytest.raises(KafkaException) as refused:
        settled(admin.delete_consumer_groups([topic]))
    assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    consumer.close()
    listed = admin.list_consumer_groups().result(WAIT_S)
    assert topic in [group.group_id for group in listed.valid]
    wanted = ConsumerGroupTopicPartitions(topic, [TopicPartition(topic, 0, 0)])
    settled(admin.alter_consumer_group_offsets([wanted]))
    offsets = settled(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic)]))
    assert [(each.partition, each.offset) for each in offsets[topic].topic_partitions] == [(0, 0)]
    settled(admin.delete_consumer_groups([topic]))
    listed = admin.list_consumer_groups().result(WAIT_S)
    assert topic not in [group.group_id for group in listed.valid]


def test_confluent_describes_the_cluster(admin: confluent.AdminClient, topic: str) -> None:
    cluster = admin.describe_cluster(include_authorized_operations=True).result(WAIT_S)
    assert len(cluster.nodes) == 1
    assert cluster.cluster_id
    from confluent_kafka import TopicCollection

    found = settled(admin.describe_topics(TopicCollection([topic])))[topic]
    assert [part.id for part in found.partitions] == [0, 1, 2, 3]


def test_kafka_python_administers(broker: barnabas.Broker, topic: str) -> None:
    admin = kafka.KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.create_topics([kafka.admin.NewTopic("kp-made", num_partitions=1, replication_factor=1)])
        assert "kp-made" in admin.list_topics()
        admin.create_partitions({"kp-made": kafka.admin.NewPartitions(3)})
        (described,) = admin.describe_topics(["kp-made"])
        assert len(described["partitions"]) == 3
        for number in range(5):
            broker.produce("kp-made", f"{number}")
        part = kafka.TopicPartition("kp-made", 0)
        admin.delete_records({part: 2})
        consumer = kafka.KafkaConsumer(bootstrap_servers=broker.bootstrap)
        assert consumer.beginning_offsets([part]) == {part: 2}
        assert consumer.end_offsets([part]) == {part: 5}
        consumer.close()
        admin.delete_topics(["kp-made"])
        assert "kp-made" not in admin.list_topics()
    finally:
        admin.close()


def test_aiokafka_administers(broker: barnabas.Broker) -> None:
    async def administer() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([AioNewTopic("aio-made", 2, 1)])
            assert "aio-made" in await admin.list_topics()
            (described,) = await admin.describe_topics(["aio-made"])
            assert len(described["partitions"]) == 2
            await admin.delete_topics(["aio-made"])
            assert "aio-made" not in await admin.list_topics()
        finally:
            await admin.close()

    asyncio.run(administer())


def test_topics_are_made_when_first_written(broker: barnabas.Broker) -> None:
    producer = confluent_producer(broker)
    producer.produce("made-by-writing", b"v")
    assert producer.flush(WAIT_S) == 0
    assert [message.raw_value for message in broker.records("made-by-writing")] == [b"v"]
