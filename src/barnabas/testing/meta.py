"""A metadata store whose transactions take time and may be in flight when the process dies.

The content outlives the store: `MetaContents` is the disk, `VirtualMetaStore` the process that has it open; several may,
each with a loop of its own, and hears of what others commit as late as a doorbell, or a poll when it is not heard. After `loop.kill()` a transaction in flight has happened or has not, and its asker never
hears.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from barnabas.adapters.meta import Sharing
from barnabas.adapters.meta.ram import MetaContents, RamMetaStore, Step
from barnabas.ports import Compare, WorldError
from barnabas.testing.virtual import VirtualLoop

LATE_MS: Final = (0, 0, 2, 5, 20, 250)


class VirtualMetaStore(RamMetaStore):
    """RamMetaStore on the `metadata` pool of a virtual loop, with scripted failures."""

    def __init__(
        self, loop: VirtualLoop, contents: MetaContents | None = None, sharing: Sharing = "alone"
    ) -> None:
        super().__init__(loop, loop.time, contents, sharing)
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
        if not self._failures or self._failing_after > 0:
            self._failing_after -= 1
            super().txn(compares, puts, deletes, done, lease, durable)
            return
        happened = self._failures.pop(0)

        def fail() -> None:
            done(False, WorldError("metadata store: a scripted failure"))

        if happened:
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
