"""Config changes against tables of what Apache Kafka 4.3 answered to the same requests: code, and null message or not."""

import pytest

from barnabas.cluster import config_changes
from barnabas.cluster.config_changes import APPEND, DELETE, SET, SUBTRACT, Node
from barnabas.cluster.image import Image, OverridesSet, PartitionImage, Topic, TopicSet, apply
from barnabas.config.effective import BrokerOptions
from barnabas.wire.messages import alter_configs, incremental_alter_configs

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
HERE = PartitionImage(1, 0, (1,), (1,))


def steps(resource_type, name, *operations):
    return incremental_alter_configs.AlterConfigsResource(
        resource_type,
        name,
        [incremental_alter_configs.AlterableConfig(key, kind, value) for key, kind, value in operations],
    )


def full(resource_type, name, **overrides):
    return alter_configs.AlterConfigsResource(
        resource_type,
        name,
        [alter_configs.AlterableConfig(key.replace("_", "."), value) for key, value in overrides.items()],
    )


def of_have(key, kind, value):
    return [steps(TOPIC, "have", (key, kind, value))]


def of_metrics(key, kind, value):
    return [steps(METRICS, "sub", (key, kind, value))]


def of_broker(key, kind, value, name="1"):
    return [steps(BROKER, name, (key, kind, value))]


def of_group(key, kind, value):
    return [steps(GROUP, "g", (key, kind, value))]


STEPS = [
    ("topic set", of_have("retention.ms", SET, "1000"), [0]),
    ("topic set null", of_have("retention.ms", SET, None), [42]),
    ("topic append null", of_have("cleanup.policy", APPEND, None), [42]),
    ("topic delete", of_have("retention.ms", DELETE, None), [0]),
    ("topic delete with a value", of_have("retention.ms", DELETE, "x"), [0]),
    ("topic unknown config", of_have("zz", SET, "1"), [40]),
    ("topic config of no name", of_have("", SET, "1"), [40]),
    ("topic delete unknown config", of_have("zz", DELETE, None), [0]),
    ("topic bad value", of_have("retention.ms", SET, "x"), [40]),
    ("topic too small", of_have("segment.bytes", SET, "1"), [40]),
    ("topic append", of_have("cleanup.policy", APPEND, "compact"), [0]),
    ("topic append a bad one", of_have("cleanup.policy", APPEND, "wild"), [40]),
    ("topic subtract", of_have("cleanup.policy", SUBTRACT, "delete"), [0]),
    ("topic append to no list", of_have("retention.ms", APPEND, "5"), [40]),
    ("topic subtract from no list", of_have("retention.ms", SUBTRACT, "5"), [40]),
    ("topic append to unknown", of_have("zz", APPEND, "5"), [40]),
    (
        "topic two that disagree",
        [steps(TOPIC, "have", ("min.compaction.lag.ms", SET, "9"), ("max.compaction.lag.ms", SET, "1"))],
        [40],
    ),
    ("topic key twice", [steps(TOPIC, "have", ("segment.ms", SET, "5"), ("segment.ms", DELETE, None))], [42]),
    ("topic one of two wrong", [steps(TOPIC, "have", ("segment.ms", SET, "5"), ("zz", SET, "5"))], [40]),
    ("topic nothing", [steps(TOPIC, "have")], [0]),
    ("resource twice", [*of_have("segment.ms", SET, "5"), *of_have("segment.ms", SET, "6")], [42, 42]),
    ("topic unknown", [steps(TOPIC, "none", ("segment.ms", SET, "5"))], [3]),
    ("topic unknown, nothing", [steps(TOPIC, "none")], [3]),
    ("topic unknown, bad value", [steps(TOPIC, "none", ("segment.ms", SET, "x"))], [40]),
    ("topic unknown, null", [steps(TOPIC, "none", ("segment.ms", SET, None))], [42]),
    ("topic unknown, append", [steps(TOPIC, "none", ("segment.ms", APPEND, "1"))], [40]),
    ("topic bad name", [steps(TOPIC, "a b", ("segment.ms", SET, "5"))], [17]),
    ("topic bad name, null", [steps(TOPIC, "a b", ("segment.ms", SET, None))], [42]),
    ("topic no name", [steps(TOPIC, "", ("segment.ms", SET, "5"))], [42]),
    ("no requests", [], []),
    ("type 0", [steps(0, "have")], [42]),
    ("type 3", [steps(3, "have")], [42]),
    ("type 77", [steps(77, "have")], [42]),
    ("type -5", [steps(-5, "have")], [42]),
    ("broker", of_broker("log.cleaner.threads", SET, "1"), [0]),
    ("broker cluster-wide", of_broker("log.retention.ms", SET, "5"), [0]),
    ("all brokers", of_broker("log.retention.ms", SET, "5", ""), [0]),
    ("broker read-only", of_broker("num.partitions", SET, "1"), [42]),
    ("all brokers read-only", of_broker("num.partitions", SET, "1", ""), [42]),
    ("all brokers per-broker", of_broker("advertised.listeners", SET, "PLAINTEXT://x:1", ""), [42]),
    ("broker bad value", of_broker("log.retention.ms", SET, "x"), [42]),
    ("broker null", of_broker("log.retention.ms", SET, None), [42]),
    ("broker delete", of_broker("log.retention.ms", DELETE, None), [0]),
    ("broker delete read-only", of_broker("num.partitions", DELETE, None), [0]),
    ("broker append", of_broker("log.cleanup.policy", APPEND, "compact", ""), [0]),
    ("broker append to no list", of_broker("num.partitions", APPEND, "1"), [40]),
    ("broker append to unknown", of_broker("zz", APPEND, "1"), [40]),
    ("another broker", of_broker("log.retention.ms", SET, "5", "7"), [42]),
    ("broker -1", of_broker("log.retention.ms", SET, "5", "-1"), [42]),
    ("broker x", of_broker("log.retention.ms", SET, "5", "x"), [42]),
    ("group", of_group("consumer.session.timeout.ms", SET, "50000"), [0]),
    ("group bad value", of_group("consumer.session.timeout.ms", SET, "x"), [40]),
    ("group below the broker's", of_group("consumer.session.timeout.ms", SET, "1"), [40]),
    ("group above the broker's", of_group("consumer.session.timeout.ms", SET, "99999999"), [40]),
    ("group below the broker's heartbeat", of_group("consumer.heartbeat.interval.ms", SET, "100"), [40]),
    ("group unknown config", of_group("zz", SET, "1"), [40]),
    ("group append", of_group("zz", APPEND, "1"), [40]),
    ("group delete", of_group("consumer.session.timeout.ms", DELETE, None), [0]),
    ("all groups", [steps(GROUP, "", ("consumer.session.timeout.ms", SET, "50000"))], [42]),
    ("metrics interval", of_metrics("interval.ms", SET, "5000"), [0]),
    ("metrics interval low", of_metrics("interval.ms", SET, "99"), [42]),
    ("metrics interval lowest", of_metrics("interval.ms", SET, "100"), [0]),
    ("metrics interval highest", of_metrics("interval.ms", SET, "3600000"), [0]),
    ("metrics interval high", of_metrics("interval.ms", SET, "3600001"), [42]),
    ("metrics interval text", of_metrics("interval.ms", SET, "x"), [40]),
    ("metrics unknown", of_metrics("zz", SET, "x"), [42]),
    ("metrics append", of_metrics("metrics", APPEND, "a"), [40]),
    ("metrics match", of_metrics("match", SET, "client_id=x"), [0]),
    ("metrics match with blanks", of_metrics("match", SET, " client_id = x , client_source_port=9"), [0]),
    ("metrics match nothing", of_metrics("match", SET, ""), [0]),
    ("metrics match of what", of_metrics("match", SET, "foo=x"), [40]),
    ("metrics match without value", of_metrics("match", SET, "client_id"), [40]),
    ("metrics match of two values", of_metrics("match", SET, "client_id=a=b"), [40]),
    ("metrics match no regex", of_metrics("match", SET, "client_id=("), [40]),
    ("metrics no name", [steps(METRICS, "", ("interval.ms", SET, "5000"))], [42]),
    ("metrics no name, null", [steps(METRICS, "", ("interval.ms", SET, None))], [42]),
    ("logger root", [steps(LOGGER, "1", ("root", SET, "INFO"))], [0]),
    ("logger root loud", [steps(LOGGER, "1", ("root", SET, "LOUD"))], [40]),
    ("logger root delete", [steps(LOGGER, "1", ("root", DELETE, None))], [42]),
    ("logger unknown", [steps(LOGGER, "1", ("zz", SET, "INFO"))], [40]),
    ("logger unknown delete", [steps(LOGGER, "1", ("zz", DELETE, None))], [40]),
    ("logger append", [steps(LOGGER, "1", ("root", APPEND, "INFO"))], [42]),
    ("logger null", [steps(LOGGER, "1", ("root", SET, None))], [42]),
    ("logger nothing", [steps(LOGGER, "1")], [0]),
    ("logger of another", [steps(LOGGER, "7", ("root", SET, "INFO"))], [42]),
    ("logger of none", [steps(LOGGER, "", ("root", SET, "INFO"))], [42]),
]

FULL = [
    ("topic", [full(TOPIC, "have", retention_ms="99")], [0]),
    ("topic nothing", [full(TOPIC, "have")], [0]),
    ("topic null", [full(TOPIC, "have", segment_ms=None)], [42]),
    ("topic unknown config", [full(TOPIC, "have", zz="1")], [40]),
    ("topic unknown", [full(TOPIC, "none", segment_ms="1")], [3]),
    ("topic bad name", [full(TOPIC, "a b")], [17]),
    ("topic no name", [full(TOPIC, "")], [42]),
    ("logger", [full(LOGGER, "1", root="INFO")], [42]),
    ("type 0", [full(0, "1")], [42]),
    ("type 77", [full(77, "")], [42]),
    ("broker", [full(BROKER, "1")], [0]),
    ("broker read-only", [full(BROKER, "1", num_partitions="3")], [42]),
    ("another broker", [full(BROKER, "9")], [42]),
    ("group", [full(GROUP, "g")], [0]),
    ("metrics", [full(METRICS, "sub")], [0]),
]


@pytest.fixture
def image() -> Image:
    have = Topic("have", b"1" * 16, (HERE,), {"retention.ms": "7", "segment.ms": "8"})
    return apply(Image(), [TopicSet(have), OverridesSet("broker", "", {"log.retention.ms": "9"})])


@pytest.fixture
def node() -> Node:
    return Node(1, BrokerOptions({}))


def check(results, asks, codes):
    assert [result.code for result in results] == codes
    assert [(result.resource_type, result.resource_name) for result in results] == [
        (ask.resource_type, ask.resource_name) for ask in asks
    ]
    assert all((result.message is None) == (result.code == 0) for result in results)


@pytest.mark.parametrize(("label", "asks", "codes"), STEPS, ids=[case[0] for case in STEPS])
def test_incremental_answers_as_kafka(image, node, label, asks, codes):
    decision = config_changes.incremental_alter_configs(image, asks, node)
    check(decision.reply, asks, codes)
    assert not (decision.facts and any(codes)), "a refused resource changes nothing"


@pytest.mark.parametrize(("label", "asks", "codes"), FULL, ids=[case[0] for case in FULL])
def test_full_answers_as_kafka(image, node, label, asks, codes):
    decision = config_changes.alter_configs(image, asks, node)
    check(decision.reply, asks, codes)
    assert not (decision.facts and any(codes)), "a refused resource changes nothing"


def after(image, node, ask) -> Image:
    alter = (
        config_changes.alter_configs
        if isinstance(ask, alter_configs.AlterConfigsResource)
        else config_changes.incremental_alter_configs
    )
    decision = alter(image, [ask], node)
    assert [result.code for result in decision.reply] == [0]
    return apply(image, decision.facts)


def test_a_step_leaves_the_other_overrides_and_the_topic_alone(image, node):
    changed = after(image, node, steps(TOPIC, "have", ("retention.ms", SET, "1")))
    assert changed.topics["have"].overrides == {"retention.ms": "1", "segment.ms": "8"}
    assert changed.topics["have"].topic_id == b"1" * 16 and changed.topics["have"].partitions == (HERE,)
    assert image.topics["have"].overrides["retention.ms"] == "7"
    gone = after(changed, node, steps(TOPIC, "have", ("retention.ms", DELETE, None)))
    assert gone.topics["have"].overrides == {"segment.ms": "8"}


def test_a_full_alter_drops_what_it_does_not_name(image, node):
    changed = after(image, node, full(TOPIC, "have", cleanup_policy="compact"))
    assert changed.topics["have"].overrides == {"cleanup.policy": "compact"}
    assert after(changed, node, full(TOPIC, "have")).topics["have"].overrides == {}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact,compact", "delete,compact"),
        (APPEND, "delete", "delete"),
        (SUBTRACT, "compact", "delete"),
        (SUBTRACT, "delete", ""),
    ],
)
def test_lists_grow_from_what_holds(image, node, kind, value, expected):
    changed = after(image, node, steps(TOPIC, "have", ("cleanup.policy", kind, value)))
    assert changed.topics["have"].overrides["cleanup.policy"] == expected


def test_a_list_grows_from_the_brokers_own_option(image):
    node = Node(1, BrokerOptions({"log.cleanup.policy": "compact"}))
    changed = after(image, node, steps(TOPIC, "have", ("cleanup.policy", APPEND, "delete")))
    assert changed.topics["have"].overrides["cleanup.policy"] == "compact,delete"
    broker = after(image, node, steps(BROKER, "1", ("log.cleanup.policy", APPEND, "delete")))
    assert broker.broker_overrides(1) == {"log.cleanup.policy": "compact,delete"}


def test_overrides_lie_where_they_are_looked_for(image, node):
    image = after(image, node, steps(BROKER, "1", ("log.cleaner.threads", SET, "2")))
    image = after(image, node, steps(GROUP, "g", ("consumer.session.timeout.ms", SET, "50000")))
    image = after(image, node, steps(METRICS, "sub", ("interval.ms", SET, "5000")))
    assert image.broker_overrides(1) == {"log.cleaner.threads": "2"}
    assert image.cluster_overrides() == {"log.retention.ms": "9"}
    assert image.group_overrides("g") == {"consumer.session.timeout.ms": "50000"}
    assert image.client_metrics_overrides("sub") == {"interval.ms": "5000"}
    assert (
        image.broker_overrides(2) == image.group_overrides("x") == image.client_metrics_overrides("x") == {}
    )


def test_the_last_override_removes_the_resource(image, node):
    image = after(image, node, steps(BROKER, "", ("log.retention.ms", DELETE, None)))
    assert image.overrides == {}


def test_what_changes_nothing_is_no_fact(image, node):
    decision = config_changes.incremental_alter_configs(
        image, [steps(TOPIC, "have", ("retention.ms", SET, "7"))], node
    )
    assert decision.facts == []


def test_validate_only_answers_without_a_fact(image, node):
    asks = [steps(TOPIC, "have", ("retention.ms", SET, "1")), steps(LOGGER, "1", ("root", SET, "DEBUG"))]
    decision = config_changes.incremental_alter_configs(image, asks, node, validate_only=True)
    assert [(result.code, result.levels) for result in decision.reply] == [(0, None), (0, None)]
    assert decision.facts == []
    assert config_changes.alter_configs(image, [full(TOPIC, "have")], node, validate_only=True).facts == []


def test_one_refused_resource_does_not_stop_another(image, node):
    asks = [
        steps(TOPIC, "none", ("retention.ms", SET, "1")),
        steps(TOPIC, "have", ("retention.ms", SET, "1")),
    ]
    decision = config_changes.incremental_alter_configs(image, asks, node)
    assert [result.code for result in decision.reply] == [3, 0]
    assert [fact.topic.name for fact in decision.facts] == ["have"]


def test_levels_are_handed_out_not_stored(image):
    node = Node(1, BrokerOptions({}), frozenset({"root", "server"}))
    asks = [steps(LOGGER, "1", ("root", SET, "DEBUG"), ("server", DELETE, None))]
    decision = config_changes.incremental_alter_configs(image, asks, node)
    assert decision.reply[0].levels == {"root": "DEBUG", "server": None}
    assert decision.facts == []


def test_our_differences_from_kafka(image, node):
    for asks in (of_broker("zz", SET, "1"), of_have("retention.ms", 9, "5")):
        assert config_changes.incremental_alter_configs(image, asks, node).reply[0].code == 42
