"""MetaStore in one SQLite file: `barnabas.db` of the data folder.

Layout   table meta(key TEXT PRIMARY KEY, value BLOB, version INTEGER, lease INTEGER), and PRAGMA user_version = SCHEMA.
Durable  WAL with synchronous=FULL: a commit is synced before its callback runs. One writer thread (the `metadata` pool).
         One that need not be durable is made under NORMAL: written to the WAL, not synced. The WAL is one file, read after
         a crash from its begin up to the first frame that is not whole, and a sync covers all of it, whoever wrote it: so a
         later FULL commit makes the earlier ones durable with itself, and never stands on one that was lost. Checkpoints
         sync the WAL before they copy it, under NORMAL too (only OFF would not). Each commit sets the level it needs.
Crash    a transaction is whole or absent.
Order    all calls go through the one writer thread in the order they were made; a transaction's done() comes before the
         watches hear of it.
Leases   live in memory and are looked at when the store is used: an expired lease is revoked before the next
         transaction or range, and all leased keys go when the store is opened anew.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from barnabas.adapters.meta.watches import Watches
from barnabas.ports import Clock, Compare, Loop, MetaChanges, Versioned, WorldError

SCHEMA: Final = 1
TABLE: Final = """CREATE TABLE IF NOT EXISTS meta(
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID"""
Change = tuple[str, Versioned | None]


class SqliteMetaStore:
    """The store of one data folder."""

    def __init__(self, path: str, loop: Loop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._watches = Watches()
        self._leases: dict[int, tuple[int, int]] = {}
        self._next_lease = 1
        self._db = _open(path)

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
        durable: bool = True,
    ) -> None:
        self._expire()
        known = not lease or lease in self._leases

        def work() -> list[Change] | None:
            return self._commit(compares, puts, deletes, lease, durable) if known else None

        def answer(changes: object | None, error: BaseException | None) -> None:
            if error is not None:
                done(False, WorldError(f"metadata store: {error}"))
                return
            done(changes is not None, None)
            if isinstance(changes, list):
                self._watches.tell(changes)

        self._loop.run_in("metadata", work, answer)

    def _commit(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        lease: int,
        durable: bool,
    ) -> list[Change] | None:
        db = self._db
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        db.execute("BEGIN IMMEDIATE")
        try:
            for compare in compares:
                row = db.execute("SELECT version FROM meta WHERE key=?", (compare.key,)).fetchone()
                if (row[0] if row else 0) != compare.version:
                    db.execute("ROLLBACK")
                    return None
            changes: list[Change] = []
            for key, value in puts.items():
                row = db.execute(
                    "INSERT INTO meta VALUES(?,?,1,?) ON CONFLICT(key) DO UPDATE SET "
                    "value=excluded.value, version=version+1, lease=excluded.lease RETURNING version",
                    (key, value, lease),
                ).fetchone()
                changes.append((key, Versioned(value, row[0])))
            for key in deletes:
                if db.execute("DELETE FROM meta WHERE key=?", (key,)).rowcount:
                    changes.append((key, None))
            db.execute("COMMIT")
            return changes
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        self._expire()

        def work() -> dict[str, Versioned]:
            rows = self._db.execute(
                "SELECT key, value, version FROM meta WHERE key >= ? AND key < ? ORDER BY key",
                (prefix, prefix + "\U0010ffff"),
            )
            return {key: Versioned(value, version) for key, value, version in rows}

        def answer(found: object | None, error: BaseException | None) -> None:
            if error is not None or not isinstance(found, dict):
                done({}, WorldError(f"metadata store: {error}"))
            else:
                done(found, None)

        self._loop.run_in("metadata", work, answer)

    def watch(self, prefix: str, on_change: Callable[[MetaChanges], None]) -> Callable[[], None]:
        return self._watches.add(prefix, on_change)

    def grant(self, ttl_ms: int, done: Callable[[int, WorldError | None], None]) -> None:
        lease = self._next_lease
        self._next_lease += 1
        self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms)
        self._loop.soon(lambda: done(lease, None))

    def keep_alive(self, lease: int) -> None:
        self._expire()
        if lease in self._leases:
            ttl_ms, _ = self._leases[lease]
            self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms)

    def revoke(self, lease: int) -> None:
        if self._leases.pop(lease, None) is None:
            return

        def work() -> list[Change]:
            rows = self._db.execute("DELETE FROM meta WHERE lease=? RETURNING key", (lease,)).fetchall()
            return [(key, None) for (key,) in sorted(rows)]

        def answer(changes: object | None, error: BaseException | None) -> None:
            if isinstance(changes, list):
                self._watches.tell(changes)

        self._loop.run_in("metadata", work, answer)

    def close(self) -> None:
        """The metadata pool must be idle: the node stops it first."""
        self._watches.clear()
        self._db.close()

    def _expire(self) -> None:
        now_ms = self._clock.mono_ms()
        for lease in [lease for lease, (_, end_ms) in self._leases.items() if end_ms <= now_ms]:
            self.revoke(lease)


def _open(path: str) -> sqlite3.Connection:
    """The database, its schema checked before anything is written to it."""
    db: sqlite3.Connection | None = None
    try:
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        (schema,) = db.execute("PRAGMA user_version").fetchone()
        if schema > SCHEMA:
            raise WorldError(
                f"{path} was written by a newer Barnabas (schema {schema}, this one knows {SCHEMA}): "
                "upgrade the package, or restore a backup made by this version"
            )
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(TABLE)
        db.execute(f"PRAGMA user_version={SCHEMA}")
        db.execute("DELETE FROM meta WHERE lease <> 0")
        return db
    except (sqlite3.Error, WorldError) as error:
        if db is not None:
            db.close()
        if isinstance(error, WorldError):
            raise
        raise WorldError(f"{path}: {error}") from error
