"""A process that commits to a metadata database as a guest until it is killed: `metadata_writer.py PATH`.

Each commit puts `left` and `right` to the same number, one above what was there, and makes or deletes `now and then`;
`durable` alternates. What was answered is printed, a number a line.
"""

import asyncio
import sys

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.ports import Compare, Versioned, WorldError


class Writer:
    def __init__(self, path: str, loop: AsyncLoop) -> None:
        self.store = SqliteMetaStore(path, loop, SystemClock(), "guest")
        self.store.range("", self.begin)

    def begin(self, found: dict[str, Versioned], error: WorldError | None) -> None:
        assert error is None
        left = found.get("left")
        self.number = 0 if left is None else int(left.value)
        self.version = 0 if left is None else left.version
        self.next()

    def next(self) -> None:
        wanted = self.number + 1
        puts = {"left": b"%d" % wanted, "right": b"%d" % wanted}
        if wanted % 3:
            puts["now and then"] = b"%d" % wanted
        self.store.txn(
            [Compare("left", self.version)],
            puts,
            [] if wanted % 3 else ["now and then"],
            self.committed,
            durable=bool(wanted % 2),
        )

    def committed(self, yes: bool, error: WorldError | None) -> None:
        assert error is None, error
        if not yes:
            self.store.range("", self.begin)
            return
        self.number += 1
        self.version += 1
        print(self.number, flush=True)
        self.next()


if __name__ == "__main__":
    running = asyncio.new_event_loop()
    writer = Writer(sys.argv[1], AsyncLoop(running))
    running.run_forever()
