"""A whole node on virtual time: what it acknowledged is there after any crash, and a planted fault is found."""

import errno
from collections.abc import Mapping
from typing import Any

import pytest

from barnabas import errors
from barnabas.ports import Connection, WorldError
from barnabas.records.record import Record, batches, build_batch, records_of
from barnabas.testing.disk import Kind, VirtualFile
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from barnabas.wire.frame import FrameReader, request_head, response_body_at
from barnabas.wire.messages import create_topics, fetch, produce
from barnabas.wire.primitives import Records

STATIC = {"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1"}
SMALL_SEGMENTS = {**STATIC, "log.segment.bytes": "1024"}
PRODUCE_VERSION, FETCH_VERSION, CREATE_VERSION = 9, 12, 5


class Client:
    """Sends requests on one stream and keeps the replies by their correlation id."""

    def __init__(self, time: VirtualTime, wire: Wire) -> None:
        self.time = time
        self.replies: dict[int, Any] = {}
        self.ended = False
        self._frames = FrameReader(1 << 24)
        self._asked: dict[int, tuple[Any, int]] = {}
        self._connection: Connection | None = None
        PipeNetwork(wire, VirtualLoop(time)).connect("127.0.0.1", 9092, self._connected)
        time.run_until(lambda: self._connection is not None)

    def _connected(self, connection: Connection | None, error: WorldError | None) -> "Client":
        assert connection is not None, error
        self._connection = connection
        return self

    def received(self, content: memoryview) -> None:
        for frame in self._frames.feed(content):
            correlation = int.from_bytes(frame[:4], "big")
            module, version = self._asked.pop(correlation)
            body_at = response_body_at(module.API_KEY, version, frame)
            self.replies[correlation] = module.decode_response(frame, body_at, version)

    def closed(self, reason: str) -> None:
        self.ended = True

    def send(self, module: Any, version: int, request: Any) -> int:
        assert self._connection is not None
        correlation = len(self._asked) + len(self.replies) + 1
        self._asked[correlation] = (module, version)
        body = module.encode_request(request, version)
        self._connection.send([request_head(module.API_KEY, version, correlation, "sim", len(body)), body])
        return correlation

    def ask(self, module: Any, version: int, request: Any) -> Any:
        correlation = self.send(module, version, request)
        self.time.run_until(lambda: correlation in self.replies)
        return self.replies[correlation]


def create_topic(client: Client) -> None:
    topic = create_topics.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
    reply = client.ask(create_topics, CREATE_VERSION, create_topics.CreateTopicsRequest(topics=[topic]))
    assert reply.topics[0].error_code == errors.NONE


def serving(seed: int, static: Mapping[str, str] = STATIC) -> tuple[VirtualMachine, Client]:
    """A machine that has the topic, and a client of its."""
    time = VirtualTime(seed)
    machine = VirtualMachine(time, Wire(time), static)
    machine.boot()
    client = Client(time, machine.wire)
    create_topic(client)
    return machine, client


def send_value(client: Client, value: bytes) -> int:
    batch = build_batch([Record(None, value, timestamp=client.time.wall_ms())])
    partition = produce.PartitionProduceData(index=0, records=Records(batch))
    topic = produce.TopicProduceData(name="t", partition_data=[partition])
    request = produce.ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])
    return client.send(produce, PRODUCE_VERSION, request)


def stored(client: Client) -> dict[int, bytes]:
    """offset → value of all that can be fetched."""
    found: dict[int, bytes] = {}
    offset = 0
    while True:
        partition = fetch.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1 << 20)
        topic = fetch.FetchTopic(topic="t", partitions=[partition])
        request = fetch.FetchRequest(max_wait_ms=0, min_bytes=0, topics=[topic], max_bytes=1 << 20)
        answer = client.ask(fetch, FETCH_VERSION, request).responses[0].partitions[0]
        assert answer.error_code == errors.NONE
        content = answer.records.to_bytes() if answer.records is not None else b""
        for header, at in batches(content):
            for record in records_of(content, header, at):
                found[record.offset] = record.value or b""
        if offset == max(found, default=-1) + 1:
            return found
        offset = max(found) + 1


def acknowledged(client: Client, sent: dict[int, bytes]) -> dict[int, bytes]:
    """offset → value of all that the node said was kept."""
    kept = {}
    for correlation, value in sent.items():
        if correlation in client.replies:
            answer = client.replies[correlation].responses[0].partition_responses[0]
            if answer.error_code == errors.NONE:
                kept[answer.base_offset] = value
    return kept


def history(
    seed: int, rounds: int = 3, kills: float = 0.0, static: Mapping[str, str] = STATIC
) -> tuple[dict[int, bytes], dict[int, bytes], int]:
    """Batches, a crash (or a kill) at any moment, a restart, again; returns the acknowledged, the stored, how many sent."""
    machine, _ = serving(seed, static)
    time = machine.time
    kept: dict[int, bytes] = {}
    count = 0
    for _ in range(rounds):
        client = Client(machine.time, machine.wire)
        sent: dict[int, bytes] = {}
        for _ in range(time.random.randint(1, 12)):
            count += 1
            value = b"%d" % count
            sent[send_value(client, value)] = value
            time.run_for(time.random.randint(0, 6))
        if time.random.random() < kills:
            machine.kill()
        else:
            machine.crash()
        kept.update(acknowledged(client, sent))
        time.run_for(100)
        assert client.ended
        machine.boot()
    found = stored(Client(machine.time, machine.wire))
    assert machine.stop()
    return kept, found, count


def lost(kept: dict[int, bytes], found: dict[int, bytes]) -> dict[int, bytes]:
    return {offset: value for offset, value in kept.items() if found.get(offset) != value}


@pytest.mark.parametrize("seed", range(25))
def test_what_was_acknowledged_is_there_after_every_crash(seed: int) -> None:
    kept, found, _ = history(seed)
    assert lost(kept, found) == {}, f"seed {seed}: acknowledged records were lost or moved"
    assert sorted(found) == list(range(len(found))), f"seed {seed}: offsets have holes"
    values = [value for _, value in sorted(found.items())]
    assert len(values) == len(set(values)), f"seed {seed}: a record is there twice"
    assert [int(value) for value in values] == sorted(map(int, values)), f"seed {seed}: the order changed"


def test_the_histories_are_worth_looking_at() -> None:
    outcomes = [history(seed) for seed in range(10)]
    assert any(kept for kept, _, _ in outcomes)
    assert any(len(found) < count for _, found, count in outcomes), "some crash took something"
    assert any(len(kept) < len(found) for kept, found, _ in outcomes), "some record outlived its lost answer"


def test_one_seed_one_history() -> None:
    assert history(11) == history(11)


def test_a_sync_that_lies_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: the checker must be able to turn red."""
    monkeypatch.setattr(VirtualFile, "sync", lambda file: None)
    assert any(lost(kept, found) for kept, found, _ in map(history, range(20)))


def test_a_failed_sync_is_answered_by_an_error_and_loses_nothing() -> None:
    machine, client = serving(5)
    sent: dict[int, bytes] = {}
    for at in range(12):
        if at == 4:
            machine.disk.fail("sync", errno.EIO, path=".log")
        sent[send_value(client, b"%d" % at)] = b"%d" % at
        machine.time.run_for(50)
    machine.time.run_for(5_000)
    codes = {
        client.replies[at].responses[0].partition_responses[0].error_code
        for at in sent
        if at in client.replies
    }
    assert errors.KAFKA_STORAGE_ERROR in codes
    kept = acknowledged(client, sent)
    assert len(kept) >= 4
    machine.crash()
    machine.boot()
    assert lost(kept, stored(Client(machine.time, machine.wire))) == {}


@pytest.mark.parametrize("seed", [*range(30), 65])
def test_kills_and_power_failures_over_many_segments(seed: int) -> None:
    """A kill leaves bytes that only the page cache holds; the power failure after it must not cut under synced ones."""
    kept, found, _ = history(seed, rounds=8, kills=0.5, static=SMALL_SEGMENTS)
    assert lost(kept, found) == {}, f"seed {seed}: acknowledged records were lost or moved"
    assert sorted(found) == list(range(len(found))), f"seed {seed}: offsets have holes"


def send_and_settle(client: Client, values: range, time_ms: int = 100) -> dict[int, bytes]:
    sent = {send_value(client, b"%d" % at): b"%d" % at for at in values}
    client.time.run_for(time_ms)
    return sent


@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.parametrize("seed", range(12))
def test_after_a_failed_write_the_old_file_is_cut_for_good(seed: int, kind: Kind) -> None:
    """The partition goes on in a new file; what the old one held above the cut must not come back under it."""
    machine, client = serving(seed)
    sent = send_and_settle(client, range(3))
    machine.disk.fail(kind, errno.EIO, path=".log")
    sent |= send_and_settle(client, range(3, 6), 5_000)
    sent |= send_and_settle(client, range(6, 10))
    kept = acknowledged(client, sent)
    assert len(kept) >= 7
    machine.crash()
    machine.boot()
    assert lost(kept, stored(Client(machine.time, machine.wire))) == {}, f"seed {seed}"


@pytest.mark.parametrize("seed", range(12))
def test_a_node_stopped_over_a_failed_sync_does_not_trust_the_page_cache(seed: int) -> None:
    """D2: the bytes read well but are on no disk; what is appended behind them would be cut with them."""
    machine, client = serving(seed)
    sent = send_and_settle(client, range(3))
    machine.disk.fail("sync", errno.EIO, path=".log")
    sent |= send_and_settle(client, range(3, 5), 20)
    kept = acknowledged(client, sent)
    machine.stop()
    machine.boot()
    client = Client(machine.time, machine.wire)
    kept |= acknowledged(client, send_and_settle(client, range(5, 9)))
    machine.crash()
    machine.boot()
    assert lost(kept, stored(Client(machine.time, machine.wire))) == {}, f"seed {seed}"


def test_a_clean_stop_scans_nothing_and_keeps_all() -> None:
    machine, client = serving(1)
    sent = {send_value(client, b"%d" % at): b"%d" % at for at in range(10)}
    machine.time.run_until(lambda: len(acknowledged(client, sent)) == 10)
    assert machine.stop()
    machine.disk.crash()
    node = machine.boot()
    assert node.folder.was_clean
    assert stored(Client(machine.time, machine.wire)) == acknowledged(client, sent)
