"""What every MetaStore holds, on real loops and on virtual time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from meta_stores import Driver, MovableClock, Store, values

from barnabas.adapters.meta.ram import RamMetaStore
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.ports import Compare, MetaChanges, MetaStore
from barnabas.testing.meta import VirtualMetaStore
from barnabas.testing.virtual import VirtualLoop

WORLDS = [
    ("uvloop", "sqlite"),
    ("asyncio", "sqlite"),
    ("virtual-1", "sqlite"),
    ("uvloop", "ram"),
    ("virtual-1", "ram"),
    ("virtual-2", "ram"),
    ("virtual-1", "in-flight"),
    ("virtual-2", "in-flight"),
]


@pytest.fixture(params=WORLDS, ids=" ".join)
def meta(request: pytest.FixtureRequest, drive: Callable[[str], Driver], tmp_path: Path) -> Iterator[Store]:
    loop_kind, store_kind = request.param
    driver = drive(loop_kind)
    clock = MovableClock()
    store: MetaStore
    if store_kind == "sqlite":
        store = SqliteMetaStore(f"{tmp_path}/barnabas.db", driver.loop, clock)
    elif store_kind == "ram":
        store = RamMetaStore(driver.loop, clock)
    else:
        assert isinstance(driver.loop, VirtualLoop)
        store = VirtualMetaStore(driver.loop)
        store._clock = clock
    yield Store(driver, store, clock)
    store.close()


def test_a_put_is_found_with_its_version(meta: Store) -> None:
    assert meta.txn(puts={"topics/a": b"1", "topics/b": b""})
    assert meta.txn(puts={"topics/a": b"2"})
    assert meta.range() == {"topics/a": (b"2", 2), "topics/b": (b"", 1)}


def test_a_deleted_key_is_absent_and_starts_again(meta: Store) -> None:
    meta.txn(puts={"a": b"1"})
    meta.txn(puts={"a": b"2"})
    assert meta.txn(deletes=["a", "never-there"])
    assert meta.range() == {}
    assert meta.txn([("a", 0)], {"a": b"3"})
    assert meta.range() == {"a": (b"3", 1)}


def test_one_compare_that_fails_stops_all(meta: Store) -> None:
    meta.txn(puts={"a": b"1", "b": b"1"})
    before = meta.range()
    assert not meta.txn([("a", 1), ("b", 2)], {"a": b"2", "c": b"1"}, ["b"])
    assert not meta.txn([("a", 0)], {"a": b"2"})
    assert not meta.txn([("absent", 1)], {"a": b"2"})
    assert meta.range() == before
    assert meta.txn([("a", 1), ("b", 1), ("absent", 0)], {"a": b"2"}, ["b"])
    assert meta.range() == {"a": (b"2", 2)}


def test_what_need_not_be_durable_is_found_and_told_like_the_rest(meta: Store) -> None:
    told: list[object] = []
    meta.store.watch("", lambda changes: told.append(values(changes)))
    for at, durable in enumerate((False, True, False)):
        meta.store.txn(
            [Compare("n", at)], {"n": bytes([at])}, (), lambda yes, error: told.append(yes), durable=durable
        )
    meta.driver.run_until(lambda: len(told) == 6)
    assert told == [True, [("n", b"\0")], True, [("n", b"\1")], True, [("n", b"\2")]]
    assert meta.range() == {"n": (b"\2", 3)}


def test_a_range_is_a_prefix_in_order(meta: Store) -> None:
    keys = ["a", "a/", "a/b", "a/é", "a/\U0001f600", "a0", "b/a"]
    meta.txn(puts={key: key.encode() for key in reversed(keys)})
    assert list(meta.range("a/")) == sorted(key for key in keys if key.startswith("a/"))
    assert list(meta.range()) == sorted(keys)
    assert meta.range("nothing") == {}


def test_calls_take_effect_in_the_order_they_were_made(meta: Store) -> None:
    told: list[object] = []
    for at in range(20):
        meta.store.txn([Compare("n", at)], {"n": bytes([at])}, (), lambda yes, error: told.append(yes))
    meta.store.range("n", lambda found, error: told.append(found["n"].version))
    meta.driver.run_until(lambda: len(told) == 21)
    assert told == [True] * 20 + [20]


def test_a_watch_hears_every_change_below_its_prefix_in_order(meta: Store) -> None:
    heard: list[list[tuple[str, bytes | None]]] = []
    end = meta.store.watch("a/", lambda changes: heard.append(values(changes)))
    meta.txn(puts={"a/1": b"x", "b/1": b"x", "a/2": b"y"})
    meta.txn([("a/1", 7)], {"a/1": b"no"})
    meta.txn(puts={"b/1": b"unwatched"})
    meta.txn(puts={"a/1": b"z"}, deletes=["a/2", "a/3"])
    assert heard == [[("a/1", b"x"), ("a/2", b"y")], [("a/1", b"z"), ("a/2", None)]], "a call a transaction"
    end()
    end()
    meta.txn(puts={"a/1": b"more"})
    meta.range()
    assert len(heard) == 2


def test_a_watch_ended_by_another_hears_nothing_more(meta: Store) -> None:
    heard: list[str] = []

    def first(changes: MetaChanges) -> None:
        heard.append("first")
        end_second()

    meta.store.watch("", first)
    end_second = meta.store.watch("", lambda changes: heard.append("second"))
    meta.txn(puts={"a": b""})
    meta.range()
    assert heard == ["first"]


def test_the_asker_is_answered_before_the_watches(meta: Store) -> None:
    told: list[str] = []
    meta.store.watch("", lambda changes: told.extend(f"watch {key}" for key, _ in changes))
    meta.store.txn((), {"a": b""}, (), lambda yes, error: told.append("done a"))
    meta.store.txn((), {"b": b""}, (), lambda yes, error: told.append("done b"))
    meta.driver.run_until(lambda: len(told) == 4)
    assert told == ["done a", "watch a", "done b", "watch b"]


def test_keys_of_a_lease_vanish_with_it(meta: Store) -> None:
    gone: list[str] = []
    lease = meta.grant(10_000)
    assert meta.txn(puts={"session/1": b"", "session/2": b""}, lease=lease)
    assert meta.txn(puts={"session/2": b"kept"})
    meta.store.watch("", lambda changes: gone.extend(key for key, _ in changes))
    meta.clock.now_ms += 9_000
    meta.store.keep_alive(lease)
    meta.clock.now_ms += 9_000
    assert sorted(meta.range()) == ["session/1", "session/2"]
    meta.clock.now_ms += 1_000
    assert sorted(meta.range()) == ["session/2"]
    assert gone == ["session/1"]
    meta.store.keep_alive(lease)
    assert not meta.txn(puts={"session/3": b""}, lease=lease)


def test_a_revoked_lease_binds_nothing(meta: Store) -> None:
    lease, other = meta.grant(1_000), meta.grant(1_000)
    assert lease != other
    meta.txn(puts={"a": b""}, lease=lease)
    meta.txn(puts={"b": b""}, lease=other)
    meta.store.revoke(lease)
    meta.store.revoke(lease)
    assert list(meta.range()) == ["b"]
    assert not meta.txn(puts={"c": b""}, lease=lease)
