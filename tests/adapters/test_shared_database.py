"""The metadata database shared by processes: what it leaves behind, who rings, and a process that dies in a commit."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.meta import Sharing, doorbell
from barnabas.adapters.meta.database import SCHEMA, Database
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.ports import Compare, MetaChanges, Versioned, WorldError

WRITER = Path(__file__).parent / "metadata_writer.py"
ROUNDS_MAX = 20_000
BELL_THAT_STAYS = """
import os, socket, sys
from barnabas.adapters.meta.database import Database
bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
bell.bind(("127.0.0.1", 0))
Database(sys.argv[1], "guest").add_bell(bell.getsockname()[1])
os._exit(0)
"""


class Stage:
    """Stores on one database, on one loop."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.loop = AsyncLoop(asyncio.new_event_loop())
        self.stores: list[SqliteMetaStore] = []

    def open(self, sharing: Sharing) -> SqliteMetaStore:
        self.stores.append(SqliteMetaStore(self.path, self.loop, SystemClock(), sharing))
        return self.stores[-1]

    def until(self, reached: Callable[[], bool]) -> None:
        async def wait() -> None:
            for _ in range(ROUNDS_MAX):
                if reached():
                    return
                await asyncio.sleep(0.001)
            raise AssertionError("not reached")

        self.loop.asyncio.run_until_complete(wait())

    def put(self, store: SqliteMetaStore, key: str, value: bytes = b"") -> None:
        answers: list[tuple[bool, WorldError | None]] = []
        store.txn((), {key: value}, (), lambda yes, error: answers.append((yes, error)))
        self.until(lambda: bool(answers))
        assert answers == [(True, None)]

    def range(self, store: SqliteMetaStore) -> dict[str, Versioned]:
        answers: list[dict[str, Versioned]] = []
        store.range("", lambda found, error: answers.append(found))
        self.until(lambda: bool(answers))
        return answers[0]

    def close(self) -> None:
        self.loop.close()
        for store in self.stores:
            store.close()
        self.loop.asyncio.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "barnabas.db")
    yield made
    made.close()


def rows(path: str, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def doorbells() -> int:
    return sum(thread.name == "barnabas-doorbell" for thread in threading.enumerate())


# -- the doorbell ----------------------------------------------------------------------------------


def test_a_datagram_is_enough_and_so_is_a_look(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "POLL_S", 10_000.0)
    host, guest = stage.open("host"), stage.open("guest")
    monkeypatch.setattr(doorbell, "POLL_S", 0.01)
    looking = stage.open("guest")
    assert looking._bell is not None
    looking._database.remove_bell(looking._bell.port)
    heard: list[str] = []
    guest.watch("", lambda changes: heard.append("rung"))
    looking.watch("", lambda changes: heard.append("looked"))
    stage.put(host, "a")
    stage.until(lambda: len(heard) == 2)
    stage.put(guest, "b")
    stage.until(lambda: len(heard) == 4)
    assert sorted(heard) == ["looked", "looked", "rung", "rung"]


def test_who_is_alone_has_no_thread_and_all_threads_end(tmp_path: Path) -> None:
    before = doorbells()
    stage = Stage(tmp_path / "barnabas.db")
    stage.open("alone").close()
    assert doorbells() == before
    host, guest = stage.open("host"), stage.open("guest")
    assert doorbells() == before + 2
    assert len(rows(stage.path, "SELECT port FROM bell")) == 2
    guest.close()
    guest.close()
    assert len(rows(stage.path, "SELECT port FROM bell")) == 1
    host.close()
    assert doorbells() == before
    stage.close()


def test_a_commit_holds_though_nobody_can_be_rung(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "POLL_S", 0.01)
    host, guest = stage.open("host"), stage.open("guest")
    heard: list[str] = []
    host.watch("", lambda changes: heard.append("own"))
    guest.watch("", lambda changes: heard.append("looked"))

    def ports(database: Database) -> list[int]:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Database, "ports", ports)
    stage.put(host, "a")
    stage.until(lambda: len(heard) == 2)
    assert sorted(heard) == ["looked", "own"]


def test_a_failed_look_is_made_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "POLL_S", 0.01)
    host, guest = stage.open("host"), stage.open("guest")
    heard: list[MetaChanges] = []
    guest.watch("", heard.append)
    sound, failures = Database.news, [sqlite3.OperationalError("disk I/O error")] * 3

    def news(database: Database) -> object:
        if database is guest._database and failures:
            raise failures.pop()
        return sound(database)

    monkeypatch.setattr(Database, "news", news)
    stage.put(host, "a")
    stage.until(lambda: bool(heard))
    assert not failures


# -- what stays in the file ------------------------------------------------------------------------


def test_the_host_wipes_what_earlier_processes_left(stage: Stage) -> None:
    host, guest = stage.open("host"), stage.open("guest")
    granted: list[int] = []
    guest.grant(10_000, lambda lease, error: granted.append(lease))
    stage.until(lambda: bool(granted))
    guest.txn((), {"session": b""}, (), lambda yes, error: None, granted[0])
    stage.put(host, "a")
    done: list[bool] = []
    host.txn((), {}, ["a"], lambda yes, error: done.append(yes))
    stage.until(lambda: bool(done))
    assert rows(stage.path, "SELECT key FROM gone") == [("a",)]
    again = stage.open("host")
    assert rows(stage.path, "SELECT key FROM gone UNION SELECT key FROM meta") == []
    assert again._bell is not None
    assert rows(stage.path, "SELECT port FROM bell") == [(again._bell.port,)]


def test_the_bell_of_a_process_that_was_killed_goes_when_the_next_one_comes(stage: Stage) -> None:
    host = stage.open("host")
    writer = subprocess.Popen(
        [sys.executable, "-c", BELL_THAT_STAYS, stage.path], stdout=subprocess.PIPE, text=True
    )
    assert writer.wait(30) == 0
    assert len(rows(stage.path, "SELECT port FROM bell")) == 2
    guest = stage.open("guest")
    assert host._bell is not None and guest._bell is not None
    assert {port for (port,) in rows(stage.path, "SELECT port FROM bell")} == {
        host._bell.port,
        guest._bell.port,
    }


def test_who_is_alone_leaves_no_tombstones(stage: Stage) -> None:
    store, done = stage.open("alone"), []
    stage.put(store, "a")
    store.txn((), {}, ["a"], lambda yes, error: done.append(yes))
    stage.until(lambda: bool(done))
    assert rows(stage.path, "SELECT key FROM gone") == []


SCHEMA_1 = """
CREATE TABLE meta(
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO meta VALUES('cluster/image', X'31', 7, 0), ('cluster/reign', X'33', 3, 0), ('session', X'', 1, 4);
PRAGMA user_version=1;
"""


@pytest.mark.parametrize("sharing", ["alone", "host"])
def test_a_database_of_schema_1_is_taken_over(stage: Stage, sharing: Sharing) -> None:
    db = sqlite3.connect(stage.path)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(SCHEMA_1)
    db.close()
    store = stage.open(sharing)
    told = [(key, now.value, now.version) for key, now in stage.range(store).items()]
    assert told == [("cluster/image", b"1", 7), ("cluster/reign", b"3", 3)]
    done: list[bool] = []
    store.txn([Compare("cluster/image", 7)], {"cluster/image": b"1"}, (), lambda yes, error: done.append(yes))
    stage.until(lambda: bool(done))
    assert done == [True]
    assert rows(stage.path, "SELECT key, version, revision FROM meta") == [
        ("cluster/image", 8, 1),
        ("cluster/reign", 3, 0),
    ]
    assert rows(stage.path, "PRAGMA user_version") == [(SCHEMA,)]


@pytest.mark.parametrize("schema", ["", SCHEMA_1])
def test_a_guest_needs_a_host_that_made_the_database_its_own(stage: Stage, schema: str) -> None:
    db = sqlite3.connect(stage.path)
    db.executescript(schema)
    db.close()
    before = Path(stage.path).read_bytes()
    with pytest.raises(WorldError, match="its host has not opened it"):
        stage.open("guest")
    assert Path(stage.path).read_bytes() == before
    assert doorbells() == 0


def test_a_guest_makes_no_database(stage: Stage) -> None:
    with pytest.raises(WorldError, match="unable to open"):
        stage.open("guest")
    assert not Path(stage.path).exists()


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    stage = Stage(folder / "barnabas.db")
    stage.put(stage.open("host"), "a")
    assert list(stage.range(stage.open("guest"))) == ["a"]
    stage.close()
    assert (folder / "barnabas.db").exists()


def test_news_are_found_by_an_index(stage: Stage) -> None:
    """A change among 10,000 topics reads the change."""
    host, guest = stage.open("host"), stage.open("guest")
    statements: list[str] = []
    stage.put(host, "a")
    stage.until(lambda: guest._database.seen == 1)
    guest._database.db.set_trace_callback(statements.append)
    stage.put(host, "b")
    stage.until(lambda: guest._database.seen == 2)
    (query,) = (text for text in statements if "UNION" in text)
    plan = [str(row[3]) for row in guest._database.db.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert not [step for step in plan if step.startswith("SCAN")], plan


# -- two processes ---------------------------------------------------------------------------------


def test_a_process_killed_in_the_middle_of_its_commits_leaves_whole_ones(stage: Stage) -> None:
    """And nothing that it was told is lost, those who watch hear all of it, and its locks are free."""
    host = stage.open("host")
    holds: dict[str, int] = {}

    def told(changes: MetaChanges) -> None:
        for key, now in changes:
            if now is None:
                holds.pop(key, None)  # of several commits in one call: it came and went
            else:
                holds[key] = int(now.value)
        assert holds["left"] == holds["right"]
        assert holds.get("now and then", 0) == (holds["left"] if holds["left"] % 3 else 0)

    host.watch("", told)
    for kill_after in (1, 7, 50, 111):
        begun = holds.get("left", 0)
        child = subprocess.Popen([sys.executable, str(WRITER), stage.path], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            stage.until(lambda wanted=begun + kill_after: holds.get("left", 0) >= wanted)  # type: ignore[misc]
        finally:
            child.kill()
            printed = child.communicate()[0].split()
        stage.put(host, "other", b"0")
        assert {key: int(now.value) for key, now in stage.range(host).items()} == holds
        assert [int(number) for number in printed] == list(range(begun + 1, begun + 1 + len(printed)))
        assert begun + len(printed) <= holds["left"] <= begun + len(printed) + 1


def test_two_processes_that_commit_at_once_wait_for_each_other(stage: Stage) -> None:
    host = stage.open("host")
    children = [
        subprocess.Popen([sys.executable, str(WRITER), stage.path], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lefts: list[int] = []
    host.watch("left", lambda changes: lefts.extend(int(now.value) for _, now in changes if now is not None))
    try:
        stage.until(lambda: bool(lefts) and lefts[-1] >= 300)
    finally:
        for child in children:
            child.kill()
        printed = [int(line) for child in children for line in child.communicate()[0].split()]
    stage.put(host, "other", b"0")
    assert lefts == sorted(set(lefts))
    assert len(printed) == len(set(printed)), "a number is given to one"
    assert set(range(1, lefts[-1] + 1)) - set(printed) <= {lefts[-1], lefts[-1] - 1}, (
        "answers in flight at the end"
    )
