"""Which of several places counts, and what may be changed while a broker runs."""

import pytest

from barnabas.config.effective import (
    BrokerOptions,
    broker_fault,
    broker_synonyms,
    topic_fault,
    topic_options,
    topic_synonyms,
    topic_value,
)


def test_a_topics_override_counts_above_every_layer_of_the_broker():
    broker = BrokerOptions({"log.retention.ms": "4"})
    assert topic_value("retention.ms", {}, BrokerOptions({})) == ("604800000", 5)
    assert topic_value("retention.ms", {}, broker) == ("4", 4)
    broker.set_dynamic({}, {"log.retention.ms": "3"})
    assert topic_value("retention.ms", {}, broker) == ("3", 3)
    broker.set_dynamic({"log.retention.ms": "2"}, {"log.retention.ms": "3"})
    assert topic_value("retention.ms", {}, broker) == ("2", 2)
    assert topic_value("retention.ms", {"retention.ms": "1"}, broker) == ("1", 1)
    assert topic_synonyms("retention.ms", {"retention.ms": "1"}, broker) == [
        ("retention.ms", "1", 1),
        ("log.retention.ms", "2", 2),
        ("log.retention.ms", "3", 3),
        ("log.retention.ms", "4", 4),
        ("log.retention.hours", "168", 5),
    ]


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("segment.ms", []),
        ("flush.ms", []),
        ("retention.ms", []),
        ("cleanup.policy", [("log.cleanup.policy", "delete", 5)]),
        ("retention.bytes", [("log.retention.bytes", "-1", 5)]),
        ("follower.replication.throttled.replicas", []),
    ],
)
def test_defaults_are_listed_as_apache_kafka_lists_them(name, listed):
    assert topic_synonyms(name, {}, BrokerOptions({})) == listed


def test_broker_options_of_one_meaning_are_listed_together():
    broker = BrokerOptions({"log.retention.hours": "2", "num.partitions": "3"})
    assert broker_synonyms("log.retention.ms", broker) == []
    hours = [("log.retention.hours", "2", 4), ("log.retention.hours", "168", 5)]
    assert broker_synonyms("log.retention.hours", broker) == hours
    assert broker_synonyms("num.partitions", broker) == [
        ("num.partitions", "3", 4),
        ("num.partitions", "1", 5),
    ]
    broker.set_dynamic({}, {"log.retention.ms": "9"})
    assert broker_synonyms("log.retention.ms", broker) == [("log.retention.ms", "9", 3), *hours]


@pytest.mark.parametrize(
    ("static", "milliseconds"),
    [
        ({"log.retention.hours": "2"}, 7_200_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3"}, 180_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "5"}, 5),
        ({"log.retention.hours": "-1"}, -1),
        ({"log.retention.minutes": "-1"}, -1),
    ],
)
def test_the_finer_unit_of_retention_counts_and_below_zero_is_no_limit(static, milliseconds):
    assert topic_options({}, BrokerOptions(static)).retention_ms == milliseconds


def test_roll_times_come_from_hours_or_milliseconds():
    assert topic_options({}, BrokerOptions({"log.roll.hours": "1"})).segment_ms == 3_600_000
    assert topic_options({}, BrokerOptions({"log.roll.hours": "1", "log.roll.ms": "9"})).segment_ms == 9
    assert topic_options({}, BrokerOptions({"log.roll.jitter.hours": "1"})).segment_jitter_ms == 3_600_000


def test_topic_options_are_typed():
    given = {
        "cleanup.policy": "compact,delete",
        "message.timestamp.type": "LogAppendTime",
        "min.cleanable.dirty.ratio": "0.25",
        "barnabas.durability": "cache",
        "barnabas.validate": "records",
        "internal.segment.bytes": "77",
        "segment.bytes": "1048576",
    }
    found = topic_options(given, BrokerOptions({}))
    assert found.cleanup_compact
    assert found.cleanup_delete
    assert found.timestamp_type_log_append
    assert found.min_cleanable_dirty_ratio == 0.25
    assert not found.durability_sync
    assert found.opens_compressed
    assert found.segment_bytes == 77
    plain = topic_options({"cleanup.policy": ""}, BrokerOptions({}))
    assert (plain.cleanup_compact, plain.cleanup_delete, plain.durability_sync) == (False, False, True)
    assert not (plain.opens_compressed or plain.opens_batches)
    recompressing = topic_options({"compression.type": "lz4"}, BrokerOptions({}))
    assert (recompressing.opens_compressed, recompressing.opens_batches) == (False, True)
    assert not topic_options({}, BrokerOptions({"barnabas.durability": "cache"})).durability_sync


def test_broker_options_forget_what_they_knew_when_a_layer_changes():
    broker = BrokerOptions({"num.partitions": "2"}, ours={"group.initial.rebalance.delay.ms": "0"})
    assert broker.get_int("num.partitions") == 2
    assert broker.get_int("group.initial.rebalance.delay.ms") == 0
    assert broker.get_int("log.cleaner.threads") == 1
    broker.set_dynamic({}, {"log.cleaner.threads": "4"})
    assert broker.get_int("log.cleaner.threads") == 4
    broker.set_dynamic({}, {})
    assert broker.get_int("log.cleaner.threads") == 1
    assert broker.get_bool("auto.create.topics.enable")


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        ({"retention.msx": "1"}, "Unknown topic config name"),
        ({"retention.ms": "soon"}, "whole number"),
        ({"segment.bytes": "1"}, "at least"),
        ({"cleanup.policy": "keep"}, "compact or delete"),
        ({"cleanup.policy": "delete,delete"}, "each item once"),
        ({"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "8"}, "greater"),
        ({"barnabas.durability": "maybe"}, "sync or cache"),
    ],
)
def test_bad_topic_overrides_are_named(overrides, part):
    assert part in (topic_fault(overrides) or "")


def test_good_topic_overrides_pass():
    assert (
        topic_fault({"retention.ms": "-1", "cleanup.policy": "compact,delete", "max.message.bytes": "0"})
        is None
    )
    assert topic_fault({"min.compaction.lag.ms": "8", "max.compaction.lag.ms": "8"}) is None


@pytest.mark.parametrize(
    ("name", "value", "for_one", "part"),
    [
        ("log.retention.ms", "1", True, None),
        ("log.retention.ms", "1", False, None),
        ("log.retention.ms", None, False, None),
        ("log.retention.ms", "x", False, "whole number"),
        ("log.retention.hours", "1", False, "restart"),
        ("cordoned.log.dirs", "/a", False, "single broker"),
        ("cordoned.log.dirs", "/a", True, None),
        ("no.such.key", "1", True, "Unknown broker config name"),
    ],
)
def test_what_a_running_broker_lets_change(name, value, for_one, part):
    fault = broker_fault(name, value, for_one)
    assert fault is None if part is None else part in (fault or "")
