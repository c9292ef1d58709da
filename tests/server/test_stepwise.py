"""Large requests and answers are dealt with in slices: others have their turn in between, and so has what may go wrong."""

import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from barnabas.cluster import changes
from barnabas.partitions.slices import SLICE_STEPS
from barnabas.ports import Connection, Receiver, WorldError
from barnabas.server import stepwise
from barnabas.server.broker import Broker
from barnabas.server.handlers import describe_configs as configs_handler
from barnabas.server.stepwise import ITEMS_A_STEP
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from barnabas.wire.frame import request_head
from barnabas.wire.messages import api_versions, describe_configs, describe_log_dirs, metadata
from barnabas.wire.messages.delete_topics import DeleteTopicState

PORT = 9092
BROKER = 4
PARTITIONS = 600
NAMES = 20_000
STATIC = {
    "listeners": f"PLAINTEXT://127.0.0.1:{PORT}",
    "barnabas.metrics.port": "-1",
    "num.partitions": str(PARTITIONS),
    "auto.create.topics.enable": "true",
}


class Peer:
    """A client that keeps whole answers, in their order."""

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine
        self._bytes = bytearray()
        self._connection: Connection | None = None
        self.answers: list[bytes] = []
        self.ended = False
        loop = VirtualLoop(machine.time)
        machine.wire.dial(loop, "10.0.0.1", "127.0.0.1", PORT, self._connected)
        machine.time.run_until(lambda: self._connection is not None)

    def _connected(self, connection: Connection | None, error: WorldError | None) -> Receiver | None:
        self._connection = connection
        return self

    def received(self, content: memoryview) -> None:
        self._bytes += content
        while len(self._bytes) >= 4:
            (size,) = struct.unpack_from(">i", self._bytes)
            if len(self._bytes) < 4 + size:
                return
            self.answers.append(bytes(self._bytes[4 : 4 + size]))
            del self._bytes[: 4 + size]

    def closed(self, reason: str) -> None:
        self.ended = True

    def ask(self, message: ModuleType, request: object, version: int) -> None:
        body = message.encode_request(request, version)
        assert self._connection is not None
        self._connection.send([request_head(message.API_KEY, version, 1, "peer", len(body)) + body])

    def end(self) -> None:
        assert self._connection is not None
        self._connection.close(after_sending=False)

    def answered(self) -> bytes:
        self._machine.time.run_until(lambda: bool(self.answers))
        return self.answers.pop(0)


@pytest.fixture
def machine() -> VirtualMachine:
    time = VirtualTime(7)
    made = VirtualMachine(time, Wire(time), STATIC)
    made.boot()
    return made


def many_names() -> metadata.MetadataRequest:
    topics = [metadata.MetadataRequestTopic(name=f"nobody-{number}") for number in range(NAMES)]
    return metadata.MetadataRequest(topics, allow_auto_topic_creation=False)


def ask_and_look(machine: VirtualMachine, peer: Peer, begun: Callable[[], bool]) -> None:
    """Ask for every topic, and return in the middle of the answer."""
    peer.ask(metadata, metadata.MetadataRequest(None), 12)
    machine.time.run_until(begun)
    assert not peer.answers


class Seen:
    """What the steps of answers have come to, and how many there were."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.closed = 0
        real = stepwise.in_slices
        seen = self

        def counting(clock: Any, loop: Any, work: Any, done: Callable[[], None]) -> None:
            def steps() -> Any:
                for each in work:
                    seen.steps += 1
                    yield each

            real(clock, loop, steps(), done)

        def ended(work: stepwise.Stepwise) -> None:
            abandon(work)
            seen.closed += 1

        abandon = stepwise.Stepwise._abandon
        patch.setattr(stepwise, "in_slices", counting)
        patch.setattr(stepwise.Stepwise, "_abandon", ended)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def test_others_are_served_while_a_large_answer_is_made(machine: VirtualMachine, seen: Seen) -> None:
    large, small = Peer(machine), Peer(machine)
    large.ask(metadata, many_names(), 12)
    machine.time.run_until(lambda: seen.steps > 0)
    small.ask(api_versions, api_versions.ApiVersionsRequest(), 0)
    before = seen.steps
    while not small.answers:
        assert machine.time.step()
        machine.time.hold(1)  # as if each slice took so long
        assert seen.steps - before <= SLICE_STEPS
        before = seen.steps
    assert not large.answers
    answer = metadata.decode_response(large.answered(), 5, 12)
    assert [topic.name for topic in answer.topics] == [f"nobody-{number}" for number in range(NAMES)]


def test_it_is_written_as_it_would_be_at_once(machine: VirtualMachine, seen: Seen) -> None:
    machine.make_topics("large", "other")
    peer = Peer(machine)
    for version in range(metadata.VERSION_MIN, metadata.VERSION_MAX + 1):
        asked = [metadata.MetadataRequestTopic(name="large"), metadata.MetadataRequestTopic(name="absent")]
        peer.ask(metadata, metadata.MetadataRequest(asked, version < 4), version)
        content = peer.answered()
        at = 5 if version >= metadata.FLEXIBLE_FROM else 4
        answer = metadata.decode_response(content, at, version)
        assert metadata.encode_response(answer, version) == content[at:]
        large = next(topic for topic in answer.topics if topic.name == "large")
        assert [part.partition_index for part in large.partitions] == list(range(PARTITIONS))


@pytest.mark.parametrize("version", range(describe_log_dirs.VERSION_MIN, describe_log_dirs.VERSION_MAX + 1))
@pytest.mark.parametrize("all_of_them", [True, False])
def test_sizes_of_many_partitions_are_told_in_steps(
    machine: VirtualMachine, seen: Seen, all_of_them: bool, version: int
) -> None:
    """Steps of what is looked up, and one for each partition that is written."""
    names = ["a", "b"] if all_of_them else ["b"]
    machine.make_topics("a", "b")
    asked = None if all_of_them else [describe_log_dirs.DescribableLogDirTopic("b", list(range(PARTITIONS)))]
    peer = Peer(machine)
    peer.ask(describe_log_dirs, describe_log_dirs.DescribeLogDirsRequest(asked), version)
    content = peer.answered()
    at = 5 if version >= describe_log_dirs.FLEXIBLE_FROM else 4
    answer = describe_log_dirs.decode_response(content, at, version)
    assert describe_log_dirs.encode_response(answer, version) == content[at:]
    (folder,) = answer.results
    assert [topic.name for topic in folder.topics] == names
    for topic in folder.topics:
        assert [part.partition_index for part in topic.partitions] == list(range(PARTITIONS))
    assert seen.steps > len(names) * (PARTITIONS + PARTITIONS // ITEMS_A_STEP)


def test_what_lies_deep_in_an_answer_is_let_go_in_steps_too() -> None:
    parts = [describe_log_dirs.DescribeLogDirsPartition(index) for index in range(PARTITIONS)]
    topic = describe_log_dirs.DescribeLogDirsTopic("a", parts)
    answer = describe_log_dirs.DescribeLogDirsResponse(
        results=[describe_log_dirs.DescribeLogDirsResult(topics=[topic])]
    )
    assert sum(1 for _ in stepwise.let_go(answer)) > PARTITIONS // ITEMS_A_STEP
    assert not parts


def test_a_topic_deleted_meanwhile_is_told_whole_or_not_at_all(machine: VirtualMachine, seen: Seen) -> None:
    machine.make_topics("a", "b", "c")
    peer = Peer(machine)
    ask_and_look(machine, peer, lambda: seen.steps > 0)
    gone: list[object] = []
    ask, rules = DeleteTopicState(name="c"), machine.node.topics.rules()
    machine.node.topics.submit(lambda image: changes.delete_topics(image, [ask], rules, 6), [], gone.append)
    answer = metadata.decode_response(peer.answered(), 5, 12)
    for topic in answer.topics:
        assert topic.error_code == 0 and len(topic.partitions) == PARTITIONS
    assert {topic.name for topic in answer.topics} >= {"a", "b"}
    machine.time.run_until(lambda: bool(gone))


def test_when_the_connection_ends_so_does_the_work(machine: VirtualMachine, seen: Seen) -> None:
    peer = Peer(machine)
    peer.ask(metadata, many_names(), 12)
    machine.time.run_until(lambda: seen.steps > 0)
    peer.end()
    while not seen.closed:
        assert machine.time.step()
        machine.time.hold(1)  # as if each slice took so long
    steps = seen.steps
    assert steps < NAMES
    machine.time.run_for(1_000)
    assert seen.steps <= steps + 1 and not peer.answers
    assert Peer(machine)


def test_a_broker_that_stops_meanwhile_stops_cleanly(machine: VirtualMachine, seen: Seen) -> None:
    peer = Peer(machine)
    peer.ask(metadata, many_names(), 12)
    machine.time.run_until(lambda: seen.steps > 0)
    assert machine.stop()
    machine.boot()
    assert Peer(machine)


def test_what_asks_for_too_much_is_refused_by_closing(
    machine: VirtualMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepwise, "ANSWER_BYTES_MAX", 1_000_000)
    peer = Peer(machine)
    own = describe_configs.DescribeConfigsResource(BROKER, str(machine.node.node_id), None)
    resources = [own] * 200
    peer.ask(describe_configs, describe_configs.DescribeConfigsRequest(resources), 4)
    machine.time.run_until(lambda: peer.ended)
    assert not peer.answers


def test_a_resource_that_is_asked_twice_is_answered_twice(machine: VirtualMachine) -> None:
    peer = Peer(machine)
    node_id = str(machine.node.node_id)
    keys = [None, ["log.retention.ms"], None, ["log.retention.ms"], []]
    resources = [describe_configs.DescribeConfigsResource(BROKER, node_id, each) for each in keys]
    peer.ask(describe_configs, describe_configs.DescribeConfigsRequest(resources, True, True), 4)
    whole, one, again, other, empty = describe_configs.decode_response(peer.answered(), 5, 4).results
    assert whole == again == empty and len(whole.configs) > 200
    assert one == other and [config.name for config in one.configs] == ["log.retention.ms"]


@pytest.mark.patches
def test_a_bug_of_ours_costs_one_connection(machine: VirtualMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(broker: Broker, *_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(configs_handler, "describe", broken)
    peer, other = Peer(machine), Peer(machine)
    resources = [describe_configs.DescribeConfigsResource(BROKER, "0", None)]
    peer.ask(describe_configs, describe_configs.DescribeConfigsRequest(resources), 4)
    machine.time.run_until(lambda: peer.ended)
    other.ask(api_versions, api_versions.ApiVersionsRequest(), 0)
    assert other.answered()
