"""The metadata database: `barnabas.db` of the data folder, one SQLite file that several processes may have open.

Layout, PRAGMA user_version = SCHEMA
    meta(key PRIMARY KEY, value, version, lease, revision)   what is there; revision: the commit that put it
    gone(key PRIMARY KEY, revision)                          what was deleted since the host opened it; never when alone
    counter(name PRIMARY KEY, value)                         'revision': commits with changes so far; 'lease': leases granted
    bell(port PRIMARY KEY)                                   the doorbells of who has it open (doorbell.py)

D1  All that happened after revision R is in the rows of meta and gone whose revision is above R. A key that changed twice
    is there once: whoever looks sees what several commits did together, as of one moment, never a part of one.
D2  Each read or commit first takes what others did since the last, in the same SQLite transaction: what it found, and
    whether it was refused, follows from what has been taken by then.
D3  Writers wait for each other (BEGIN IMMEDIATE, BUSY_S), so a commit is decided on the last one's outcome.
Durable  WAL with synchronous=FULL: a commit is synced before it is answered, and before others see it. One that need not be
         durable is made under NORMAL: written to the WAL, not synced. The WAL is one file, read after a crash from its
         begin up to the first frame that is not whole, and a sync covers all of it, whoever wrote it: so a later FULL
         commit makes the earlier ones durable with itself, and never stands on one that was lost. Checkpoints sync the
         WAL before they copy it, under NORMAL too (only OFF would not). Each commit sets the level that it needs.
Crash    a transaction is whole or absent; locks of a dead process are freed by the kernel. Its leased keys and its bell
         stay until the host, or who is alone, opens the database again.
Schema 1 had meta without revision and nothing else; host and alone make it schema 2 in one transaction.
Never open the file but through SQLite in a process that has it open: closing it would free SQLite's locks (POSIX).
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import quote

from barnabas.adapters.meta import Sharing
from barnabas.ports import Compare, Versioned, WorldError

SCHEMA: Final = 2
BUSY_S: Final = 10.0
"""How long a commit waits for other writers: each takes well below a millisecond, so far more than they can need."""

KEYS_END: Final = "\U0010ffff"
META: Final = """CREATE TABLE IF NOT EXISTS meta(
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID"""
BESIDE: Final = (
    "CREATE INDEX IF NOT EXISTS meta_revision ON meta(revision)",
    "CREATE TABLE IF NOT EXISTS gone(key TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS gone_revision ON gone(revision)",
    "CREATE TABLE IF NOT EXISTS counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT OR IGNORE INTO counter VALUES('revision', 0), ('lease', 0)",
    "CREATE TABLE IF NOT EXISTS bell(port INTEGER PRIMARY KEY)",
)
OWN_AGAIN: Final = ("DELETE FROM meta WHERE lease <> 0", "DELETE FROM gone", "DELETE FROM bell")

Change = tuple[str, Versioned | None]
Answer = TypeVar("Answer")


class Database:
    """One connection. All calls after the first on one thread at a time (the `metadata` pool).

    Calls raise sqlite3.Error; then nothing has been taken, and whether something was committed is not known.
    """

    def __init__(self, path: str, sharing: Sharing) -> None:
        """WorldError when it cannot be opened, or by a newer program only."""
        self.db = _open(path, sharing)
        self.seen = revision(self.db)
        """Everything up to this revision has been handed out; another thread may read it."""
        self._shared = sharing != "alone"

    def news(self) -> list[Change]:
        """What others did since the last call of anything here."""
        return self._read(lambda: None)[0]

    def range(self, prefix: str) -> tuple[list[Change], dict[str, Versioned]]:
        """News, and the keys that begin with prefix, in order."""

        def work() -> dict[str, Versioned]:
            rows = self.db.execute(
                "SELECT key, value, version FROM meta WHERE key >= ? AND key < ? ORDER BY key",
                (prefix, prefix + KEYS_END),
            )
            return {key: Versioned(value, version) for key, value, version in rows}

        return self._read(work)

    def commit(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        lease: int,
        durable: bool,
    ) -> tuple[list[Change], list[Change] | None]:
        """News, and then what this commit changed: None when a compare did not hold."""

        def work() -> list[Change] | None:
            for compare in compares:
                row = self.db.execute("SELECT version FROM meta WHERE key=?", (compare.key,)).fetchone()
                if (row[0] if row else 0) != compare.version:
                    return None
            return self._change(puts, deletes, lease)

        return self._write(work, durable)

    def end_lease(self, lease: int) -> tuple[list[Change], list[Change]]:
        """News, and then the keys that vanished with it."""

        def work() -> list[Change]:
            rows = self.db.execute("SELECT key FROM meta WHERE lease=? ORDER BY key", (lease,))
            return self._change({}, [key for (key,) in rows.fetchall()], 0)

        return self._write(work, durable=True)

    def new_lease(self) -> int:
        """A lease that nobody else who has this database open gets."""
        (lease,) = self.db.execute(
            "UPDATE counter SET value=value+1 WHERE name='lease' RETURNING value"
        ).fetchone()
        return int(lease)

    def ports(self) -> list[int]:
        """The doorbells to ring."""
        return [port for (port,) in self.db.execute("SELECT port FROM bell")]

    def add_bell(self, port: int) -> None:
        self.db.execute("INSERT OR IGNORE INTO bell VALUES(?)", (port,))

    def remove_bell(self, port: int) -> None:
        self.db.execute("DELETE FROM bell WHERE port=?", (port,))

    def close(self) -> None:
        self.db.close()

    def _read(self, work: Callable[[], Answer]) -> tuple[list[Change], Answer]:
        return self._transact("BEGIN", work)

    def _write(self, work: Callable[[], Answer], durable: bool) -> tuple[list[Change], Answer]:
        self.db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        return self._transact("BEGIN IMMEDIATE", work)

    def _transact(self, begin: str, work: Callable[[], Answer]) -> tuple[list[Change], Answer]:
        self.db.execute(begin)
        try:
            news = self._news()
            answer = work()
            seen = revision(self.db)
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self.seen = seen
        return news, answer

    def _news(self) -> list[Change]:
        if revision(self.db) == self.seen:
            return []
        rows = self.db.execute(
            "SELECT revision, key, value, version FROM meta WHERE revision > ?1 UNION ALL "
            "SELECT revision, key, NULL, 0 FROM gone WHERE revision > ?1 ORDER BY 1, 2",
            (self.seen,),
        )
        return [(key, Versioned(value, version) if version else None) for _, key, value, version in rows]

    def _change(self, puts: Mapping[str, bytes], deletes: Sequence[str], lease: int) -> list[Change]:
        db, number = self.db, revision(self.db) + 1
        changes: list[Change] = []
        for key, value in puts.items():
            row = db.execute(
                "INSERT INTO meta VALUES(?,?,1,?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value, "
                "version=version+1, lease=excluded.lease, revision=excluded.revision RETURNING version",
                (key, value, lease, number),
            ).fetchone()
            changes.append((key, Versioned(value, row[0])))
        for key in deletes:
            if db.execute("DELETE FROM meta WHERE key=?", (key,)).rowcount:
                changes.append((key, None))
                if self._shared:
                    db.execute("INSERT OR REPLACE INTO gone VALUES(?,?)", (key, number))
        if self._shared and puts:
            db.executemany("DELETE FROM gone WHERE key=?", [(key,) for key in puts])
        if changes:
            db.execute("UPDATE counter SET value=? WHERE name='revision'", (number,))
        return changes


def connect(path: str, create: bool) -> sqlite3.Connection:
    """A connection for any one thread at a time. sqlite3.Error when there is no such file and it may not be made."""
    uri = f"file:{quote(path)}?mode={'rwc' if create else 'rw'}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False, isolation_level=None)


def revision(db: sqlite3.Connection) -> int:
    """How many commits with changes there were."""
    (count,) = db.execute("SELECT value FROM counter WHERE name='revision'").fetchone()
    return int(count)


def _open(path: str, sharing: Sharing) -> sqlite3.Connection:
    """The database, its schema checked before anything is written to it."""
    db: sqlite3.Connection | None = None
    try:
        db = connect(path, create=sharing != "guest")
        (schema,) = db.execute("PRAGMA user_version").fetchone()
        if schema > SCHEMA:
            raise WorldError(
                f"{path} was written by a newer Barnabas (schema {schema}, this one knows {SCHEMA}): "
                "upgrade the package, or restore a backup made by this version"
            )
        if sharing == "guest":
            if schema != SCHEMA:
                raise WorldError(f"{path}: its host has not opened it (schema {schema}, not {SCHEMA})")
            return db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN IMMEDIATE")
        if schema == 1:
            db.execute("ALTER TABLE meta ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")
        for statement in (META, *BESIDE, *OWN_AGAIN, f"PRAGMA user_version={SCHEMA}", "COMMIT"):
            db.execute(statement)
        return db
    except (sqlite3.Error, WorldError) as error:
        if db is not None:
            db.close()
        if isinstance(error, WorldError):
            raise
        raise WorldError(f"{path}: {error}") from error
