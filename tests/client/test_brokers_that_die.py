"""What is asked of a broker that is away is asked again, for another leads in its place soon."""

from typing import Any

import pytest
from canned import CannedTransport

from barnabas import errors
from barnabas.client import admin, groups
from barnabas.client.cluster import TRIES_MAX, Address, Cluster, Refused, Unreachable
from barnabas.wire.messages import (
    create_partitions,
    create_topics,
    delete_topics,
    find_coordinator,
    list_groups,
    metadata,
    offset_commit,
)

SEED = ("seed", 1)
DEAD, HEIR = ("b", 1), ("b", 2)
AWAY, CUT = "away", "cut"


class DyingBroker(CannedTransport):
    """The first is controller and coordinator. fates: what becomes of each request to it; then the second one is.

    away: nobody is there; cut: the answer is lost. code: what the second one answers.
    """

    def __init__(self, *fates: str, code: int = errors.NONE) -> None:
        super().__init__()
        self.fates = list(fates)
        self.code = code

    def answer(self, key: int, ask: Any, address: Address) -> object:
        if key == 3:
            ids = (1, 2) if self.fates else (2,)
            brokers = [metadata.MetadataResponseBroker(node_id=node, host="b", port=node) for node in ids]
            return metadata.MetadataResponse(brokers=brokers, controller_id=ids[0])
        if key == 10:
            host, port = DEAD if self.fates else HEIR
            return find_coordinator.FindCoordinatorResponse(host=host, port=port)
        if address == DEAD:
            raise Unreachable(address, "it is dead", sent=self.fates.pop(0) == CUT)
        assert address == HEIR
        return self._reply(key)

    def _reply(self, key: int) -> object:
        if key == 19:
            row = create_topics.CreatableTopicResult(name="t", error_code=self.code)
            return create_topics.CreateTopicsResponse(topics=[row])
        if key == 20:
            gone = delete_topics.DeletableTopicResult(name="t", error_code=self.code)
            return delete_topics.DeleteTopicsResponse(responses=[gone])
        if key == 37:
            grown = create_partitions.CreatePartitionsTopicResult(name="t", error_code=self.code)
            return create_partitions.CreatePartitionsResponse(results=[grown])
        if key == 16:
            return list_groups.ListGroupsResponse(groups=[list_groups.ListedGroup(group_id="g")])
        part = offset_commit.OffsetCommitResponsePartition(partition_index=0, error_code=self.code)
        topic = offset_commit.OffsetCommitResponseTopic(name="t", partitions=[part])
        return offset_commit.OffsetCommitResponse(topics=[topic])


def cluster_of(*fates: str, code: int = errors.NONE) -> Cluster:
    return Cluster(DyingBroker(*fates, code=code), [SEED])


@pytest.mark.parametrize("fate", [AWAY, CUT])
def test_whoever_comes_in_its_place_is_asked(fate: str) -> None:
    admin.create_topic(cluster_of(fate), "t", 1, 1, {})
    admin.delete_topic(cluster_of(fate, fate), "t")
    groups.commit(cluster_of(fate), "g", {("t", 0): 5})
    assert [row.group_id for row in groups.list_groups(cluster_of(fate))] == ["g"]


CHANGES = [
    (lambda cluster: admin.create_topic(cluster, "t", 1, 1, {}), errors.TOPIC_ALREADY_EXISTS),
    (lambda cluster: admin.delete_topic(cluster, "t"), errors.UNKNOWN_TOPIC_OR_PARTITION),
    (lambda cluster: admin.add_partitions(cluster, "t", 3), errors.INVALID_PARTITIONS),
]


@pytest.mark.parametrize(("change", "done_code"), CHANGES)
def test_a_change_whose_answer_was_lost_may_be_done(change: Any, done_code: int) -> None:
    change(cluster_of(CUT, AWAY, code=done_code))
    for fates in ((), (AWAY,)):
        with pytest.raises(Refused) as raised:
            change(cluster_of(*fates, code=done_code))
        assert raised.value.code == done_code
    with pytest.raises(Refused):
        change(cluster_of(CUT, code=errors.INVALID_REQUEST))


def test_it_is_given_up_in_the_end() -> None:
    cluster = cluster_of(*([AWAY] * (TRIES_MAX + 1)))
    with pytest.raises(Unreachable):
        admin.create_topic(cluster, "t", 1, 1, {})


def test_where_nobody_ever_answered_nothing_is_tried_again() -> None:
    class Nobody(CannedTransport):
        def answer(self, key: int, ask: object, address: Address) -> object:
            raise AssertionError("nobody answers")

        def exchange(self, address: Address, frame: bytes, answered: bool) -> bytes:
            raise Unreachable(address, "nobody is there", sent=False)

    nobody = Nobody()
    with pytest.raises(Unreachable):
        admin.create_topic(Cluster(nobody, [SEED]), "t", 1, 1, {})
    assert nobody.slept == 0


@pytest.mark.parametrize("deaths", [1, 2])
def test_an_address_that_several_share_is_asked_twice(deaths: int) -> None:
    class Sharing(DyingBroker):
        """So many connections to the seed end without an answer."""

        def __init__(self) -> None:
            super().__init__()
            self.deaths = deaths

        def exchange(self, address: Address, frame: bytes, answered: bool) -> bytes:
            if address == SEED and self.deaths:
                self.deaths -= 1
                raise Unreachable(address, "it hangs")
            return super().exchange(address, frame, answered)

    cluster = Cluster(Sharing(), [SEED])
    if deaths == 1:
        assert cluster.controller() == HEIR
    else:
        with pytest.raises(Unreachable):
            cluster.controller()
