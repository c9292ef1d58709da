"""A broker on disk for the tests of a module, and a topic of its own for each test."""

from collections.abc import Iterator

import pytest

import barnabas


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[barnabas.Broker]:
    with barnabas.Broker(data=tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture
def topic(broker: barnabas.Broker, request: pytest.FixtureRequest) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    broker.create_topic(name, 4)
    return name
