"""The option tables by scope: Kafka's facts joined with what we do with each."""

from functools import cache
from typing import Final

from barnabas.config import uses
from barnabas.config.option import INERT, Option

BROKER: Final = "broker"
TOPIC: Final = "topic"
GROUP: Final = "group"
CLIENT_METRICS: Final = "client-metrics"
NOT_USED: Final = (INERT, "Known and accepted; nothing here depends on it.")


@cache
def options(scope: str) -> dict[str, Option]:
    """All options of a scope by name. Built on first use."""
    if scope == BROKER:
        from barnabas.config.broker_facts import ROWS as broker_rows

        topic_defaults = {name: topic for topic, names in uses.SYNONYMS.items() for name, _ in names}
        return {
            row[0]: Option(*row, *_broker_use(row[0], topic_defaults))
            for row in (*broker_rows, *uses.OWN_BROKER)
        }
    if scope == TOPIC:
        from barnabas.config.topic_facts import ROWS as topic_rows

        return {
            row[0]: Option(*row, *uses.TOPIC.get(row[0], NOT_USED)) for row in (*topic_rows, *uses.OWN_TOPIC)
        }
    if scope == GROUP:
        from barnabas.config.group_facts import ROWS as group_rows

        return {row[0]: Option(*row, *NOT_USED) for row in group_rows}
    from barnabas.config.client_metrics_facts import ROWS as metrics_rows

    return {row[0]: Option(*row, *NOT_USED) for row in metrics_rows}


def _broker_use(name: str, topic_defaults: dict[str, str]) -> tuple[str, str]:
    own = uses.BROKER.get(name) or uses.OWN_USES.get(name)
    if own is not None:
        return own
    topic = topic_defaults.get(name)
    if topic is not None and topic in uses.TOPIC:
        return "config/effective.py", f"Default of the topic option {topic}."
    return NOT_USED
