"""A request that may be large, and its answer: read, answered and written a slice of the loop's time each turn.

S1  A handler in steps is a generator: it yields None wherever others may have their turn, and a Parked to go on when that is
    complete. It returns the response. What it looks at may have changed behind each yield, but for an image, which never does.
S2  When the connection ends, so do the steps.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeVar, cast

from librt.strings import BytesWriter

from barnabas.partitions.slices import in_slices
from barnabas.partitions.waits import Parked
from barnabas.ports import Clock, Loop, Piece
from barnabas.server.caller import Closed
from barnabas.wire.frame import response_head
from barnabas.wire.primitives import Message, field_names

PIECE_BYTES: Final = 64 * 1024
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
"""What asks for more in one request is refused by closing: a small request can name the same large thing a million times."""

ITEMS_A_STEP: Final = 64
"""What costs little goes so many at a time: a look at the clock would cost as much as one."""

Result = TypeVar("Result")
Steps = Generator[Parked | None, None, Any]


class Stepwise:
    """The steps of one request on their way: parked is completed with the pieces of the reply, or with what went wrong."""

    def __init__(self, clock: Clock, loop: Loop, steps: Generator[Parked | None, None, list[Piece]]) -> None:
        self._clock = clock
        self._loop = loop
        self._steps = steps
        self._waits_for: Parked | None = None
        self._reply: list[Piece] | Exception | None = None
        self._abandoned = False
        self.parked = Parked()
        self.parked.when_abandoned(self._abandon)

    def go_on(self) -> None:
        """Until it is done, or waits."""
        in_slices(self._clock, self._loop, self._until_it_waits(), self._paused)

    def _until_it_waits(self) -> Iterator[None]:
        try:
            while not self._abandoned:
                self._waits_for = next(self._steps)
                if self._waits_for is not None:
                    return
                yield
        except StopIteration as end:
            self._reply = end.value
        except Exception as error:
            self._reply = error.with_traceback(None)  # its frames know this: no cycle stays

    def _paused(self) -> None:
        if self._abandoned:
            self._steps.close()
        elif self._reply is not None:
            self.parked.complete(self._reply)
        elif self._waits_for is not None:
            self._waits_for.then(Stepwise._waited, self)

    def _waited(self, _: object) -> None:
        self.go_on()

    def _abandon(self) -> None:
        self._abandoned = True
        if self._waits_for is not None:
            self._waits_for.abandon()


def in_thread(loop: Loop, work: Callable[[], Result]) -> Generator[Parked | None, None, Result]:
    """What a handler in steps waits for: work() in a thread of the read pool. Raises what that raises."""
    parked = Parked()
    loop.run_in("read", work, lambda *ended: parked.complete(ended))
    yield parked
    result, error = cast(tuple[Result, BaseException | None], parked.reply)
    if error is not None:
        raise error
    return result


def written(
    steps: Iterator[None], out: BytesWriter, correlation_id: int, key: int, version: int
) -> Generator[None, None, list[Piece]]:
    """The pieces of a reply whose body steps write into out. Raises Closed when it becomes too large."""
    pieces: list[Piece] = []
    size = 0
    for _ in steps:
        if len(out) >= PIECE_BYTES:
            size += len(out)
            if size > ANSWER_BYTES_MAX:
                raise Closed(f"the answer would be larger than {ANSWER_BYTES_MAX} bytes")
            pieces.append(out.getvalue())
            out.truncate(0)
        yield
    size += len(out)
    pieces.append(out.getvalue())
    return [response_head(correlation_id, key, version, size), *pieces]


def let_go(message: Message) -> Iterator[None]:
    """Empty its lists, for nobody needs them any more: to free a million objects at once takes as long as to make them."""
    for name in field_names(type(message)):
        items = getattr(message, name)
        if isinstance(items, list):
            if len(items) < ITEMS_A_STEP:  # few may have much each
                for item in items:
                    if isinstance(item, Message):
                        yield from let_go(item)
            while items:
                del items[-ITEMS_A_STEP:]
                yield
