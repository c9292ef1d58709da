"""DescribeConfigs, AlterConfigs and IncrementalAlterConfigs by field and code, as Apache Kafka 4.3 was seen to answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from administering import BROKER, CLIENT_METRICS, GROUP, LOGGER, TOPIC, broken_store, settings_of
from covers import covers
from rawclient import RawClient

import barnabas
from barnabas import errors
from barnabas.wire.messages import alter_configs, describe_configs, incremental_alter_configs
from barnabas.wire.messages.describe_configs import DescribeConfigsResource

HERE = "1"
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
BY_TOPIC, BY_BROKER, BY_ALL_BROKERS, BY_FILE, BY_DEFAULT = 1, 2, 3, 4, 5
BY_LOGGER, BY_CLIENT_METRICS, BY_GROUP = 6, 7, 8
BOOLEAN, STRING, INT, LONG, DOUBLE, LIST, CLASS, PASSWORD = 1, 2, 3, 5, 6, 7, 8, 9
TYPES = {
    "unclean.leader.election.enable": BOOLEAN,
    "compression.type": STRING,
    "min.insync.replicas": INT,
    "retention.ms": LONG,
    "min.cleanable.dirty.ratio": DOUBLE,
    "cleanup.policy": LIST,
}


@pytest.fixture(scope="module")
def broker() -> Iterator[barnabas.Broker]:
    """With something in its file, a secret among it."""
    config = {"log.retention.hours": 24, "ssl.keystore.password": "secret", "num.io.threads": 6}
    with barnabas.Broker(config=config, topics={"plain": 2}) as running:
        yield running


def described(client: RawClient, *asked: tuple[int, str], version: int = 4, **given: Any) -> list[Any]:
    ask = describe_configs.DescribeConfigsRequest(
        resources=[
            DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=None)
            for kind, name in asked
        ],
        **given,
    )
    return list(client.call(describe_configs, ask, version).results)


def alter(
    client: RawClient, *asked: tuple[int, str, dict[str, str | None]], version: int = 2, **given: Any
) -> list[Any]:
    """AlterConfigs: (type, name, option → value)."""
    ask = alter_configs.AlterConfigsRequest(
        resources=[
            alter_configs.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    alter_configs.AlterableConfig(name=key, value=value) for key, value in values.items()
                ],
            )
            for kind, name, values in asked
        ],
        **given,
    )
    return list(client.call(alter_configs, ask, version).responses)


Step = tuple[str, int, str | None]


def step(client: RawClient, *asked: tuple[int, str, list[Step]], version: int = 1, **given: Any) -> list[Any]:
    """IncrementalAlterConfigs: (type, name, [(option, operation, value)])."""
    ask = incremental_alter_configs.IncrementalAlterConfigsRequest(
        resources=[
            incremental_alter_configs.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    incremental_alter_configs.AlterableConfig(name=key, config_operation=how, value=value)
                    for key, how, value in steps
                ],
            )
            for kind, name, steps in asked
        ],
        **given,
    )
    return list(client.call(incremental_alter_configs, ask, version).responses)


def codes(rows: list[Any]) -> list[str]:
    return [errors.name_of(row.error_code) for row in rows]


# -- DescribeConfigs -------------------------------------------------------------------------------


@covers(
    "DescribeConfigs",
    "request.resources.resource_type",
    "request.resources.resource_name",
    "request.include_synonyms",
    "response.results.error_code=default",
    "response.results.error_message=default",
    "response.results.resource_type",
    "response.results.resource_name",
    "response.results.configs.name",
    "response.results.configs.value",
    "response.results.configs.read_only=default",
    "response.results.configs.config_source",
    "response.results.configs.is_sensitive=default",
    "response.results.configs.synonyms.name",
    "response.results.configs.synonyms.value",
    "response.results.configs.synonyms.source",
    "response.results.configs.config_type",
    "response.throttle_time_ms=default",
)
def test_a_topics_options_say_where_each_value_comes_from(client: RawClient) -> None:
    client.create_topic("sourced", retention_ms="60000")
    (result,) = described(client, (TOPIC, "sourced"), include_synonyms=True)
    assert (result.resource_type, result.resource_name, result.error_code) == (TOPIC, "sourced", 0)
    rows = {row.name: row for row in result.configs}
    own = rows["retention.ms"]
    assert (own.value, own.config_source) == ("60000", BY_TOPIC)
    assert [(each.name, each.value, each.source) for each in own.synonyms] == [
        ("retention.ms", "60000", BY_TOPIC)
    ]
    default = rows["segment.bytes"]
    assert default.config_source == BY_DEFAULT
    assert [(each.name, each.source) for each in default.synonyms] == [("log.segment.bytes", BY_DEFAULT)]
    assert {name: rows[name].config_type for name in TYPES} == TYPES


@covers("DescribeConfigs", "request.resources.configuration_keys")
def test_only_the_keys_asked_for_each_once(client: RawClient) -> None:
    rows = settings_of(
        client, TOPIC, "plain", "retention.ms", "no.such.option", "internal.segment.bytes", "segment.bytes"
    )
    assert set(rows) == {"retention.ms", "segment.bytes"}
    twice = describe_configs.DescribeConfigsRequest(
        resources=[
            DescribeConfigsResource(
                resource_type=TOPIC,
                resource_name="plain",
                configuration_keys=["retention.ms", "retention.ms"],
            )
        ]
    )
    assert len(client.call(describe_configs, twice, 4).results[0].configs) == 1


@covers(
    "DescribeConfigs",
    "request.resources.configuration_keys=default",
    "request.resources.configuration_keys=null",
)
def test_no_keys_and_null_keys_are_all_options_without_internal_ones(client: RawClient) -> None:
    (by_null,) = described(client, (TOPIC, "plain"))
    ask = describe_configs.DescribeConfigsRequest(
        resources=[DescribeConfigsResource(resource_type=TOPIC, resource_name="plain", configuration_keys=[])]
    )
    (by_none,) = client.call(describe_configs, ask, 4).results
    assert by_none == by_null
    names = {row.name for row in by_null.configs}
    assert len(names) > 30 and "internal.segment.bytes" not in names
    client.create_topic("internal", internal_segment_bytes="1000")
    assert "internal.segment.bytes" in settings_of(client, TOPIC, "internal"), "somebody set it"


@covers(
    "DescribeConfigs",
    "request.include_documentation",
    "response.results.configs.documentation",
    "request.include_synonyms=default",
    "response.results.configs.synonyms=default",
)
def test_documentation_and_synonyms_come_only_when_asked_for(client: RawClient) -> None:
    (result,) = described(client, (TOPIC, "plain"), include_documentation=True)
    assert all(row.documentation for row in result.configs)
    assert not any(row.synonyms for row in result.configs)
    (silent,) = described(client, (TOPIC, "plain"))
    assert not any(row.documentation for row in silent.configs)


@pytest.mark.parametrize("version", range(1, 5))
def test_types_came_with_version_3(client: RawClient, version: int) -> None:
    row = settings_of(client, TOPIC, "plain", "retention.ms", version=version, synonyms=True)["retention.ms"]
    assert row.value == str(24 * 3_600_000), "hours as milliseconds"
    assert (row.config_source, row.synonyms) == (BY_DEFAULT, []), "as in Kafka: hours are no synonym"
    assert row.config_type == (LONG if version >= 3 else 0)


@covers(
    "DescribeConfigs",
    "response.results.configs.read_only",
    "response.results.configs.is_sensitive",
)
def test_a_broker_tells_its_options_but_not_its_secrets(client: RawClient) -> None:
    rows = settings_of(client, BROKER, HERE, synonyms=True)
    assert (rows["node.id"].value, rows["node.id"].read_only) == (HERE, True)
    assert (rows["num.io.threads"].value, rows["num.io.threads"].read_only) == ("6", False)
    assert [(each.value, each.source) for each in rows["num.io.threads"].synonyms] == [
        ("6", BY_FILE),
        ("8", BY_DEFAULT),
    ]
    secret = rows["ssl.keystore.password"]
    assert (secret.is_sensitive, secret.value, secret.config_type) == (True, None, PASSWORD)
    assert [each.value for each in secret.synonyms] == [None]
    unset = rows["log.retention.ms"]
    assert (unset.value, unset.config_source, unset.synonyms) == (None, BY_DEFAULT, [])


def test_what_is_set_for_all_brokers_is_shown_under_the_empty_name(client: RawClient) -> None:
    assert codes(step(client, (BROKER, "", [("log.retention.ms", SET, "7000000")]))) == ["NONE"]
    assert codes(step(client, (BROKER, HERE, [("num.io.threads", SET, "9")]))) == ["NONE"]
    assert set(settings_of(client, BROKER, "")) == {"log.retention.ms"}
    rows = settings_of(client, BROKER, HERE, synonyms=True)
    layers = [(each.name, each.value, each.source) for each in rows["log.retention.ms"].synonyms]
    assert layers[:2] == [
        ("log.retention.ms", "7000000", BY_ALL_BROKERS),
        ("log.retention.hours", "24", BY_FILE),
    ]
    assert (rows["num.io.threads"].value, rows["num.io.threads"].config_source) == ("9", BY_BROKER)
    topic = settings_of(client, TOPIC, "plain", "retention.ms")["retention.ms"]
    assert (topic.value, topic.config_source) == ("7000000", BY_ALL_BROKERS), "and topics follow"
    undo = [
        (BROKER, "", [("log.retention.ms", DELETE, None)]),
        (BROKER, HERE, [("num.io.threads", DELETE, None)]),
    ]
    assert codes(step(client, *undo)) == ["NONE", "NONE"]
    assert settings_of(client, BROKER, "") == {}


def test_a_group_falls_back_on_the_brokers_option(client: RawClient) -> None:
    name = "consumer.session.timeout.ms"
    row = settings_of(client, GROUP, "g", name, synonyms=True)[name]
    assert (row.value, row.config_source) == ("45000", BY_DEFAULT)
    assert [(each.name, each.source) for each in row.synonyms] == [(f"group.{name}", BY_DEFAULT)]
    assert codes(step(client, (GROUP, "g", [(name, SET, "46000")]))) == ["NONE"]
    row = settings_of(client, GROUP, "g", name, synonyms=True)[name]
    assert (row.value, row.config_source) == ("46000", BY_GROUP)
    assert [each.source for each in row.synonyms] == [BY_GROUP, BY_DEFAULT]
    only_here = settings_of(client, GROUP, "g", "share.auto.offset.reset", synonyms=True)
    assert [each.name for each in only_here["share.auto.offset.reset"].synonyms] == [
        "share.auto.offset.reset"
    ]


def test_a_subscription_nobody_made_shows_defaults(client: RawClient) -> None:
    fresh = settings_of(client, CLIENT_METRICS, "unmade", synonyms=True)
    assert {name: (row.value, row.config_source, row.synonyms) for name, row in fresh.items()} == {
        "interval.ms": ("300000", BY_DEFAULT, []),
        "match": ("", BY_DEFAULT, []),
        "metrics": ("", BY_DEFAULT, []),
    }
    assert codes(step(client, (CLIENT_METRICS, "made", [("interval.ms", SET, "1000")]))) == ["NONE"]
    made = settings_of(client, CLIENT_METRICS, "made", synonyms=True)["interval.ms"]
    assert (made.value, made.config_source) == ("1000", BY_CLIENT_METRICS)
    assert [each.source for each in made.synonyms] == [BY_CLIENT_METRICS]


def test_there_is_one_logger_and_its_level_can_be_asked_for(client: RawClient) -> None:
    (row,) = settings_of(client, LOGGER, HERE).values()
    assert (row.name, row.value, row.config_source, row.config_type) == ("root", "INFO", BY_LOGGER, 0)
    assert settings_of(client, LOGGER, HERE, "root") == {"root": row}
    assert settings_of(client, LOGGER, HERE, "kafka.server") == {}


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        pytest.param(kind, name, code, marks=covers("DescribeConfigs", code))
        for kind, name, code in [
            (TOPIC, "absent", "UNKNOWN_TOPIC_OR_PARTITION"),
            (TOPIC, "in valid", "INVALID_TOPIC_EXCEPTION"),
            (TOPIC, "", "INVALID_TOPIC_EXCEPTION"),
            (BROKER, "9", "INVALID_REQUEST"),
            (BROKER, "-1", "INVALID_REQUEST"),
            (BROKER, "here", "INVALID_REQUEST"),
            (LOGGER, "9", "INVALID_REQUEST"),
            (LOGGER, "", "INVALID_REQUEST"),
            (GROUP, "", "INVALID_REQUEST"),
            (CLIENT_METRICS, "", "INVALID_REQUEST"),
        ]
    ],
)
@covers("DescribeConfigs", "response.results.error_code", "response.results.error_message")
def test_a_resource_that_is_not_there_says_so_beside_one_that_is(
    client: RawClient, kind: int, name: str, code: str
) -> None:
    refused, good = described(client, (kind, name), (TOPIC, "plain"))
    assert (errors.name_of(refused.error_code), refused.configs) == (code, [])
    assert refused.error_message
    assert (refused.resource_type, refused.resource_name) == (kind, name)
    assert good.error_code == 0 and good.configs


@pytest.mark.parametrize("kind", [0, 1, 99])
def test_a_type_that_does_not_exist_refuses_the_whole_request(client: RawClient, kind: int) -> None:
    rows = described(client, (TOPIC, "plain"), (kind, "x"))
    assert codes(rows) == ["INVALID_REQUEST", "INVALID_REQUEST"]
    assert [(row.resource_type, row.resource_name) for row in rows] == [(TOPIC, "plain"), (kind, "x")]


# -- AlterConfigs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
@covers(
    "AlterConfigs",
    "request.resources.resource_type",
    "request.resources.resource_name",
    "request.resources.configs.name",
    "request.resources.configs.value",
    "response.responses.error_code=default",
    "response.responses.resource_type",
    "response.responses.resource_name",
    "response.throttle_time_ms=default",
)
def test_what_is_not_given_goes_back_to_its_default(client: RawClient, version: int) -> None:
    name = f"replaced-{version}"
    client.create_topic(name, retention_ms="60000", max_message_bytes="2000")
    (row,) = alter(client, (TOPIC, name, {"max.message.bytes": "3000"}), version=version)
    assert (row.error_code, row.error_message) == (0, None)
    assert (row.resource_type, row.resource_name) == (TOPIC, name)
    rows = settings_of(client, TOPIC, name, "retention.ms", "max.message.bytes")
    assert rows["retention.ms"].config_source == BY_DEFAULT
    assert (rows["max.message.bytes"].value, rows["max.message.bytes"].config_source) == ("3000", BY_TOPIC)
    (row,) = alter(client, (TOPIC, name, {}), version=version)
    assert row.error_code == 0
    assert (
        settings_of(client, TOPIC, name, "max.message.bytes")["max.message.bytes"].config_source == BY_DEFAULT
    )


@covers("AlterConfigs", "validate_only")
def test_values_that_are_only_validated_do_not_act(client: RawClient) -> None:
    given = [(TOPIC, "plain", {"retention.ms": "1"}), (GROUP, "g", {"no.such.option": "1"})]
    assert codes(alter(client, *given, validate_only=True)) == ["NONE", "INVALID_CONFIG"]
    assert settings_of(client, TOPIC, "plain", "retention.ms")["retention.ms"].config_source == BY_DEFAULT


REFUSED = [
    (TOPIC, "plain", {"retention.ms": "soon"}, "INVALID_CONFIG"),
    (TOPIC, "plain", {"no.such.option": "1"}, "INVALID_CONFIG"),
    (GROUP, "g", {"consumer.session.timeout.ms": "1"}, "INVALID_CONFIG"),
    (TOPIC, "", {"retention.ms": "1"}, "INVALID_REQUEST"),
    (BROKER, "9", {"num.io.threads": "2"}, "INVALID_REQUEST"),
    (BROKER, HERE, {"node.id": "2"}, "INVALID_REQUEST"),
    (0, "x", {}, "INVALID_REQUEST"),
    (TOPIC, "absent", {"retention.ms": "1"}, "UNKNOWN_TOPIC_OR_PARTITION"),
    (TOPIC, "in valid", {"retention.ms": "1"}, "INVALID_TOPIC_EXCEPTION"),
]


@pytest.mark.parametrize(
    ("kind", "name", "values", "code"),
    [pytest.param(*row, marks=covers("AlterConfigs", row[3])) for row in REFUSED],
)
@covers("AlterConfigs", "response.responses.error_code", "response.responses.error_message")
def test_a_resource_that_cannot_be_altered_leaves_its_neighbour_alone(
    client: RawClient, kind: int, name: str, values: dict[str, str | None], code: str
) -> None:
    other = (CLIENT_METRICS, "beside", {"interval.ms": "2000"})
    refused, good = alter(client, (kind, name, values), other)
    assert (errors.name_of(refused.error_code), good.error_code) == (code, 0)
    assert (refused.resource_type, refused.resource_name) == (kind, name)
    assert refused.error_message
    assert settings_of(client, CLIENT_METRICS, "beside")["interval.ms"].value == "2000"


@covers("AlterConfigs", "request.resources.configs.value=null", "INVALID_REQUEST")
def test_a_value_of_null_is_refused(client: RawClient) -> None:
    assert codes(alter(client, (TOPIC, "plain", {"retention.ms": None}))) == ["INVALID_REQUEST"]


@covers("AlterConfigs", "INVALID_REQUEST")
def test_loggers_and_resources_named_twice_are_refused(client: RawClient) -> None:
    assert codes(alter(client, (LOGGER, HERE, {"root": "DEBUG"}))) == ["INVALID_REQUEST"]
    twice = [(TOPIC, "plain", {"retention.ms": "1"}), (TOPIC, "plain", {})]
    assert codes(alter(client, *twice)) == ["INVALID_REQUEST", "INVALID_REQUEST"]


@covers("AlterConfigs", "KAFKA_STORAGE_ERROR")
def test_a_store_that_fails_is_said_for_every_resource(broker: barnabas.Broker, client: RawClient) -> None:
    with broken_store(broker):
        rows = alter(client, (TOPIC, "plain", {"retention.ms": "1"}), (GROUP, "g", {}))
    assert [(row.resource_type, row.resource_name) for row in rows] == [(TOPIC, "plain"), (GROUP, "g")]
    assert codes(rows) == ["KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"]
    assert settings_of(client, TOPIC, "plain", "retention.ms")["retention.ms"].config_source == BY_DEFAULT


# -- IncrementalAlterConfigs -----------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2))
@covers(
    "IncrementalAlterConfigs",
    "request.resources.resource_type",
    "request.resources.resource_name",
    "request.resources.configs.name",
    "request.resources.configs.config_operation",
    "request.resources.configs.config_operation=default",
    "request.resources.configs.value",
    "request.resources.configs.value=null",
    "response.responses.error_code=default",
    "response.responses.resource_type",
    "response.responses.resource_name",
    "response.throttle_time_ms=default",
)
def test_each_operation_changes_one_option(client: RawClient, version: int) -> None:
    name = f"stepped-{version}"
    client.create_topic(name, retention_ms="60000")

    def after(key: str, how: int, value: str | None) -> str:
        (row,) = step(client, (TOPIC, name, [(key, how, value)]), version=version)
        assert (row.error_code, row.error_message, row.resource_type, row.resource_name) == (
            0,
            None,
            TOPIC,
            name,
        )
        return str(settings_of(client, TOPIC, name, key)[key].value)

    assert after("max.message.bytes", SET, "3000") == "3000"
    assert after("cleanup.policy", APPEND, "compact") == "delete,compact"
    assert after("cleanup.policy", APPEND, "compact") == "delete,compact"
    assert after("cleanup.policy", SUBTRACT, "delete") == "compact"
    assert after("cleanup.policy", DELETE, None) == "delete"
    assert settings_of(client, TOPIC, name, "retention.ms")["retention.ms"].value == "60000"


@pytest.mark.parametrize(
    ("key", "given", "shown"),
    [
        ("cleanup.policy", "compact , delete,compact", "compact,delete"),
        ("leader.replication.throttled.replicas", "0:1, 0:1", "0:1,0:1"),
        ("retention.ms", " +7 ", "7"),
        ("preallocate", " FALSE ", "false"),
        ("min.cleanable.dirty.ratio", "1e-1f", "0.1"),
    ],
)
def test_values_are_shown_as_they_are_understood(client: RawClient, key: str, given: str, shown: str) -> None:
    """Apache Kafka 4.3 takes and shows them so."""
    client.create_topic(f"normal-{key}")
    assert codes(step(client, (TOPIC, f"normal-{key}", [(key, SET, given)]))) == ["NONE"]
    assert settings_of(client, TOPIC, f"normal-{key}", key)[key].value == shown
    client.create_topic(f"made-{key}", **{key.replace(".", "_"): given})
    assert settings_of(client, TOPIC, f"made-{key}", key)[key].value == shown


@covers("IncrementalAlterConfigs", "validate_only")
def test_steps_that_are_only_validated_do_not_act(client: RawClient) -> None:
    rows = step(
        client,
        (TOPIC, "plain", [("retention.ms", SET, "1")]),
        (LOGGER, HERE, [("root", SET, "DEBUG")]),
        (GROUP, "g", [("no.such.option", SET, "1")]),
        validate_only=True,
    )
    assert codes(rows) == ["NONE", "NONE", "INVALID_CONFIG"]
    assert settings_of(client, TOPIC, "plain", "retention.ms")["retention.ms"].config_source == BY_DEFAULT
    assert settings_of(client, LOGGER, HERE)["root"].value == "INFO"


def test_a_loggers_level_acts_at_once(client: RawClient) -> None:
    assert codes(step(client, (LOGGER, HERE, [("root", SET, "ERROR")]))) == ["NONE"]
    assert settings_of(client, LOGGER, HERE)["root"].value == "ERROR"
    assert codes(step(client, (LOGGER, HERE, [("root", SET, "INFO")]))) == ["NONE"]


REFUSED_STEPS: list[tuple[int, str, list[Step], str]] = [
    (TOPIC, "plain", [("retention.ms", SET, "soon")], "INVALID_CONFIG"),
    (TOPIC, "plain", [("no.such.option", SET, "1")], "INVALID_CONFIG"),
    (TOPIC, "plain", [("retention.ms", APPEND, "1")], "INVALID_CONFIG"),
    (GROUP, "g", [("consumer.session.timeout.ms", SET, "1")], "INVALID_CONFIG"),
    (LOGGER, HERE, [("no.such.logger", SET, "INFO")], "INVALID_CONFIG"),
    (GROUP, "g", [("streams.num.standby.replicas", SET, "9")], "INVALID_CONFIG"),
    (TOPIC, "in valid", [("retention.ms", APPEND, "1")], "INVALID_CONFIG"),
    (GROUP, "", [("share.auto.offset.reset", SUBTRACT, "latest")], "INVALID_CONFIG"),
    (LOGGER, HERE, [("root", SET, "LOUD")], "INVALID_CONFIG"),
    (LOGGER, HERE, [("root", DELETE, None)], "INVALID_REQUEST"),
    (LOGGER, HERE, [("root", APPEND, "INFO")], "INVALID_REQUEST"),
    (TOPIC, "plain", [("retention.ms", SET, None)], "INVALID_REQUEST"),
    (TOPIC, "plain", [("retention.ms", SET, "1"), ("retention.ms", SET, "2")], "INVALID_REQUEST"),
    (TOPIC, "plain", [("retention.ms", 9, "1")], "INVALID_REQUEST"),
    (BROKER, "9", [("num.io.threads", SET, "2")], "INVALID_REQUEST"),
    (BROKER, HERE, [("node.id", SET, "2")], "INVALID_REQUEST"),
    (CLIENT_METRICS, "", [("interval.ms", SET, "1000")], "INVALID_REQUEST"),
    (99, "x", [], "INVALID_REQUEST"),
    (TOPIC, "absent", [("retention.ms", SET, "1")], "UNKNOWN_TOPIC_OR_PARTITION"),
    (TOPIC, "in valid", [("retention.ms", SET, "1")], "INVALID_TOPIC_EXCEPTION"),
]


@pytest.mark.parametrize(
    ("kind", "name", "steps", "code"),
    [pytest.param(*row, marks=covers("IncrementalAlterConfigs", row[3])) for row in REFUSED_STEPS],
)
@covers("IncrementalAlterConfigs", "response.responses.error_code", "response.responses.error_message")
def test_steps_that_cannot_be_taken_leave_all_as_it_was(
    client: RawClient, kind: int, name: str, steps: list[Step], code: str
) -> None:
    refused, good = step(
        client, (kind, name, steps), (CLIENT_METRICS, "next", [("interval.ms", SET, "3000")])
    )
    assert (errors.name_of(refused.error_code), good.error_code) == (code, 0)
    assert (refused.resource_type, refused.resource_name) == (kind, name)
    assert refused.error_message
    assert settings_of(client, TOPIC, "plain", "retention.ms")["retention.ms"].config_source == BY_DEFAULT
    assert settings_of(client, LOGGER, HERE)["root"].value == "INFO"


def test_a_resource_named_twice_is_refused_twice(client: RawClient) -> None:
    steps: list[Step] = [("retention.ms", SET, "1")]
    rows = step(client, (TOPIC, "plain", steps), (TOPIC, "plain", steps))
    assert codes(rows) == ["INVALID_REQUEST", "INVALID_REQUEST"]


@covers("IncrementalAlterConfigs", "KAFKA_STORAGE_ERROR")
def test_a_store_that_fails_alters_nothing(broker: barnabas.Broker, client: RawClient) -> None:
    with broken_store(broker):
        rows = step(
            client,
            (TOPIC, "plain", [("retention.ms", SET, "1")]),
            (LOGGER, HERE, [("root", SET, "DEBUG")]),
        )
    assert codes(rows) == ["KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"]
    assert settings_of(client, TOPIC, "plain", "retention.ms")["retention.ms"].config_source == BY_DEFAULT
    assert settings_of(client, LOGGER, HERE)["root"].value == "INFO"
