"""Leader epochs as readers meet them: a log that two starts of the broker wrote, asked with old, right and future epochs.

The answers were seen on Apache Kafka 4.3 that was stopped and started in the same way.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from administering import topic_of
from covers import covers
from rawclient import RawClient
from reading import epoch_one, fetch_all, fetch_one, fill, list_one, values_of, wanted

import barnabas
from barnabas import errors

TOPIC = "epochs"
FUTURE = 1000


class Epochs:
    """Offsets 0 to 2 were written under the first, 3 and 4 under the last; between the two nobody wrote."""

    first = -1
    last = -1


@pytest.fixture(scope="module")
def epochs() -> Epochs:
    return Epochs()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, epochs: Epochs) -> Iterator[barnabas.Broker]:
    folder: Path = tmp_path_factory.mktemp("epochs")
    with (
        barnabas.Broker(folder, topics={TOPIC: 1, "still": 1}) as broker,
        RawClient(broker.bootstrap) as client,
    ):
        fill(client, TOPIC, b"a", b"b", b"c")
        epochs.first = topic_of(client, TOPIC).partitions[0].leader_epoch
    with barnabas.Broker(folder):
        pass
    with barnabas.Broker(folder) as broker:
        with RawClient(broker.bootstrap) as client:
            fill(client, TOPIC, b"d", b"e")
            epochs.last = topic_of(client, TOPIC).partitions[0].leader_epoch
        yield broker


@covers("Metadata", "response.topics.partitions.leader_epoch")
def test_each_start_has_an_epoch_above_all_before(client: RawClient, epochs: Epochs) -> None:
    assert topic_of(client, TOPIC).partitions[0].leader_epoch == epochs.last
    assert epochs.last >= epochs.first + 2


# -- OffsetForLeaderEpoch


@covers(
    "OffsetForLeaderEpoch",
    "request.topics.topic",
    "request.topics.partitions.leader_epoch",
    "response.topics.topic",
    "response.topics.partitions.leader_epoch",
    "response.topics.partitions.end_offset",
    "response.throttle_time_ms=default",
)
@pytest.mark.parametrize("version", [2, 3, 4])
def test_an_epoch_ends_where_the_next_begins(client: RawClient, epochs: Epochs, version: int) -> None:
    def ask(epoch: int) -> tuple[int, int]:
        part = epoch_one(client, TOPIC, version, leader_epoch=epoch)
        assert part.error_code == 0
        return part.leader_epoch, part.end_offset

    assert ask(epochs.first) == (epochs.first, 3)
    assert ask(epochs.first + 1) == (epochs.first, 3)
    assert ask(epochs.last) == (epochs.last, 5)
    assert ask(epochs.last + 1) == (-1, -1)
    assert ask(-1) == (-1, -1)
    assert ask(epochs.first - 1) == (epochs.first - 1, 0)
    assert ask(-2) == (-2, 0)


def test_of_a_log_that_nobody_wrote_to_every_epoch_ends_at_once(client: RawClient, epochs: Epochs) -> None:
    for epoch in (epochs.last, epochs.first):
        part = epoch_one(client, "still", leader_epoch=epoch)
        assert (part.leader_epoch, part.end_offset) == (epoch, 0)
    assert epoch_one(client, "still", leader_epoch=epochs.last + 1).end_offset == -1


@covers("OffsetForLeaderEpoch", "request.topics.partitions.leader_epoch")
def test_an_epoch_that_has_written_nothing_yet_begins_at_the_end(
    client: RawClient, broker: barnabas.Broker, tmp_path: Path
) -> None:
    with barnabas.Broker(tmp_path, topics={TOPIC: 1}) as before, RawClient(before.bootstrap) as early:
        fill(early, TOPIC, b"a")
        first = topic_of(early, TOPIC).partitions[0].leader_epoch
    with barnabas.Broker(tmp_path):
        pass
    with barnabas.Broker(tmp_path) as again, RawClient(again.bootstrap) as late:
        for epoch in (first, first + 1):
            part = epoch_one(late, TOPIC, leader_epoch=epoch)
            assert (part.leader_epoch, part.end_offset) == (first, 1)


@covers(
    "OffsetForLeaderEpoch",
    "request.topics.partitions.current_leader_epoch",
    "response.topics.partitions.error_code",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
)
def test_who_believes_in_another_epoch_is_told_no_end(client: RawClient, epochs: Epochs) -> None:
    for epoch, code in (
        (epochs.first, errors.FENCED_LEADER_EPOCH),
        (FUTURE, errors.UNKNOWN_LEADER_EPOCH),
        (epochs.last, 0),
    ):
        part = epoch_one(client, TOPIC, leader_epoch=epochs.first, current_leader_epoch=epoch)
        assert (part.error_code, part.end_offset) == (code, -1 if code else 3)


@covers(
    "OffsetForLeaderEpoch",
    "request.topics.partitions.partition",
    "response.topics.partitions.partition",
    "UNKNOWN_TOPIC_OR_PARTITION",
)
def test_no_epoch_of_what_is_not_there(client: RawClient) -> None:
    for topic, index in ((TOPIC, 1), (TOPIC, -1), ("nowhere", 0)):
        part = epoch_one(client, topic, partition=index)
        assert (part.error_code, part.partition) == (errors.UNKNOWN_TOPIC_OR_PARTITION, index)


@covers("OffsetForLeaderEpoch", "replica_id")
def test_who_asks_for_an_epoch_makes_no_difference(client: RawClient, epochs: Epochs) -> None:
    for replica_id in (-1, -2, -3, 5):
        assert epoch_one(client, TOPIC, replica_id=replica_id, leader_epoch=epochs.first).end_offset == 3


# -- Fetch


@covers(
    "Fetch",
    "request.topics.partitions.current_leader_epoch",
    "response.responses.partitions.error_code",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "response.responses.partitions.current_leader.leader_id=default",
)
def test_a_reader_of_another_epoch_gets_no_records(client: RawClient, epochs: Epochs) -> None:
    for epoch, code in ((epochs.first, errors.FENCED_LEADER_EPOCH), (FUTURE, errors.UNKNOWN_LEADER_EPOCH)):
        part = fetch_one(client, TOPIC, current_leader_epoch=epoch)
        assert (part.error_code, part.records.size) == (code, 0)
        assert (part.high_watermark, part.last_stable_offset, part.log_start_offset) == (-1, -1, -1)
    for epoch in (epochs.last, -1):
        assert len(values_of(fetch_one(client, TOPIC, current_leader_epoch=epoch))) == 5


@covers(
    "Fetch",
    "response.responses.partitions.current_leader.leader_id",
    "response.responses.partitions.current_leader.leader_epoch",
    "node_endpoints.node_id",
    "node_endpoints.host",
    "node_endpoints.port",
    "node_endpoints.rack=default",
    "FENCED_LEADER_EPOCH",
)
@pytest.mark.parametrize("version", [16, 17, 18])
def test_a_fenced_reader_is_told_the_leader_since_v16(
    client: RawClient, broker: barnabas.Broker, epochs: Epochs, version: int
) -> None:
    response = fetch_all(client, TOPIC, wanted(current_leader_epoch=epochs.first), version=version)
    leader = response.responses[0].partitions[0].current_leader
    assert (leader.leader_id, leader.leader_epoch) == (1, epochs.last)
    (node,) = response.node_endpoints
    assert (node.node_id, f"{node.host}:{node.port}", node.rack) == (1, broker.bootstrap, None)


@covers("Fetch", "UNKNOWN_LEADER_EPOCH", "node_endpoints.host=default")
def test_a_reader_ahead_of_us_is_told_no_leader(client: RawClient) -> None:
    response = fetch_all(client, TOPIC, wanted(current_leader_epoch=FUTURE), version=16)
    assert response.responses[0].partitions[0].current_leader is None


@covers(
    "Fetch",
    "request.topics.partitions.last_fetched_epoch",
    "response.responses.partitions.diverging_epoch.epoch",
    "response.responses.partitions.diverging_epoch.end_offset",
)
def test_a_reader_whose_log_parted_from_ours_is_told_where(client: RawClient, epochs: Epochs) -> None:
    def ask(epoch: int, offset: int) -> tuple[int, int] | int:
        """Where the logs part, or how many records come."""
        part = fetch_one(client, TOPIC, last_fetched_epoch=epoch, fetch_offset=offset)
        assert (part.error_code, part.high_watermark, part.log_start_offset) == (0, 5, 0)
        diverging = part.diverging_epoch
        if diverging is None:
            return len(values_of(part))
        assert part.records.size == 0
        return diverging.epoch, diverging.end_offset

    assert [ask(epochs.first, offset) for offset in (1, 3)] == [4, 2]
    assert [ask(epochs.first, offset) for offset in (4, 5, 6)] == [(epochs.first, 3)] * 3
    assert [ask(epochs.first + 1, offset) for offset in (1, 4)] == [(epochs.first, 3)] * 2
    assert [ask(epochs.last, offset) for offset in (4, 5, 6)] == [1, 0, (epochs.last, 5)]
    assert ask(-1, 4) == 1


@covers("Fetch", "OFFSET_OUT_OF_RANGE", "request.topics.partitions.last_fetched_epoch")
def test_a_last_epoch_yet_to_come_is_out_of_range(client: RawClient, epochs: Epochs) -> None:
    assert (
        fetch_one(client, TOPIC, last_fetched_epoch=FUTURE, fetch_offset=2).error_code
        == errors.OFFSET_OUT_OF_RANGE
    )


@covers("Fetch", "response.responses.partitions.diverging_epoch.end_offset")
def test_a_diverging_epoch_ends_the_wait_and_is_told_in_a_session(client: RawClient, epochs: Epochs) -> None:
    long_wait = {"max_wait_ms": 60_000, "min_bytes": 1 << 20}
    opened = fetch_all(client, TOPIC, wanted(fetch_offset=5), session_epoch=0)
    asked = wanted(fetch_offset=5, last_fetched_epoch=epochs.first)
    session = {"session_id": opened.session_id, "session_epoch": 1}
    (topic,) = fetch_all(client, TOPIC, asked, **session, **long_wait).responses
    assert topic.partitions[0].diverging_epoch.end_offset == 3


# -- ListOffsets


@covers(
    "ListOffsets",
    "request.topics.partitions.current_leader_epoch",
    "response.topics.partitions.error_code",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
)
def test_who_believes_in_another_epoch_is_listed_no_offset(client: RawClient, epochs: Epochs) -> None:
    for epoch, code in (
        (epochs.first, errors.FENCED_LEADER_EPOCH),
        (FUTURE, errors.UNKNOWN_LEADER_EPOCH),
        (epochs.last, 0),
    ):
        part = list_one(client, TOPIC, -1, current_leader_epoch=epoch)
        assert (part.error_code, part.offset) == (code, -1 if code else 5)


@covers("ListOffsets", "response.topics.partitions.leader_epoch")
def test_a_listed_offset_comes_with_the_epoch_that_wrote_it(client: RawClient, epochs: Epochs) -> None:
    assert list_one(client, TOPIC, -1).leader_epoch == epochs.last
    assert list_one(client, TOPIC, -2).leader_epoch == epochs.first
    assert list_one(client, TOPIC, -2, version=4).leader_epoch == epochs.first
