"""Producer ids, handed out from blocks of 1,000 that the metadata store has given this node.

A block is durable before its first id is used; a crash loses the rest of a block, never repeats an id.
"""

from collections.abc import Callable

Block = Callable[[Callable[[int, int, int], None]], None]
"""Asks for a block: done(code, first, count)."""


class ProducerIds:
    """The current block of one node."""

    def __init__(self, take_block: Block) -> None:
        self._take_block = take_block
        self._next = 0
        self._end = 0
        self._asking = False
        self._waiting: list[Callable[[int, int], None]] = []

    def next(self, done: Callable[[int, int], None]) -> None:
        """done(code, producer id): at once while the block lasts."""
        if self._next < self._end:
            self._next += 1
            done(0, self._next - 1)
            return
        self._waiting.append(done)
        if not self._asking:
            self._asking = True
            self._take_block(self._got_block)

    def _got_block(self, code: int, first: int, count: int) -> None:
        self._asking = False
        waiting, self._waiting = self._waiting, []
        if code == 0:
            self._next, self._end = first, first + count
        for done in waiting:
            if code:
                done(code, -1)
            else:
                self.next(done)
