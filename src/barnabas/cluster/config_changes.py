"""AlterConfigs and IncrementalAlterConfigs, decided: which overrides a resource has afterwards, or why not.

Pure, like changes.py. Resources of one request stand for themselves; each is all or nothing. Order of precedence, as
observed on Apache Kafka 4.3: a resource named twice, a null value, a key named twice, a resource type or node that is not
there, the operations, the resource's name, the values, and last whether the topic exists. Codes are Kafka's too: a broker's or logger's fault is
INVALID_REQUEST where a topic's or group's is INVALID_CONFIG. Sentences are ours, and always there.

Differences from Kafka, on purpose: an unknown broker option is refused (Kafka keeps it for plug-ins, which we have not),
and an unknown operation is INVALID_REQUEST (Kafka: UNKNOWN_SERVER_ERROR).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from barnabas import errors
from barnabas.cluster.changes import Fault, topic_name_fault
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import CLUSTER_DEFAULT, Fact, Image, OverridesSet, Scope, Topic, TopicSet
from barnabas.config.effective import BrokerOptions, broker_fault, normalised, overrides_fault, topic_value
from barnabas.config.option import Option, split_list
from barnabas.config.tables import BROKER, CLIENT_METRICS, GROUP, TOPIC, options
from barnabas.wire.messages.alter_configs import AlterConfigsResource as FullResource
from barnabas.wire.messages.incremental_alter_configs import AlterableConfig
from barnabas.wire.messages.incremental_alter_configs import AlterConfigsResource as StepsResource

TOPIC_RESOURCE: Final = 2
BROKER_RESOURCE: Final = 4
LOGGER_RESOURCE: Final = 8
CLIENT_METRICS_RESOURCE: Final = 16
GROUP_RESOURCE: Final = 32

SET: Final = 0
DELETE: Final = 1
APPEND: Final = 2
SUBTRACT: Final = 3

INTERVAL_MS_MIN: Final = 100
INTERVAL_MS_MAX: Final = 3_600_000
MATCH_KEYS: Final = frozenset(
    {
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    }
)
ROOT_LOGGER: Final = "root"
LEVELS: Final = frozenset({"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"})

SCOPE_OF: Final[Mapping[int, Scope]] = {
    BROKER_RESOURCE: "broker",
    CLIENT_METRICS_RESOURCE: "client-metrics",
    GROUP_RESOURCE: "group",
}
TABLE_OF: Final[Mapping[int, str]] = {
    TOPIC_RESOURCE: TOPIC,
    BROKER_RESOURCE: BROKER,
    CLIENT_METRICS_RESOURCE: CLIENT_METRICS,
    GROUP_RESOURCE: GROUP,
}
Resource = FullResource | StepsResource


@dataclass(slots=True)
class ConfigResult:
    """What became of one resource. levels: loggers to set now (None: back to the root's), as they live in RAM only."""

    resource_type: int
    resource_name: str
    code: int = errors.NONE
    message: str | None = None
    levels: Mapping[str, str | None] | None = None


@dataclass(slots=True)
class Node:
    """Who decides: brokers and loggers of others are not altered here."""

    node_id: int
    options: BrokerOptions
    loggers: frozenset[str] = frozenset({ROOT_LOGGER})


def alter_configs(
    image: Image, asks: Sequence[FullResource], node: Node, validate_only: bool = False
) -> Decision[list[ConfigResult]]:
    """The overrides given replace all that were. Loggers are not altered this way, as in Kafka."""
    results: list[ConfigResult] = []
    facts: list[Fact] = []
    twice = named_twice(asks)
    for ask in asks:
        fault = twice.get((ask.resource_type, ask.resource_name)) or keys_fault(ask)
        if fault is None and ask.resource_type == LOGGER_RESOURCE:
            fault = errors.INVALID_REQUEST, "Loggers are altered by IncrementalAlterConfigs only"
        if fault is None:
            fault = kind_fault(ask, node) or name_fault(ask)
        if fault is None:
            overrides = {config.name: config.value or "" for config in ask.configs}
            fault = settle(image, ask, overrides, node, facts)
        results.append(result_of(ask, fault))
    return Decision(results, [] if validate_only else facts)


def incremental_alter_configs(
    image: Image, asks: Sequence[StepsResource], node: Node, validate_only: bool = False
) -> Decision[list[ConfigResult]]:
    """Each operation changes one override; what is not named stays (KIP-339)."""
    results: list[ConfigResult] = []
    facts: list[Fact] = []
    twice = named_twice(asks)
    for ask in asks:
        fault = (
            twice.get((ask.resource_type, ask.resource_name))
            or keys_fault(ask)
            or kind_fault(ask, node)
            or steps_fault(ask)
            or name_fault(ask)
        )
        if fault is None and ask.resource_type == LOGGER_RESOURCE:
            fault = levels_fault(ask.configs, node)
            levels = {
                config.name: config.value if config.config_operation == SET else None
                for config in ask.configs
            }
            results.append(result_of(ask, fault, None if fault or validate_only else levels))
            continue
        if fault is None:
            fault = settle(image, ask, after_steps(image, ask, node), node, facts)
        results.append(result_of(ask, fault))
    return Decision(results, [] if validate_only else facts)


def result_of(
    ask: Resource, fault: Fault | None, levels: Mapping[str, str | None] | None = None
) -> ConfigResult:
    code, message = fault if fault is not None else (errors.NONE, None)
    return ConfigResult(ask.resource_type, ask.resource_name, code, message, levels)


# -- the request as it stands ----------------------------------------------------------------------


def named_twice(asks: Sequence[Resource]) -> dict[tuple[int, str], Fault]:
    counts = Counter((ask.resource_type, ask.resource_name) for ask in asks)
    fault = (errors.INVALID_REQUEST, "The resource is named twice in one request")
    return {resource: fault for resource, count in counts.items() if count > 1}


def keys_fault(ask: Resource) -> Fault | None:
    for config in ask.configs:
        deletes = isinstance(config, AlterableConfig) and config.config_operation == DELETE
        if config.value is None and not deletes:
            return errors.INVALID_REQUEST, f"The value of {config.name} is null"
    for name, count in Counter(config.name for config in ask.configs).items():
        if count > 1:
            return errors.INVALID_REQUEST, f"{name} is named twice"
    return None


def kind_fault(ask: Resource, node: Node) -> Fault | None:
    """Is this a kind of resource that may have overrides, and of this node?"""
    kind, name = ask.resource_type, ask.resource_name
    if kind not in TABLE_OF and kind != LOGGER_RESOURCE:
        return errors.INVALID_REQUEST, f"There is no resource type {kind}"
    if kind == LOGGER_RESOURCE or (kind == BROKER_RESOURCE and name != CLUSTER_DEFAULT):
        return node_fault(name, node)
    return None


def name_fault(ask: Resource) -> Fault | None:
    kind, name = ask.resource_type, ask.resource_name
    if kind in (BROKER_RESOURCE, LOGGER_RESOURCE):
        return None
    if not name:
        return errors.INVALID_REQUEST, "Only brokers have overrides for all of them: give the resource a name"
    text = topic_name_fault(name) if kind == TOPIC_RESOURCE else None
    return None if text is None else (errors.INVALID_TOPIC_EXCEPTION, text)


def node_fault(name: str, node: Node) -> Fault | None:
    try:
        node_id = int(name)
    except ValueError:
        return errors.INVALID_REQUEST, f"A node id is a whole number, not '{name}'"
    if node_id != node.node_id:
        return errors.INVALID_REQUEST, f"This is node {node.node_id}, the request is for node {node_id}"
    return None


# -- operations ------------------------------------------------------------------------------------


def overrides_of(image: Image, resource_type: int, name: str) -> Mapping[str, str]:
    if resource_type == TOPIC_RESOURCE:
        topic = image.topics.get(name)
        return {} if topic is None else topic.overrides
    return image.overrides.get((SCOPE_OF[resource_type], resource_key(resource_type, name)), {})


def resource_key(resource_type: int, name: str) -> str:
    """'01' is node 1, too."""
    return str(int(name)) if resource_type == BROKER_RESOURCE and name != CLUSTER_DEFAULT else name


def steps_fault(ask: StepsResource) -> Fault | None:
    """Operations that do not exist, or not for this option. Loggers have rules of their own."""
    if ask.resource_type == LOGGER_RESOURCE:
        return None
    known = options(TABLE_OF[ask.resource_type])
    for config in ask.configs:
        if config.config_operation not in (SET, DELETE, APPEND, SUBTRACT):
            return errors.INVALID_REQUEST, f"There is no operation {config.config_operation}"
        if config.config_operation in (APPEND, SUBTRACT) and not is_list(
            ask.resource_type, known.get(config.name)
        ):
            return errors.INVALID_CONFIG, f"{config.name} is not a list: nothing is appended or subtracted"
    return None


def after_steps(image: Image, ask: StepsResource, node: Node) -> dict[str, str]:
    """The overrides once every operation is done."""
    overrides = dict(overrides_of(image, ask.resource_type, ask.resource_name))
    for config in ask.configs:
        value = config.value or ""
        if config.config_operation == SET:
            overrides[config.name] = value
        elif config.config_operation == DELETE:
            overrides.pop(config.name, None)
        else:
            items = split_list(current_list(ask.resource_type, config.name, overrides, node))
            overrides[config.name] = ",".join(stepped_list(items, split_list(value), config.config_operation))
    return overrides


def is_list(resource_type: int, option: Option | None) -> bool:
    """Kafka takes no client-metrics option for a list here, though two are."""
    return option is not None and option.kind == "list" and resource_type != CLIENT_METRICS_RESOURCE


def current_list(resource_type: int, name: str, overrides: Mapping[str, str], node: Node) -> str:
    """What is appended to: the override, or what holds without one."""
    if name in overrides:
        return overrides[name]
    if resource_type == TOPIC_RESOURCE:
        return topic_value(name, overrides, node.options)[0] or ""
    return node.options.get_str(name) if resource_type == BROKER_RESOURCE else ""


def stepped_list(items: list[str], given: list[str], operation: int) -> list[str]:
    """Appending what is there and subtracting what is not change nothing."""
    if operation == SUBTRACT:
        return [item for item in items if item not in given]
    return items + [item for item in dict.fromkeys(given) if item not in items]


# -- values ----------------------------------------------------------------------------------------


def settle(
    image: Image, ask: Resource, overrides: dict[str, str], node: Node, facts: list[Fact]
) -> Fault | None:
    """Check the overrides the resource shall have; note the fact when they differ from those it has."""
    resource_type, name = ask.resource_type, ask.resource_name
    overrides = normalised(TABLE_OF[resource_type], overrides)
    fault = values_fault(resource_type, name, overrides, node)
    if fault is not None:
        return fault
    topic = image.topics.get(name)
    if resource_type == TOPIC_RESOURCE and topic is None:
        return errors.UNKNOWN_TOPIC_OR_PARTITION, f"There is no topic '{name}'"
    if overrides_of(image, resource_type, name) == overrides:
        return None
    if resource_type == TOPIC_RESOURCE:
        assert topic is not None, "refused above"
        facts.append(TopicSet(Topic(topic.name, topic.topic_id, topic.partitions, overrides)))
    else:
        facts.append(OverridesSet(SCOPE_OF[resource_type], resource_key(resource_type, name), overrides))
    return None


def values_fault(resource_type: int, name: str, overrides: Mapping[str, str], node: Node) -> Fault | None:
    if resource_type == BROKER_RESOURCE:
        for key, value in overrides.items():
            text = broker_fault(key, value, name != CLUSTER_DEFAULT)
            if text is not None:
                return errors.INVALID_REQUEST, text
        return None
    if resource_type == CLIENT_METRICS_RESOURCE:
        return client_metrics_fault(overrides)
    text = overrides_fault(TABLE_OF[resource_type], overrides)
    if text is None and resource_type == GROUP_RESOURCE:
        text = group_bounds_fault(overrides, node.options)
    return None if text is None else (errors.INVALID_CONFIG, text)


def group_bounds_fault(overrides: Mapping[str, str], broker: BrokerOptions) -> str | None:
    """The broker's group.<kind>.min.… and max.… options bound what a group may have."""
    known = options(BROKER)
    for name, value in overrides.items():
        kind, _, rest = name.partition(".")
        rest = rest.removeprefix("num.")  # group.streams.max.standby.replicas
        low, high = f"group.{kind}.min.{rest}", f"group.{kind}.max.{rest}"
        if low in known and int(value) < broker.get_int(low):
            return f"{name} must be at least {low}, which is {broker.get_int(low)}"
        if high in known and int(value) > broker.get_int(high):
            return f"{name} must be at most {high}, which is {broker.get_int(high)}"
    return None


def client_metrics_fault(overrides: Mapping[str, str]) -> Fault | None:
    """Rules of KIP-714: known keys, an interval of 100 ms to an hour, patterns of known client attributes."""
    for key in overrides:
        if key not in options(CLIENT_METRICS):
            return errors.INVALID_REQUEST, f"Unknown client-metrics config name: {key}"
    text = overrides_fault(CLIENT_METRICS, overrides)
    if text is not None:
        return errors.INVALID_CONFIG, text
    interval = overrides.get("interval.ms")
    if interval is not None and not INTERVAL_MS_MIN <= int(interval) <= INTERVAL_MS_MAX:
        return (
            errors.INVALID_REQUEST,
            f"interval.ms must be between {INTERVAL_MS_MIN} and {INTERVAL_MS_MAX}, not {interval}",
        )
    for pattern in split_list(overrides.get("match", "")):
        if not is_match(pattern):
            return errors.INVALID_CONFIG, f"'{pattern}' is not <client attribute>=<regular expression>"
    return None


def is_match(pattern: str) -> bool:
    parts = [part.strip() for part in pattern.split("=")]
    if len(parts) != 2 or parts[0] not in MATCH_KEYS:
        return False
    try:
        re.compile(parts[1])
    except re.error:
        return False
    return True


def levels_fault(configs: Sequence[AlterableConfig], node: Node) -> Fault | None:
    for config in configs:
        if config.config_operation not in (SET, DELETE):
            return (
                errors.INVALID_REQUEST,
                "A logger's level is set or deleted, not appended to or subtracted from",
            )
        if config.config_operation == DELETE and config.name == ROOT_LOGGER:
            return errors.INVALID_REQUEST, "The root logger keeps a level"
        if config.name not in node.loggers:
            return errors.INVALID_CONFIG, f"There is no logger '{config.name}'"
        if config.config_operation == SET and config.value not in LEVELS:
            return errors.INVALID_CONFIG, f"'{config.value}' is none of {', '.join(sorted(LEVELS))}"
    return None
