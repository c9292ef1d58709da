"""DescribeConfigs (32), v1-4. Options of topics, brokers, groups, client metrics and loggers, with where each comes from.

Behaviour  null or no keys: all options of the resource. A broker's resource name is its id, or "" for what is set for all
           brokers. Secrets are null.
Versions   v1: synonyms. v3: type and documentation (our own sentence). v4: flexible.
"""

from collections.abc import Mapping
from typing import Final

from barnabas import errors
from barnabas.config import tables
from barnabas.config.effective import (
    SOURCE_CLIENT_METRICS,
    SOURCE_DEFAULT,
    SOURCE_DYNAMIC_DEFAULT,
    SOURCE_GROUP,
    Synonym,
    described,
    topic_synonyms,
    topic_value,
)
from barnabas.config.option import Option
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
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
SOURCE_LOGGER: Final = 6
ROOT_LOGGER: Final = "root"
STRING_TYPE: Final = 2


def handle(
    broker: Broker, ask: DescribeConfigsRequest, version: int, caller: Caller
) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(results=[describe(broker, resource, ask) for resource in ask.resources])


def describe(
    broker: Broker, resource: DescribeConfigsResource, ask: DescribeConfigsRequest
) -> DescribeConfigsResult:
    result = DescribeConfigsResult(resource_type=resource.resource_type, resource_name=resource.resource_name)
    name = resource.resource_name
    if resource.resource_type == TOPIC:
        topic = broker.image.topics.get(name)
        if topic is None:
            from barnabas.server.handlers.metadata import missing_code

            return refuse(result, missing_code(name), None)
        for option in wanted(tables.TOPIC, resource, topic.overrides):
            value, source = topic_value(option.name, topic.overrides, broker.options)
            synonyms = topic_synonyms(option.name, topic.overrides, broker.options)
            result.configs.append(entry(option, value, source, synonyms, ask))
    elif resource.resource_type == BROKER:
        return describe_broker(broker, resource, result, ask)
    elif resource.resource_type == BROKER_LOGGER:
        fault = own_id_fault(broker, name)
        if fault:
            return refuse(result, errors.INVALID_REQUEST, fault)
        result.configs = [logger_entry(broker.log_level)]
    elif resource.resource_type in (GROUP, CLIENT_METRICS):
        if not name:
            return refuse(result, errors.INVALID_REQUEST, "The resource needs a name.")
        describe_overrides(broker, resource, result, ask)
    else:
        return refuse(result, errors.INVALID_REQUEST, f"Unknown resource type {resource.resource_type}.")
    return result


def refuse(result: DescribeConfigsResult, code: int, text: str | None) -> DescribeConfigsResult:
    result.error_code, result.error_message = code, text
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
        synonyms = options.synonyms(option.name)
        _, value, source = synonyms[0]
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
        elif not group and not overrides:
            continue  # a subscription that nobody made has nothing to show
        synonyms.append((option.name, option.default, SOURCE_DEFAULT))
        _, value, source = synonyms[0]
        result.configs.append(entry(option, value, source, synonyms, ask))


def wanted(scope: str, resource: DescribeConfigsResource, set_here: Mapping[str, str]) -> list[Option]:
    """The options asked for; internal ones only where somebody set them."""
    known = tables.options(scope)
    if resource.configuration_keys:
        return [known[key] for key in resource.configuration_keys if key in known]
    return [option for option in known.values() if not option.internal or option.name in set_here]


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
    return DescribeConfigsResourceResult(
        name=ROOT_LOGGER, value=level, read_only=False, config_source=SOURCE_LOGGER, config_type=STRING_TYPE
    )


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
