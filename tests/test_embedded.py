"""`Broker()`: in memory and on disk, with and without clients, and what it says when it cannot."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import kafka
import pytest

import barnabas
from barnabas import BrokerError
from barnabas.adapters.network import SocketNetwork


def test_records_come_back_as_they_went_in() -> None:
    with barnabas.Broker() as broker:
        assert broker.produce("clicks", {"page": "/"}, key="u1", headers=[("h", b"1")]) == 0
        assert broker.produce("clicks", b"\xff\xfe") == 1
        first, second = broker.records("clicks")
        assert (first.key, first.value, first.headers) == ("u1", {"page": "/"}, {"h": b"1"})
        assert second.value == b"\xff\xfe" and second.offset == 1
        assert broker.records("nothing") == []


def test_a_key_goes_where_clients_put_it() -> None:
    with barnabas.Broker(topics={"t": 5}) as broker:
        producer = kafka.KafkaProducer(bootstrap_servers=broker.bootstrap)
        theirs = {}
        for key in [f"k{number}" for number in range(20)]:
            broker.produce("t", "ours", key=key)
            theirs[key] = producer.send("t", b"theirs", key=key.encode()).get(10).partition
        ours = {found.key: found.partition for found in broker.records("t") if found.value == "ours"}
        assert ours == theirs and len(set(ours.values())) > 1
        assert broker.produce("t", "no key") == len(broker.records("t", 0)) - 1
        producer.close()


def test_wait_for_finds_what_comes_later_and_says_what_did_not() -> None:
    with barnabas.Broker(topics={"t": 2}) as broker:
        broker.produce("t", "other", partition=1)
        broker.produce("t", {"id": 7})
        assert broker.wait_for("t", lambda message: message.value == {"id": 7}).partition == 0
        with pytest.raises(TimeoutError, match=r"\d seen"):
            broker.wait_for("t", lambda message: message.value == "never", timeout=0.05)


def test_a_broker_on_disk_keeps_its_records_and_its_cluster_id(tmp_path: Path) -> None:
    ids = []
    for offset in range(3):
        with barnabas.Broker(data=tmp_path) as broker:
            assert broker.produce("t", f"run {offset}") == offset
            ids.append(broker._node.cluster.image.cluster_id)
    assert len(set(ids)) == 1 and len(ids[0]) == 22
    with barnabas.Broker(data=tmp_path) as broker:
        assert [message.value for message in broker.records("t")] == ["run 0", "run 1", "run 2"]


def test_topics_of_a_folder_are_made_once_and_a_bad_one_leaves_nothing_running(tmp_path: Path) -> None:
    for offset in range(2):
        with barnabas.Broker(data=tmp_path, topics={"t": 2}) as broker:
            assert broker.produce("t", "x", partition=1) == offset
    broken = barnabas.Broker(data=tmp_path, topics={"no spaces": 1})
    with pytest.raises(BrokerError, match="characters other than"):
        broken.start()
    with barnabas.Broker(data=tmp_path) as broker:
        assert len(broker.records("t")) == 2, "the folder is free again"


@pytest.mark.patches
def test_a_start_that_meets_a_bug_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(self: object, *rest: object, **named: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(SocketNetwork, "listen", listen)
    with pytest.raises(BrokerError, match="a bug"):
        barnabas.Broker().start()


def test_a_folder_in_use_and_a_taken_port_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with barnabas.Broker(data=tmp_path) as broker:
        with pytest.raises(BrokerError, match="in use by another process"):
            barnabas.Broker(data=tmp_path).start()
        port = int(broker.bootstrap.rpartition(":")[2])
        with pytest.raises(BrokerError, match=f"{port}.*choose another port"):
            barnabas.Broker(port=port).start()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"port": 99_999}, "port 99999 of PLAINTEXT is not between"),
        ({"config": {"listeners": "garbage"}}, "listeners: 'garbage' is not NAME://host:port"),
        ({"config": {"advertised.listeners": "garbage"}}, "advertised.listeners: 'garbage' is not"),
        ({"data": "no\0folder"}, "null byte"),
        (
            {"config": {"node.id": "one"}},
            r"config: Invalid value 'one' for node\.id: it takes a whole number",
        ),
        ({"config": {"num.partitions": 0}}, r"Invalid value '0' for num\.partitions: it takes at least 1"),
        (
            {"config": {"log.retention.ms": "soon", "num.partitions": "x"}},
            r"log\.retention\.ms(.|\n)*num\.part",
        ),
        ({"config": {"auto.create.topics.enable": "si"}}, r"auto\.create\.topics\.enable: it takes true or"),
        ({"config": {"listeners": "SSL://127.0.0.1:0"}}, "does not serve. Use PLAINTEXT"),
        (
            {"config": {"offsets.topic.segment.bytes": 1000}},
            r"offsets\.topic\.segment\.bytes.* at least 1048576",
        ),
    ],
)
def test_a_start_that_cannot_succeed_says_so(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokerError, match=reason):
        barnabas.Broker(**settings).start()


def test_an_option_that_nobody_knows_is_told_and_does_no_harm() -> None:
    with pytest.warns(UserWarning, match=r"log\.retentoin\.ms; did you mean log\.retention\.ms\?") as told:
        broker = barnabas.Broker(config={"log.retentoin.ms": 1}).start()
    broker.stop()
    assert told[0].filename == __file__


def test_it_can_be_started_anew_and_used_asynchronously() -> None:
    async def run() -> None:
        async with barnabas.Broker(topics={"t": 2}) as broker:
            assert await broker.produce("t", {"id": 1}, key="k", partition=1, timestamp=5) == 0
            later = asyncio.create_task(broker.wait_for("t", lambda found: found.value == "y", timeout=30))
            await broker.produce("t", "y")
            assert (await later).partition == 0, "the loop was free to produce it"
            (found,) = await broker.records("t", 1)
            assert (found.key, found.value, found.timestamp) == ("k", {"id": 1}, 5)
            await broker.create_topic("u", 3, {"retention.ms": 1000})
            assert broker.bootstrap.startswith("127.0.0.1:")
            with pytest.raises(BrokerError, match="no partition 3"):
                await broker.produce("u", "x", partition=3)

    asyncio.run(run())
    broker = barnabas.Broker()
    for _ in range(2):
        with broker:
            assert broker.records("t") == [], "memory begins empty"
    with pytest.raises(BrokerError, match="does not run"):
        broker.produce("t", "x")


def test_a_stop_ends_the_calls_that_wait() -> None:
    broker = barnabas.Broker().start()
    asked = threading.Event()
    refusals: list[str] = []

    def ask() -> None:
        with pytest.raises(BrokerError) as caught:
            broker._call(lambda done: asked.set())
        refusals.append(str(caught.value))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asked.wait()
    broker.stop()
    asking.join()
    assert refusals == ["the broker was stopped"]


def test_what_is_too_deep_to_parse_is_text() -> None:
    text = "[" * 100_000
    with barnabas.Broker() as broker:
        broker.produce("t", text)
        assert broker.records("t")[0].value == text


def test_bad_topics_are_refused_as_kafka_does() -> None:
    with barnabas.Broker() as broker:
        with pytest.raises(BrokerError, match="characters other than"):
            broker.create_topic("no spaces")
        with pytest.raises(BrokerError, match=r"retention\.ms"):
            broker.create_topic("t", config={"retention.ms": "soon"})


def test_above_the_memory_cap_the_oldest_segments_go() -> None:
    with barnabas.Broker(config={"barnabas.memory.max.bytes": 4 * 1024 * 1024}) as broker:
        broker.create_topic("t", config={"segment.bytes": 1024 * 1024})
        for _ in range(64):
            broker.produce("t", b"x" * 100_000)
        partition = broker._node.partitions.by_name("t")[0]  # type: ignore[index]
        broker._call(lambda done: done(broker._node.upkeep._keep_within(4 * 1024 * 1024)))
        assert partition.log.size_bytes <= 4 * 1024 * 1024
        assert partition.log_start_offset > 0
        assert broker.records("t")[0].offset == partition.log_start_offset
