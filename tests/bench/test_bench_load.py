"""The load generators, in C and in Python: what they send arrives as often as it was asked for, and an error is told."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bench.drive import drive
from bench.load import Limits, Load, LoadFailed

import barnabas
from barnabas.wire.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from bench import native, requests

TOPIC = "loaded"
PARTITIONS = 4


@dataclass
class Broker:
    """In this process."""

    port: int
    embedded: barnabas.Broker

    @property
    def pids(self) -> tuple[int, ...]:
        return (os.getpid(),)

    def records(self) -> int:
        return len(self.embedded.records(TOPIC))


@pytest.fixture
def broker() -> Iterator[Broker]:
    with barnabas.Broker(topics={TOPIC: PARTITIONS}) as embedded:
        yield Broker(int(embedded.bootstrap.rpartition(":")[2]), embedded)


@pytest.fixture(params=["c", "python"], autouse=True)
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "c" and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    monkeypatch.setenv("BENCH_GENERATOR", request.param)
    assert (native.generator() is None) == (request.param == "python")
    return request.param


def now_ms() -> int:
    return int(time.time() * 1000)


def produced(partition: int = 0) -> bytes:
    return requests.produce_request(TOPIC, partition, 200, now_ms())


def test_as_many_requests_as_were_asked_for_and_those_of_the_warm_part_are_not_counted(
    broker: Broker,
) -> None:
    load = Load([produced(number) for number in range(PARTITIONS)], 3, requests.produce_codes(TOPIC))
    taken = drive(broker, load, Limits(requests=200), Limits(requests=40))
    assert (taken.requests, taken.errors, broker.records()) == (200, 0, 240)
    assert taken.answer_bytes % 200 == 0 and 0 < taken.p50_us <= taken.p99_us <= taken.p999_us
    assert taken.p999_us <= taken.longest_us * 1.02, "a bucket is as wide as a 64th of what it holds"
    assert taken.broker_us > 0 and taken.client_us > 0


def test_at_a_rate_and_by_several_threads_too(broker: Broker) -> None:
    load = Load([produced()] * 4, 2, requests.produce_codes(TOPIC), rate=2000.0, threads=2)
    assert drive(broker, load, Limits(requests=100)).requests == 100
    assert broker.records() == 100


def test_what_is_sent_once_is_sent_in_order_and_once(broker: Broker) -> None:
    content = b"".join(
        requests.produce_request(
            TOPIC, 0, 200, now_ms(), producer_id=7, producer_epoch=0, base_sequence=number
        )
        for number in range(50)
    )
    load = Load([content], 5, requests.produce_codes(TOPIC), once=True)
    taken = drive(broker, load, Limits(), Limits(requests=10))
    assert (taken.requests, broker.records()) == (40, 50)


@pytest.mark.parametrize("partitions", [1, 3])
def test_an_error_of_any_partition_fails_the_load(broker: Broker, partitions: int) -> None:
    asked = [*range(partitions - 1), 99]
    content = requests.encode(requests.PRODUCE, requests.produce_message(TOPIC, asked, 200, now_ms()))
    load = Load([content], 1, requests.produce_codes(TOPIC, partitions))
    with pytest.raises(LoadFailed, match="5 of 5 answers are errors, the first code 3 "):
        drive(broker, load, Limits(requests=5))


def test_errors_of_fetches_and_commits_are_found_where_they_are(broker: Broker) -> None:
    fetch = Load([requests.fetch_request(TOPIC, 0, 1000, offset=12)], 1, requests.fetch_codes(TOPIC))
    with pytest.raises(LoadFailed, match=r"first code 1 "):
        drive(broker, fetch, Limits(requests=1))
    # Nobody has asked for a coordinator, so there is none yet.
    commit = Load([requests.commit_request("group", TOPIC, 0)], 1, requests.commit_codes(TOPIC))
    with pytest.raises(LoadFailed, match=r"first code 16 "):
        drive(broker, commit, Limits(requests=1))


def test_a_long_answer_is_one_answer(broker: Broker) -> None:
    value = b"v" * 300_000
    for _ in range(2):
        broker.embedded.produce(TOPIC, value, partition=0)
    load = Load([requests.fetch_request(TOPIC, 0, 1 << 20)], 1, requests.fetch_codes(TOPIC))
    taken = drive(broker, load, Limits(requests=3))
    assert taken.requests == 3 and taken.answer_bytes > 3 * 2 * len(value)


def test_a_connection_goes_to_its_own_port(broker: Broker) -> None:
    with barnabas.Broker(topics={TOPIC: PARTITIONS}) as second:
        other = int(second.bootstrap.rpartition(":")[2])
        ports = [broker.port, other, other, broker.port]
        contents = [produced(number) for number in range(PARTITIONS)]
        load = Load(contents, 1, requests.produce_codes(TOPIC), ports=ports)
        taken = drive(broker, load, Limits(requests=100))
        assert taken.requests == 100
        spread = [
            sum(1 for one in second.records(TOPIC) if one.partition == number) for number in (0, 1, 2, 3)
        ]
        assert spread[0] == spread[3] == 0 and spread[1] > 0 and spread[2] > 0
        assert broker.records() + sum(spread) == 100


def test_a_part_ends_when_its_end_is_told_and_all_answers_count(broker: Broker) -> None:
    load = Load([produced()], 2, requests.produce_codes(TOPIC))
    taken = drive(broker, load, Limits(seconds=60, until=lambda: broker.records() >= 20))
    assert taken.requests == broker.records() >= 20


def test_the_port_of_each_partition_is_that_of_its_leader() -> None:
    parts = [
        MetadataResponsePartition(0, number, leader) for number, leader in ((2, 8), (0, 7), (1, 8), (3, 9))
    ]
    answer = MetadataResponse(
        brokers=[MetadataResponseBroker(7, "127.0.0.1", 1001), MetadataResponseBroker(8, "127.0.0.1", 1002)],
        topics=[MetadataResponseTopic(0, "spread", partitions=parts)],
    )
    assert requests.ports_of_leaders(answer) == {"spread": [1001, 1002, 1002, 0]}
