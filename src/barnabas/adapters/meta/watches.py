"""Who watches a metadata store, and below which prefix."""

from collections.abc import Callable

from barnabas.ports import MetaChanges

Watch = tuple[str, Callable[[MetaChanges], None]]


class Watches:
    """All calls on the loop of the store."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []

    def add(self, prefix: str, on_change: Callable[[MetaChanges], None]) -> Callable[[], None]:
        """Returns what ends it: nothing is told after that."""
        watch = (prefix, on_change)
        self._watches.append(watch)
        return lambda: self._watches.remove(watch) if watch in self._watches else None

    def tell(self, changes: MetaChanges) -> None:
        for watch in list(self._watches):
            prefix, on_change = watch
            below = [change for change in changes if change[0].startswith(prefix)]
            if below and watch in self._watches:
                on_change(below)

    def clear(self) -> None:
        self._watches.clear()
