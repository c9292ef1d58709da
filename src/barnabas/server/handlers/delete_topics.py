"""DeleteTopics (20), v1-6. Removes topics with their records. Rules: cluster/changes.py. Answered when the metadata is durable; folders go later.

Behaviour  timeout_ms: server/topics.py, T3. Where delete.topic.enable says no, that is the answer, however short the time.
Versions   v5: error message. v6: topics by name or id.
"""

from barnabas import errors
from barnabas.cluster import changes
from barnabas.cluster.changes import TopicResult
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import delete_topics as message
from barnabas.wire.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)


def handle(broker: Broker, ask: DeleteTopicsRequest, version: int, caller: Caller) -> Parked:
    asks = ask.topics if version >= 6 else [DeleteTopicState(name=name) for name in ask.topic_names]
    parked = Parked()

    def told(results: list[TopicResult]) -> None:
        parked.complete(
            DeleteTopicsResponse(
                responses=[
                    DeletableTopicResult(
                        name=each.name,
                        topic_id=each.topic_id,
                        error_code=each.code,
                        error_message=each.message,
                    )
                    for each in results
                ]
            )
        )

    rules = broker.topics.rules()
    broker.topics.submit(
        lambda image: changes.delete_topics(image, asks, rules, version),
        [(each.name, each.topic_id) for each in asks],
        told,
        ask.timeout_ms if rules.delete_enabled else None,
    )
    return parked


API = Api(
    20,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.UNKNOWN_TOPIC_ID,
        errors.TOPIC_DELETION_DISABLED,
        errors.REQUEST_TIMED_OUT,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
