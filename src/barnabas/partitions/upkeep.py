"""What a node does by itself, by the clock: recovery points, retention, compaction, expiry of producers, flush.ms.

U1  A recovery point is written after the files it speaks of were synced, and after the indexes and the snapshot that
    spare a restart the scan below it.
    Where answers wait for a sync, one follows every RECOVERY_POINT_BYTES. Where they wait for the page cache alone, one
    follows each roll and covers the closed segments, as in Kafka: a sync of a file that grows would keep its disk busy
    all the time, and its producers waiting. Every RECOVERY_POINT_MS all is covered.
U2  A wall clock that steps by more than five minutes suspends deletion by time for ten (decision 9).
Crash   an old recovery point: the restart scans more.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from barnabas.config.effective import BrokerOptions
from barnabas.log.checkpoints import Key
from barnabas.log.log import Log
from barnabas.log.segment import Segment
from barnabas.partitions.committer import as_world
from barnabas.partitions.data_folder import DataFolder
from barnabas.partitions.open import FLUSH_NEVER, OFFSETS_TOPIC, Partitions
from barnabas.partitions.partition import Partition
from barnabas.partitions.slices import in_slices
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Loop, WorldError
from barnabas.telemetry import Log as Lines

TICK_MS: Final = 1_000
RECOVERY_POINT_MS: Final = 60_000
RECOVERY_POINT_BYTES: Final = 64 * 1024 * 1024
STEP_MS: Final = 5 * 60_000
SUSPENDED_MS: Final = 10 * 60_000
PRODUCER_CHECK_MS: Final = 600_000


class Upkeep:
    """The node's own clockwork."""

    def __init__(
        self,
        clock: Clock,
        loop: Loop,
        waits: Waits,
        partitions: Partitions,
        folder: DataFolder,
        options: BrokerOptions,
        lines: Lines,
        memory_bytes: int | None,
    ) -> None:
        """memory_bytes: the cap of a broker in memory, None for one on disk."""
        self._memory_bytes = memory_bytes
        self._warned = False
        self._clock = clock
        self._loop = loop
        self._waits = waits
        self._partitions = partitions
        self._folder = folder
        self._options = options
        self._lines = lines
        self._stopped = False
        self._last_wall_ms = clock.wall_ms()
        self._last_mono_ms = clock.mono_ms()
        self._suspended_until_ms = 0
        first_ms = clock.mono_ms() + options.get_int("log.initial.task.delay.ms")
        self._next_retention_ms = first_ms
        self._next_producers_ms = clock.mono_ms() + PRODUCER_CHECK_MS
        self._next_points_ms = clock.mono_ms() + RECOVERY_POINT_MS
        self._next_compaction_ms = first_ms
        self._syncing: set[Partition] = set()
        self._compacting: set[Partition] = set()
        self._writing_checkpoints = False
        self._checkpoints_asked: list[Callable[[WorldError | None], None] | None] = []

    def start(self) -> None:
        self._waits.call_after(TICK_MS, self._tick)

    def stop(self) -> None:
        self._stopped = True

    def _tick(self) -> None:
        if self._stopped:
            return
        now_ms = self._clock.mono_ms()
        self._watch_wall_clock(now_ms)
        self._partitions.thaw_journal(now_ms)
        if now_ms >= self._next_compaction_ms:
            self._next_compaction_ms = now_ms + self._options.get_int("log.cleaner.backoff.ms")
            self._compact_internal()
        if self._memory_bytes is not None:
            self._keep_within(self._memory_bytes)
        in_slices(self._clock, self._loop, self._walk(now_ms), self.start)

    def _walk(self, now_ms: int) -> Iterator[None]:
        """What is due of all partitions, one after the other."""
        if now_ms >= self._next_points_ms:
            self._next_points_ms = now_ms + RECOVERY_POINT_MS
            yield from self._write_points(due=True)
        else:
            yield from self._write_points(due=False)
        if now_ms >= self._next_retention_ms:
            self._next_retention_ms = now_ms + self._options.get_int("log.retention.check.interval.ms")
            yield from self._enforce_retention()
        if now_ms >= self._next_producers_ms:
            self._next_producers_ms = now_ms + PRODUCER_CHECK_MS
            yield from self._expire_producers()

    def _watch_wall_clock(self, mono_ms: int) -> None:
        wall_ms = self._clock.wall_ms()
        step_ms = (wall_ms - self._last_wall_ms) - (mono_ms - self._last_mono_ms)
        self._last_wall_ms, self._last_mono_ms = wall_ms, mono_ms
        if abs(step_ms) > STEP_MS:
            self._suspended_until_ms = mono_ms + SUSPENDED_MS
            self._lines.warning("the wall clock stepped: deletion by time is suspended", step_ms=step_ms)

    # -- recovery points

    def _write_points(self, due: bool) -> Iterator[None]:
        for partition in self._partitions.all():
            log = partition.log
            if not (partition.offline or log.recovery_point >= log.end_offset or partition in self._syncing):
                if due or self._wants_point(partition):
                    self._sync(partition)
                elif log.unsynced:
                    self._sync_closed(partition)
            yield

    def _wants_point(self, partition: Partition) -> bool:
        """Before its minute is over (U1)."""
        if partition.options.flush_ms < FLUSH_NEVER:
            return True
        return partition.cached_from is None and partition.unsynced_bytes > RECOVERY_POINT_BYTES

    def _sync(self, partition: Partition) -> None:
        """In a pool; meanwhile the partition's writes go to one, too (committer C4)."""
        log = partition.log
        segments, _ = log.prepare_recovery_point()
        offset = partition.high_watermark
        lane = partition.lane

        def synced() -> None:
            lane.syncing -= 1

        def reached() -> None:
            self._write_beside(partition, segments, offset)

        if self._sync_files(partition, segments, synced, reached):
            lane.syncing += 1
            partition.unsynced_bytes = 0

    def _sync_closed(self, partition: Partition) -> None:
        """Nobody writes to them any more, so the partition's writes go on as ever; and what spares the scan was written when
        they were closed.
        """
        log = partition.log
        segments = log.closed_below(partition.high_watermark)

        def reached() -> None:
            if partition.log is log:
                log.reached_recovery_point(segments, segments[-1].end_offset)
                self._points_moved()

        if segments:
            self._sync_files(partition, segments, lambda: None, reached)

    def _sync_files(
        self,
        partition: Partition,
        segments: list[Segment],
        synced: Callable[[], None],
        reached: Callable[[], None],
    ) -> bool:
        """Whether it has begun. synced() when it has ended, however; then reached() if all is well."""
        try:
            files = [segment.file for segment in segments]
        except WorldError as error:
            partition.failed(error)
            return False
        self._syncing.add(partition)

        def work() -> object:
            for file in files:
                file.sync()
            return None

        def done(_: object | None, error: BaseException | None) -> None:
            self._syncing.discard(partition)
            synced()
            if error is not None:
                partition.sync_failed(as_world(error))
            elif not partition.offline:
                reached()

        self._loop.run_in("sync", work, done)
        return True

    def _points_moved(self) -> None:
        """The last of those that are being synced together writes the checkpoints for all."""
        if not self._syncing:
            self.write_checkpoints()

    def _write_beside(self, partition: Partition, synced: list[Segment], offset: int) -> None:
        """U1: what spares the scan, as a chore, for a roll writes the same names. If it fails, the records are safe."""
        log = partition.log
        write = log.last_files()

        def told(error: WorldError | None) -> None:
            if error is not None:
                self._lines.warning("no recovery point", partition=repr(partition), reason=error.what)
            elif not partition.offline and partition.log is log:
                log.reached_recovery_point(synced, offset)
                self._points_moved()

        def chore() -> None:
            try:
                write()
            except WorldError as error:
                failure = error  # the name of an except clause ends with it
                self._loop.from_thread(lambda: told(failure))
            else:
                self._loop.from_thread(lambda: told(None))

        log.chores.append(chore)
        partition.do_chores()

    def write_checkpoints(self, done: Callable[[WorldError | None], None] | None = None) -> None:
        """Both offset checkpoints and whose they are, in the commit pool: a sync on the loop would hold everybody.

        One at a time: of two, the older might be the last to be renamed. Who asks meanwhile is served by the next.
        """
        self._checkpoints_asked.append(done)
        if not self._writing_checkpoints:
            self._write_checkpoints()

    def _write_checkpoints(self) -> None:
        self._writing_checkpoints = True
        asked, self._checkpoints_asked = self._checkpoints_asked, []
        points: dict[Key, int] = {}
        starts: dict[Key, int] = {}
        logs: list[tuple[Log, int]] = []
        topic_ids: dict[str, bytes] = {}

        def gather() -> Iterator[None]:
            for partition in self._partitions.all():
                log = partition.log
                topic_ids[partition.topic] = partition.topic_id
                if log.recovery_point:
                    points[partition.topic, partition.index] = log.recovery_point
                    logs.append((log, log.recovery_point))
                if log.log_start_offset:
                    starts[partition.topic, partition.index] = log.log_start_offset
                yield

        def work() -> object:
            self._folder.write_offsets(points, starts, topic_ids)
            return None

        def written(_: object | None, error: BaseException | None) -> None:
            if error is not None:
                self._lines.warning("checkpoints were not written", reason=str(error))
                logs.clear()
            in_slices(self._clock, self._loop, note(), lambda: answer(as_world(error) if error else None))

        def note() -> Iterator[None]:
            for log, offset in logs:
                log.checkpointed_offset = offset
                yield

        def answer(error: WorldError | None) -> None:
            self._writing_checkpoints = False
            if self._checkpoints_asked:
                self._write_checkpoints()
            for done in asked:
                if done is not None:
                    done(error)

        in_slices(self._clock, self._loop, gather(), lambda: self._loop.run_in("commit", work, written))

    # -- retention

    def _enforce_retention(self) -> Iterator[None]:
        """Delete what has had its time; files go after file.delete.delay.ms."""
        by_time = self._clock.mono_ms() >= self._suspended_until_ms
        wall_ms = self._clock.wall_ms()
        for partition in self._partitions.all():
            self._let_go(partition, wall_ms, by_time)
            if partition not in self._compacting:
                partition.log.drop_idle_indexes()
            yield

    def _let_go(self, partition: Partition, wall_ms: int, by_time: bool) -> None:
        if partition.offline or not partition.log.segments or partition in self._compacting:
            return
        try:
            gone = partition.log.delete_expired(wall_ms, partition.high_watermark, by_time)
        except WorldError as error:
            self._lines.warning("retention failed", partition=repr(partition), reason=error.what)
            return
        if partition.log.chores:
            # All of it goes, and the segment that keeps its end offset is being made.
            partition.do_chores()
            self._waits.call_after(TICK_MS, lambda: self._let_go(partition, wall_ms, by_time))
        if gone:
            self._set_aside(partition, gone)

    def _set_aside(self, partition: Partition, gone: list[Segment]) -> None:
        """Names are changed in a pool; what fails stays until the next start or retention."""
        log, loop = partition.log, self._loop

        lane = partition.lane
        lane.syncing += 1  # until then its folder must keep its name

        def told(_: object | None, error: BaseException | None) -> None:
            if error is not None:
                self._lines.warning("old files stay", partition=repr(partition), reason=str(error))

        def renamed(_: object | None, error: BaseException | None) -> None:
            lane.syncing -= 1
            told(None, error)

        def unlink() -> None:
            for segment in gone:
                log.unlink_deleted(segment)

        loop.run_in("upkeep", lambda: log.set_aside(gone), renamed)
        self._waits.call_after(
            partition.options.file_delete_delay_ms, lambda: loop.run_in("upkeep", unlink, told)
        )

    def _compact_internal(self) -> None:
        """__consumer_offsets stays as small as its living keys. Topics of users are not compacted."""
        for partition in self._partitions.of_topic(OFFSETS_TOPIC):
            if (
                not partition.offline
                and len(partition.log.segments) > 1
                and partition not in self._compacting
            ):
                self._compact(partition)

    def _compact(self, partition: Partition) -> None:
        """Planned on the loop; reading and writing happen in a pool, and then the copies take their places."""
        log = partition.log
        run = log.compaction(self._clock.wall_ms(), partition.high_watermark)
        if run is None:
            return
        self._compacting.add(partition)

        def done(_: object | None, error: BaseException | None) -> None:
            if error is not None:
                self._compacted(partition, error)
            else:
                self._install(partition, log, deque(zip(run.chosen, run.copies, run.sources, strict=True)))

        self._loop.run_in("upkeep", run.work, done)

    def _compacted(self, partition: Partition, error: BaseException | None) -> None:
        self._compacting.discard(partition)
        if error is not None:
            self._lines.warning("compaction failed", partition=repr(partition), reason=as_world(error).what)

    def _install(self, partition: Partition, log: Log, left: deque[tuple[Segment, Segment, Segment]]) -> None:
        """One copy after the other: its names change in the pool, and then readers find it."""
        if self._stopped or not left or partition.offline or partition.log is not log:
            self._compacted(partition, None)
            return
        segment, copy, source = left.popleft()
        if segment not in log.segments:  # cut off meanwhile
            self._compacted(partition, None)
            return
        try:
            replace = log.replacing(segment, copy, source)
        except WorldError as error:
            self._compacted(partition, error)
            return
        lane = partition.lane
        lane.syncing += 1  # until then its folder must keep its name

        def replaced(late: object | None, error: BaseException | None) -> None:
            lane.syncing -= 1
            if error is not None:
                segment.unpin_file()
                self._compacted(partition, error)
                return
            if segment in log.segments:
                log.replaced(segment, copy)
            if isinstance(late, WorldError):
                self._compacted(partition, late)
            else:
                self._install(partition, log, left)

        self._loop.run_in("upkeep", replace, replaced)

    def _keep_within(self, bytes_max: int) -> None:
        """A broker in memory: above its cap the oldest segments of all topics go, and one warning says so."""
        excess = sum(partition.log.size_bytes for partition in self._partitions.all()) - bytes_max
        if excess <= 0:
            return
        closed = [
            (segment.max_timestamp, segment.base_offset, partition)
            for partition in self._partitions.all()
            for segment in partition.log.segments[:-1]
            if partition.topic != OFFSETS_TOPIC
        ]
        for _, _, partition in sorted(closed, key=lambda entry: entry[:2]):
            if excess <= 0:
                break
            before = partition.log.size_bytes
            partition.log.advance_log_start(partition.log.segments[0].end_offset)
            gone = partition.log.delete_expired(self._clock.wall_ms(), partition.high_watermark, False)
            partition.log.set_aside(gone)
            for segment in gone:
                partition.log.unlink_deleted(segment)
            excess -= before - partition.log.size_bytes
        if not self._warned:
            self._warned = True
            self._lines.warning("the memory cap is reached: oldest segments go", cap_bytes=bytes_max)

    def _expire_producers(self) -> Iterator[None]:
        expiration_ms = self._options.get_int("producer.id.expiration.ms")
        wall_ms = self._clock.wall_ms()
        for partition in self._partitions.all():
            partition.log.producers.expire(wall_ms, expiration_ms)
            yield
