"""What tests of the administrative APIs ask again and again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rawclient import RawClient

import barnabas
from barnabas import errors
from barnabas.ports import Compare, MetaStore, WorldError
from barnabas.wire.messages import create_topics, describe_configs, metadata

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
NOT_ASKED = -(1 << 31)
"""Authorized operations, of whoever did not ask for them."""


def topic_of(client: RawClient, name: str) -> Any:
    """The topic as Metadata shows it; asking does not make it."""
    ask = metadata.MetadataRequest(
        topics=[metadata.MetadataRequestTopic(name=name)], allow_auto_topic_creation=False
    )
    return client.call(metadata, ask, 12).topics[0]


def exists(client: RawClient, name: str) -> bool:
    return topic_of(client, name).error_code != errors.UNKNOWN_TOPIC_OR_PARTITION


def new_topic(
    name: str, partitions: int = 1, replicas: int = 1, **given: Any
) -> create_topics.CreatableTopic:
    return create_topics.CreatableTopic(
        name=name, num_partitions=partitions, replication_factor=replicas, **given
    )


def settings_of(
    client: RawClient, kind: int, name: str, *keys: str, version: int = 4, synonyms: bool = False
) -> dict[str, Any]:
    """Options of one resource as DescribeConfigs lists them; no keys: all."""
    ask = describe_configs.DescribeConfigsRequest(
        resources=[
            describe_configs.DescribeConfigsResource(
                resource_type=kind, resource_name=name, configuration_keys=list(keys) or None
            )
        ],
        include_synonyms=synonyms,
    )
    (result,) = client.call(describe_configs, ask, version).results
    assert result.error_code == 0, result
    return {row.name: row for row in result.configs}


class BrokenStore:
    """A metadata store whose transactions fail, as on a disk that refuses writes."""

    def __init__(self, store: MetaStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
        durable: bool = True,
    ) -> None:
        self._store.range("", lambda found, error: done(False, WorldError("the disk refuses")))


@contextmanager
def broken_store(broker: barnabas.Broker) -> Iterator[None]:
    """Changes of the metadata fail inside the block."""
    cluster = broker._node.cluster
    sound = cluster._meta
    cluster._meta = BrokenStore(sound)  # type: ignore[assignment]
    try:
        yield
    finally:
        cluster._meta = sound
