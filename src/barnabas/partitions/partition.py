"""A partition at its leader: append with validation, fetch planning, high watermark, waiting.

P1  log.end_offset is what has been assigned; high_watermark is what the committer said. Everything readers, ListOffsets
    and coordinators see lies below the high watermark, so nobody sees what a crash could take back.
P2  The high watermark never goes back, except by re-opening after a failed write, which nobody had been told about.
P3  A reply to acks=all is given when the high watermark has passed the batch; a retry of a batch that is appended but
    not committed waits for the same moment.
P4  One failed write or sync has one path: offline, every waiter gets KAFKA_STORAGE_ERROR, then the keeper re-opens it.
Crash   the log recovers what was written; sequences and epochs come back from it.
"""

from collections.abc import Callable
from typing import Final, Protocol

from mypy_extensions import i64, mypyc_attr

from barnabas import errors
from barnabas.config.effective import TopicOptions
from barnabas.log.log import Log
from barnabas.log.producer_state import Duplicate
from barnabas.log.segment import read
from barnabas.partitions.committer import CacheCommitter, Committed, Committer, Lane
from barnabas.partitions.waits import Waits
from barnabas.ports import File, FileRange, Piece, WorldError
from barnabas.records.batch import BatchHeader, read_header
from barnabas.records.faults import Fault
from barnabas.records.validate import validate_produced

NO_TIMESTAMP: Final = -1
PENDING: Final = -2
"""The code of a batch of which nothing can be said yet: no error of Kafka's."""
READ_COMMITTED: Final = 1


@mypyc_attr(free_list_len=1)
class Appended:
    """What became of one batch. code 0: base_offset is its first offset and end_offset the one behind its last."""

    __slots__ = ("base_offset", "code", "end_offset", "log_append_time")

    base_offset: i64
    end_offset: i64

    def __init__(
        self, code: int, base_offset: i64 = -1, end_offset: i64 = -1, log_append_time: int = -1
    ) -> None:
        self.code = code
        self.base_offset = base_offset
        self.end_offset = end_offset
        self.log_append_time = log_append_time


class Commit:
    """A wait for the commit of everything below end_offset."""

    __slots__ = ("end_offset",)

    end_offset: i64

    def __init__(self, end_offset: i64) -> None:
        self.end_offset = end_offset

    def committed(self, code: int) -> None:
        """It is, or (another code than 0) never will be. Called once."""
        raise NotImplementedError


class CommitOf(Commit):
    """What a function waits for."""

    __slots__ = ("_callback",)

    def __init__(self, end_offset: int, callback: Callable[[int], None]) -> None:
        super().__init__(end_offset)
        self._callback = callback

    def committed(self, code: int) -> None:
        self._callback(code)


class Refused(Appended):
    """A batch that is refused, with the records at fault: to open them takes long, so a thread may have looked."""

    __slots__ = ("faults",)

    def __init__(self, code: int, faults: list[Fault]) -> None:
        super().__init__(code)
        self.faults = faults


class Pending(Appended):
    """A batch that a thread has: code is PENDING until tell() says what became of it, once."""

    __slots__ = ("_then",)

    def __init__(self) -> None:
        super().__init__(PENDING)
        self._then: Callable[[Appended], None] | None = None

    def then(self, callback: Callable[[Appended], None]) -> None:
        self._then = callback

    def tell(self, appended: Appended) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(appended)


class Detour(Protocol):
    """What batches of producers go through before they are appended (recompression.py)."""

    def take(self, content: bytes, start: int, size: int, version: int, now_ms: int) -> Appended | None: ...
    def is_waited_for(self) -> bool: ...
    def give_up(self, code: int) -> None:
        """Whoever waits is told code."""


@mypyc_attr(free_list_len=1)
class FetchPlan:
    """What a fetch of one partition gets: a range of whole batches, or their bytes where they are few."""

    __slots__ = (
        "code",
        "diverging",
        "high_watermark",
        "last_stable_offset",
        "log_start_offset",
        "piece",
        "read_bytes",
        "size",
    )

    high_watermark: i64
    last_stable_offset: i64
    log_start_offset: i64
    size: i64
    read_bytes: i64

    def __init__(
        self, code: int, high_watermark: i64, last_stable_offset: i64, log_start_offset: i64
    ) -> None:
        self.code = code
        self.high_watermark = high_watermark
        self.last_stable_offset = last_stable_offset
        self.log_start_offset = log_start_offset
        self.piece: Piece | None = None
        self.size = 0
        self.read_bytes = 0
        """Of size, what is in memory."""
        self.diverging: tuple[int, int] | None = None
        """Where the reader's log and ours part: an epoch of ours, and the offset at which it ended."""


class Partition(Committed):
    """One partition this node leads. Made by open.py; its log may have no file yet."""

    __slots__ = (
        "_committer",
        "_detour",
        "_on_failure",
        "_waiting",
        "_waits",
        "_wanted",
        "cached_from",
        "epoch",
        "high_watermark",
        "index",
        "lane",
        "log",
        "offline",
        "options",
        "readable",
        "topic",
        "unsynced_bytes",
    )

    high_watermark: i64
    unsynced_bytes: i64

    def __init__(
        self,
        topic: str,
        topic_id: bytes,
        index: int,
        log: Log,
        epoch: int,
        options: TopicOptions,
        committer: Committer,
        waits: Waits,
        on_failure: Callable[["Partition", WorldError], None],
    ) -> None:
        super().__init__(topic_id)
        self.topic = topic
        self.index = index
        self.log = log
        self.epoch = epoch
        self.options = options
        self.high_watermark = log.end_offset
        self.offline = False
        self.readable = True
        self.unsynced_bytes = 0
        self.lane = Lane(self)
        self._committer = self._wanted = committer
        self.cached_from = log.end_offset if isinstance(committer, CacheCommitter) else None
        """Records from here on were answered when the page cache had them; None: all that were answered are durable."""
        self._waits = waits
        self._on_failure = on_failure
        self._detour: Detour | None = None
        self._waiting: list[Commit] | None = None
        """In order of offsets; made at the first wait."""

    def __repr__(self) -> str:
        return f"{self.topic}-{self.index}"

    # -- append

    def append(self, content: bytes, start: i64, size: i64, version: int, now_ms: int) -> Appended:
        """Check a producer's batch, assign its offsets and hand its bytes to the committer."""
        if self.offline:
            return Appended(errors.KAFKA_STORAGE_ERROR)
        if self._detour is not None:
            taken = self._detour.take(content, start, size, version, now_ms)
            if taken is not None:
                return taken
        header = validate_produced(content, start, size, self.options, version, now_ms)
        if isinstance(header, int):
            return Appended(header)
        return self.append_checked(header, content, start, now_ms)

    def append_checked(self, header: BatchHeader, content: bytes, start: i64, now_ms: int) -> Appended:
        """Append a producer's batch that is as the topic wants it, unless its sequence is wrong or known."""
        log = self.log
        if header.producer_id >= 0:
            checked = log.producers.check(header)
            if checked is not None:
                if isinstance(checked, Duplicate):
                    return Appended(0, checked.base_offset, checked.end_offset, checked.log_append_time)
                return Appended(checked)
        stamp = NO_TIMESTAMP
        if self.options.timestamp_type_log_append:
            stamp = now_ms
        return self._write(header, content, start, now_ms, stamp)

    @property
    def recompresses(self) -> bool:
        return self._detour is not None

    def recompress(self, detour: Detour) -> None:
        """From now on batches go through detour, if the topic opens any; else only as long as some wait there."""
        is_needed = self.options.opens_batches or detour.is_waited_for()
        self._detour = detour if is_needed else None

    def append_own(self, batch: bytes, now_ms: int) -> int:
        """Append one batch of the broker's own making; returns its end offset, or minus an error code."""
        if self.offline:
            return -errors.KAFKA_STORAGE_ERROR
        appended = self._write(read_header(batch, 0), batch, 0, now_ms, NO_TIMESTAMP)
        return appended.end_offset if appended.code == 0 else -appended.code

    def _write(self, header: BatchHeader, content: bytes, start: i64, now_ms: int, stamp: int) -> Appended:
        log = self.log
        base_offset = log.end_offset
        try:
            write = log.append(header, content, start, self.epoch, now_ms, stamp)
        except WorldError as error:
            self.failed(error)
            return Appended(errors.KAFKA_STORAGE_ERROR)
        if log.chores:
            self.take_chores()
        self._committer.take(self.lane, write)
        return Appended(0, base_offset, write.end_offset, stamp)

    def take_chores(self) -> None:
        """What the log wants done before the next write goes into the lane of the writes."""
        self.lane.chores += self.log.chores
        self.log.chores = []

    def do_chores(self) -> None:
        """Also when there is nothing to write."""
        self.take_chores()
        self._committer.settle(self.lane)

    def use(self, committer: Committer, options: TopicOptions) -> None:
        """The topic's options changed; takes effect from the next batch on.

        What the cache kind was given and has not written goes over with the lane and waits for a sync, too. The other way
        round, what was to be durable is so before anything less is.
        """
        self.options = options
        self.log.options = options
        self._wanted = committer
        if self._detour is not None:
            self.recompress(self._detour)
        if committer is self._committer:
            return
        if isinstance(self._committer, CacheCommitter):
            self._switch(0)
        else:
            self.when_committed(self.log.end_offset, self._switch)

    def _switch(self, _: int) -> None:
        """The options may have changed once more meanwhile: the last ones count."""
        self._committer = self._wanted
        if not isinstance(self._committer, CacheCommitter):
            self.lane.behind = self.cached_from is not None
        elif self.cached_from is None:
            self.cached_from = self.high_watermark

    # -- the committer's word

    def committed(self, end_offset: i64, size: i64) -> None:
        self.high_watermark = end_offset
        self.unsynced_bytes += size
        if self._waiting:
            self._tell_waiting(self._waiting, end_offset)
        self._waits.feed(self, size)

    def _tell_waiting(self, waiting: list[Commit], end_offset: i64) -> None:
        """They are taken out before the first is told, who may begin a wait or find that this partition fails."""
        if waiting[-1].end_offset <= end_offset:
            told, self._waiting = waiting, None
        else:
            count = 0
            for wait in waiting:
                if wait.end_offset > end_offset:
                    break
                count += 1
            told = waiting[:count]
            del waiting[:count]
        for wait in told:
            wait.committed(0)

    def released(self) -> None:
        self._committer.released(self.lane)

    def failed(self, error: WorldError, *, readable: bool = True) -> None:
        """P4. Everything above the high watermark is forgotten; nobody was told that it was committed.

        A disk that is full or refuses writes still serves what lies below it; readable False: a read failed.
        """
        self.readable = self.readable and readable
        if self.offline:
            return
        self.offline = True
        self.lane.failed = True
        self._give_up(errors.KAFKA_STORAGE_ERROR)
        self._on_failure(self, error)

    def _give_up(self, code: int) -> None:
        """Whoever waits for this partition is told now."""
        waiting, self._waiting = self._waiting, None
        for wait in waiting or []:
            wait.committed(code)
        if self._detour is not None:
            self._detour.give_up(code)
        self._waits.wake(self)

    def sync_failed(self, error: WorldError) -> None:
        """A sync of this partition's file failed, the committer's or somebody else's."""
        self.doubt(error)
        self.failed(error)

    def doubt(self, error: WorldError) -> None:
        """A sync failed: what a journal has is restored from it, and what the page cache alone had is given up."""
        if self.lane.journal is not None:
            self.lane.journal.keep(self.lane, error)
            self.lane.in_doubt = True
        if self.cached_from is not None:
            durable = max(self.cached_from, self.log.recovery_point)
            self.high_watermark = min(self.high_watermark, durable)

    def unsynced_files(self) -> list[File]:
        """Raises WorldError."""
        return [segment.file for segment in self.log.prepare_recovery_point()[0]]

    def is_durable(self) -> None:
        """All that was written has been synced, and answers wait for a sync from now on."""
        if not isinstance(self._committer, CacheCommitter):
            self.cached_from = None

    def reopened(self, log: Log, epoch: int) -> None:
        """The keeper truncated the log to what is known and opened it anew under a new epoch."""
        self.log = log
        self.epoch = epoch
        self.high_watermark = log.end_offset
        self.lane = Lane(self)
        self.lane.behind = self.cached_from is not None
        self.offline = False
        self.readable = True

    def close(self) -> None:
        """The partition goes away: deleted, or the node stops."""
        self.offline = True
        self.readable = False
        self.lane.failed = True
        self._give_up(errors.NOT_LEADER_OR_FOLLOWER)

    @property
    def is_committing(self) -> bool:
        """Something is appended and not committed yet, or chores are being done."""
        return not self.offline and (
            self.high_watermark < self.log.end_offset
            or self.lane.busy
            or bool(self.lane.chores)
            or (self._detour is not None and self._detour.is_waited_for())
        )

    def when_committed(self, end_offset: int, callback: Callable[[int], None]) -> None:
        """callback(0) once everything below end_offset is committed, callback(code) when that failed."""
        self.wait_for(CommitOf(end_offset, callback))

    def wait_for(self, wait: Commit) -> None:
        """wait.committed(code), likewise."""
        end_offset = wait.end_offset
        if end_offset <= self.high_watermark:
            wait.committed(0)
        elif self.offline:
            wait.committed(errors.KAFKA_STORAGE_ERROR)
        else:
            waiting = self._waiting
            if waiting is None:
                self._waiting = [wait]
            elif waiting[-1].end_offset <= end_offset:
                waiting.append(wait)
            else:
                at = sum(1 for other in waiting if other.end_offset <= end_offset)
                waiting.insert(at, wait)

    # -- reads

    @property
    def log_start_offset(self) -> i64:
        return self.log.log_start_offset

    @property
    def last_stable_offset(self) -> i64:
        """Below it no transaction is open."""
        first = self.log.producers.first_unstable_offset
        return self.high_watermark if first is None or first > self.high_watermark else first

    def has_nothing_for(self, offset: i64, epoch: int, last_epoch: int) -> bool:
        """Whether a plan for that reader would be of no records and no error, as it most often is: it has read all there is,
        under the epoch of now."""
        return (
            offset == self.high_watermark
            and self.readable
            and (epoch < 0 or epoch == self.epoch)
            and (last_epoch < 0 or last_epoch == self.epoch)
            and offset >= self.log.log_start_offset
        )

    def plan_fetch(
        self,
        offset: i64,
        max_bytes: i64,
        isolation: int,
        min_one: bool,
        epoch: int,
        last_epoch: int = -1,
        may_read: bool = False,
        waits: bool = True,
    ) -> FetchPlan:
        """Whole batches from the one that holds offset, at most max_bytes (min_one: the first however large).

        last_epoch is that of the record before offset, as the reader has it; -1: it does not say. may_read: the bytes
        themselves where they are few, which stay in memory until they are sent. Raises Cold unless it waits for the disk.
        """
        if not self.readable:
            return FetchPlan(errors.KAFKA_STORAGE_ERROR, -1, -1, -1)
        if 0 <= epoch != self.epoch:
            return FetchPlan(self.epoch_code(epoch), -1, -1, -1)
        plan = FetchPlan(0, self.high_watermark, self.last_stable_offset, self.log.log_start_offset)
        if last_epoch >= 0:
            known, end = self.epoch_end(last_epoch)
            if known >= 0 and (known < last_epoch or end < offset):
                plan.diverging = known, end
                return plan
            if known < 0:
                return FetchPlan(errors.OFFSET_OUT_OF_RANGE, -1, -1, -1)
        if offset < plan.log_start_offset or offset > plan.high_watermark:
            return FetchPlan(errors.OFFSET_OUT_OF_RANGE, -1, -1, -1)
        upto = plan.last_stable_offset if isolation == READ_COMMITTED else plan.high_watermark
        if offset < upto and (max_bytes > 0 or min_one):
            try:
                piece = self.log.locate(
                    offset, max_bytes, upto_offset=upto, min_one=min_one, may_read=may_read, waits=waits
                )
            except WorldError as error:
                self.failed(error, readable=False)
                return FetchPlan(errors.KAFKA_STORAGE_ERROR, -1, -1, -1)
            if piece is not None:
                plan.piece = piece
                if isinstance(piece, FileRange):
                    plan.size = piece.size
                else:
                    plan.size = plan.read_bytes = len(piece)
        return plan

    def epoch_code(self, epoch: int) -> int:
        """KIP-320: what a client's idea of the leader epoch is worth. -1: it has none."""
        if epoch < 0 or epoch == self.epoch:
            return 0
        return errors.FENCED_LEADER_EPOCH if epoch < self.epoch else errors.UNKNOWN_LEADER_EPOCH

    def epoch_end(self, epoch: int) -> tuple[int, int]:
        """The greatest epoch up to this one, and the offset at which it ended; (-1, -1) when that is not known.

        The current epoch ends at the high watermark, and began there as long as it wrote nothing.
        """
        latest = self.log.epochs.latest
        if epoch == self.epoch or latest < 0 <= epoch < self.epoch:
            return epoch, self.high_watermark
        if latest < epoch < self.epoch:
            return latest, self.high_watermark
        known, end = self.log.epoch_end_offset(epoch)
        return known, min(end, self.high_watermark)

    def read_bytes(self, offset: int, max_bytes: int, waits: bool = True) -> bytes:
        """Whole batches below the high watermark as bytes: for coordinators, which read their own log at load.

        Nothing when reading fails: the partition is offline then, and who loads from it has been told. Raises Cold unless it
        waits for the disk.
        """
        piece = self.plan_fetch(offset, max_bytes, 0, True, -1, waits=waits).piece
        if not isinstance(piece, FileRange):
            return piece or b""
        try:
            return read(piece.file, piece.position, piece.size, waits)
        except WorldError as error:
            self.failed(error, readable=False)
            return b""
