"""MetaStore in memory: the twin of the SQLite one, for tests and brokers without a disk.

R1  Nothing happens inside a call: each transaction, range and change is one step of one queue, so all of them take
    effect, and are told, in the order in which they were asked.
R2  A transaction's done() comes before the watches hear of it, as with SQLite.
R3  Several stores may have one content open, each with its own loop. What one commits is put into the queue of what
    the others have to tell at that very step: all tell all commits in one order, and none before its own answer to an
    earlier one.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock

from barnabas.adapters.meta import Sharing
from barnabas.adapters.meta.watches import Watches
from barnabas.ports import Clock, Compare, Loop, MetaChanges, Versioned, WorldError

Step = Callable[[], Callable[[], None]]
"""Changes the content, and returns what tells of it."""


class MetaContents:
    """What a store holds. Give it to a second store to open the same content again, as after a restart, or to share it."""

    def __init__(self) -> None:
        self.values: dict[str, Versioned] = {}
        self.leases: dict[str, int] = {}
        self.lock = Lock()
        self._open_in: list[RamMetaStore] = []
        self._last_lease = 0

    def opened(self, store: "RamMetaStore") -> None:
        self._open_in.append(store)

    def closed(self, store: "RamMetaStore") -> None:
        self._open_in = self.others(store)

    def others(self, than: "RamMetaStore") -> "list[RamMetaStore]":
        return [store for store in self._open_in if store is not than]

    def new_lease(self) -> int:
        self._last_lease += 1
        return self._last_lease

    def put(self, key: str, value: bytes, lease: int) -> Versioned:
        before = self.values.get(key)
        now = Versioned(value, 1 if before is None else before.version + 1)
        self.values[key] = now
        if lease:
            self.leases[key] = lease
        else:
            self.leases.pop(key, None)
        return now

    def delete(self, key: str) -> bool:
        self.leases.pop(key, None)
        return self.values.pop(key, None) is not None

    def committed(self, durable: bool) -> None:
        """What changed since the last call was one commit. Here all of it ends with the process anyway."""

    def version(self, key: str) -> int:
        found = self.values.get(key)
        return 0 if found is None else found.version


class RamMetaStore:
    """Answers on a later turn, never inside the call, as a real store would."""

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        contents: MetaContents | None = None,
        sharing: Sharing = "alone",
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._contents = MetaContents() if contents is None else contents
        self._watches = Watches()
        self._leases: dict[int, tuple[int, int]] = {}
        self._steps: deque[Step] = deque()
        self._tellings: deque[Callable[[], None]] = deque()
        with self._contents.lock:
            if sharing != "guest":
                for key in sorted(self._contents.leases):
                    self._contents.delete(key)  # leases end with the stores that granted them
                self._contents.committed(durable=True)
            self._contents.opened(self)

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

        def step() -> Callable[[], None]:
            holds = all(self._contents.version(compare.key) == compare.version for compare in compares)
            if not holds or (lease and lease not in self._leases):
                return lambda: done(False, None)
            changes: list[tuple[str, Versioned | None]] = [
                (key, self._contents.put(key, value, lease)) for key, value in puts.items()
            ]
            changes += [(key, None) for key in deletes if self._contents.delete(key)]
            if changes:
                self._contents.committed(durable)
            self._tell_others(changes)

            def tell() -> None:
                done(True, None)
                self._watches.tell(changes)

            return tell

        self._next(step)

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        self._expire()

        def step() -> Callable[[], None]:
            values = self._contents.values
            found = {key: values[key] for key in sorted(values) if key.startswith(prefix)}
            return lambda: done(found, None)

        self._next(step)

    def watch(self, prefix: str, on_change: Callable[[MetaChanges], None]) -> Callable[[], None]:
        return self._watches.add(prefix, on_change)

    def grant(self, ttl_ms: int, done: Callable[[int, WorldError | None], None]) -> None:
        with self._contents.lock:
            lease = self._contents.new_lease()
        self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms)
        self._next(lambda: lambda: done(lease, None))

    def keep_alive(self, lease: int) -> None:
        self._expire()
        if lease in self._leases:
            ttl_ms, _ = self._leases[lease]
            self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms)

    def revoke(self, lease: int) -> None:
        if self._leases.pop(lease, None) is None:
            return

        def step() -> Callable[[], None]:
            keys = sorted(key for key, owner in self._contents.leases.items() if owner == lease)
            gone = [(key, None) for key in keys if self._contents.delete(key)]
            self._contents.committed(durable=True)
            self._tell_others(gone)
            return lambda: self._watches.tell(gone)

        self._next(step)

    def close(self) -> None:
        with self._contents.lock:
            self._contents.closed(self)
        self._watches.clear()
        self._steps.clear()
        self._tellings.clear()

    def _next(self, step: Step) -> None:
        """Append to the queue; each entry has one turn of the loop, and takes whichever step is first by then."""
        self._steps.append(step)
        self._loop.soon(self._turn)

    def _turn(self) -> None:
        if self._steps:
            self._do(self._steps.popleft())
            self._tell_next()

    def _do(self, step: Step) -> None:
        """Each step, and each commit of another store, adds one telling and one turn of the loop that takes the first."""
        with self._contents.lock:
            self._tellings.append(step())

    def _tell_next(self) -> None:
        if self._tellings:
            self._tellings.popleft()()

    def _tell_others(self, changes: MetaChanges) -> None:
        if not changes:
            return
        for store in self._contents.others(self):
            store._tellings.append(partial(store._watches.tell, changes))
            store._told_by_others()

    def _told_by_others(self) -> None:
        """Another store has put something into the queue of what we have to tell."""
        self._loop.from_thread(self._tell_next)

    def _expire(self) -> None:
        now_ms = self._clock.mono_ms()
        for lease in [lease for lease, (_, end_ms) in self._leases.items() if end_ms <= now_ms]:
            self.revoke(lease)
