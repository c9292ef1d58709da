"""A loop and a clock moved by hand, chance that counts, and a metadata store whose answers can be made to fail."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import pytest

from barnabas.adapters.meta.ram import RamMetaStore
from barnabas.ports import Compare, Done, Pool, RingFile, Work, WorldError


class HandLoop:
    def __init__(self) -> None:
        self._turns: deque[Callable[[], None]] = deque()

    def soon(self, callback: Callable[[], None]) -> None:
        self._turns.append(callback)

    def wake_at(self, mono_ms: int | None, callback: Callable[[], None]) -> None:
        raise AssertionError("nothing in cluster/ waits for time")

    def run_in(self, pool: Pool, work: Work, done: Done) -> None:
        raise AssertionError("nothing in cluster/ has slow work of its own")

    def write_ring(
        self, ring: RingFile, position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        raise AssertionError("nothing in cluster/ has a journal")

    def from_thread(self, callback: Callable[[], None]) -> None:
        self._turns.append(callback)

    def turn(self) -> bool:
        """Run one callback; False when there was none."""
        if not self._turns:
            return False
        self._turns.popleft()()
        return True

    def settle(self) -> None:
        for _ in range(100_000):
            if not self.turn():
                return
        raise AssertionError("it never comes to rest")


class StillClock:
    def wall_ms(self) -> int:
        return 0

    def mono_ms(self) -> int:
        return 0

    def mono_us(self) -> int:
        return 0


class CountingEntropy:
    def __init__(self) -> None:
        self.given = 0

    def uuid(self) -> bytes:
        self.given += 1
        return self.given.to_bytes(16, "big")

    def below(self, limit: int) -> int:
        return 0


class FailingMetaStore(RamMetaStore):
    """Fails the transactions it is told to: before the commit, or after it, when the asker cannot know."""

    def __init__(self, loop: HandLoop) -> None:
        super().__init__(loop, StillClock())
        self.loop = loop
        self.fail_before: list[bool] = []
        self.fail_after: list[bool] = []
        self.commits = 0

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
        durable: bool = True,
    ) -> None:
        self.commits += 1
        if self.fail_before:
            self.fail_before.pop()
            self.loop.soon(lambda: done(False, WorldError("disk full")))
        elif self.fail_after:
            self.fail_after.pop()
            super().txn(
                compares, puts, deletes, lambda ok, error: done(False, WorldError("gone")), lease, durable
            )
        else:
            super().txn(compares, puts, deletes, done, lease, durable)

    def put_behind(self, key: str, value: bytes) -> None:
        """What another node puts."""
        super().txn((), {key: value}, (), lambda ok, error: None)


@pytest.fixture
def loop() -> HandLoop:
    return HandLoop()


@pytest.fixture
def entropy() -> CountingEntropy:
    return CountingEntropy()


@pytest.fixture
def meta(loop: HandLoop) -> FailingMetaStore:
    return FailingMetaStore(loop)


@pytest.fixture
def new_meta() -> Callable[[], FailingMetaStore]:
    """For tests that need a store per example; its loop is meta.loop."""
    return lambda: FailingMetaStore(HandLoop())
