"""Topics and their options. Each function is one request to the controller, tried again where the code allows it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from barnabas import errors
from barnabas.client.cluster import TRIES_MAX, Cluster, Patience, Refused, Unreachable

TIMEOUT_MS: Final = 30_000
TOPIC_RESOURCE: Final = 2
SET: Final = 0
DELETE: Final = 1


def settled(cluster: Cluster, what: str, attempt: Callable[[], Any], done_code: int = errors.NONE) -> Any:
    """The first result whose error_code is none; tried again while the code is one that passes, and while a broker of a
    cluster that has answered does not. Raises Refused and Unreachable.

    done_code: what a broker says to a change that is done already. It is no error behind a try whose answer did not come.
    """
    patience = Patience(cluster)
    unsure = False
    for tries_left in reversed(range(TRIES_MAX)):
        try:
            result = attempt()
        except Unreachable as error:
            if not tries_left:
                raise
            patience.take(error)
            unsure = unsure or error.sent
            continue
        code = result.error_code
        if code == errors.NONE or (unsure and code == done_code):
            return result
        if code not in errors.RETRIABLE or code == errors.UNKNOWN_TOPIC_OR_PARTITION or not tries_left:
            raise Refused(code, what, getattr(result, "error_message", None))
        cluster.pause()
    raise AssertionError("the last try returns or raises")


def create_topic(
    cluster: Cluster,
    name: str,
    partitions: int,
    replication_factor: int,
    configs: Mapping[str, str],
    *,
    validate_only: bool = False,
) -> None:
    """partitions and replication_factor: -1 takes the broker's default."""
    from barnabas.wire.messages import create_topics as api

    topic = api.CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        configs=[api.CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
    )
    ask = api.CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS, validate_only=validate_only)
    settled(
        cluster,
        f"topic {name}",
        lambda: cluster.ask(19, ask, cluster.controller()).topics[0],
        errors.TOPIC_ALREADY_EXISTS,
    )


def delete_topic(cluster: Cluster, name: str) -> None:
    from barnabas.wire.messages.delete_topics import DeleteTopicsRequest

    ask = DeleteTopicsRequest(topic_names=[name], timeout_ms=TIMEOUT_MS)
    settled(
        cluster,
        f"topic {name}",
        lambda: cluster.ask(20, ask, cluster.controller()).responses[0],
        errors.UNKNOWN_TOPIC_OR_PARTITION,
    )
    cluster.stale(name)


def add_partitions(cluster: Cluster, name: str, total: int, *, validate_only: bool = False) -> None:
    """total: how many partitions the topic then has."""
    from barnabas.wire.messages import create_partitions as api

    row = api.CreatePartitionsTopic(name=name, count=total, assignments=None)
    ask = api.CreatePartitionsRequest(topics=[row], timeout_ms=TIMEOUT_MS, validate_only=validate_only)
    settled(
        cluster,
        f"topic {name}",
        lambda: cluster.ask(37, ask, cluster.controller()).results[0],
        errors.INVALID_PARTITIONS,
    )
    cluster.stale(name)


def trim(cluster: Cluster, topic: str, partition: int, offset: int) -> int:
    """Delete the records before an offset (-1: all); returns the offset at which the partition now begins."""
    from barnabas.wire.messages import delete_records as api

    row = api.DeleteRecordsPartition(partition_index=partition, offset=offset)
    ask = api.DeleteRecordsRequest(
        topics=[api.DeleteRecordsTopic(name=topic, partitions=[row])], timeout_ms=TIMEOUT_MS
    )
    result = settled(
        cluster,
        f"{topic}[{partition}]",
        lambda: cluster.ask(21, ask, cluster.leader(topic, partition)).topics[0].partitions[0],
    )
    return int(result.low_watermark)


def topic_configs(cluster: Cluster, name: str) -> list[Any]:
    """DescribeConfigsResourceResult rows of a topic: name, value, config_source."""
    from barnabas.wire.messages import describe_configs as api

    row = api.DescribeConfigsResource(
        resource_type=TOPIC_RESOURCE, resource_name=name, configuration_keys=None
    )
    ask = api.DescribeConfigsRequest(resources=[row])
    result = settled(cluster, f"topic {name}", lambda: cluster.ask(32, ask).results[0])
    return sorted(result.configs, key=lambda config: str(config.name))


def alter_topic(
    cluster: Cluster, name: str, changes: Mapping[str, str | None], *, validate_only: bool = False
) -> None:
    """changes: option → new value, or None to take it away."""
    from barnabas.wire.messages import incremental_alter_configs as api

    configs = [
        api.AlterableConfig(name=key, config_operation=DELETE if value is None else SET, value=value)
        for key, value in changes.items()
    ]
    row = api.AlterConfigsResource(resource_type=TOPIC_RESOURCE, resource_name=name, configs=configs)
    ask = api.IncrementalAlterConfigsRequest(resources=[row], validate_only=validate_only)
    settled(cluster, f"topic {name}", lambda: cluster.ask(44, ask, cluster.controller()).responses[0])
