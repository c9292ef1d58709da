"""One broker in memory for all tests of a module, and a connection that must notice nothing of what they do."""

from collections.abc import Iterator

import pytest
from rawclient import RawClient

import barnabas
from barnabas.wire.messages import metadata


@pytest.fixture(scope="module")
def broker() -> Iterator[barnabas.Broker]:
    with barnabas.Broker(topics={"plain": 2}) as running:
        yield running


@pytest.fixture
def client(broker: barnabas.Broker) -> Iterator[RawClient]:
    with RawClient(broker.bootstrap) as connected:
        yield connected


@pytest.fixture(autouse=True)
def sentinel(broker: barnabas.Broker) -> Iterator[RawClient]:
    """Opened before the test and asked after it."""
    with RawClient(broker.bootstrap) as connected:
        yield connected
        answer = connected.call(metadata, metadata.MetadataRequest(topics=[]), 12)
        assert answer.brokers, "the sentinel's connection has suffered"
