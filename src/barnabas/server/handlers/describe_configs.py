"""DescribeConfigs (32), v1-4. Options of topics, brokers, groups, client metrics and loggers, with where each comes from.

Behaviour  null or no keys: all options of the resource. A broker's resource name is its id, or "" for what is set for all
           brokers. Secrets are null. A resource type that does not exist refuses the whole request.
Versions   v1: synonyms. v3: type and documentation (our own sentence). v4: flexible.
"""

from collections.abc import Mapping
from typing import Final

from barnabas import errors
from barnabas.cluster.changes import topic_name_fault
from barnabas.config import tables
from barnabas.config.effective import (
    SOURCE_CLIENT_METRICS,
    SOURCE_DEFAULT,
    SOURCE_DYNAMIC_DEFAULT,
    SOURCE_GROUP,
    Synonym,
    broker_synonyms,
    described,
    group_default,
    topic_synonyms,
    topic_value,
)
from barnabas.config.option import Option
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.server.stepwise import Steps
from barnabas.wire.messages import describe_configs as message
from barnabas.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

TOPIC: Final = 2
BROKER: Final = 4
BROKER_LOGGER: Final = 8
CLIENT_METRICS: Final = 16
GROUP: Final = 32
RESOURCE_TYPES: Final = frozenset({TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP})
SOURCE_LOGGER: Final = 6
ROOT_LOGGER: Final = "root"


def handle(broker: Broker, ask: DescribeConfigsRequest, version: int, caller: Caller) -> Steps:
    response = DescribeConfigsResponse()
    for resource in ask.resources:
        if resource.resource_type not in RESOURCE_TYPES:
            return (yield from refuse_all(ask, f"There is no resource type {resource.resource_type}"))
    known: dict[tuple[int, str, tuple[str, ...]], DescribeConfigsResult] = {}
    for resource in ask.resources:
        key = resource.resource_type, resource.resource_name, tuple(resource.configuration_keys or ())
        if key not in known:
            known[key] = describe(broker, resource, ask)
        response.results.append(known[key])
        yield None
    return response


def refuse_all(ask: DescribeConfigsRequest, text: str) -> Steps:
    response = DescribeConfigsResponse()
    for resource in ask.resources:
        response.results.append(refuse(result_for(resource), errors.INVALID_REQUEST, text))
        yield None
    return response


def describe(
    broker: Broker, resource: DescribeConfigsResource, ask: DescribeConfigsRequest
) -> DescribeConfigsResult:
    result = result_for(resource)
    kind, name = resource.resource_type, resource.resource_name
    if kind == TOPIC:
        return describe_topic(broker, resource, result, ask)
    if kind == BROKER:
        return describe_broker(broker, resource, result, ask)
    if kind == BROKER_LOGGER:
        fault = own_id_fault(broker, name)
        if fault:
            return refuse(result, errors.INVALID_REQUEST, fault)
        keys = resource.configuration_keys
        result.configs = [logger_entry(broker.log_level)] if not keys or ROOT_LOGGER in keys else []
        return result
    if not name:
        return refuse(result, errors.INVALID_REQUEST, "The resource needs a name.")
    describe_overrides(broker, resource, result, ask)
    return result


def result_for(resource: DescribeConfigsResource) -> DescribeConfigsResult:
    return DescribeConfigsResult(resource_type=resource.resource_type, resource_name=resource.resource_name)


def refuse(result: DescribeConfigsResult, code: int, text: str | None) -> DescribeConfigsResult:
    result.error_code, result.error_message = code, text
    return result


def describe_topic(
    broker: Broker,
    resource: DescribeConfigsResource,
    result: DescribeConfigsResult,
    ask: DescribeConfigsRequest,
) -> DescribeConfigsResult:
    name = resource.resource_name
    topic = broker.image.topics.get(name)
    if topic is None:
        fault = topic_name_fault(name)
        if fault is not None:
            return refuse(result, errors.INVALID_TOPIC_EXCEPTION, fault)
        return refuse(result, errors.UNKNOWN_TOPIC_OR_PARTITION, f"There is no topic '{name}'")
    for option in wanted(tables.TOPIC, resource, topic.overrides):
        value, _ = topic_value(option.name, topic.overrides, broker.options)
        synonyms = topic_synonyms(option.name, topic.overrides, broker.options)
        # As in Kafka, hours that stand in for milliseconds are no synonym here, and their value counts as a default.
        source = synonyms[0][2] if synonyms else SOURCE_DEFAULT
        result.configs.append(entry(option, value, source, synonyms, ask))
    return result


def own_id_fault(broker: Broker, name: str) -> str:
    if not name.isdigit():
        return f"A broker's resource name is its id, not {name!r}."
    return "" if int(name) == broker.node_id else f"Ask broker {name} itself, this one is {broker.node_id}."


def describe_broker(
    broker: Broker,
    resource: DescribeConfigsResource,
    result: DescribeConfigsResult,
    ask: DescribeConfigsRequest,
) -> DescribeConfigsResult:
    options = broker.options
    if not resource.resource_name:
        for option in wanted(tables.BROKER, resource, {}):
            if option.name in options.dynamic_default:
                text = options.dynamic_default[option.name]
                synonyms: list[Synonym] = [(option.name, text, SOURCE_DYNAMIC_DEFAULT)]
                result.configs.append(entry(option, text, SOURCE_DYNAMIC_DEFAULT, synonyms, ask))
        return result
    fault = own_id_fault(broker, resource.resource_name)
    if fault:
        return refuse(result, errors.INVALID_REQUEST, fault)
    for option in wanted(tables.BROKER, resource, options.static):
        synonyms = broker_synonyms(option.name, options)
        value, source = synonyms[0][1:] if synonyms else (None, SOURCE_DEFAULT)
        result.configs.append(entry(option, value, source, synonyms, ask, option.dynamic == "read-only"))
    return result


def describe_overrides(
    broker: Broker,
    resource: DescribeConfigsResource,
    result: DescribeConfigsResult,
    ask: DescribeConfigsRequest,
) -> None:
    group = resource.resource_type == GROUP
    scope = tables.GROUP if group else tables.CLIENT_METRICS
    image = broker.image
    overrides = (
        image.group_overrides(resource.resource_name)
        if group
        else image.client_metrics_overrides(resource.resource_name)
    )
    for option in wanted(scope, resource, overrides):
        synonyms: list[Synonym] = []
        if option.name in overrides:
            source = SOURCE_GROUP if group else SOURCE_CLIENT_METRICS
            synonyms.append((option.name, overrides[option.name], source))
        if group:
            synonyms += group_default(option.name, broker.options)
        value, source = synonyms[0][1:] if synonyms else (option.default, SOURCE_DEFAULT)
        result.configs.append(entry(option, value, source, synonyms, ask))


def wanted(scope: str, resource: DescribeConfigsResource, set_here: Mapping[str, str]) -> list[Option]:
    """The options asked for; internal ones only where somebody set them."""
    known = tables.options(scope)
    keys = dict.fromkeys(resource.configuration_keys or known)
    options = [known[key] for key in keys if key in known]
    return [option for option in options if not option.internal or option.name in set_here]


def entry(
    option: Option,
    value: str | None,
    source: int,
    synonyms: list[Synonym],
    ask: DescribeConfigsRequest,
    read_only: bool = False,
) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(
        name=option.name,
        value=described(option, value),
        read_only=read_only,
        config_source=source,
        is_sensitive=option.is_sensitive,
        synonyms=[
            DescribeConfigsSynonym(name=name, value=described(option, text), source=where)
            for name, text, where in synonyms
        ]
        if ask.include_synonyms
        else [],
        config_type=option.type_code,
        documentation=option.why if ask.include_documentation else None,
    )


def logger_entry(level: str) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(name=ROOT_LOGGER, value=level, config_source=SOURCE_LOGGER)


API = Api(
    32,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.INVALID_TOPIC_EXCEPTION,
    ),
)
