"""What only a file can show: restarts, damage, a newer schema."""

import sqlite3
from pathlib import Path

import pytest

from barnabas.adapters.meta.database import SCHEMA
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.ports import Versioned, WorldError
from barnabas.testing.virtual import VirtualLoop, VirtualTime


def opened(path: Path) -> tuple[VirtualTime, SqliteMetaStore]:
    time = VirtualTime()
    return time, SqliteMetaStore(str(path), VirtualLoop(time), time)


def content(time: VirtualTime, store: SqliteMetaStore) -> dict[str, Versioned]:
    answers: list[dict[str, Versioned]] = []
    store.range("", lambda found, error: answers.append(found))
    time.run_until(lambda: bool(answers))
    return answers[0]


def test_a_restart_finds_what_was_committed_but_no_leased_key(tmp_path: Path) -> None:
    time, store = opened(tmp_path / "db")
    store.txn((), {"a": b"1"}, (), lambda yes, error: None)
    store.txn((), {"a": b"2"}, (), lambda yes, error: None)
    leases: list[int] = []
    store.grant(1000, lambda lease, error: leases.append(lease))
    time.run_for(50)
    store.txn((), {"session": b""}, (), lambda yes, error: None, leases[0])
    time.run_for(50)
    assert sorted(content(time, store)) == ["a", "session"]
    store.close()
    time, store = opened(tmp_path / "db")
    found = content(time, store)
    assert [(key, value.value, value.version) for key, value in found.items()] == [("a", b"2", 2)]
    store.close()


def test_commits_are_synced_but_for_those_that_need_not_be(tmp_path: Path) -> None:
    time, store = opened(tmp_path / "db")
    assert store._database.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    levels = []
    for durable in (True, False, True, False, True):
        store.txn((), {"a": b""}, (), lambda yes, error: None, durable=durable)
        time.run_for(50)
        levels.append(store._database.db.execute("PRAGMA synchronous").fetchone())
    assert levels == [(2,), (1,), (2,), (1,), (2,)], "2 is FULL, 1 is NORMAL"
    store.close()


def test_a_newer_schema_is_refused_untouched_and_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={SCHEMA + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(WorldError, match="upgrade the package, or restore a backup"):
        opened(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["db"]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(WorldError, match="db: file is not a database"):
        opened(path)


def test_a_broken_statement_answers_an_error_and_leaves_no_transaction_open(tmp_path: Path) -> None:
    time, store = opened(tmp_path / "db")
    answers: list[tuple[bool, WorldError | None]] = []
    bad: dict[str, bytes] = {"good": b"", "bad": None}  # type: ignore[dict-item]
    store.txn((), bad, (), lambda *answer: answers.append(answer))
    store.txn((), {"next": b""}, (), lambda *answer: answers.append(answer))
    time.run_until(lambda: len(answers) == 2)
    assert answers[0][0] is False
    assert "NOT NULL" in str(answers[0][1])
    assert answers[1] == (True, None)
    assert list(content(time, store)) == ["next"]
    store.close()
