"""Waiting for other brokers: cluster/settled.py on one metadata store that several nodes have open."""

import gc
import weakref
from typing import Any

import pytest

from barnabas.cluster.settled import AGAIN_MS, Settled
from barnabas.ports import WorldError
from barnabas.testing.meta import DiskContents, VirtualMetaStore
from barnabas.testing.virtual import VirtualLoop, VirtualTime


class Nodes:
    """Two nodes on one store, and what has been heard by whoever waits at the first."""

    def __init__(self) -> None:
        self.time = VirtualTime(1)
        self.contents = DiskContents()
        self.stores: list[VirtualMetaStore] = []
        self.here, self.there = self.open(1), self.open(2)
        self.done: list[str] = []
        self.others = {2}

    def open(self, node_id: int) -> Settled:
        loop = VirtualLoop(self.time)
        store = VirtualMetaStore(loop, self.contents, "guest")
        self.stores.append(store)
        settled = Settled(store, node_id, loop.after)
        loaded: list[WorldError | None] = []
        settled.load(loaded.append)
        self.time.run_until(lambda: bool(loaded))
        assert loaded == [None]
        return settled

    def wait(self, version: int, name: str = "x") -> Any:
        return self.here.wait(version, lambda: self.others, lambda: self.done.append(name))


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def test_a_version_is_reached_when_the_other_has_marked_it(nodes: Nodes) -> None:
    nodes.wait(7)
    nodes.there.mark(6)
    nodes.time.run_for(1_000)
    assert nodes.done == [] and not nodes.here.reached(7, [2])
    nodes.there.mark(7)
    nodes.time.run_for(1_000)
    assert nodes.done == ["x"] and nodes.here.reached(7, [2])


def test_a_later_mark_counts_for_all_before_it_and_an_earlier_one_takes_nothing_back(nodes: Nodes) -> None:
    nodes.there.mark(9)
    nodes.there.mark(4)
    nodes.time.run_for(1_000)
    assert nodes.here.reached(9, [2])


def test_marks_made_while_one_is_on_its_way_share_the_next_transaction(nodes: Nodes) -> None:
    for version in range(1, 101):
        nodes.there.mark(version)
    nodes.time.run_for(1_000)
    assert nodes.here.reached(100, [2])
    assert nodes.contents.values["applied/2"].version == 2


def test_who_waits_for_a_broker_that_is_removed_goes_on(nodes: Nodes) -> None:
    nodes.wait(7)
    nodes.others.clear()
    assert nodes.done == [], "never inside the call that changes it"
    nodes.here.review()
    assert nodes.done == ["x"]


def test_who_has_given_up_hears_nothing(nodes: Nodes) -> None:
    waiting = nodes.wait(7)
    nodes.wait(7, "y")
    waiting.cancel()
    nodes.there.mark(7)
    nodes.time.run_for(1_000)
    assert nodes.done == ["y"]


def test_who_is_told_may_wait_for_the_next(nodes: Nodes) -> None:
    nodes.here.wait(1, lambda: nodes.others, lambda: nodes.wait(2, "second"))
    nodes.there.mark(1)
    nodes.time.run_for(1_000)
    assert nodes.done == []
    nodes.there.mark(2)
    nodes.time.run_for(1_000)
    assert nodes.done == ["second"]


def test_a_start_finds_the_marks_that_were_there(nodes: Nodes) -> None:
    nodes.there.mark(5)
    nodes.time.run_for(1_000)
    assert nodes.open(3).reached(5, [2])


def test_a_mark_that_could_not_be_written_is_written_again(nodes: Nodes) -> None:
    nodes.contents.is_full = True
    nodes.there.mark(5)
    nodes.time.run_for(10 * AGAIN_MS)
    assert not nodes.here.reached(5, [2])
    nodes.contents.is_full = False
    nodes.time.run_for(2 * AGAIN_MS)
    assert nodes.here.reached(5, [2])
    assert nodes.contents.values["applied/2"].version == 1


def test_those_who_gave_up_are_not_kept_while_nobody_marks_anything(nodes: Nodes) -> None:
    class Asker:
        def told(self) -> None: ...

    asker = Asker()
    kept = weakref.ref(asker)
    nodes.here.wait(7, lambda: nodes.others, asker.told).cancel()
    del asker
    nodes.wait(7)
    gc.collect()
    assert kept() is None
