"""Several nodes on one metadata store: each follows what the others decide, and all come to the same image."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from histories import HERE, Told, facts_of_any_kind, ids, possible
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.meta.ram import RamMetaStore
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.cluster import formats
from barnabas.cluster.changes import BrokerRegistered
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerRemoved,
    Fact,
    Image,
    OverridesSet,
    PartitionImage,
    ReignTaken,
    Topic,
    TopicDeleted,
    TopicSet,
    apply,
)
from barnabas.cluster.store import ClusterStore
from barnabas.ports import MetaChanges, MetaStore, Versioned, WorldError
from barnabas.testing.meta import DiskContents, VirtualMetaStore
from barnabas.testing.virtual import VirtualLoop, VirtualTime


def topic(name: str, number: int = 1, partitions: int = 1) -> Topic:
    return Topic(
        name,
        name.encode().ljust(15, b"\0") + bytes([number]),
        (PartitionImage(1, 0, (1,), (1,)),) * partitions,
    )


class Follower:
    """A node's view, which checks S7 at each image it is shown."""

    def __init__(self, meta: MetaStore) -> None:
        self.meta = meta
        self.cluster = ClusterStore(meta)
        self.shown = self.cluster.image
        self.facts: list[Fact] = []
        self.jumps = 0
        self.loaded: list[WorldError | None] = []
        self.cluster.listen(self._show)
        self.cluster.load(self.loaded.append)

    def _show(self, image: Image, facts: Sequence[Fact]) -> None:
        assert image is self.cluster.image
        assert image.version > self.shown.version, "versions only rise"
        led_to = apply(self.shown, facts)
        self.jumps += image.version > led_to.version
        led_to.version = image.version
        assert led_to == image, "the facts lead there"
        self.shown = image
        self.facts += facts


class CountingStore(RamMetaStore):
    """How often all of it is read; a deaf one tells its watches nothing."""

    ranges = 0
    deaf = False

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        self.ranges += 1
        super().range(prefix, done)

    def watch(self, prefix: str, on_change: Callable[[MetaChanges], None]) -> Callable[[], None]:
        return super().watch(prefix, lambda changes: None if self.deaf else on_change(changes))


class Cluster:
    """Nodes with stores of their own, on one content and one hand-turned loop."""

    def __init__(self, loop: Any, clock: Any, nodes: int) -> None:
        self.loop = loop
        self.contents = DiskContents()
        self.stores = [CountingStore(loop, clock, self.contents, "guest") for _ in range(nodes)]
        self.nodes = [Follower(store) for store in self.stores]
        loop.settle()
        assert all(node.loaded == [None] for node in self.nodes)
        self.told = Told()

    def decide(self, node: int, *facts: Fact) -> None:
        self.nodes[node].cluster.submit(lambda image: Decision(None, list(facts)), self.told)

    def put_behind(self, puts: dict[str, bytes], deletes: Sequence[str] = ()) -> None:
        self.stores[-1].txn((), puts, deletes, lambda yes, error: None)
        self.loop.settle()


@pytest.fixture
def cluster(loop: Any) -> Cluster:
    return Cluster(loop, VirtualTime(), 3)


def test_a_decision_of_one_is_shown_to_all_and_costs_what_it_changed(cluster: Cluster) -> None:
    cluster.decide(0, *[TopicSet(topic(f"t{number}")) for number in range(1_000)])
    cluster.loop.settle()
    for node in cluster.nodes:
        node.facts.clear()
    cluster.decide(1, TopicSet(topic("new")), TopicDeleted("t7"))
    cluster.loop.settle()
    for node in cluster.nodes:
        assert sorted(map(repr, node.facts)) == sorted(
            map(repr, [TopicSet(topic("new")), TopicDeleted("t7")])
        )
        assert node.shown.topics.keys() == {"new"} | {f"t{number}" for number in range(1_000)} - {"t7"}
        assert node.shown.version == 2
    assert [store.ranges for store in cluster.stores] == [1, 1, 1], "each read all of it once, at its start"


def test_every_kind_of_deletion_is_followed(cluster: Cluster) -> None:
    cluster.decide(0, TopicSet(topic("t")), OverridesSet("broker", "", {"a": "b"}), BrokerRegistered(HERE))
    cluster.decide(0, TopicDeleted("t"), OverridesSet("broker", "", {}), BrokerRemoved(1))
    cluster.loop.settle()
    for node in cluster.nodes:
        assert (node.shown.topics, node.shown.overrides, node.shown.brokers) == ({}, {}, {})
        assert node.shown.version == 2


def test_who_loses_races_goes_on_from_what_the_watch_told(cluster: Cluster) -> None:
    for _ in range(10):
        for node in cluster.nodes:
            node.cluster.submit(ids, cluster.told)
        cluster.loop.settle()
    assert sorted(cluster.told.replies) == [number * 1000 for number in range(30)]
    assert [store.ranges for store in cluster.stores] == [1, 1, 1]


def test_who_hears_nothing_reads_all_when_it_loses_a_race(cluster: Cluster) -> None:
    cluster.stores[0].deaf = True
    cluster.decide(1, TopicSet(topic("t")))
    cluster.loop.settle()
    assert cluster.nodes[0].shown.version == 0
    cluster.nodes[0].cluster.submit(ids, cluster.told)
    cluster.loop.settle()
    assert cluster.told.replies == [None, 0]
    assert cluster.nodes[0].facts[0] == TopicSet(topic("t"))
    assert cluster.stores[0].ranges == 2


def test_several_commits_told_together_are_one_step(cluster: Cluster) -> None:
    """As a store tells them that was looked at after all of them."""
    cluster.decide(0, TopicSet(topic("old")), TopicSet(topic("kept")), TopicSet(topic("again", 1)))
    cluster.loop.settle()
    follower = cluster.nodes[1]
    follower.facts.clear()
    follower.cluster._heard(
        [
            ("cluster/topic/again", Versioned(formats.encode_topic(topic("again", 2)), 1)),
            ("cluster/topic/kept", Versioned(formats.encode_topic(topic("kept")), 5)),
            ("cluster/topic/made-and-gone", None),
            ("cluster/topic/old", None),
            ("cluster/image", Versioned(b"1", 7)),
            ("cluster/reign", Versioned(b"4", 2)),
        ]
    )
    assert follower.facts == [
        TopicDeleted("old"),
        TopicDeleted("again"),
        TopicSet(topic("again", 2)),
        ReignTaken(4),
    ]
    assert follower.shown.version == 7 and follower.jumps == 1


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("cluster/topic/t", b"{", "damaged at key cluster/topic/t"),
        ("cluster/image", b"2", "upgrade the package"),
    ],
)
def test_what_cannot_be_understood_is_not_shown_and_is_the_error_of_decisions(
    cluster: Cluster, key: str, value: bytes, says: str
) -> None:
    cluster.decide(0, TopicSet(topic("t")), ReignTaken(3))
    cluster.loop.settle()
    before = [node.shown for node in cluster.nodes]
    cluster.put_behind({"cluster/image": b"1", key: value})
    cluster.decide(0, ReignTaken(4))
    cluster.loop.settle()
    assert says in str(cluster.told.errors[-1])
    assert [node.shown for node in cluster.nodes] == before
    cluster.put_behind({"cluster/topic/t": formats.encode_topic(topic("t", 2))})
    cluster.put_behind({"cluster/image": b"1", "cluster/reign": b"4"})
    for node in cluster.nodes:
        assert node.shown.topics == {"t": topic("t", 2)}, "mended, and followed again"
    cluster.decide(0, ReignTaken(5))
    cluster.loop.settle()
    assert [node.shown.reign for node in cluster.nodes] == [5, 5, 5]


def test_a_change_that_makes_no_sense_is_looked_for_in_all_that_is_there(cluster: Cluster) -> None:
    cluster.decide(0, TopicSet(topic("t")), ReignTaken(3))
    cluster.loop.settle()
    changes = [("cluster/image", Versioned(b"1", 9)), ("cluster/reign", None)]
    with pytest.raises(WorldError, match="key cluster/reign was deleted"):
        formats.decode_changes(cluster.nodes[0].shown, changes)
    cluster.put_behind({"cluster/image": b"1"}, ["cluster/reign"])
    assert [(node.shown.version, node.shown.reign) for node in cluster.nodes] == [(2, 0)] * 3


# -- any history ---------------------------------------------------------------------------------------

decisions = st.lists(
    st.tuples(st.integers(0, 2), st.lists(facts_of_any_kind, max_size=4), st.integers(0, 12)), max_size=25
)
failures = st.lists(st.tuples(st.integers(0, 24), st.booleans()), max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**16), decisions, failures)
def test_all_nodes_come_to_one_image_whatever_they_decide(
    seed: int, history: list[tuple[int, list[Fact], int]], failing: list[tuple[int, bool]]
) -> None:
    """With transactions that fail, of which some happened nevertheless."""
    time, contents = VirtualTime(seed), DiskContents()
    nodes = [Follower(VirtualMetaStore(VirtualLoop(time), contents, "guest")) for _ in range(3)]
    told = Told()
    fails = dict(failing)
    for number, (at, wanted, wait_ms) in enumerate(history):
        if number in fails:
            nodes[at].meta.fail_next(happened=fails[number])  # type: ignore[attr-defined]
        nodes[at].cluster.submit(lambda image, wanted=wanted: possible(image, wanted), told)
        time.run_for(wait_ms)
    time.run_for(10_000)
    assert len(told.errors) == len(history)
    truth = formats.decode(contents.values)
    assert [node.shown for node in nodes] == [truth] * 3
    assert [node.cluster.image for node in nodes] == [truth] * 3


@pytest.fixture
def real() -> Iterator[AsyncLoop]:
    loop = AsyncLoop(asyncio.new_event_loop())
    yield loop
    loop.asyncio.close()


@pytest.mark.parametrize("seed", range(3))
def test_so_they_do_on_one_database(real: AsyncLoop, tmp_path: Path, seed: int) -> None:
    """Where several commits may be told together."""
    chance = random.Random(seed)
    path = f"{tmp_path}/barnabas.db"
    stores = [SqliteMetaStore(path, real, SystemClock(), "guest" if at else "host") for at in range(3)]
    nodes = [Follower(store) for store in stores]
    told = Told()

    async def run() -> None:
        for number in range(120):
            name = f"t{chance.randrange(6)}"
            fact: Fact = TopicSet(topic(name, number % 200)) if chance.random() < 0.7 else TopicDeleted(name)
            nodes[chance.randrange(3)].cluster.submit(lambda image, fact=fact: possible(image, [fact]), told)
            if chance.random() < 0.3:
                await asyncio.sleep(0.001)
        while len(told.errors) < 120 or len({node.shown.version for node in nodes}) > 1:
            await asyncio.sleep(0.001)

    real.asyncio.run_until_complete(asyncio.wait_for(run(), 60))
    assert told.errors == [None] * 120
    found: list[dict[str, Versioned]] = []
    stores[0].range(formats.PREFIX, lambda values, error: found.append(values))
    real.close()
    assert [node.shown for node in nodes] == [formats.decode(found[0])] * 3
    for store in stores:
        store.close()
