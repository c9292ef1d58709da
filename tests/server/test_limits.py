"""What one connection may take from the others: budgets that hold, and waits that end with it."""

import struct
import tracemalloc
from collections.abc import Callable, Sequence

from rawclient import RawClient, batch_of, frame_of, header_of, produce_request
from reading import fetch_request, fill, wanted
from trouble import hold, on_loop, port_of, served_of

import barnabas
from barnabas.log.segment import READ_BYTES_MAX
from barnabas.ports import Piece
from barnabas.server.connection import (
    FRAMES_PER_TURN_MAX,
    UNANSWERED_MAX,
    UNSTARTED_BYTES_MAX,
    ServerConnection,
)
from barnabas.server.handlers.fetch import ANSWER_READ_BYTES_MAX
from barnabas.server.listener import UNCOMMITTED_BYTES_BUDGET
from barnabas.wire.frame import SIZE_BYTES
from barnabas.wire.messages import fetch, produce
from barnabas.wire.primitives import join

FETCH, METADATA = 1, 3
API_VERSIONS = 18
ALL_TOPICS = frame_of(header_of(METADATA, 1) + b"\xff\xff\xff\xff")
VERSIONS = frame_of(header_of(API_VERSIONS, 0))
NAMES = 150_000
ROUNDS = 10_000


class Stream:
    """A connection whose peer never reads: it counts what it is given."""

    def __init__(self) -> None:
        self.peer_host, self.peer_port = "127.0.0.1", 1
        self.local_host, self.local_port = "127.0.0.1", 2
        self.replies = 0
        self.held: list[Piece] = []

    def send(self, pieces: Sequence[Piece]) -> None:
        self.replies += len(pieces)
        self.held += pieces

    def unsent_bytes(self) -> int:
        return 0

    def expect(self, size: int) -> None:
        return

    def pause(self) -> None:
        return

    def resume(self) -> None:
        return

    def close(self, *, after_sending: bool = True) -> None:
        return


class Nobody:
    """The owner of a connection that is in no budget."""

    def watch(self, served: ServerConnection) -> None:
        return

    def forget(self, served: ServerConnection) -> None:
        return


def until(broker: barnabas.Broker, holds: Callable[[], bool]) -> bool:
    """Whether it held at one of the loop's turns."""
    found: list[bool] = []
    for _ in range(ROUNDS):
        on_loop(broker, lambda: found.append(holds()))
        if found[-1]:
            return True
    return False


def test_a_connection_that_is_held_begins_nothing_that_was_read(broker: barnabas.Broker) -> None:
    node = broker._node
    stream = Stream()
    served = ServerConnection(node.listeners._dispatch, stream, "PLAINTEXT", 1 << 20, node.turn, Nobody())
    count = 3 * FRAMES_PER_TURN_MAX

    def arrive() -> None:
        served.received(memoryview(VERSIONS * count))
        served.hold(True)

    on_loop(broker, arrive)
    for _ in range(10):
        on_loop(broker, lambda: None)
    assert stream.replies == FRAMES_PER_TURN_MAX
    on_loop(broker, lambda: served.hold(False))
    assert until(broker, lambda: stream.replies == count)


def test_what_an_answer_holds_of_many_small_reads_is_bounded(
    client: RawClient, broker: barnabas.Broker
) -> None:
    """A reader may leave it there: what is more is ranges of files."""
    node = broker._node
    stream = Stream()
    served = ServerConnection(node.listeners._dispatch, stream, "PLAINTEXT", 1 << 20, node.turn, Nobody())
    partitions, size = 100, 8000
    client.create_topic("wide", partitions=partitions)
    for index in range(partitions):
        fill(client, "wide", b"x" * size, partition=index)
    asked = [wanted(partition=index, partition_max_bytes=READ_BYTES_MAX) for index in range(partitions)]
    frame = frame_of(header_of(FETCH, 4) + fetch.encode_request(fetch_request("wide", *asked), 4))
    on_loop(broker, lambda: served.received(memoryview(frame)))
    assert until(broker, lambda: bool(stream.held))
    in_memory = sum(len(piece) for piece in stream.held if isinstance(piece, bytes))
    assert ANSWER_READ_BYTES_MAX < in_memory < ANSWER_READ_BYTES_MAX + 2 * size + 100 * partitions
    assert len(join(stream.held)) > partitions * size


def test_over_the_frame_budget_those_that_lack_least_become_whole(broker: barnabas.Broker) -> None:
    listeners = broker._node.listeners
    frame = frame_of(header_of(METADATA, 1) + struct.pack(">i", NAMES) + b"\0\5plain" * NAMES)
    budget = 2 * len(frame)
    clients = [RawClient(broker.bootstrap) for _ in range(6)]
    stalled, hopeful, late = clients[:4], clients[4], clients[5]
    usual = listeners.frame_bytes_budget
    try:
        sent = [frame[:-100_000]] * len(stalled) + [frame[:-200_000], frame[:100_000]]
        for client, part in zip(clients, sent, strict=True):
            client.send(part)
        assert until(broker, lambda: listeners.frame_bytes() == sum(map(len, sent)) > budget)
        listeners.frame_bytes_budget = budget
        on_loop(broker, listeners._check_budgets)
        hopeful.send(frame[-200_000:])
        answer = hopeful.read_frame()
        assert answer is not None
        assert answer[:4] == b"\0\0\0\7"
        assert [served.missing_bytes for served in listeners._open if served.held] == [len(frame) - 100_000]
        for client in stalled:
            client.close()
        late.send(frame[100_000:])
        assert late.read_frame() is not None
    finally:
        listeners.frame_bytes_budget = usual
        for client in clients:
            client.close()


def test_a_fetch_ends_with_its_connection(broker: barnabas.Broker) -> None:
    waits = broker._node.waits
    with RawClient(broker.bootstrap) as client:
        client.post(fetch, fetch_request("plain", min_bytes=1, max_wait_ms=2**31 - 1), 12)
        assert until(broker, lambda: waits.waiting() == 1)
    assert until(broker, lambda: waits.waiting() == 0)


def test_a_connection_that_holds_nothing_is_not_looked_at(broker: barnabas.Broker, client: RawClient) -> None:
    listeners = broker._node.listeners
    served = served_of(broker, client)

    def is_watched() -> bool:
        """After a look at the budgets."""
        on_loop(broker, listeners._check_budgets)
        assert served.watched == (served in listeners._watched)
        return served.watched

    assert not is_watched()
    client.send(ALL_TOPICS[:-1])
    assert until(broker, lambda: served.frame_bytes == len(ALL_TOPICS) - 1)
    assert is_watched()
    client.send(ALL_TOPICS[-1:])
    assert client.read_frame() is not None
    assert not is_watched()
    assert until(broker, lambda: not (listeners._check_budgets() or listeners._watched))
    on_loop(broker, listeners._check)
    assert not listeners._checking, "nor is there a next look"


def test_too_many_uncommitted_bytes_hold_every_connection_until_they_are_committed(
    broker: barnabas.Broker, client: RawClient, sentinel: RawClient
) -> None:
    listeners = broker._node.listeners

    def add(size: int) -> None:
        listeners._uncommitted.bytes += size
        listeners._check_budgets()

    on_loop(broker, lambda: add(UNCOMMITTED_BYTES_BUDGET + 1))
    try:
        assert served_of(broker, client).held
        assert served_of(broker, sentinel).held, "although it has sent nothing"
        with RawClient(broker.bootstrap) as late:
            assert until(
                broker, lambda: port_of(late) in [each.peer_port for each in listeners._open.values()]
            )
            on_loop(broker, listeners._check)
            assert served_of(broker, late).held, "whoever comes later, at the next look"
            assert listeners._checking
    finally:
        on_loop(broker, lambda: add(-UNCOMMITTED_BYTES_BUDGET - 1))
    assert not served_of(broker, client).held
    assert not served_of(broker, sentinel).held
    client.send(ALL_TOPICS)
    assert client.read_frame() is not None


def test_replies_behind_a_parked_produce_are_in_the_budget_of_unsent_bytes(
    broker: barnabas.Broker, client: RawClient, sentinel: RawClient
) -> None:
    listeners = broker._node.listeners
    sentinel.create_topic("stuck")
    sentinel.create_topic("large")
    large = b"x" * 500_000
    fill(sentinel, "large", large)
    hold(broker, "stuck")
    usual = listeners.unsent_bytes_budget
    try:
        client.post(produce, produce_request("stuck", batch_of([b"v"])), 12)
        for _ in range(5):
            client.post(fetch, fetch_request("large"), 12)
        served = served_of(broker, client)
        assert until(broker, lambda: served.unsent_bytes() > 5 * len(large))
        assert listeners.unsent_bytes() >= served.unsent_bytes()
        listeners.unsent_bytes_budget = 4 * len(large)
        on_loop(broker, listeners._check)
        assert served.held
        client.post(fetch, fetch_request("large"), 12)
        sentinel.delete_topic("stuck")
        assert client.read_frame() is not None
        for _ in range(5):
            assert len(client.read_frame() or b"") > len(large)
        on_loop(broker, listeners._check)
        assert not served.held
        assert len(client.read_frame() or b"") > len(large), "what it sent while it was held"
    finally:
        listeners.unsent_bytes_budget = usual


def test_the_answer_of_a_produce_is_in_that_budget_before_it_is_written(
    broker: barnabas.Broker, client: RawClient, sentinel: RawClient
) -> None:
    """A partition of a request takes six bytes, what is said of it a hundred."""
    listeners = broker._node.listeners
    sentinel.create_topic("stays")
    hold(broker, "stays")
    count = 20_000
    ask = produce_request("stays", batch_of([b"v"]))
    ask.topic_data[0].partition_data += [
        produce.PartitionProduceData(index=index, records=None) for index in range(1, count)
    ]
    usual = listeners.unsent_bytes_budget
    try:
        client.post(produce, ask, 12)
        served = served_of(broker, client)
        assert until(broker, lambda: served.unsent_bytes() > 100 * count)
        assert served.watched
        listeners.unsent_bytes_budget = 100 * count
        on_loop(broker, listeners._check)
        assert served.held
        sentinel.delete_topic("stays")
        assert client.read_frame() is not None
        on_loop(broker, listeners._check)
        assert not served.held
        assert served.unsent_bytes() == 0
    finally:
        listeners.unsent_bytes_budget = usual


def test_a_request_that_waits_for_its_turn_to_be_answered_is_not_kept(
    broker: barnabas.Broker, client: RawClient, sentinel: RawClient
) -> None:
    sentinel.create_topic("late")
    hold(broker, "late")
    batch = batch_of([b"v" * 500_000])[:-1] + b"?"
    client.post(produce, produce_request("late", batch_of([b"v"])), 12)
    served, count = served_of(broker, client), 20
    tracemalloc.start()
    try:
        for _ in range(count):
            client.post(produce, produce_request("plain", batch), 12)
        assert until(broker, lambda: len(served._slots) == 1 + count)
        assert tracemalloc.get_traced_memory()[0] < 4 * len(batch)
    finally:
        tracemalloc.stop()
    sentinel.delete_topic("late")
    assert all(client.read_frame() is not None for _ in range(1 + count))


def test_a_connection_has_so_many_requests_unanswered(
    broker: barnabas.Broker, client: RawClient, sentinel: RawClient
) -> None:
    sentinel.create_topic("slow")
    hold(broker, "slow")
    client.post(produce, produce_request("slow", batch_of([b"v"])), 12)
    count = UNANSWERED_MAX + 500
    client.send(ALL_TOPICS * count)
    served = served_of(broker, client)
    assert until(broker, lambda: len(served._slots) == UNANSWERED_MAX)
    for _ in range(20):
        on_loop(broker, lambda: None)
    assert len(served._slots) == UNANSWERED_MAX
    sentinel.delete_topic("slow")
    assert client.read_frame() is not None
    for _ in range(count):
        assert client.read_frame() is not None


LARGE = frame_of(header_of(METADATA, 1) + struct.pack(">i", NAMES) + b"\0\5plain" * NAMES)
"""A request of a MiB."""


def wait_for_ever(client: RawClient, topic: str) -> None:
    """What it sends behind this does not begin."""
    client.create_topic(topic)
    client.post(fetch, fetch_request(topic, min_bytes=1, max_wait_ms=2**31 - 1), 12)


def test_behind_a_wait_no_more_is_read_than_a_little(broker: barnabas.Broker, client: RawClient) -> None:
    wait_for_ever(client, "silent")
    served = served_of(broker, client)
    client.send(LARGE + LARGE[:-1])
    assert until(broker, lambda: served._paused)
    assert len(LARGE) - SIZE_BYTES <= served.frame_bytes <= len(LARGE) + UNSTARTED_BYTES_MAX
    on_loop(broker, broker._node.listeners._check)
    assert served.watched and not served.held


def test_what_waits_whole_counts_and_lets_others_go_on(broker: barnabas.Broker, client: RawClient) -> None:
    listeners = broker._node.listeners
    usual = listeners.frame_bytes_budget
    with RawClient(broker.bootstrap) as blocked:
        wait_for_ever(blocked, "quiet")
        blocked.send(LARGE)
        stopped = served_of(broker, blocked)
        assert until(broker, lambda: stopped.frame_bytes == len(LARGE) - 4)
        client.send(LARGE[:-1000])
        going = served_of(broker, client)
        assert until(broker, lambda: going.frame_bytes == len(LARGE) - 1000)
        try:
            listeners.frame_bytes_budget = 100_000
            on_loop(broker, listeners._check)
            assert stopped.held and not going.held
            client.send(LARGE[-1000:])
            assert client.read_frame() is not None
            assert going.frame_bytes == 0
        finally:
            listeners.frame_bytes_budget = usual
        on_loop(broker, listeners._check)
        assert not stopped.held
        broker.produce("quiet", "x")
        assert blocked.read_frame() is not None, "the fetch"
        assert blocked.read_frame() is not None
        on_loop(broker, listeners._check)
        assert stopped.frame_bytes == 0 and not stopped.watched
