"""`Cluster()`: brokers in processes on one folder, with clients that go to the leaders, and what a killed one costs."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from administering import TOPIC, settings_of
from confluent_kafka import Consumer, Producer
from rawclient import RawClient, batch_of

import barnabas
from barnabas import BrokerError, parent, running_workers, supervisor
from barnabas.adapters.files import OsFiles
from barnabas.partitions.owners import try_lock
from barnabas.wire.messages import incremental_alter_configs as alter
from barnabas.wire.messages import metadata

BROKERS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[barnabas.Cluster]:
    with barnabas.Cluster(brokers=BROKERS) as cluster:
        yield cluster


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def consumed(bootstrap: str, topic: str, count: int, group: str) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[bytes] = []
    try:
        for message in consumer.consume(count, timeout=30):
            assert message.error() is None, message.error()
            found.append(message.value() or b"")
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return found


def sent(bootstrap: str, topic: str, partitions: int, values: range) -> None:
    """Acknowledged, all of them."""
    failures: list[object] = []
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "reconnect.backoff.max.ms": 100}
    )
    for value in values:
        producer.produce(
            topic,
            str(value).encode(),
            partition=value % partitions,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    assert producer.flush(30) == 0 and not failures


def test_each_broker_leads_its_share_and_serves_a_new_topic_at_once(cluster: barnabas.Cluster) -> None:
    """T4: who asked one broker for a topic may go to any leader without being told that it is unknown there."""
    clients = {node: RawClient(broker.address) for node, broker in cluster.brokers.items()}
    asked = sorted(clients)
    for turn in range(9):
        name = f"fresh-{turn}"
        clients[asked[turn % BROKERS]].create_topic(name, 6)
        leaders = [cluster.leader(name, partition) for partition in range(6)]
        assert sorted(leaders) == sorted(asked * 2)
        for partition, leader in enumerate(leaders):
            answer = clients[leader].produce(name, batch_of([b"v"]), partition=partition)
            assert (answer.error_code, answer.base_offset) == (0, 0)
    for client in clients.values():
        client.close()


def test_all_brokers_say_the_same_of_the_cluster(cluster: barnabas.Cluster) -> None:
    cluster.create_topic("told", 6)
    told = set()
    for address in [cluster.bootstrap, *(broker.address for broker in cluster.brokers.values())]:
        with RawClient(address) as client:
            ask = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name="told")])
            answer = client.call(metadata, ask, 12)
        (topic,) = answer.topics
        told.add(
            (
                answer.controller_id,
                answer.cluster_id,
                tuple(sorted((each.node_id, f"{each.host}:{each.port}") for each in answer.brokers)),
                tuple(sorted((each.partition_index, each.leader_id) for each in topic.partitions)),
            )
        )
    ((controller, _, brokers, leaders),) = told
    assert controller == min(cluster.brokers)
    assert dict(brokers) == {node: broker.address for node, broker in cluster.brokers.items()}
    assert dict(leaders) == {partition: cluster.leader("told", partition) for partition in range(6)}


def test_records_of_all_partitions_and_groups_go_round(cluster: barnabas.Cluster) -> None:
    cluster.create_topic("round", 6)
    sent(cluster.bootstrap, "round", 6, range(600))
    for group in (f"g{number}" for number in range(4)):  # coordinators on several brokers
        values = consumed(cluster.bootstrap, "round", 600, group)
        assert sorted(map(int, values)) == list(range(600))


def test_a_killed_broker_is_back_and_nothing_that_was_answered_is_gone(cluster: barnabas.Cluster) -> None:
    cluster.create_topic("killed", 6)
    for turn, node in enumerate(list(cluster.brokers)):
        before = cluster.brokers
        sent(cluster.bootstrap, "killed", 6, range(200 * turn, 200 * turn + 100))
        cluster.kill(node)
        assert not lives(before[node].pid)
        sent(cluster.bootstrap, "killed", 6, range(200 * turn + 100, 200 * turn + 200))
        cluster.wait_until(lambda cluster: len(cluster.brokers) == BROKERS)
        assert cluster.brokers[node].pid != before[node].pid
        assert all(cluster.leader("killed", partition) in cluster.brokers for partition in range(6))
    values = consumed(cluster.bootstrap, "killed", 600, "after")
    assert sorted(map(int, values)) == list(range(600))


def test_an_option_that_was_altered_is_so_for_every_broker(cluster: barnabas.Cluster) -> None:
    """Who was told that durability is `sync` now may believe the next answer of any leader."""
    cluster.create_topic("altered", 1)
    with ExitStack() as held:
        clients = [held.enter_context(RawClient(each.address)) for each in cluster.brokers.values()]
        for turn in range(20):
            value = ("sync", "cache")[turn % 2]
            change = alter.AlterableConfig("barnabas.durability", 0, value)
            ask = alter.IncrementalAlterConfigsRequest(
                [alter.AlterConfigsResource(TOPIC, "altered", [change])]
            )
            asked = clients[turn % len(clients)]
            assert asked.call(alter, ask, 1).responses[0].error_code == 0
            shown = {settings_of(each, TOPIC, "altered")["barnabas.durability"].value for each in clients}
            assert shown == {value}


def test_a_folder_goes_from_a_cluster_to_a_broker_and_back(tmp_path: Path) -> None:
    with barnabas.Cluster(2, tmp_path, topics={"t": 4}) as cluster:
        sent(cluster.bootstrap, "t", 4, range(100))
        with pytest.raises(BrokerError, match="in use by another process"):
            barnabas.Broker(data=tmp_path).start()
        with pytest.raises(BrokerError, match="in use by another process"):
            barnabas.Cluster(2, tmp_path).start()
        pids = [broker.pid for broker in cluster.brokers.values()]
    assert not any(map(lives, pids))
    with barnabas.Broker(data=tmp_path) as broker:
        assert sorted(int(message.raw_value or b"") for message in broker.records("t")) == list(range(100))
        broker.produce("t", b"100", partition=3)
    with barnabas.Cluster(3, tmp_path, topics={"t": 4}) as cluster:
        assert {cluster.leader("t", partition) for partition in range(4)} == {1, 2, 3}
        values = consumed(cluster.bootstrap, "t", 101, "g")
        assert sorted(map(int, values)) == list(range(101))


def test_a_cluster_without_data_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with barnabas.Cluster(1) as cluster:
        (broker,) = cluster.brokers.values()
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir()) and not lives(broker.pid)
    with pytest.raises(BrokerError, match="does not run"):
        _ = cluster.bootstrap


def test_ctrl_c_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    source = str(Path(barnabas.__file__).parents[1])
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": source}
    code = "import barnabas\nwith barnabas.Cluster(2): pass"
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE) as process:
        children: list[str] = []
        while not children:
            assert process.poll() is None
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                with suppress(OSError):  # a thread that has ended
                    children += (task / "children").read_text().split()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in told and process.returncode != 0
    assert not any(lives(int(pid)) for pid in children)
    assert not list(tmp_path.iterdir())


def test_a_worker_of_an_earlier_run_is_waited_for_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "EARLIER_MS", 200)
    with barnabas.Broker(data=tmp_path) as broker:
        broker.produce("t", b"x")
    release = try_lock(OsFiles(), str(tmp_path), 7)
    assert release is not None
    with pytest.raises(BrokerError, match=r"Worker 7 of an earlier run still has .*stop it"):
        barnabas.Cluster(1, tmp_path).start()
    release()
    with barnabas.Cluster(1, tmp_path) as cluster:
        assert consumed(cluster.bootstrap, "t", 1, "g") == [b"x"]


def test_what_it_cannot_start_with_is_said_with_the_remedy(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"{port}.*choose another port"):
            barnabas.Cluster(2, port=port).start()
        own = {"barnabas.workers.port": port}
        with pytest.raises(BrokerError, match=rf"{port}.*barnabas\.workers\.port"):
            barnabas.Cluster(1, config=own).start()
    with pytest.raises(BrokerError, match=r"num\.partitions: it takes at least 1"):
        barnabas.Cluster(2, config={"num.partitions": 0}).start()
    with pytest.raises(BrokerError, match=r"barnabas\.workers: it takes at least 1"):
        barnabas.Cluster(0).start()
    with pytest.raises(BrokerError, match=r"barnabas\.Cluster\(brokers=3\)"):
        barnabas.Broker(config={"barnabas.workers": 2}).start()
    with pytest.raises(BrokerError, match="characters other than"):
        barnabas.Cluster(1, tmp_path, topics={"no spaces": 1}).start()
    with barnabas.Broker(data=tmp_path):
        pass  # the folder is free again
    assert set(threading.enumerate()) <= before


def test_what_is_not_there_is_said(cluster: barnabas.Cluster) -> None:
    cluster.create_topic("one", 1)
    with pytest.raises(BrokerError, match="no partition 1 of one"):
        cluster.leader("one", 1)
    with pytest.raises(BrokerError, match="no partition 0 of none"):
        cluster.leader("none", 0)
    with pytest.raises(BrokerError, match="no broker 9: there are 1, 2, 3"):
        cluster.kill(9)
    with pytest.raises(BrokerError, match="There is a topic 'one' already"):
        cluster.create_topic("one", 1)
    with pytest.raises(TimeoutError, match="these brokers serve"):
        cluster.wait_until(lambda cluster: len(cluster.brokers) > BROKERS, timeout=0.02)
    with pytest.raises(BrokerError, match="runs already"):
        cluster.start()


def test_an_async_program_keeps_its_loop() -> None:
    async def program() -> None:
        async with barnabas.Cluster(2, topics={"t": 2}) as cluster:
            await cluster.create_topic("u", 2)
            leaders = {await cluster.leader("u", partition) for partition in range(2)}
            assert leaders == set(cluster.brokers) == {1, 2}
            before = cluster.brokers[1].pid
            await cluster.kill(1)
            await cluster.wait_until(lambda cluster: 1 in cluster.brokers)
            assert cluster.brokers[1].pid != before and cluster.bootstrap

    asyncio.run(program())


def test_a_worker_whose_parent_ended_before_it_had_its_lock_touches_nothing(tmp_path: Path) -> None:
    with barnabas.Cluster(1, tmp_path):
        pass
    before = (tmp_path / "barnabas.db").read_bytes()
    options = {"node.id": "1", "listeners": "PLAINTEXT://127.0.0.1:0", "barnabas.metrics.port": "-1"}
    setup = {"root": str(tmp_path), "options": options, "defaults": {}, "log": None, "peers": []}
    worker = subprocess.run(
        [sys.executable, "-m", "barnabas.worker"],
        check=False,
        input=json.dumps(setup) + "\n",
        env=running_workers.child_environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert json.loads(worker.stdout)["event"] == "refused" and worker.returncode == 1
    assert (tmp_path / "barnabas.db").read_bytes() == before


@pytest.mark.parametrize("all_whole", [True, False])
def test_a_stop_is_clean_only_if_all_that_was_buried_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_whole: bool
) -> None:
    """Its heir may not have come to a damaged log before the stop."""
    bury = parent.bury
    monkeypatch.setattr(parent, "bury", lambda *args: bury(*args) and all_whole)
    config = {"barnabas.workers.restart.ms": 0}
    with barnabas.Cluster(2, tmp_path, topics={"t": 2}, config=config) as cluster:
        dead = cluster.leader("t", 0)
        cluster.kill(dead)
        cluster.wait_until(lambda cluster: cluster.leader("t", 0) != dead)
    assert (tmp_path / ".kafka_cleanshutdown").exists() == all_whole


def test_brokers_that_never_come_back_end_the_cluster_and_their_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ENDS_MAX", 3)
    monkeypatch.setattr(supervisor, "HOPELESS_MS", 0)
    monkeypatch.setattr(supervisor, "ALONE_MS", (10,))
    with barnabas.Cluster(2, tmp_path) as cluster:
        brokers = cluster.brokers
        (tmp_path / "owners").rename(tmp_path / "lost")
        for broker in brokers.values():
            os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(BrokerError, match=r"no worker comes up.*There is no folder .*owners/1"):
            cluster.wait_until(lambda cluster: cluster.brokers == {})
            cluster.wait_until(lambda cluster: len(cluster.brokers) == 2)
        with pytest.raises(BrokerError, match="no worker comes up"):
            cluster.create_topic("t")
    with barnabas.Cluster(2, tmp_path) as cluster:
        assert len(cluster.brokers) == 2
