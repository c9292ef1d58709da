"""The seam of durability: the log assigns offsets in RAM, a Committer makes bytes durable and says so.

C1  Writes of one partition reach its file in the order they were taken; positions have no holes.
C2  committed(end_offset) is said only when every byte below end_offset is as durable as the kind promises.
C3  A failed write or sync is said once; what was taken behind it is dropped, and nothing more is taken for that
    partition until it has been re-opened.
C4  The loop writes no file that is being synced: it would wait for the sync. A pool's thread does.
C5  A lane's chores (log L2) are done before its writes, by the job in a thread that then writes.
C6  What the cache kind wrote of a partition is sent on its way to the disk each CACHED_BYTES_MAX, by a thread: the kernel begins
    when gigabytes are there, and who writes at that time waits for it.
Crash   what was taken and not yet written is lost; nobody was told that it was committed.

Kinds     `CacheCommitter` writes what a partition gathered in one loop turn (Kafka's durability: the page cache),
`JournalCommitter` (journal_committer.py) makes a burst of many partitions durable by one write, or writes and syncs a
partition's file in a thread, one job a partition, so that a burst shares one sync (group commit).
Chosen per partition by `barnabas.durability`; RAM files use the cache kind.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mypy_extensions import i64, mypyc_attr

from barnabas.log.write import Write
from barnabas.partitions.turn import Turn
from barnabas.ports import File, Loop, Work, WorldError

CACHED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a partition. PostgreSQL does the same with what a backend or a checkpoint wrote (backend_flush_after, checkpoint_flush_after)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Committed:
    """What a committer tells, and whom: a partition. No protocol, as it is told for each partition of each round."""

    __slots__ = ("topic_id",)

    def __init__(self, topic_id: bytes) -> None:
        self.topic_id = topic_id

    def committed(self, end_offset: i64, size: i64) -> None:
        raise NotImplementedError

    def failed(self, error: WorldError) -> None:
        raise NotImplementedError

    def sync_failed(self, error: WorldError) -> None:
        raise NotImplementedError

    def unsynced_files(self) -> list[File]:
        raise NotImplementedError

    def released(self) -> None:
        """A job has ended and its lane is free: its committer, which may be another by now, goes on with what it has."""
        raise NotImplementedError

    def is_durable(self) -> None:
        """What unsynced_files() named has been synced."""
        raise NotImplementedError


class Keeps(Protocol):
    """A journal, as far as those know it who must keep it as it is."""

    def keep(self, lane: "Lane", error: WorldError) -> None: ...


class Lane:
    """What one partition has gathered and not yet committed. The partition owns it, the committer works on it."""

    __slots__ = (
        "behind",
        "busy",
        "bytes",
        "cached_bytes",
        "chores",
        "entry_head",
        "failed",
        "flying",
        "flying_bytes",
        "in_doubt",
        "journal",
        "owner",
        "path",
        "queued",
        "syncing",
        "writes",
    )

    bytes: i64
    cached_bytes: i64
    flying_bytes: i64

    def __init__(self, owner: Committed) -> None:
        self.owner = owner
        self.writes: list[Write] = []
        self.bytes = 0
        self.flying: list[Write] = []
        """What is in a round of the journal. The two lists take turns: many partitions would need as many new ones a round."""
        self.flying_bytes = 0
        self.cached_bytes = 0
        """Written to the page cache since the last of them were sent to the disk (C6)."""
        self.chores: list[Callable[[], None]] = []
        self.path = ""
        """Of the file that was last written to a journal."""
        self.entry_head = b""
        """What its entries there begin with."""
        self.queued = False
        self.busy = False
        self.syncing = 0
        """Syncs of its file that others have begun: a write by the loop would wait for them (C4)."""
        self.failed = False
        self.journal: Keeps | None = None
        """Some of its records were answered when this journal had them."""
        self.behind = False
        """Its answers waited for no sync until now: the next one must cover what lies before it too, or a crash leaves
        a hole there and recovery cuts what was durable behind it."""
        self.in_doubt = False
        """Records that were answered may be in no file: they are restored from the journal before it goes on."""


class Uncommitted:
    """Bytes taken and not yet committed, of all partitions: the budget that stops the reading of sockets."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class NotSynced(WorldError):
    """The bytes were written and the sync failed: nothing of the file that was not synced before may be believed."""


def write_one(write: Write) -> File:
    """As write_runs() with this one."""
    write.file.write(write.position, [write.head, write.body])
    return write.file


def write_runs(writes: list[Write]) -> list[File]:
    """Write batches that follow each other in one file by one call; returns the files touched, in order.

    Raises WorldError as the file does.
    """
    if len(writes) == 1:  # most often, and with many partitions a request for each of them
        return [write_one(writes[0])]
    touched: list[File] = []
    at = 0
    while at < len(writes):
        first = writes[at]
        chunks: list[bytes | memoryview] = []
        file = first.file
        position = first.position
        while at < len(writes) and writes[at].file is file:
            chunks.append(writes[at].head)
            chunks.append(writes[at].body)
            at += 1
        file.write(position, chunks)
        touched.append(file)
    return touched


def sync_all(files: Sequence[File]) -> None:
    """Raises NotSynced."""
    for file in files:
        try:
            file.sync()
        except WorldError as error:
            raise NotSynced(error.what, error.errno) from error


class Committer:
    """One kind of durability. No protocol: a method of a known class is called at a fifth of the cost, and each batch is taken."""

    __slots__ = ()

    def take(self, lane: Lane, write: Write) -> None:
        """Make write durable some time soon, then tell lane.owner."""
        raise NotImplementedError

    def settle(self, lane: Lane) -> None:
        """Do the lane's chores, whether or not it has something to write."""
        raise NotImplementedError

    def released(self, lane: Lane) -> None:
        """A job of the lane has ended: go on with what it has gathered meanwhile."""
        raise NotImplementedError


class CacheCommitter(Committer):
    """Written to the page cache at the end of the turn, by the loop or a thread; synced at recovery points and flush.*."""

    def __init__(self, turn: Turn, loop: Loop, uncommitted: Uncommitted) -> None:
        self._turn = turn
        self._loop = loop
        self._uncommitted = uncommitted
        self._dirty: list[Lane] = []

    def take(self, lane: Lane, write: Write) -> None:
        lane.writes.append(write)
        lane.bytes += write.size
        self._uncommitted.bytes += write.size
        if not lane.queued:
            lane.queued = True
            if not self._dirty:
                self._turn.write(self._flush)
            self._dirty.append(lane)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for lane in dirty:
            lane.queued = False
            if lane.busy:
                continue  # released() goes on with it
            if (lane.syncing or lane.chores or lane.behind) and not lane.failed:
                lane.owner.released()  # whose committer waits for syncs by now, when it is behind
            else:
                self._write(lane)

    def _write(self, lane: Lane) -> None:
        writes, size = lane.writes, lane.bytes
        lane.writes, lane.bytes = [], 0
        self._uncommitted.bytes -= size
        if lane.failed or not writes:
            return
        try:
            write_runs(writes)
        except WorldError as error:
            lane.failed = True
            lane.owner.failed(error)
            return
        send = sending(lane, writes[-1], size)
        if send is not None:
            self._loop.run_in("write-back", send, ignored)
        lane.owner.committed(writes[-1].end_offset, size)

    def _write_in_thread(self, lane: Lane) -> None:
        """C4: while the file is being synced its writes go to the pool, as the sync did. C5."""
        if lane.busy:
            return
        if lane.failed:
            self._write(lane)  # drops them
            return
        lane.busy = True
        writes, size = lane.writes, lane.bytes
        lane.writes, lane.bytes = [], 0
        lane.cached_bytes += size  # to be sent with those of the next write of the loop
        run_job(self._loop, lane, writes, size, self._uncommitted, sync=False)

    def settle(self, lane: Lane) -> None:
        if not lane.queued:
            self._write_in_thread(lane)

    def released(self, lane: Lane) -> None:
        if lane.chores or (lane.writes and lane.syncing):
            self._write_in_thread(lane)
        elif lane.writes:
            self._write(lane)


def sending(lane: Lane, last: Write, size: i64) -> Work | None:
    """C6. What is to be done in a thread once size bytes more, which end with last, are written; most often nothing. Of what lies
    in the file before this one, the kernel takes care.
    """
    lane.cached_bytes += size
    if lane.cached_bytes < CACHED_BYTES_MAX:
        return None
    end = last.position + last.size
    begin = end - lane.cached_bytes
    lane.cached_bytes = 0
    return range_sender(last.file, begin if begin > 0 else 0, end)


def range_sender(file: File, begin: int, end: int) -> Work:
    """Apart, for a function that has a lambda makes an object for it at every call."""
    return lambda: file.write_back(begin, end - begin)


def ignored(_: object | None, error: BaseException | None) -> None:
    """Of a hint nobody needs to know what became."""


def run_job(
    loop: Loop,
    lane: Lane,
    writes: list[Write],
    size: int,
    uncommitted: Uncommitted,
    *,
    sync: bool,
) -> None:
    """Do the chores, write (and sync) in the commit pool, then tell the owner, on the loop."""

    chores, lane.chores = lane.chores, []
    before: list[File] = []
    if sync and lane.behind:
        try:
            before = lane.owner.unsynced_files()
        except WorldError as error:
            lane.failed = True  # the job finds it when it ends
            lane.owner.failed(error)

    def work() -> object:
        for chore in chores:
            chore()
        files = write_runs(writes)
        if sync:
            sync_all([*before, *files])
        return None

    def done(_: object | None, error: BaseException | None) -> None:
        lane.busy = False
        uncommitted.bytes -= size
        lane.failed = lane.failed or error is not None
        if lane.failed:
            uncommitted.bytes -= lane.bytes
            lane.writes, lane.bytes, lane.chores = [], 0, []
        if isinstance(error, NotSynced):
            lane.owner.sync_failed(error)  # of one that has failed too: its answered records may be in doubt
        elif error is not None:
            lane.owner.failed(as_world(error))
        if lane.failed:
            return
        if before:
            lane.behind = False
            lane.owner.is_durable()
        if writes:
            lane.owner.committed(writes[-1].end_offset, size)
        lane.owner.released()

    loop.run_in("commit", work, done)


def as_world(error: BaseException) -> WorldError:
    """What a pool's thread raised, as the one kind of error that a partition knows."""
    return error if isinstance(error, WorldError) else WorldError(repr(error))
