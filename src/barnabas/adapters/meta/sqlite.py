"""MetaStore in one SQLite file, perhaps shared by processes. What lies in the file is told in database.py.

Order    all calls go through one thread (the `metadata` pool) in the order they were made; a transaction's done() comes
         before the watches hear of it. What others committed is taken with each of our own calls and at each ring of the
         doorbell, by the same thread, and told before that call's done(): all is told in the order of the commits, once.
Leases   live in the memory of who granted them and are looked at when the store is used: an expired lease is revoked before
         the next transaction or range, and all leased keys go when the host, or who is alone, opens the store anew.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from barnabas.adapters.meta import Sharing
from barnabas.adapters.meta.database import Change, Database
from barnabas.adapters.meta.doorbell import Doorbell
from barnabas.adapters.meta.watches import Watches
from barnabas.ports import Clock, Compare, Loop, MetaChanges, Versioned, WorldError


class SqliteMetaStore:
    """The store of one data folder."""

    def __init__(self, path: str, loop: Loop, clock: Clock, sharing: Sharing = "alone") -> None:
        """A host or a guest hears of what the others do; who is alone has no doorbell and no thread."""
        self._loop = loop
        self._clock = clock
        self._watches = Watches()
        self._leases: dict[int, tuple[int, int]] = {}
        self._database = Database(path, sharing)
        self._bell: Doorbell | None = None
        self._ringing = False
        self._closed = False
        if sharing != "alone":
            self._bell = self._hang_up_bell(path)

    def _hang_up_bell(self, path: str) -> Doorbell:
        bell: Doorbell | None = None
        try:
            bell = Doorbell(path, lambda: self._database.seen, self._ring)
            for port in self._database.ports():
                if bell.is_dead(port):
                    self._database.remove_bell(port)
            self._database.add_bell(bell.port)
            return bell
        except (sqlite3.Error, OSError) as error:
            if bell is not None:
                bell.close()
            self._database.close()
            raise WorldError(f"{path}: {error}") from error

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

        def work() -> tuple[list[Change], list[Change] | None]:
            if not known:
                return self._database.news(), None
            news, changes = self._database.commit(compares, puts, deletes, lease, durable)
            self._ring_others(changes)
            return news, changes

        def told(changes: list[Change] | None, error: WorldError | None) -> None:
            done(changes is not None, error)
            if changes is not None:
                self._watches.tell(changes)

        self._ask(work, told)

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        self._expire()
        self._ask(
            lambda: self._database.range(prefix),
            lambda found, error: done({} if found is None else found, error),
        )

    def watch(self, prefix: str, on_change: Callable[[MetaChanges], None]) -> Callable[[], None]:
        return self._watches.add(prefix, on_change)

    def grant(self, ttl_ms: int, done: Callable[[int, WorldError | None], None]) -> None:
        def told(lease: int | None, error: WorldError | None) -> None:
            if lease is None:
                done(0, error)
                return
            self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms)
            done(lease, None)

        self._ask(lambda: ([], self._database.new_lease()), told)

    def keep_alive(self, lease: int) -> None:
        self._expire()
        if lease in self._leases:
            ttl_ms, _ = self._leases[lease]
            self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms)

    def revoke(self, lease: int) -> None:
        if self._leases.pop(lease, None) is None:
            return

        def work() -> tuple[list[Change], list[Change]]:
            news, gone = self._database.end_lease(lease)
            self._ring_others(gone)
            return news, gone

        self._ask(work, lambda gone, error: self._watches.tell(gone or ()))

    def close(self) -> None:
        """The metadata pool must be idle: the node stops it first."""
        if self._closed:
            return
        self._closed = True
        self._watches.clear()
        if self._bell is not None:
            self._bell.close()
            try:
                self._database.remove_bell(self._bell.port)
            except sqlite3.Error:
                pass  # who rings there is not heard
        self._database.close()

    def _ask(
        self, work: Callable[[], tuple[list[Change], Any]], told: Callable[[Any, WorldError | None], None]
    ) -> None:
        """told(what work found, None), once the watches have heard the news it came with; told(None, error)."""

        def answer(result: object | None, error: BaseException | None) -> None:
            if not isinstance(result, tuple):
                told(None, WorldError(f"metadata store: {error}"))
                return
            news, found = result
            self._watches.tell(news)
            told(found, None)

        self._loop.run_in("metadata", work, answer)

    def _expire(self) -> None:
        now_ms = self._clock.mono_ms()
        for lease in [lease for lease, (_, end_ms) in self._leases.items() if end_ms <= now_ms]:
            self.revoke(lease)

    # -- others have it open too: on the metadata thread, on the doorbell's, on the loop

    def _ring_others(self, changes: list[Change] | None) -> None:
        """After the commit, so it may not fail: the changes would be told to nobody here."""
        if changes and self._bell is not None:
            try:
                self._bell.ring_others(self._database.ports())
            except sqlite3.Error:
                return  # they look of themselves

    def _ring(self) -> None:
        """The doorbell's thread: of many rings one look is made, and none is lost that comes after it began."""
        if self._ringing:
            return
        self._ringing = True
        try:
            self._loop.from_thread(self._look)
        except RuntimeError:
            return  # the loop has been closed: nobody is left to be told

    def _look(self) -> None:
        if not self._closed:
            self._ask(self._take_news, lambda found, error: None)

    def _take_news(self) -> tuple[list[Change], None]:
        self._ringing = False
        return self._database.news(), None
