"""A partition's log: what has been assigned, where it lies, how it grows and shrinks.

L1  end_offset and sizes are RAM state and may be ahead of the files: bytes are written by a committer, which is given
    each batch as a Write, in order.
L2  A partition has no folder until its first append. What a batch needs on disk before it (the folder's durable name, the
    file of its segment, its epoch in the epoch file) is a chore: whoever writes the batch does the chores first, in a thread.
L3  log_start_offset never falls; offsets below it do not exist for readers.
L4  A segment ends where the next begins (compaction may leave holes inside, never at the edges).
L5  No segment grows past the base offset of a file that is there: recovery would cut it. So a roll that fails in its chore
    takes the partition offline, and truncation removes what it left.
L6  Names in the folder are changed by one at a time: by the chores of its lane, while it serves.
Crash   see recovery.py.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from barnabas.config.effective import TopicOptions
from barnabas.log import folder as names
from barnabas.log import recovery
from barnabas.log.compaction import Compaction, choose, replace
from barnabas.log.cutting import Cut
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.index import OFFSET_PAIR_BYTES
from barnabas.log.producer_state import ProducerState
from barnabas.log.retention import count_expired
from barnabas.log.segment import NO_TIMESTAMP, READ_BYTES_MAX, OpenFiles, Segment, read, write_derived
from barnabas.log.write import Write
from barnabas.ports import FileRange, Piece, WorldError
from barnabas.records.batch import (
    HEAD_BYTES,
    BatchHeader,
    new_head,
    part_of,
    read_header,
    with_log_append_time,
)

RELATIVE_OFFSET_MAX: Final = 2**31 - 1
Chore = Callable[[], None]


class Log:
    """One partition on one disk."""

    __slots__ = (
        "_jitter_ms",
        "_pool",
        "checkpointed_offset",
        "chores",
        "cleaned_offset",
        "end_offset",
        "epochs",
        "folder",
        "index",
        "log_start_offset",
        "options",
        "producers",
        "recovery_point",
        "segments",
        "settled_offset",
        "topic",
        "topic_id",
        "unsynced",
    )

    end_offset: i64
    log_start_offset: i64

    def __init__(
        self,
        pool: OpenFiles,
        folder: str,
        topic: str,
        index: int,
        topic_id: bytes,
        options: TopicOptions,
        jitter_ms: int = 0,
    ) -> None:
        self._pool = pool
        self._jitter_ms = jitter_ms
        self.chores: list[Chore] = []
        """What is to be done, in this order, before the next batch is written (L2)."""
        self.folder = folder
        self.topic = topic
        self.index = index
        self.topic_id = topic_id
        self.options = options
        self.segments: list[Segment] = []
        self.end_offset = 0
        self.log_start_offset = 0
        self.recovery_point = 0
        self.checkpointed_offset = 0
        """The recovery point that a restart would find. Compaction stays below it: the journal is taken up above it."""
        self.settled_offset = -1
        """The end offset as of which a start without scan finds all it needs; below 0: it does not."""
        self.cleaned_offset = 0
        """Below it compaction has been; known in RAM only, for compacting again changes nothing."""
        self.producers = ProducerState()
        self.epochs = LeaderEpochs(pool.files, folder)
        self.unsynced: list[Segment] = []
        """Closed segments whose files were not synced yet."""

    def load(self, now_ms: int, *, clean: bool, recovery_point: int, log_start_offset: int) -> None:
        """Take up what is in the folder. Raises DamagedLog and WorldError; then the log must not be used."""
        files = self._pool.files
        if not files.exists(self.folder):
            self.log_start_offset = self.end_offset = 0
            return
        recovery.finish_renames(files, self.folder)
        self.epochs.load()
        self.segments = recovery.load_segments(
            self._pool, self.folder, now_ms, clean, recovery_point, self.epochs
        )
        if self.segments:
            self.end_offset = self.segments[-1].end_offset
            self.log_start_offset = max(log_start_offset, self.segments[0].base_offset)
            if self.log_start_offset > self.end_offset:
                self._start_anew(self.log_start_offset)
        self.epochs.truncate_to(self.end_offset)
        self.epochs.advance_start(self.log_start_offset)
        self.checkpointed_offset = min(recovery_point, self.end_offset)
        self.recovery_point = self.end_offset if clean else min(recovery_point, self.end_offset)
        self.settled_offset = self.end_offset if clean else -1
        self.producers = recovery.load_producers(files, self.folder, self.segments, now_ms)

    def _start_anew(self, offset: int) -> None:
        """Deleting records was durable, the records were not: no offset is given twice (L3)."""
        for segment in self.segments:
            segment.close()
            recovery.drop_files(self._pool.files, self.folder, segment.base_offset)
        self._pool.files.sync_folder(self.folder)
        self.segments = []
        self.end_offset = offset

    # -- growing

    def append(
        self, header: BatchHeader, content: bytes, at: i64, epoch: int, now_ms: int, stamp: int = NO_TIMESTAMP
    ) -> Write:
        """Give the batch the next offsets and a place. stamp >= 0: the broker's time replaces its timestamps.

        Raises WorldError when an index cannot be read; nothing is assigned then.
        """
        size = header.size
        if stamp >= 0:
            content, at = with_log_append_time(content, at, size, stamp), 0
            header = read_header(content, 0)
        segment = self.segments[-1] if self.segments else None
        if segment is None or self._must_roll(segment, header, now_ms):
            segment = self._roll(now_ms)
        if epoch > self.epochs.latest:
            self.chores.append(self.epochs.begin(epoch, self.end_offset))
        base_offset = self.end_offset
        end_offset = base_offset + header.last_offset_delta + 1
        position = segment.size
        header.base_offset = base_offset
        segment.note(header, position, self.options.index_interval_bytes)
        segment.grow(position, size, end_offset)
        self.end_offset = end_offset
        if header.producer_id >= 0:
            self.producers.update(header, base_offset, now_ms)
        return Write(
            segment.file,
            position,
            new_head(base_offset, size, epoch, header.crc),
            part_of(content, at + HEAD_BYTES, at + size) if header.covered is None else header.covered,
            size,
            end_offset,
        )

    def _must_roll(self, segment: Segment, header: BatchHeader, now_ms: int) -> bool:
        size = segment.size
        if size == 0:
            return False
        options = self.options
        if (
            size + header.size > options.segment_bytes
            or self.end_offset + header.last_offset_delta - segment.base_offset > RELATIVE_OFFSET_MAX
        ):
            return True
        first, newest = segment.first_timestamp, header.max_timestamp
        if first != NO_TIMESTAMP and newest != NO_TIMESTAMP:
            age_ms = newest - first
        else:
            age_ms = now_ms - segment.created_ms
        if age_ms > options.segment_ms - self._jitter_ms:
            return True
        # The index is asked only when it is about to grow.
        return (
            segment.unindexed_bytes > options.index_interval_bytes
            and segment.offset_index.size_bytes + OFFSET_PAIR_BYTES > options.segment_index_bytes
        )

    def _roll(self, now_ms: int) -> Segment:
        files = self._pool.files
        is_first = not self.segments
        segment = Segment(self._pool, self.folder, self.end_offset, now_ms)
        file = segment.make_empty()
        write_closed = None if is_first else self._files_of(self.segments[-1])

        def make() -> None:
            if is_first:
                self._make_folder()
            file.make()
            files.sync_folder(self.folder)
            if write_closed is not None:
                write_closed()
            segment.is_made = True

        self.chores.append(make)
        if not is_first:
            self.unsynced.append(self.segments[-1])
        self.segments.append(segment)
        return segment

    def _make_folder(self) -> None:
        files = self._pool.files
        if not names.is_of(files, self.folder, self.topic_id):
            # Its leader, another process, was writing when the topic was deleted and made anew: it has to hear of it first.
            raise WorldError(f"{self.folder} is still that of a deleted topic")
        if not files.exists(f"{self.folder}/{names.PARTITION_METADATA}"):
            files.make_folder(self.folder)
            files.sync_folder(self.folder.rpartition("/")[0])
            # Last: where this file is, the folder's name is durable.
            names.write_partition_metadata(files, self.folder, self.topic_id)

    def begin_anew(self, now_ms: int, epoch: int) -> None:
        """After a cut the next batch begins a new file: what is on disk behind a failed write is not trusted. And what was
        cut off may lie in a journal: the epoch file says that it counts no more (journal J3). All this is chores.
        """
        if self.segments and self.segments[-1].size:
            self._roll(now_ms)
        if self.segments and epoch > self.epochs.latest:
            self.chores.append(self.epochs.begin(epoch, self.end_offset))

    def do_chores(self) -> None:
        """Here and now: for those who may block. Raises WorldError."""
        chores, self.chores = self.chores, []
        for chore in chores:
            chore()

    def _files_of(self, segment: Segment) -> Chore:
        """What a restart finds beside the last segment, as of now: its indexes, and the producer state as of end_offset;
        older snapshots but the newest two go.

        Not synced: a checksum tells a torn snapshot, and then the log is replayed. Written for no producers too, so that
        a start need not look for them.
        """
        indexes, snapshot = segment.index_files(), self.producers.to_bytes()
        path = f"{self.folder}/{names.segment_name(self.end_offset, names.SNAPSHOT_SUFFIX)}"
        files = self._pool.files

        def write() -> None:
            for name, content in indexes:
                write_derived(files, name, content())
            write_derived(files, path, snapshot)
            old = [name for name in files.list(self.folder) if name.endswith(names.SNAPSHOT_SUFFIX)][:-2]
            for name in old:
                files.unlink(f"{self.folder}/{name}")

        return write

    def last_files(self) -> Chore:
        """Indexes and snapshot for a recovery point. Raises WorldError when it is done."""
        return self._files_of(self.segments[-1])

    # -- reading

    def _segment_at(self, offset: int) -> int:
        return bisect_right(self.segments, offset, key=_base_offset) - 1

    def locate(
        self,
        offset: i64,
        max_bytes: i64,
        *,
        upto_offset: i64,
        min_one: bool,
        may_read: bool = False,
        waits: bool = True,
    ) -> Piece | None:
        """The bytes from the batch that holds offset on, below upto_offset, of one segment, at most max_bytes; None: none.

        A last batch may be cut, as in Kafka: readers ignore it. min_one: the first batch comes whole however large.
        may_read: up to READ_BYTES_MAX are read; most often the search has read them on its way. Raises WorldError, and Cold
        unless it waits for the disk.
        """
        segments = self.segments
        at = len(segments) - 1
        if at >= 0 and offset < segments[at].base_offset:
            at = max(self._segment_at(offset), 0)
        while 0 <= at < len(segments):
            segment = segments[at]
            at += 1
            start, first, content = segment.find(offset, max_bytes if may_read else 0, waits)
            limit = (
                segment.size if upto_offset >= segment.end_offset else segment.find(upto_offset, 0, waits)[0]
            )
            size = limit - start
            if size <= 0:
                if segment.end_offset > upto_offset:
                    return None
                continue
            if size > max_bytes:
                if not first:
                    first = segment.first_batch_bytes(start, waits)
                if first > max_bytes and not min_one:
                    return None
                size = min(first, size) if first > max_bytes else max_bytes
            if may_read and len(content) < size <= READ_BYTES_MAX:
                content = read(segment.file, start, size, waits)
            if len(content) < size:
                return FileRange(segment.file, start, size)
            return content if len(content) == size else content[:size]
        return None

    def drop_idle_indexes(self) -> None:
        """Of closed segments that nobody has looked into since the call before."""
        for segment in self.segments[:-1]:
            segment.drop_idle_indexes()

    def epoch_end_offset(self, epoch: int) -> tuple[int, int]:
        return self.epochs.end_of(epoch, self.end_offset)

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self.segments)

    # -- shrinking

    def advance_log_start(self, offset: int) -> None:
        """L3. The caller makes it durable before it answers."""
        if offset > self.log_start_offset:
            self.log_start_offset = offset
            if self.segments:
                self.epochs.advance_start(offset)

    def delete_expired(self, wall_ms: int, high_watermark: int, by_time: bool = True) -> list[Segment]:
        """Drop the segments retention lets go. The caller sets their files aside, and unlinks them later.

        When all go, an empty one begins first, so that the end offset is not forgotten: its chores are done first, and
        the next call lets the others go.
        """
        if self.segments and not self.segments[-1].is_made:
            return []
        count = count_expired(
            self.segments, self.options, wall_ms, self.log_start_offset, high_watermark, by_time
        )
        if count and count == len(self.segments):
            self._roll(wall_ms)
            return []
        gone = self.segments[:count]
        if gone:
            self.advance_log_start(self.segments[count].base_offset)
            del self.segments[:count]
            for segment in gone:
                segment.close()
            self.unsynced = [segment for segment in self.unsynced if segment not in gone]
        return gone

    def set_aside(self, gone: list[Segment]) -> None:
        """Rename the files of deleted segments; in a pool's thread.

        Until then a restart takes them up again, and retention lets them go again. Raises WorldError.
        """
        files = self._pool.files
        for segment in gone:
            for suffix in (names.LOG_SUFFIX, names.INDEX_SUFFIX, names.TIME_INDEX_SUFFIX):
                if files.exists(segment.path(suffix)):
                    files.rename(segment.path(suffix), segment.path(suffix) + names.DELETED_SUFFIX)

    def unlink_deleted(self, segment: Segment) -> None:
        """file.delete.delay.ms has passed. In a pool's thread."""
        for suffix in (names.LOG_SUFFIX, names.INDEX_SUFFIX, names.TIME_INDEX_SUFFIX):
            self._pool.files.unlink(segment.path(suffix) + names.DELETED_SUFFIX)

    def cutting(self, offset: int, now_ms: int) -> Cut:
        """Begin to forget everything at or behind offset: then its work(), then apply(). Raises WorldError before it has begun.

        Whole segments are forgotten at once: their files may go, whatever then fails.
        """
        kept, gone = list(self.segments), []
        while kept and (not kept[-1].is_made or (len(kept) > 1 and kept[-1].base_offset >= offset)):
            gone.append(kept.pop())
        cut = Cut(self._pool.files, self.folder, kept, self.epochs, offset, now_ms)
        self.chores.clear()
        for segment in gone:
            segment.close()
        self.segments = kept
        self.unsynced = [segment for segment in self.unsynced if segment in kept]
        self.settled_offset = -1
        return cut

    def apply(self, cut: Cut) -> None:
        """It has been worked. Raises WorldError when the last segment cannot be read."""
        if self.segments:
            self.segments[-1].cut(cut.offset, cut.position)
        self.end_offset = min(cut.offset, self.end_offset)
        self.log_start_offset = min(self.log_start_offset, self.end_offset)
        self.recovery_point = min(self.recovery_point, self.end_offset)
        self.checkpointed_offset = min(self.checkpointed_offset, self.end_offset)
        self.cleaned_offset = min(self.cleaned_offset, self.end_offset)
        self.epochs.cut(cut.offset)
        self.producers = cut.producers

    def truncate_to(self, offset: int, now_ms: int) -> None:
        """All of it at once, for those who may block. Raises WorldError."""
        cut = self.cutting(offset, now_ms)
        cut.work()
        self.apply(cut)

    def compaction(self, now_ms: int, high_watermark: int) -> Compaction | None:
        """A run over the closed segments, when enough is new. Its work() may run in a thread; then the copies
        replace the segments, one after the other."""
        if not self.options.cleanup_compact:
            return None
        below = min(self.checkpointed_offset, high_watermark)
        chosen = choose(self.segments, self.options, now_ms, below, self.cleaned_offset)
        if not chosen:
            return None
        tails = self.producers.tails()
        return Compaction(self._pool, self.folder, chosen, self.options, now_ms, self.cleaned_offset, tails)

    def replacing(self, segment: Segment, copy: Segment, source: Segment) -> Callable[[], WorldError | None]:
        """What gives the copy the segment's name, for a pool's thread (compaction.replace); then replaced(). Raises WorldError.

        What readers need of the segment until then, file and indexes, is kept: by their names they would find the copy's.
        """
        segment.pin_file()
        segment.adopt_indexes(source)
        return lambda: replace(self._pool.files, self.folder, segment, copy)

    def replaced(self, segment: Segment, copy: Segment) -> None:
        """The copy has the segment's name."""
        self.segments[self.segments.index(segment)] = copy
        self.unsynced = [each for each in self.unsynced if each is not segment]
        self.cleaned_offset = max(self.cleaned_offset, copy.end_offset)
        segment.close()

    def compact(self, now_ms: int, high_watermark: int) -> int:
        """All of it at once: for small logs, and for those who may block. Returns the bytes freed."""
        run = self.compaction(now_ms, high_watermark)
        if run is None:
            return 0
        run.work()
        return self.install(run)

    def install(self, run: Compaction) -> int:
        """All copies at once. Raises WorldError; every segment is then either old or new."""
        before = self.size_bytes
        for segment, copy, source in zip(run.chosen, run.copies, run.sources, strict=True):
            try:
                late = self.replacing(segment, copy, source)()
            except WorldError:
                segment.unpin_file()
                raise
            self.replaced(segment, copy)
            if late is not None:
                raise late
        return before - self.size_bytes

    # -- durability of what is beside the .log

    def drop_files(self) -> None:
        """The next use opens each anew: a descriptor whose sync failed says so for ever."""
        for segment in self.segments:
            segment.drop_file()

    def prepare_recovery_point(self) -> tuple[list[Segment], int]:
        """The segments to sync, and the offset that is the recovery point once they are. One that is not made yet holds
        nothing that was committed.
        """
        segments = [segment for segment in [*self.unsynced, *self.segments[-1:]] if segment.is_made]
        return segments, self.end_offset

    def closed_below(self, offset: int) -> list[Segment]:
        """Closed segments that no sync has covered, all of whose records lie below offset."""
        return [segment for segment in self.unsynced if segment.is_made and segment.end_offset <= offset]

    def reached_recovery_point(self, synced: list[Segment], offset: int) -> None:
        """They have been synced when all below offset was written, and last_files() are written.

        One that was closed meanwhile, or before its last records were written, is not covered.
        """
        self.unsynced = [
            segment for segment in self.unsynced if segment not in synced or segment.end_offset > offset
        ]
        self.recovery_point = max(self.recovery_point, offset)
        if offset == self.end_offset:
            self.settled_offset = offset

    def settling(self) -> Chore | None:
        """What a start without scan needs, for a thread; then settled(). None: all of it is there. Everything taken is
        committed. Raises WorldError.
        """
        if not self.segments or (self.settled_offset == self.end_offset and not self.unsynced):
            return None
        files = [segment.file for segment in [*self.unsynced, self.segments[-1]]]
        write = self._files_of(self.segments[-1])

        def settle() -> None:
            for file in files:
                file.sync()
            write()

        return settle

    def settled(self) -> None:
        """What settling() gave has been done."""
        self.unsynced.clear()
        self.recovery_point = self.settled_offset = self.end_offset

    def close(self, clean: bool) -> None:
        """clean: settle it first, here and now. Raises WorldError then."""
        settle = self.settling() if clean else None
        if settle is not None:
            settle()
            self.settled()
        for segment in self.segments:
            segment.close()


def _base_offset(segment: Segment) -> int:
    return segment.base_offset
