"""A metadata store asked and answered in one line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from barnabas.ports import Clock, Compare, Loop, MetaChanges, MetaStore, Versioned, WorldError


class Driver(Protocol):
    clock: Clock
    loop: Loop

    def run_until(self, reached: Callable[[], bool]) -> None: ...


def values(changes: MetaChanges) -> list[tuple[str, bytes | None]]:
    return [(key, None if now is None else now.value) for key, now in changes]


class MovableClock:
    """Leases need minutes to pass, on real loops too."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def wall_ms(self) -> int:
        return self.now_ms

    def mono_ms(self) -> int:
        return self.now_ms

    def mono_us(self) -> int:
        return self.now_ms * 1000


class Store:
    """A MetaStore asked and answered in one line."""

    def __init__(self, driver: Driver, store: MetaStore, clock: MovableClock) -> None:
        self.driver = driver
        self.store = store
        self.clock = clock

    def txn(
        self,
        compares: Sequence[tuple[str, int]] = (),
        puts: Mapping[str, bytes] | None = None,
        deletes: Sequence[str] = (),
        lease: int = 0,
    ) -> bool:
        answers: list[tuple[bool, WorldError | None]] = []
        self.store.txn(
            [Compare(key, version) for key, version in compares],
            puts or {},
            deletes,
            lambda succeeded, error: answers.append((succeeded, error)),
            lease,
        )
        assert answers == [], "nothing is answered inside the call"
        self.driver.run_until(lambda: bool(answers))
        assert answers[0][1] is None
        return answers[0][0]

    def range(self, prefix: str = "") -> dict[str, tuple[bytes, int]]:
        answers: list[dict[str, Versioned]] = []
        self.store.range(prefix, lambda found, error: answers.append(found))
        self.driver.run_until(lambda: bool(answers))
        return {key: (found.value, found.version) for key, found in answers[0].items()}

    def grant(self, ttl_ms: int) -> int:
        answers: list[int] = []
        self.store.grant(ttl_ms, lambda lease, error: answers.append(lease))
        self.driver.run_until(lambda: bool(answers))
        return answers[0]
