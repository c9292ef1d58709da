"""CreateTopics (19), v2-7. Makes topics, or says whether it could. Rules: cluster/changes.py. Answered when the new partitions serve.

Behaviour  timeout_ms: server/topics.py, T3; validate_only has no shorter way.
Versions   v5: configs, partition count and factor in the answer. v7: topic id.
"""

from barnabas import errors
from barnabas.cluster.changes import TopicResult
from barnabas.config.effective import described, topic_value
from barnabas.config.tables import TOPIC, options
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import create_topics as message
from barnabas.wire.messages.create_topics import (
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)


def handle(broker: Broker, ask: CreateTopicsRequest, version: int, caller: Caller) -> Parked:
    parked = Parked()

    def told(results: list[TopicResult]) -> None:
        parked.complete(
            CreateTopicsResponse(topics=[describe(broker, each, ask.validate_only) for each in results])
        )

    broker.topics.create(ask.topics, ask.validate_only, told, ask.timeout_ms)
    return parked


def describe(broker: Broker, result: TopicResult, validate_only: bool) -> CreatableTopicResult:
    answer = CreatableTopicResult(
        name=result.name or "", error_code=result.code, error_message=result.message, configs=None
    )
    topic = result.topic
    if topic is None:
        answer.num_partitions, answer.replication_factor, answer.configs = -1, -1, []
        return answer
    if not validate_only:
        answer.topic_id = topic.topic_id
    answer.num_partitions = len(topic.partitions)
    answer.replication_factor = len(topic.partitions[0].replicas)
    answer.configs = []
    for name, option in options(TOPIC).items():
        if option.internal and name not in topic.overrides:
            continue
        value, source = topic_value(name, topic.overrides, broker.options)
        answer.configs.append(
            CreatableTopicConfigs(
                name=name,
                value=described(option, value),
                read_only=False,
                config_source=source,
                is_sensitive=option.is_sensitive,
            )
        )
    return answer


API = Api(
    19,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.INVALID_TOPIC_EXCEPTION,
        errors.TOPIC_ALREADY_EXISTS,
        errors.INVALID_CONFIG,
        errors.INVALID_PARTITIONS,
        errors.INVALID_REPLICATION_FACTOR,
        errors.INVALID_REPLICA_ASSIGNMENT,
        errors.POLICY_VIOLATION,
        errors.REQUEST_TIMED_OUT,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
