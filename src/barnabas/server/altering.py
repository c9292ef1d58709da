"""What AlterConfigs and IncrementalAlterConfigs share: decide, wait until it is durable and acts on every broker, answer.

With workers, whoever set barnabas.durability=sync and was answered may take the next answer of any leader for synced. A
broker that hangs, or does not come back in SETTLE_MS, is not waited for any longer: Kafka's controller waits for none. One
that has died is back, or buried, within a second or three. One that hangs cannot be left out sooner, whoever knows of it: it may
go on at any moment and answer as before what it had read, until its parent has killed it.

Levels of loggers live in RAM: they are back at their start value after a restart, as in Kafka.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from barnabas import errors
from barnabas.cluster.config_changes import ConfigResult, Node
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import Image
from barnabas.partitions.waits import Parked
from barnabas.ports import WorldError
from barnabas.server.broker import Broker

SETTLE_MS: Final = 5_000
CODES: Final = (
    errors.INVALID_REQUEST,
    errors.INVALID_CONFIG,
    errors.UNKNOWN_TOPIC_OR_PARTITION,
    errors.INVALID_TOPIC_EXCEPTION,
    errors.KAFKA_STORAGE_ERROR,
)
"""What a resource may be answered."""
Decide = Callable[[Image, Any, Node, bool], Decision[list[ConfigResult]]]


def alter(
    broker: Broker, ask: Any, decide: Decide, answer: Callable[[Sequence[ConfigResult]], object]
) -> Parked:
    """answer(results) builds the response of the API that asks; a store that fails gives every resource its code."""
    parked = Parked()
    node = Node(broker.node_id, broker.options)

    def told(results: Sequence[ConfigResult] | None, error: WorldError | None) -> None:
        if results is None:
            text = error.what if error is not None else None
            results = [
                ConfigResult(each.resource_type, each.resource_name, errors.KAFKA_STORAGE_ERROR, text)
                for each in ask.resources
            ]
        elif not ask.validate_only:
            broker.use_levels(results)
        response = answer(results)
        is_changed = not ask.validate_only and any(result.code == 0 for result in results)
        if not is_changed or broker.topics.when_all_settled(SETTLE_MS, lambda: parked.complete(response)):
            parked.complete(response)

    broker.cluster.submit(lambda image: decide(image, ask.resources, node, ask.validate_only), told)
    return parked
