"""Batches of a partition that are opened before they are appended: on their way into the codec of its topic
(`compression.type` other than `producer`), or because their records are checked (compacted topics, `barnabas.validate=records`).
And those that are opened because they are refused: to say which of their records are at fault.

Q1  Batches are appended in the order in which they came: what comes behind one that is in the thread waits for it, also what
    needs no thread, and what comes after the options went back. Sequences are checked when a batch is appended.
Q2  What waits is answered once: when it has been appended and committed, when it is refused, or when the partition is given up
    (a failed write, another leader, a deleted topic, the end of the node); the thread's result is dropped then.
    What is refused anyway has no place in that order: nothing waits for it, and nothing gives it up.
Q3  What waits counts among the uncommitted bytes, whose budget stops the reading of sockets.
Crash   what waits is lost; nobody was told of it.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from barnabas import errors
from barnabas.config.effective import AS_SENT, TopicOptions
from barnabas.partitions.committer import Uncommitted
from barnabas.partitions.partition import Appended, Partition, Pending, Refused
from barnabas.ports import Loop
from barnabas.records.batch import read_header
from barnabas.records.compression import NONE
from barnabas.records.faults import OF_RECORDS, Fault, record_faults
from barnabas.records.recompress import named_codec, opens_within, recompressed

INLINE_BYTES_MAX: Final = 4096
"""So much is opened or compressed by the loop: 4 to 90 µs, half a millisecond at zstd's highest levels; two hops cost 100."""

NO_MEMORY: Final = errors.KAFKA_STORAGE_ERROR
"""Why else a thread would fail: the producer tries again."""


class Waiting:
    """A batch that has not been appended, and whoever waits for it."""

    __slots__ = ("content", "now_ms", "pending", "size", "start", "version")

    def __init__(self, content: bytes, start: int, size: int, version: int, now_ms: int) -> None:
        self.content = content
        self.start = start
        self.size = size
        self.version = version
        self.now_ms = now_ms
        self.pending = Pending()

    def refused(self, code: int, options: TopicOptions) -> Refused:
        faults: list[Fault] = []
        if code in OF_RECORDS:
            faults = record_faults(self.content, self.start, self.size, options, self.now_ms)
        return Refused(code, faults)


def is_small(content: bytes, start: int, size: int) -> bool:
    """Also when it is opened."""
    return size <= INLINE_BYTES_MAX and opens_within(content, start, size, INLINE_BYTES_MAX)


class Recompression:
    """What stands before one partition while its topic opens batches, and until what waits has been appended."""

    __slots__ = ("_loop", "_partition", "_queue", "_uncommitted")

    def __init__(self, partition: Partition, loop: Loop, uncommitted: Uncommitted) -> None:
        self._partition = partition
        self._loop = loop
        self._uncommitted = uncommitted
        self._queue: deque[Waiting] = deque()

    def take(self, content: bytes, start: int, size: int, version: int, now_ms: int) -> Appended | None:
        """What became of a producer's batch; None: it is appended as it came."""
        options = self._partition.options
        if not self._queue:
            codec = named_codec(content, start, size)
            stays = options.compression_codec in (AS_SENT, codec)
            if stays and (codec == NONE or not options.opens_compressed):
                return None
            if is_small(content, start, size):
                if stays:
                    return None
                return self._append(recompressed(content, start, size, options, version, now_ms), now_ms)
        waiting = Waiting(content, start, size, version, now_ms)
        self._queue.append(waiting)
        self._uncommitted.bytes += size
        if len(self._queue) == 1:
            self._begin(waiting)
        return waiting.pending

    def is_waited_for(self) -> bool:
        return len(self._queue) > 0

    def give_up(self, code: int) -> None:
        """Q2."""
        given_up, self._queue = self._queue, deque()
        for waiting in given_up:
            self._uncommitted.bytes -= waiting.size
            waiting.pending.tell(Appended(code))

    def _begin(self, waiting: Waiting) -> None:
        options = self._partition.options

        def work() -> bytes | Refused:
            content, start, size = waiting.content, waiting.start, waiting.size
            result = recompressed(content, start, size, options, waiting.version, waiting.now_ms)
            return result if isinstance(result, bytes) else waiting.refused(result, options)

        def done(result: object | None, error: BaseException | None) -> None:
            queue = self._queue
            if not queue or queue[0] is not waiting:
                return  # given up meanwhile
            queue.popleft()
            self._uncommitted.bytes -= waiting.size
            if isinstance(result, bytes):
                appended = self._append(result, waiting.now_ms)
            elif isinstance(result, Refused):
                appended = result
            else:
                appended = Appended(NO_MEMORY)
            waiting.pending.tell(appended)
            if self._queue is queue and queue:
                self._begin(queue[0])
            elif not self._queue:
                self._partition.recompress(self)

        self._loop.run_in("compress", work, done)

    def _append(self, result: bytes | int, now_ms: int) -> Appended:
        if isinstance(result, int):
            return Appended(result)
        if self._partition.offline:
            return Appended(errors.KAFKA_STORAGE_ERROR)
        return self._partition.append_checked(read_header(result, 0), result, 0, now_ms)


def refuse(
    batch: Waiting, options: TopicOptions, judge: Callable[[], int], loop: Loop, uncommitted: Uncommitted
) -> Appended:
    """Refused or Pending: what is said of a batch that is not appended, whatever code judge() has for it."""

    def work() -> Refused:
        return batch.refused(judge(), options)

    if is_small(batch.content, batch.start, batch.size):
        return work()
    uncommitted.bytes += batch.size

    def done(result: object | None, error: BaseException | None) -> None:
        uncommitted.bytes -= batch.size
        batch.pending.tell(result if isinstance(result, Refused) else Appended(NO_MEMORY))

    loop.run_in("compress", work, done)
    return batch.pending
