"""The scripts of recoding.py get the same answers, and find the same batches kept, from us and from Apache Kafka."""

from collections.abc import Callable, Iterator

import pytest
from rawclient import RawClient
from recoding import SCRIPTS

import barnabas
from kafka_node import is_there, kafka_node

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(not is_there(), reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kafka_node(tmp_path_factory.mktemp("kafka"), {}) as (host, port):
        yield f"{host}:{port}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_kafka_tells_and_keeps_the_same(
    script: Callable[[RawClient, str], Iterator[tuple[str, object]]], broker: barnabas.Broker, kafka: str
) -> None:
    found = []
    for address in (broker.bootstrap, kafka):
        with RawClient(address) as client:
            found.append(list(script(client, "same")))
    ours, theirs = found
    for one, other in zip(ours, theirs, strict=True):
        assert one == other
