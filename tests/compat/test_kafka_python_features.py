"""All that kafka-python offers for the APIs we serve, beyond reading and writing (test_clients.py does that)."""

from collections.abc import Iterator
from typing import Any

import kafka
import pytest
from client_tools import YOUNG_MS, until
from kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    MemberToRemove,
    NewTopic,
    OffsetSpec,
    OffsetTimestamp,
)
from kafka.errors import InvalidConfigurationError, UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata, TopicPartition

import barnabas

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


@pytest.fixture
def admin(broker: barnabas.Broker) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    yield client
    client.close()


def fill(broker: barnabas.Broker, topic: str, count: int = 10) -> TopicPartition:
    for number in range(count):
        broker.produce(topic, f"{number}", timestamp=YOUNG_MS + number * 1000)
    return TopicPartition(topic, 0)


def consumer(broker: barnabas.Broker, **options: Any) -> kafka.KafkaConsumer:
    return kafka.KafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **options,
    )


def read(reader: kafka.KafkaConsumer, count: int) -> list[Any]:
    """In long polls: kafka-python 3.0 loses the assignment of a join that its poll gave up."""
    found: list[Any] = []

    def enough() -> bool:
        for records in reader.poll(timeout_ms=5000).values():
            found.extend(records)
        return len(found) >= count

    until(enough, f"{count} records")
    return found


def test_cluster_and_versions(admin: KafkaAdminClient, broker: barnabas.Broker) -> None:
    described = admin.describe_cluster()
    assert [f"{each['host']}:{each['port']}" for each in described["brokers"]] == [broker.bootstrap]
    assert described["controller_id"] == described["brokers"][0]["broker_id"]
    assert "DESCRIBE" in described["authorized_operations"]
    assert admin.get_broker_version_data(described["controller_id"]).broker_version == (4, 3)
    assert {key: versions for key, versions in admin.api_versions().items() if key == 1} == {1: (4, 18)}
    assert admin.describe_features()["metadata.version"]["finalized"] == (30, 30)


def options_of(admin: KafkaAdminClient, topic: str, **words: Any) -> dict[str, Any]:
    return admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], **words)["topic"][topic]


def test_options(admin: KafkaAdminClient, topic: str) -> None:
    def resource(configs: Any) -> list[ConfigResource]:
        return [ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)]

    assert options_of(admin, topic) == {}
    assert len(options_of(admin, topic, config_filter="all")) > 30
    for incremental in (True, False):
        value = "5000000" if incremental else "6000000"
        admin.alter_configs(resource({"retention.ms": value}), incremental=incremental)
        changed = options_of(admin, topic, include_synonyms=True)
        assert list(changed) == ["retention.ms"]
        assert changed["retention.ms"]["value"] == value
        assert changed["retention.ms"]["synonyms"][0]["value"] == value
    admin.alter_configs(resource({"retention.ms": "1"}), validate_only=True)
    assert options_of(admin, topic)["retention.ms"]["value"] == "6000000"
    refused = admin.alter_configs(resource({"retention.ms": "soon"}))["topic"][topic]
    assert refused.startswith(f"[Error {InvalidConfigurationError.errno}]")
    admin.reset_configs(resource(["retention.ms"]))
    assert options_of(admin, topic) == {}


def test_topics(admin: KafkaAdminClient) -> None:
    admin.create_topics([NewTopic("kp-tried", 1, 1)], validate_only=True)
    assert "kp-tried" not in admin.list_topics()
    admin.create_topics([NewTopic("kp-described", 3, 1)], wait_for_metadata=True)
    admin.wait_for_topics(["kp-described"])
    page = admin.describe_topic_partitions(["kp-described"], response_partition_limit=2)
    assert [each["partition_index"] for each in page["topics"][0]["partitions"]] == [0, 1]
    rest = admin.describe_topic_partitions(["kp-described"], cursor=page["next_cursor"])
    assert [each["partition_index"] for each in rest["topics"][0]["partitions"]] == [2]
    assert rest["next_cursor"] is None
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics(["kp-none"])


def test_offsets_and_producers_of_partitions(
    admin: KafkaAdminClient, broker: barnabas.Broker, topic: str
) -> None:
    part = fill(broker, topic)
    specs = {
        OffsetSpec.EARLIEST: 0,
        OffsetSpec.LATEST: 10,
        OffsetSpec.MAX_TIMESTAMP: 9,
        OffsetTimestamp(YOUNG_MS + 6500): 7,
    }
    for spec, offset in specs.items():
        assert admin.list_partition_offsets({part: spec})[part].offset == offset, spec
    producer = kafka.KafkaProducer(bootstrap_servers=broker.bootstrap)
    assert producer.partitions_for(topic) == {0, 1, 2, 3}
    for _ in range(3):
        producer.send(topic, b"v", partition=1).get(30)
    producer.close()
    (state,) = admin.describe_producers([TopicPartition(topic, 1)]).values()
    assert [(each.producer_epoch, each.last_sequence) for each in state.active_producers] == [(0, 2)]
    (described,) = admin.describe_log_dirs({topic: [0, 1]})
    (folder,) = described["log_dirs"]
    (named,) = folder["topics"]
    assert {each["partition_index"]: each["partition_size"] > 0 for each in named["partitions"]} == {
        0: True,
        1: True,
    }


def test_groups(admin: KafkaAdminClient, broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)
    member = consumer(broker, group_id=topic, group_instance_id="instance")
    member.subscribe([topic])
    read(member, 10)
    member.commit()
    described = admin.describe_groups([topic], include_authorized_operations=True)[topic]
    assert (described["group_state"], described["protocol_data"]) == ("Stable", "range")
    assert described["members"][0]["group_instance_id"] == "instance"
    (owned,) = described["members"][0]["member_assignment"]["assigned_partitions"]
    assert sorted(owned["partitions"]) == [0, 1, 2, 3]
    assert topic in [each["group_id"] for each in admin.list_groups(states_filter=["Stable"])]
    assert topic not in [each["group_id"] for each in admin.list_groups(states_filter=["Empty"])]
    assert admin.list_groups(types_filter=["share"]) == []
    assert admin.list_group_offsets({topic: [part]})[topic][part].offset == 10
    assert member.group_metadata().generation_id > 0
    admin.remove_group_members(topic, [MemberToRemove(group_instance_id="instance")])
    assert admin.describe_groups([topic])[topic]["group_state"] == "Empty"
    member.close()


def test_offsets_of_groups(admin: KafkaAdminClient, broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)
    admin.alter_group_offsets(topic, {part: OffsetAndMetadata(2, "note", -1)})
    assert admin.list_group_offsets([topic])[topic] == {part: OffsetAndMetadata(2, "note", -1)}
    admin.reset_group_offsets(topic, {part: OffsetSpec.LATEST})
    assert admin.list_group_offsets([topic])[topic][part].offset == 10
    admin.delete_group_offsets(topic, [part])
    assert admin.list_group_offsets([topic])[topic] == {}
    admin.alter_group_offsets(topic, {part: OffsetAndMetadata(1, "", -1)})
    admin.delete_groups([topic])
    assert topic not in [each["group_id"] for each in admin.list_groups()]


def test_places_in_a_log(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)
    reader = consumer(broker)
    reader.assign([part])
    assert [each.offset for each in read(reader, 10)] == list(range(10))
    assert (reader.highwater(part), reader.position(part)) == (10, 10)
    reader.seek(part, 7)
    assert [each.offset for each in read(reader, 3)] == [7, 8, 9]
    reader.seek_to_beginning(part)
    assert reader.position(part) == 0
    reader.seek_to_end(part)
    assert reader.position(part) == 10
    assert reader.offsets_for_times({part: YOUNG_MS + 6500})[part].offset == 7
    assert reader.offsets_for_times({part: YOUNG_MS + 9001})[part] is None
    reader.pause(part)
    assert reader.paused() == {part}
    reader.seek_to_beginning(part)
    assert reader.poll(timeout_ms=300) == {}
    reader.resume(part)
    assert len(read(reader, 10)) == 10
    assert topic in reader.topics()
    assert reader.partitions_for_topic(topic) == {0, 1, 2, 3}
    reader.close()


def test_a_pattern_and_commits_without_waiting(broker: barnabas.Broker, topic: str) -> None:
    part = fill(broker, topic)
    member = consumer(broker, group_id=topic, metadata_max_age_ms=200)
    member.subscribe(pattern=f"{topic}.*")
    read(member, 10)
    done: list[Any] = []
    member.commit_async({part: OffsetAndMetadata(4, "", -1)}, lambda offsets, result: done.append(result))

    def is_done() -> bool:
        member.poll(timeout_ms=50)
        return bool(done)

    until(is_done, "the commit is answered")
    assert not isinstance(done[0], Exception)
    assert member.committed(part) == 4
    assert member.subscription() == {topic}
    broker.create_topic(f"{topic}-later", 1)
    broker.produce(f"{topic}-later", "new")
    assert [each.topic for each in read(member, 1)] == [f"{topic}-later"]
    member.unsubscribe()
    assert member.assignment() == set()
    member.close()
