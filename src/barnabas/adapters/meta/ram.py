"""MetaStore in memory: the twin of the SQLite one, for tests and brokers without a disk.

R1  Nothing happens inside a call: each transaction, range and change is one step of one queue, so all of them take
    effect, and are told, in the order in which they were asked.
R2  A transaction's done() comes before the watches hear of it, as with SQLite.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from barnabas.ports import Clock, Compare, Loop, Versioned, WorldError

Step = Callable[[], Callable[[], None]]
"""Changes the content, and returns what tells of it."""


class MetaContents:
    """What a store holds. Give it to a second store to open the same content again, as after a restart."""

    def __init__(self) -> None:
        self.values: dict[str, Versioned] = {}
        self.leases: dict[str, int] = {}

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

    def version(self, key: str) -> int:
        found = self.values.get(key)
        return 0 if found is None else found.version


class RamMetaStore:
    """Answers on a later turn, never inside the call, as a real store would."""

    def __init__(self, loop: Loop, clock: Clock, contents: MetaContents | None = None) -> None:
        self._loop = loop
        self._clock = clock
        self._contents = MetaContents() if contents is None else contents
        for key in sorted(self._contents.leases):
            self._contents.delete(key)  # leases end with the store that granted them
        self._watches: list[tuple[str, Callable[[str, Versioned | None], None]]] = []
        self._leases: dict[int, tuple[int, int]] = {}
        self._next_lease = 1
        self._steps: deque[Step] = deque()

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
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

            def tell() -> None:
                done(True, None)
                self._tell(changes)

            return tell

        self._next(step)

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        self._expire()

        def step() -> Callable[[], None]:
            values = self._contents.values
            found = {key: values[key] for key in sorted(values) if key.startswith(prefix)}
            return lambda: done(found, None)

        self._next(step)

    def watch(self, prefix: str, on_change: Callable[[str, Versioned | None], None]) -> Callable[[], None]:
        entry = (prefix, on_change)
        self._watches.append(entry)
        return lambda: self._watches.remove(entry) if entry in self._watches else None

    def grant(self, ttl_ms: int, done: Callable[[int, WorldError | None], None]) -> None:
        lease = self._next_lease
        self._next_lease += 1
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
            return lambda: self._tell(gone)

        self._next(step)

    def close(self) -> None:
        self._watches.clear()
        self._steps.clear()

    def _next(self, step: Step) -> None:
        """Append to the queue; each entry has one turn of the loop, and takes whichever step is first by then."""
        self._steps.append(step)
        self._loop.soon(self._turn)

    def _turn(self) -> None:
        if self._steps:
            self._steps.popleft()()()

    def _expire(self) -> None:
        now_ms = self._clock.mono_ms()
        for lease in [lease for lease, (_, end_ms) in self._leases.items() if end_ms <= now_ms]:
            self.revoke(lease)

    def _tell(self, changes: Sequence[tuple[str, Versioned | None]]) -> None:
        for key, value in changes:
            for prefix, on_change in list(self._watches):
                if key.startswith(prefix):
                    on_change(key, value)
