"""All that aiokafka offers for the APIs we serve, beyond what test_clients.py does with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError, NoOffsetForPartitionError
from client_tools import WAIT_S, YOUNG_MS

import barnabas

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, WAIT_S))


def fill(broker: barnabas.Broker, topic: str, count: int = 10) -> TopicPartition:
    for number in range(count):
        broker.produce(topic, f"{number}", timestamp=YOUNG_MS + number * 1000)
    return TopicPartition(topic, 0)


def consumer(broker: barnabas.Broker, **options: Any) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        enable_auto_commit=False,
        **{"auto_offset_reset": "earliest", **options},
    )


async def read(reader: AIOKafkaConsumer, count: int) -> list[int]:
    return [(await reader.getone()).offset for _ in range(count)]


@asynccontextmanager
async def admin_of(broker: barnabas.Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def test_places_in_a_log(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)

    async def work() -> None:
        reader = consumer(broker, group_id=topic)
        reader.assign([part])
        async with reader:
            assert await read(reader, 10) == list(range(10))
            assert await reader.position(part) == 10
            assert (reader.highwater(part), reader.last_stable_offset(part)) == (10, 10)
            assert reader.last_poll_timestamp(part) > YOUNG_MS
            reader.seek(part, 7)
            assert await read(reader, 3) == [7, 8, 9]
            await reader.seek_to_beginning(part)
            assert await reader.position(part) == 0
            await reader.seek_to_end(part)
            assert await reader.position(part) == 10
            await reader.commit({part: (4, "note")})
            assert await reader.committed(part) == 4
            await reader.seek_to_committed(part)
            assert await read(reader, 1) == [4]
            assert (await reader.beginning_offsets([part]), await reader.end_offsets([part])) == (
                {part: 0},
                {part: 10},
            )
            found = await reader.offsets_for_times({part: YOUNG_MS + 6500})
            assert (found[part].offset, found[part].timestamp) == (7, YOUNG_MS + 7000)
            assert (await reader.offsets_for_times({part: YOUNG_MS + 9001}))[part] is None
            reader.pause(part)
            assert reader.paused() == {part}
            await reader.seek_to_beginning(part)
            assert await reader.getmany(timeout_ms=300) == {}
            reader.resume(part)
            found_many = await reader.getmany(part, timeout_ms=5000, max_records=4)
            assert [record.offset for record in found_many[part]] == [0, 1, 2, 3]
            assert topic in await reader.topics()
            assert reader.partitions_for_topic(topic) == {0, 1, 2, 3}

    run(work())


def test_a_pattern_finds_a_new_topic(broker: barnabas.Broker, topic: str) -> None:
    fill(broker, topic, count=1)

    async def work() -> None:
        reader = consumer(broker, group_id=topic, metadata_max_age_ms=200)
        reader.subscribe(pattern=f"{topic}.*")
        async with reader:
            assert await read(reader, 1) == [0]
            assert reader.subscription() == {topic}
            await reader.commit()
            await asyncio.to_thread(broker.create_topic, f"{topic}-later", 1)
            await asyncio.to_thread(broker.produce, f"{topic}-later", "new")
            assert (await reader.getone()).topic == f"{topic}-later"
            reader.unsubscribe()
            assert reader.assignment() == set()

    run(work())


def test_no_reset_is_told(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic, count=1)

    async def work() -> None:
        reader = consumer(broker, group_id=topic, auto_offset_reset="none")
        reader.assign([part])
        async with reader:
            with pytest.raises(NoOffsetForPartitionError):
                await reader.getone()

    run(work())


def test_batches_by_hand(broker: barnabas.Broker, topic: str) -> None:
    async def work() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
        async with producer:
            batch = producer.create_batch()
            for number in range(5):
                batch.append(key=b"k", value=b"%d" % number, timestamp=YOUNG_MS + number)
            sent = await (await producer.send_batch(batch, topic, partition=1))
            assert sent.offset == 0
            assert (await producer.send_and_wait(topic, b"5", partition=1)).offset == 5
            await producer.flush()
            assert await producer.partitions_for(topic) == {0, 1, 2, 3}

    run(work())
    assert [record.raw_value for record in broker.records(topic, 1)] == [b"%d" % n for n in range(6)]


def test_a_record_that_is_too_large(broker: barnabas.Broker, topic: str) -> None:
    broker.create_topic(f"{topic}-small", 1, {"max.message.bytes": 500})

    async def work() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
        await producer.start()
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(f"{topic}-small", b"x" * 2000)
        await producer.stop()

    run(work())


def test_topics_options_and_records(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)

    async def work() -> None:
        async with admin_of(broker) as admin:
            await admin.create_topics([NewTopic("aio-tried", 1, 1)], validate_only=True)
            assert "aio-tried" not in await admin.list_topics()
            await admin.create_partitions({topic: NewPartitions(6)})
            (described,) = await admin.describe_topics([topic])
            assert len(described["partitions"]) == 6
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "5000000"})
            await admin.alter_configs([resource])
            (answer,) = await admin.describe_configs([resource], include_synonyms=True)
            ((code, _, _, name, options),) = answer.resources
            assert (code, name) == (0, topic)
            assert {option[0]: option[1] for option in options} == {"retention.ms": "5000000"}
            assert await admin.delete_records({part: RecordsToDelete(4)}) == {part: 4}
            cluster = await admin.describe_cluster()
            assert [f"{each['host']}:{each['port']}" for each in cluster["brokers"]] == [broker.bootstrap]

    run(work())


def test_groups(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)

    async def work() -> None:
        reader = consumer(broker, group_id=topic)
        reader.subscribe([topic])
        async with reader, admin_of(broker) as admin:
            await read(reader, 10)
            await reader.commit()
            assert (topic, "consumer") in await admin.list_consumer_groups()
            assert await admin.find_coordinator(topic) == 1
            (answer,) = await admin.describe_consumer_groups([topic])
            ((code, name, state, kind, assignor, members, *_),) = answer.groups
            assert (code, name, state, kind, assignor) == (0, topic, "Stable", "consumer", "roundrobin")
            assert len(members) == 1
            offsets = await admin.list_consumer_group_offsets(topic)
            assert offsets[part].offset == 10
            only = await admin.list_consumer_group_offsets(topic, partitions=[part])
            assert only.keys() == {part}

    run(work())
