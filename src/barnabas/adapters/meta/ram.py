"""MetaStore in memory: the twin of the SQLite one, for tests and brokers without a disk."""

from collections.abc import Callable, Mapping, Sequence

from barnabas.ports import Clock, Compare, Loop, Versioned, WorldError


class RamMetaStore:
    """Answers on the next turn, never inside the call, as a real store would."""

    def __init__(self, loop: Loop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._values: dict[str, Versioned] = {}
        self._watches: list[tuple[str, Callable[[str, Versioned | None], None]]] = []
        self._leases: dict[int, tuple[int, int, set[str]]] = {}
        self._next_lease = 1

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
    ) -> None:
        self._expire()
        holds = all(self._version(compare.key) == compare.version for compare in compares)
        if lease and lease not in self._leases:
            holds = False
        if holds:
            for key, value in puts.items():
                self._put(key, value)
                if lease:
                    self._leases[lease][2].add(key)
            for key in deletes:
                self._delete(key)
        self._loop.soon(lambda: done(holds, None))

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        self._expire()
        found = {key: self._values[key] for key in sorted(self._values) if key.startswith(prefix)}
        self._loop.soon(lambda: done(found, None))

    def watch(self, prefix: str, on_change: Callable[[str, Versioned | None], None]) -> Callable[[], None]:
        entry = (prefix, on_change)
        self._watches.append(entry)
        return lambda: self._watches.remove(entry)

    def grant(self, ttl_ms: int, done: Callable[[int, WorldError | None], None]) -> None:
        lease = self._next_lease
        self._next_lease += 1
        self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms, set())
        self._loop.soon(lambda: done(lease, None))

    def keep_alive(self, lease: int) -> None:
        self._expire()
        if lease in self._leases:
            ttl_ms, _, keys = self._leases[lease]
            self._leases[lease] = (ttl_ms, self._clock.mono_ms() + ttl_ms, keys)

    def revoke(self, lease: int) -> None:
        _, _, keys = self._leases.pop(lease, (0, 0, set()))
        for key in sorted(keys):
            self._delete(key)

    def close(self) -> None:
        self._watches.clear()

    def _expire(self) -> None:
        now_ms = self._clock.mono_ms()
        for lease in [lease for lease, (_, end_ms, _) in self._leases.items() if end_ms <= now_ms]:
            self.revoke(lease)

    def _version(self, key: str) -> int:
        found = self._values.get(key)
        return 0 if found is None else found.version

    def _put(self, key: str, value: bytes) -> None:
        self._values[key] = Versioned(value, self._version(key) + 1)
        self._tell(key)

    def _delete(self, key: str) -> None:
        if self._values.pop(key, None) is not None:
            self._tell(key)

    def _tell(self, key: str) -> None:
        found = self._values.get(key)
        for prefix, on_change in self._watches:
            if key.startswith(prefix):
                self._loop.soon(lambda on_change=on_change: on_change(key, found))  # type: ignore[misc]
