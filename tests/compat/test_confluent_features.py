"""All that confluent-kafka (librdkafka) offers for the APIs we serve, beyond what test_clients.py does with it."""

from typing import Any

import pytest
from client_tools import WAIT_S, YOUNG_MS, until
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupType,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import admin as confluent

import barnabas

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


@pytest.fixture
def admin(broker: barnabas.Broker) -> confluent.AdminClient:
    return confluent.AdminClient({"bootstrap.servers": broker.bootstrap})


def consumer(broker: barnabas.Broker, group: str, **options: object) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **options,
        }
    )


def fill(broker: barnabas.Broker, topic: str, partition: int = 0, count: int = 10) -> TopicPartition:
    for number in range(count):
        broker.produce(topic, f"{number}", partition=partition, timestamp=YOUNG_MS + number * 1000)
    return TopicPartition(topic, partition)


def read(reader: Consumer, count: int) -> list[int]:
    found = reader.consume(count, WAIT_S)
    assert [message.error() for message in found] == [None] * count
    return [message.offset() for message in found]


def test_places_in_a_log(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)
    reader = consumer(broker, topic)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert read(reader, 10) == list(range(10))
    assert reader.position([part])[0].offset == 10
    reader.seek(TopicPartition(topic, 0, 7))
    assert read(reader, 3) == [7, 8, 9]
    assert reader.get_watermark_offsets(part, WAIT_S) == (0, 10)
    times = [
        TopicPartition(topic, 0, YOUNG_MS + 6500),
        TopicPartition(topic, 0, YOUNG_MS + 9001),
    ]
    assert [reader.offsets_for_times([each], WAIT_S)[0].offset for each in times] == [7, OFFSET_END]
    reader.pause([part])
    reader.seek(TopicPartition(topic, 0, 0))
    assert reader.poll(0.3) is None
    reader.resume([part])
    assert read(reader, 10) == list(range(10))
    other = fill(broker, topic, partition=1, count=2)
    reader.incremental_assign([TopicPartition(topic, 1, OFFSET_BEGINNING)])
    assert read(reader, 2) == [0, 1]
    reader.incremental_unassign([part])
    assert reader.assignment() == [other]
    reader.unassign()
    assert reader.assignment() == []
    reader.close()


def test_the_end_of_a_partition_is_told(broker: barnabas.Broker, topic: str) -> None:
    fill(broker, topic, count=2)
    reader = consumer(broker, topic, **{"enable.partition.eof": True})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    last = [reader.poll(WAIT_S) for _ in range(3)][-1]
    assert last is not None
    assert (last.error().code(), last.offset()) == (KafkaError._PARTITION_EOF, 2)
    reader.close()


def test_stored_offsets_and_a_pattern(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)
    member = consumer(broker, topic, **{"enable.auto.offset.store": False})
    member.subscribe([f"^{topic}$"])
    assert read(member, 10) == list(range(10))
    assert member.memberid()
    assert member.consumer_group_metadata() is not None
    member.store_offsets(offsets=[TopicPartition(topic, 0, 6, metadata="note")])
    committed = {each.partition: each.offset for each in member.commit(asynchronous=False)}
    assert committed[0] == 6
    (found,) = member.committed([part], WAIT_S)
    assert (found.offset, found.metadata) == (6, "note")
    member.unsubscribe()
    until(lambda: member.poll(0.05) is None and member.assignment() == [], "nothing is owned")
    member.close()


def test_a_reset_that_is_refused_is_told(broker: barnabas.Broker, topic: str) -> None:
    fill(broker, topic, count=2)
    reader = consumer(broker, topic, **{"auto.offset.reset": "error"})
    reader.assign([TopicPartition(topic, 0, 99)])
    message = reader.poll(WAIT_S)
    assert message is not None and message.error().code() == KafkaError._AUTO_OFFSET_RESET
    reader.close()


def test_producing_in_batches(broker: barnabas.Broker, topic: str) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5})
    done: list[Any] = []
    count = producer.produce_batch(
        topic, [{"value": f"{number}".encode(), "key": b"k"} for number in range(100)], partition=2
    )
    assert count == 100
    producer.produce(
        topic, b"last", partition=2, timestamp=YOUNG_MS, on_delivery=lambda *told: done.append(told)
    )
    assert producer.flush(WAIT_S) == 0
    ((error, message),) = done
    assert error is None
    assert (message.offset(), message.timestamp()[1]) == (100, YOUNG_MS)
    assert [record.value for record in broker.records(topic, 2)][:2] == ["0", "1"]
    assert producer.list_topics(topic, WAIT_S).topics[topic].partitions.keys() == {0, 1, 2, 3}


def test_too_large_and_unknown_are_refused(broker: barnabas.Broker, topic: str) -> None:
    broker.create_topic(f"{topic}-small", 1, {"max.message.bytes": 500})
    codes: list[int] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": 20_000})
    for name, partition in ((f"{topic}-small", 0), ("no topic", -1)):
        producer.produce(
            name, b"x" * 2000, partition=partition, on_delivery=lambda error, _: codes.append(error.code())
        )
        assert producer.flush(WAIT_S) == 0
    assert codes == [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_EXCEPTION]


def settled(futures: dict[Any, Any]) -> list[Any]:
    return [future.result(WAIT_S) for future in futures.values()]


@pytest.mark.filterwarnings("ignore:alter_configs has been deprecated")
def test_options_the_old_way(admin: confluent.AdminClient, topic: str) -> None:
    resource = confluent.ConfigResource("TOPIC", topic, set_config={"retention.ms": "5000000"})
    settled(admin.alter_configs([resource]))
    (options,) = settled(admin.describe_configs([resource]))
    assert options["retention.ms"].value == "5000000"
    settled(admin.alter_configs([confluent.ConfigResource("TOPIC", topic)]))
    (options,) = settled(admin.describe_configs([resource]))
    assert options["retention.ms"].value == "604800000"


def test_options_of_the_broker(admin: confluent.AdminClient) -> None:
    broker_id = str(admin.describe_cluster().result(WAIT_S).controller.id)
    (options,) = settled(admin.describe_configs([confluent.ConfigResource("BROKER", broker_id)]))
    assert (options["node.id"].value, options["node.id"].is_read_only) == (broker_id, True)


def test_topics_with_rights_and_without(admin: confluent.AdminClient, topic: str) -> None:
    asked = TopicCollection([topic])
    (found,) = settled(admin.describe_topics(asked, include_authorized_operations=True))
    assert confluent.AclOperation.DESCRIBE in found.authorized_operations
    assert not found.is_internal
    assert [part.leader.id for part in found.partitions] == [1] * 4
    with pytest.raises(KafkaException) as refused:
        settled(admin.describe_topics(TopicCollection(["confluent-none"])))
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    settled(admin.create_topics([confluent.NewTopic("confluent-tried", 1, 1)], validate_only=True))
    assert "confluent-tried" not in admin.list_topics(timeout=WAIT_S).topics
    assert admin.cluster_id(WAIT_S) == admin.describe_cluster().result(WAIT_S).cluster_id


def test_groups_by_state_and_type(admin: confluent.AdminClient, broker: barnabas.Broker, topic: str) -> None:
    fill(broker, topic, count=1)
    member = consumer(broker, topic)
    member.subscribe([topic])
    assert read(member, 1) == [0]

    def listed(**words: Any) -> list[str]:
        return [each.group_id for each in admin.list_consumer_groups(**words).result(WAIT_S).valid]

    assert topic in listed(states={ConsumerGroupState.STABLE})
    assert topic not in listed(states={ConsumerGroupState.EMPTY})
    assert topic in listed(types={ConsumerGroupType.CLASSIC})
    assert topic not in listed(types={ConsumerGroupType.CONSUMER})
    assert topic in [group.id for group in admin.list_groups(timeout=WAIT_S)]
    member.close()
    until(lambda: topic in listed(states={ConsumerGroupState.EMPTY}), "the group is empty")
