"""What every MetaStore holds that is open more than once: all hear of all commits, in one order, each once and whole."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from meta_stores import Driver, MovableClock, Store, values

from barnabas.adapters.meta import Sharing
from barnabas.adapters.meta.ram import RamMetaStore
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.ports import Compare, Loop, MetaChanges, MetaStore, Versioned, WorldError
from barnabas.testing.meta import DiskContents, VirtualMetaStore
from barnabas.testing.virtual import VirtualLoop

WORLDS = [
    ("uvloop", "sqlite"),
    ("asyncio", "sqlite"),
    ("uvloop", "ram"),
    ("virtual-1", "ram"),
    ("virtual-2", "ram"),
    ("virtual-1", "in-flight"),
    ("virtual-2", "in-flight"),
]


class Views:
    """Several stores on one content: the first is its host. On virtual time each has a loop of its own."""

    def __init__(self, driver: Driver, kind: str, path: str) -> None:
        self.driver = driver
        self.clock = MovableClock()
        self._kind = kind
        self._path = path
        self._contents = DiskContents()
        self.opened: list[Store] = []

    def open(self) -> Store:
        loop = VirtualLoop(self.driver.loop.time) if isinstance(self.driver.loop, VirtualLoop) else None
        store = self._make(loop or self.driver.loop, "guest" if self.opened else "host")
        self.opened.append(Store(self.driver, store, self.clock))
        return self.opened[-1]

    def _make(self, loop: Loop, sharing: Sharing) -> MetaStore:
        if self._kind == "sqlite":
            return SqliteMetaStore(self._path, loop, self.clock, sharing)
        if self._kind == "ram":
            return RamMetaStore(loop, self.clock, self._contents, sharing)
        assert isinstance(loop, VirtualLoop)
        store = VirtualMetaStore(loop, self._contents, sharing)
        store._clock = self.clock
        return store

    def close(self) -> None:
        for opened in self.opened:
            opened.store.close()


@pytest.fixture(params=WORLDS, ids=" ".join)
def views(request: pytest.FixtureRequest, drive: Callable[[str], Driver], tmp_path: Path) -> Iterator[Views]:
    loop_kind, store_kind = request.param
    made = Views(drive(loop_kind), store_kind, f"{tmp_path}/barnabas.db")
    yield made
    made.close()


class Replica:
    """What a watch has told, laid over what the range showed when it began."""

    def __init__(self, view: Store, prefix: str = "") -> None:
        self.view = view
        self.prefix = prefix
        self.holds: dict[str, tuple[bytes, int]] = {}
        self.calls: list[MetaChanges] = []
        self._ready = False
        self.end = view.store.watch(prefix, self._told)
        view.store.range(prefix, self._began)
        view.driver.run_until(lambda: self._ready)

    def _began(self, found: dict[str, Versioned], error: WorldError | None) -> None:
        assert error is None
        self.holds = {key: (now.value, now.version) for key, now in found.items()}
        self.calls.clear()
        self._ready = True

    def _told(self, changes: MetaChanges) -> None:
        keys = [key for key, _ in changes]
        assert len(set(keys)) == len(keys), "a key once in a call"
        assert all(key.startswith(self.prefix) for key in keys)
        self.calls.append(changes)
        for key, now in changes:
            if now is None:
                self.holds.pop(key, None)
            else:
                assert (now.value, now.version) != self.holds.get(key), "what is told is new"
                self.holds[key] = (now.value, now.version)

    def catch_up(self) -> None:
        """A range tells first what it shows."""
        self.view.range()


def test_a_commit_is_heard_of_by_all_who_watch_without_their_asking(views: Views) -> None:
    host, guest = views.open(), views.open()
    heard = Replica(guest, "a/")
    own = Replica(host, "a/")
    assert host.txn(puts={"a/1": b"x", "b/1": b"", "a/2": b"y"})
    views.driver.run_until(lambda: bool(heard.calls))
    assert [values(call) for call in heard.calls] == [[("a/1", b"x"), ("a/2", b"y")]]
    assert guest.txn([("a/1", 1)], {"a/3": b"z"}, ["a/1", "a/none"])
    views.driver.run_until(lambda: len(own.calls) == 2)
    assert sorted(values(own.calls[1])) == [("a/1", None), ("a/3", b"z")]
    assert heard.holds == own.holds == {"a/2": (b"y", 1), "a/3": (b"z", 1)}


def test_who_lost_a_race_has_heard_of_the_winner(views: Views) -> None:
    host, guest = views.open(), views.open()
    heard = Replica(guest)
    told: list[object] = []
    for at in range(5):
        host.store.txn([Compare("n", at)], {"n": bytes([at])}, (), lambda yes, error: None)
        known = len(heard.calls)
        guest.store.txn(
            [Compare("n", at)],
            {"n": b"lost"},
            (),
            lambda yes, error: told.append(yes or heard.holds["n"]),
        )
        views.driver.run_until(lambda wanted=at: len(told) > wanted)  # type: ignore[misc]
        if told[-1] is True:  # the guest was first: its loop is another one
            host.txn([("n", at + 1)])
            assert heard.holds["n"] == (b"lost", at + 1)
        else:
            assert told[-1] == (bytes([at]), at + 1)
        assert len(heard.calls) == known + 1


def test_a_range_shows_what_has_been_told_and_no_more(views: Views) -> None:
    host, guest = views.open(), views.open()
    heard = Replica(guest)
    same: list[bool] = []
    for at in range(20):
        host.store.txn((), {f"k{at % 3}": bytes([at])}, [f"k{(at + 1) % 3}"], lambda yes, error: None)
        guest.store.range(
            "",
            lambda found, error: same.append(
                heard.holds == {key: (now.value, now.version) for key, now in found.items()}
            ),
        )
    views.driver.run_until(lambda: len(same) == 20)
    assert all(same)


@pytest.mark.parametrize("seed", range(4))
def test_all_replay_one_history_of_whole_transactions(views: Views, seed: int) -> None:
    """Each transaction leaves `left` and `right` alike, or neither of them there."""
    chance = random.Random(seed)
    stores = [views.open() for _ in range(3)]
    replicas = [Replica(store) for store in stores]
    pairs: list[tuple[object, object]] = []
    for replica in replicas:

        def look(changes: MetaChanges, replica: Replica = replica) -> None:
            left, right = replica.holds.get("left"), replica.holds.get("right")
            pairs.append((left and left[0], right and right[0]))

        replica.view.store.watch("", look)
    done: list[bool] = []
    for number in range(60):
        store = chance.choice(stores).store
        puts = {
            "left": str(number).encode(),
            "right": str(number).encode(),
            f"k{number % 5}": str(number).encode(),
        }
        if chance.random() < 0.3:
            store.txn((), {}, ["left", "right"], lambda yes, error: done.append(yes))
        else:
            store.txn((), puts, [f"k{(number + 1) % 5}"], lambda yes, error: done.append(yes))
        if chance.random() < 0.2:
            views.driver.run_until(lambda wanted=number: len(done) > wanted - 3)  # type: ignore[misc]
    views.driver.run_until(lambda: len(done) == 60)
    for replica in replicas:
        replica.catch_up()
    assert all(left == right for left, right in pairs), "a part of a transaction was told"
    assert stores[0].range() == replicas[0].holds == replicas[1].holds == replicas[2].holds
    assert all(len(replica.calls) <= 60 for replica in replicas), "each once"


def test_a_key_made_again_between_two_looks_is_what_it_is_now(views: Views) -> None:
    host, guest = views.open(), views.open()
    host.txn(puts={"a": b"1"})
    heard = Replica(guest)
    done: list[bool] = []
    for puts, deletes in (({}, ["a"]), ({"a": b"2"}, []), ({}, ["a"]), ({"a": b"3"}, [])):
        host.store.txn((), puts, deletes, lambda yes, error: done.append(yes))
    views.driver.run_until(lambda: len(done) == 4)
    heard.catch_up()
    assert heard.holds == {"a": (b"3", 1)}
    assert host.txn(deletes=["a"])
    heard.catch_up()
    assert heard.holds == {}


def test_a_lease_is_nobody_elses_and_its_end_is_heard_of(views: Views) -> None:
    host, guest = views.open(), views.open()
    mine, other = host.grant(10_000), guest.grant(20_000)
    assert mine != other
    host.txn(puts={"session/1": b""}, lease=mine)
    guest.txn(puts={"session/2": b""}, lease=other)
    heard = Replica(guest)
    views.clock.now_ms += 10_000
    assert sorted(host.range()) == ["session/2"]
    heard.catch_up()
    assert [values(call) for call in heard.calls] == [[("session/1", None)]]


def test_a_guest_touches_nothing_when_it_comes_and_leaves_others_alone(views: Views) -> None:
    host = views.open()
    lease = host.grant(10_000)
    host.txn(puts={"session": b""}, lease=lease)
    own = Replica(host)
    guest, second = views.open(), views.open()
    heard, ended = Replica(guest), Replica(second)
    assert heard.holds == {"session": (b"", 1)}
    second.store.close()
    host.txn(puts={"a": b"1"})
    heard.catch_up()
    assert heard.holds == own.holds == {"session": (b"", 1), "a": (b"1", 1)}
    assert ended.calls == []
