"""Which fetch session gives its place to which, and how much memory all of them may take (the rules of Kafka's cache)."""

from itertools import count

import pytest

from barnabas import errors
from barnabas.partitions.fetch_session import (
    EVICTION_MS,
    PARTITION_BYTES,
    FetchSession,
    FetchSessions,
    Key,
    Wanted,
)

OLD = EVICTION_MS + 1


def keys(size: int, name: str = "", first: int = 0) -> list[Key]:
    return [(name, b"\1" * 16, first + index) for index in range(size)]


class Bench:
    def __init__(self, slots: int = 10, partitions_max: int = 1_000_000) -> None:
        ids = count()
        self.sessions = FetchSessions(slots, lambda _: next(ids), partitions_max * PARTITION_BYTES)

    def open(self, size: int, now_ms: int, name: str = "") -> FetchSession | None:
        wanted = {key: Wanted(0, 1, -1, -1) for key in keys(size, name)}
        return self.sessions.open(wanted, True, now_ms)

    def must_open(self, size: int, now_ms: int) -> FetchSession:
        session = self.open(size, now_ms)
        assert session is not None
        return session

    def fetch(self, session: FetchSession, now_ms: int) -> bool:
        """Whether it is still there."""
        return not isinstance(self.sessions.find(session.id, session.epoch, True, now_ms), int)

    def add(self, session: FetchSession, size: int, now_ms: int) -> bool:
        assert self.fetch(session, now_ms)
        for key in keys(size, first=len(session.partitions)):
            session.ask(key, 0, 1, -1, -1)
        return self.sessions.keep(session, now_ms)


def test_without_a_slot_there_is_no_session() -> None:
    bench = Bench(slots=1)
    kept = bench.must_open(2, 0)
    assert bench.open(2, OLD - 1) is None, "not more partitions, and the other was used lately"
    assert bench.fetch(kept, OLD - 1)
    assert Bench(slots=0).open(1, 0) is None


def test_a_young_session_gives_its_slot_to_no_larger_one() -> None:
    bench = Bench(slots=1)
    young = bench.must_open(1, 0)
    assert bench.open(9, EVICTION_MS) is None
    assert bench.fetch(young, EVICTION_MS)
    assert bench.open(9, OLD) is not None
    assert bench.sessions.find(young.id, young.epoch, True, OLD) == errors.FETCH_SESSION_ID_NOT_FOUND


def test_the_longest_unused_goes_first_then_the_smallest() -> None:
    bench = Bench(slots=3)
    small, large, unused = bench.must_open(3, 0), bench.must_open(5, 0), bench.must_open(50, 1)
    middle = OLD
    assert bench.fetch(small, middle) and bench.fetch(large, middle)
    newest = bench.must_open(6, middle + 1)
    assert len(bench.sessions) == 3 and not bench.fetch(unused, middle + 1)
    assert bench.open(7, middle + 2) is not None
    assert not bench.fetch(small, middle + 2)
    assert bench.fetch(large, middle + 2) and bench.fetch(newest, middle + 2)


def test_all_sessions_together_have_so_much_memory() -> None:
    bench = Bench(partitions_max=10)
    first, second = bench.must_open(4, 0), bench.must_open(6, 0)
    assert bench.open(1, 1) is None
    assert bench.open(11, OLD) is None, "for what can never fit nobody goes"
    assert bench.fetch(first, OLD) and bench.fetch(second, OLD)
    assert bench.open(6, OLD) is None, "one may go, but that is not enough"
    assert bench.fetch(first, OLD)
    bench.sessions.close(second.id)
    assert bench.open(6, OLD) is not None


def test_long_names_count_too() -> None:
    bench = Bench(partitions_max=10)
    assert bench.open(2, 0, name="n" * 5 * PARTITION_BYTES) is None
    assert bench.open(2, 0, name="n" * 4 * PARTITION_BYTES) is not None
    assert bench.open(1, 0) is None


def test_a_session_that_grows_takes_the_place_of_others_or_ends() -> None:
    bench = Bench(partitions_max=10)
    growing, small = bench.must_open(4, 0), bench.must_open(3, 0)
    assert bench.add(growing, 3, 1)
    assert bench.fetch(small, 1), "there was room"
    assert bench.add(growing, 1, OLD)
    assert not bench.fetch(small, OLD)
    assert not bench.add(growing, 3, OLD), "alone too much"
    assert not bench.fetch(growing, OLD)
    assert len(bench.sessions) == bench.sessions.held_bytes == 0


@pytest.mark.parametrize("way", ["close", "evict", "forget"])
def test_what_a_session_held_is_free_afterwards(way: str) -> None:
    bench = Bench(slots=1, partitions_max=4)
    session = bench.must_open(3, 0)
    assert bench.sessions.held_bytes == 3 * PARTITION_BYTES
    if way == "close":
        bench.sessions.close(session.id)
        bench.sessions.close(session.id)
    elif way == "evict":
        assert bench.open(4, OLD) is not None
        assert bench.sessions.held_bytes == 4 * PARTITION_BYTES
        return
    else:
        for key in [*keys(3), *keys(3)]:
            session.forget(key)
        session.ask(keys(1)[0], 0, 1, -1, -1)
        session.ask(keys(1)[0], 5, 1, -1, -1)
        assert bench.sessions.keep(session, 1)
        assert bench.sessions.held_bytes == PARTITION_BYTES
        assert session.partitions[keys(1)[0]].offset == 5
        return
    assert bench.sessions.held_bytes == 0
