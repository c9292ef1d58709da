"""A metadata store whose transactions take time and may be in flight when the process dies.

The content outlives the store: `DiskContents` is the disk, `VirtualMetaStore` the process that has it open; several may,
each with a loop of its own, and hears of what others commit as late as a doorbell, or a poll when it is not heard. After
`loop.kill()` a transaction in flight has happened or has not, and its asker never hears.

`DiskContents.crash` is a power failure: it undoes the last commits that were not durable, some or all of them, the newest
first, as SQLite's log does whose end was not synced. A commit that was durable made all before it durable.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from barnabas.adapters.meta import Sharing
from barnabas.adapters.meta.ram import MetaContents, RamMetaStore, Step
from barnabas.ports import Compare, Versioned, WorldError
from barnabas.testing.virtual import VirtualLoop

Kept = TypeVar("Kept")
LATE_MS: Final = (0, 0, 2, 5, 20, 250)


class DiskContents(MetaContents):
    """Content that a power failure may take back to the last durable commit."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False
        """There is no room: nothing is committed."""
        self._before: list[tuple[str, Versioned | None, int | None]] = []
        """What the changes of a commit that is being made replaced, and the leases of that."""
        self._undoable: list[list[tuple[str, Versioned | None, int | None]]] = []
        """The same of each commit since the last durable one."""

    def put(self, key: str, value: bytes, lease: int) -> Versioned:
        self._remember(key)
        return super().put(key, value, lease)

    def delete(self, key: str) -> bool:
        self._remember(key)
        return super().delete(key)

    def _remember(self, key: str) -> None:
        self._before.append((key, self.values.get(key), self.leases.get(key)))

    def committed(self, durable: bool) -> None:
        if durable:
            self._undoable.clear()
        else:
            self._undoable.append(self._before)
        self._before = []

    def crash(self, chance: random.Random) -> None:
        """Kill the loops of those who have it open first."""
        for _ in range(chance.randint(0, len(self._undoable))):
            for key, value, lease in reversed(self._undoable.pop()):
                _restore(self.values, key, value)
                _restore(self.leases, key, lease)
        self._undoable.clear()


def _restore(found: dict[str, Kept], key: str, kept: Kept | None) -> None:
    if kept is None:
        found.pop(key, None)
    else:
        found[key] = kept


class VirtualMetaStore(RamMetaStore):
    """RamMetaStore on the `metadata` pool of a virtual loop, with scripted failures."""

    def __init__(
        self, loop: VirtualLoop, contents: DiskContents | None = None, sharing: Sharing = "alone"
    ) -> None:
        self._disk = DiskContents() if contents is None else contents
        super().__init__(loop, loop.time, self._disk, sharing)
        self._virtual = loop
        self._failures: list[bool] = []
        self._failing_after = 0

    def fail_next(self, *, happened: bool = False, after: int = 0) -> None:
        """The next transaction, or the one after so many more, answers an error; happened: it took effect nevertheless, as
        when an answer is lost.
        """
        self._failures.append(happened)
        self._failing_after = after

    def heal(self) -> None:
        self._failures.clear()

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
        durable: bool = True,
    ) -> None:

        def fail() -> None:
            done(False, WorldError("metadata store: a scripted failure"))

        if self._disk.is_full and (puts or deletes):
            self._next(lambda: fail)
        elif not self._failures or self._failing_after > 0:
            self._failing_after -= 1
            super().txn(compares, puts, deletes, done, lease, durable)
        elif self._failures.pop(0):
            super().txn(compares, puts, deletes, lambda _succeeded, _error: fail(), lease, durable)
        else:
            self._next(lambda: fail)

    def _next(self, step: Step) -> None:
        self._virtual.run_in("metadata", lambda: self._do(step), lambda _result, _error: self._tell_all())

    def _told_by_others(self) -> None:
        self._virtual.after(self._virtual.time.random.choice(LATE_MS), self._tell_all)

    def _tell_all(self) -> None:
        """In order: what others committed before our own step is told before its answer."""
        while self._tellings:
            self._tell_next()
