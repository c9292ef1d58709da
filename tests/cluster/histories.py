"""What happens to a cluster in tests: facts of any kind, decisions, and who was told what."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from barnabas.cluster import changes
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerImage,
    BrokerRemoved,
    Draft,
    Endpoint,
    Fact,
    Image,
    OverridesSet,
    PartitionImage,
    ProducerIdsTaken,
    ReignTaken,
    Topic,
    TopicDeleted,
    TopicSet,
)
from barnabas.ports import WorldError

HERE = BrokerImage(1, (Endpoint("PLAINTEXT", "localhost", 9092),), rack="r")


class Told:
    """What done was told, in order."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.errors: list[str | None] = []

    def __call__(self, reply: Any, error: WorldError | None) -> None:
        self.replies.append(reply)
        self.errors.append(None if error is None else error.what)


def ids(image: Image) -> Decision[int]:
    return changes.take_producer_ids(image)


names = st.sampled_from(["a", "a.b", "a_b", "c/d", ""])
maps = st.dictionaries(names, st.text(max_size=3), max_size=2)
partition = st.builds(
    lambda leader, epoch, replicas: PartitionImage(leader, epoch, tuple(replicas), tuple(replicas)),
    st.integers(1, 2),
    st.integers(0, 2),
    st.lists(st.integers(1, 3), min_size=1, max_size=2),
)
facts_of_any_kind = st.one_of(
    st.builds(
        lambda name, number, partitions, overrides: TopicSet(
            Topic(name, name.encode().ljust(15, b"\0") + bytes([number]), tuple(partitions), overrides)
        ),
        names,
        st.integers(1, 3),
        st.lists(partition, min_size=1, max_size=4),
        maps,
    ),
    st.builds(TopicDeleted, names),
    st.builds(OverridesSet, st.sampled_from(["broker", "group", "client-metrics"]), names, maps),
    st.builds(ReignTaken, st.integers(0, 9)),
    st.builds(ProducerIdsTaken, st.integers(0, 9)),
    st.builds(
        lambda node_id, reign: changes.BrokerRegistered(replace(HERE, node_id=node_id, reign=reign)),
        st.integers(1, 2),
        st.integers(0, 3),
    ),
    st.builds(BrokerRemoved, st.integers(1, 2)),
)


def possible(image: Image, wanted: list[Fact]) -> Decision[None]:
    """Those of the facts that can happen: what is absent is not removed."""
    draft, facts = Draft(image), []
    for fact in wanted:
        match fact:
            case TopicDeleted(name) if name not in draft.image.topics:
                continue
            case BrokerRemoved(node_id) if node_id not in draft.image.brokers:
                continue
        draft.take(fact)
        facts.append(fact)
    return Decision(None, facts)
