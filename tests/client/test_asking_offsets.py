"""Offsets of many partitions at once: one request a leader, only what failed is asked again."""

from collections.abc import Mapping

import pytest
from canned import CannedTransport

from barnabas import errors
from barnabas.client.cluster import TRIES_MAX, Address, Cluster, Refused, Unreachable
from barnabas.client.fetch import LATEST, offsets_at
from barnabas.wire.messages import list_offsets, metadata

LEADERS: Mapping[tuple[str, int], int] = {("t", 0): 1, ("t", 1): 2, ("t", 2): 1, ("u", 0): 1}


class TwoBrokers(CannedTransport):
    """Partition n of t ends at 10 + n, that of u at 10. codes: what a partition answers first, by turns."""

    def __init__(self, codes: dict[tuple[str, int], list[int]]) -> None:
        super().__init__()
        self.codes = codes
        self.asked: list[tuple[int, list[tuple[str, int]]]] = []
        self.dead_for = 0
        """So many requests find the second broker away."""

    def answer(self, key: int, ask: object, address: Address) -> object:
        if key == 3:
            return self._metadata()
        assert isinstance(ask, list_offsets.ListOffsetsRequest)
        if address[1] == 2 and self.dead_for:
            self.dead_for -= 1
            raise Unreachable(address, "it is dead")
        self.asked.append(
            (
                address[1],
                [(topic.name, part.partition_index) for topic in ask.topics for part in topic.partitions],
            )
        )
        topics = [
            list_offsets.ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[self._part(topic.name, part.partition_index) for part in topic.partitions],
            )
            for topic in ask.topics
        ]
        return list_offsets.ListOffsetsResponse(topics=topics)

    def _part(self, topic: str, index: int) -> list_offsets.ListOffsetsPartitionResponse:
        codes = self.codes.get((topic, index))
        code = codes.pop(0) if codes else errors.NONE
        return list_offsets.ListOffsetsPartitionResponse(
            partition_index=index, error_code=code, offset=10 + index
        )

    def _metadata(self) -> metadata.MetadataResponse:
        brokers = [metadata.MetadataResponseBroker(node_id=node, host="b", port=node) for node in (1, 2)]
        topics = [
            metadata.MetadataResponseTopic(
                name=name,
                partitions=[
                    metadata.MetadataResponsePartition(partition_index=index, leader_id=leader)
                    for (topic, index), leader in LEADERS.items()
                    if topic == name
                ],
            )
            for name in ("t", "u")
        ]
        return metadata.MetadataResponse(brokers=brokers, topics=topics)


def test_each_leader_is_asked_once_for_all_of_its_places() -> None:
    brokers = TwoBrokers({})
    found = offsets_at(Cluster(brokers, [("b", 1)]), LEADERS, LATEST)
    assert list(found.items()) == [(("t", 0), 10), (("t", 1), 11), (("t", 2), 12), (("u", 0), 10)]
    assert brokers.asked == [(1, [("t", 0), ("t", 2), ("u", 0)]), (2, [("t", 1)])]


def test_what_passes_is_asked_again_alone() -> None:
    passing = [errors.NOT_LEADER_OR_FOLLOWER, errors.OFFSET_NOT_AVAILABLE]
    brokers = TwoBrokers({("t", 2): passing})
    assert offsets_at(Cluster(brokers, [("b", 1)]), LEADERS, LATEST)["t", 2] == 12
    assert brokers.asked[2:] == [(1, [("t", 2)]), (1, [("t", 2)])]


def test_a_leader_that_is_away_is_asked_again_alone() -> None:
    brokers = TwoBrokers({})
    brokers.dead_for = 3
    assert offsets_at(Cluster(brokers, [("b", 1)]), LEADERS, LATEST)["t", 1] == 11
    assert brokers.asked == [(1, [("t", 0), ("t", 2), ("u", 0)]), (2, [("t", 1)])]


def test_a_leader_that_stays_away_is_an_error() -> None:
    brokers = TwoBrokers({})
    brokers.dead_for = 2 * TRIES_MAX
    with pytest.raises(Unreachable):
        offsets_at(Cluster(brokers, [("b", 1)]), LEADERS, LATEST)


@pytest.mark.parametrize("codes", [[errors.TOPIC_AUTHORIZATION_FAILED], [errors.OFFSET_NOT_AVAILABLE] * 1000])
def test_what_does_not_pass_is_an_error(codes: list[int]) -> None:
    code = codes[0]
    with pytest.raises(Refused) as told:
        offsets_at(Cluster(TwoBrokers({("t", 1): codes}), [("b", 1)]), LEADERS, LATEST)
    assert (told.value.code, told.value.what) == (code, "t[1]")
