"""The scripts of recoding.py get the same answers, and find the same batches kept, from us and from Apache Kafka."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rawclient import RawClient
from recoding import SCRIPTS

import barnabas
from barnabas import errors
from kafka_node import is_there, kafka_node

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(not is_there(), reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
]


ASKED_MAX = 100
NOT_YET = (errors.NOT_LEADER_OR_FOLLOWER, errors.UNKNOWN_TOPIC_OR_PARTITION)


class PatientClient(RawClient):
    """For Kafka alone: for a moment after it made a topic it does not know it yet, or does not lead it. Ours must at once."""

    def produce(self, *given: Any, **named: Any) -> Any:
        answer = super().produce(*given, **named)
        for _ in range(ASKED_MAX):
            if answer.error_code not in NOT_YET:
                break
            time.sleep(0.05)
            answer = super().produce(*given, **named)
        return answer


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kafka_node(tmp_path_factory.mktemp("kafka"), {}) as (host, port):
        yield f"{host}:{port}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_kafka_tells_and_keeps_the_same(
    script: Callable[[RawClient, str], Iterator[tuple[str, object]]], broker: barnabas.Broker, kafka: str
) -> None:
    found = []
    for address, kind in ((broker.bootstrap, RawClient), (kafka, PatientClient)):
        with kind(address) as client:
            found.append(list(script(client, "same")))
    ours, theirs = found
    for one, other in zip(ours, theirs, strict=True):
        assert one == other
