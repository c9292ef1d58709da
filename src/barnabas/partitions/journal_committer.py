"""The committer that syncs by a journal: one durable write a round for all partitions that gathered little (decision 18).

A round takes what the partitions have gathered since the last one began. Those with SMALL_BYTES or less go together into
one write of the ring, in a thread, while the loop writes their files without a sync; the others, and those whose file is
being synced, get a job of their own: write and sync.

H1  One round is in flight. A partition is in one round or one job at a time, so its batches become durable in order.
    A round of one batch is written by the loop itself where the disk has been quick lately: two thread hops cost more.
H2  A partition is told when its bytes are durable in the ring and its readers find them in the file.
H3  When a half of the ring is full, the files named in it are synced in the background (the checkpoint) before that half is
    used again; until then rounds go the other way, by a job each: the disk decides, nobody waits for a ring.
H4  A sync that fails leaves records that were answered in the ring alone. The ring is frozen: nothing is written to it
    any more, the partition is restored from it, and all go on by jobs.
H5  It thaws when it is nobody's only copy: every file named in it has been synced, every partition in doubt restored. A new
    run begins then, by the one write that makes the old one void. Each failure doubles the wait before that.
Crash   the next start takes up what the ring has (log/journal.py). Between the last sync and the new run: what lies in the
        files already. In the write of block 0: of either run, or of none if it is torn.
"""

from collections.abc import Callable, Sequence
from typing import Final, cast

from barnabas.log.journal import Ring, Round, prepare
from barnabas.log.write import Write
from barnabas.partitions.committer import Lane, Uncommitted, as_world, run_job, write_runs
from barnabas.partitions.turn import Turn
from barnabas.ports import File, Files, Loop, RingFile, WorldError
from barnabas.telemetry import Log as Lines

SMALL_BYTES: Final = 64 * 1024
QUICK_BYTES: Final = 32 * 1024
ROUND_BYTES_MAX: Final = 4 * 1024 * 1024
JOB_WORTH_BYTES: Final = 1024 * 1024
FILES_OWED_MAX: Final = 1024
"""Files named in one half of the ring: they stay open until its checkpoint."""
THAW_AFTER_MS: Final = 1_000
THAW_AFTER_MS_MAX: Final = 600_000

JOBS_MAX: Final = 64
"""Begun in one go: recovery points and first appends of thousands of partitions may meet, and others wait for the loop."""

Part = tuple[Lane, list[Write], int]
"""What one partition has in a round: its batches and their bytes."""


def written_now(file: RingFile, position: int, chunks: Sequence[bytes | memoryview]) -> WorldError | None:
    try:
        file.write(position, chunks)
    except WorldError as error:
        return error
    return None


class Journal:
    """The ring of one node: a file to write to, or none (yet). size 0: never one."""

    def __init__(
        self,
        files: Files,
        loop: Loop,
        state: str,
        root: str,
        size: int,
        new_run_id: Callable[[], bytes],
        lines: Lines,
    ) -> None:
        """The ring is in the folder state; root has the partitions' folders."""
        self._files = files
        self._loop = loop
        self._state = state
        self._size = size
        self._new_run_id = new_run_id
        self._lines = lines
        self.root = root
        self.file: RingFile | None = None
        self.ring: Ring | None = None
        self.frozen = False
        self.is_renewing = False
        """A thread is writing block 0 of the file: nobody else may have the folder until it has ended."""
        self.owed: list[dict[File, Lane]] = [{}, {}]
        """Files named in each half and not synced since, and whose they are."""
        self.due: list[dict[File, Lane]] = [{}, {}]
        """Of these, what the checkpoint of a half that was left has still to sync."""
        self._doubtful: set[Lane] = set()
        self._is_closed = False
        self._failures = 0
        self._failures_seen = 0
        self._thaw_after_ms = 0
        self._thaw_at_ms = 0
        self.jobs_first = max(size // JOB_WORTH_BYTES, 1) if size else 0
        """The ring is made when so many partitions have been synced by themselves: an idle broker needs none."""

    @property
    def usable(self) -> bool:
        return self.file is not None and not self.frozen

    def prepare(self) -> None:
        """In a pool; usable some time later, or never where the system has no such file. H5: all that it had is void."""
        run_id, failures = self._new_run_id(), self._failures
        self.is_renewing = self.file is not None

        def prepared(file: object | None, error: BaseException | None) -> None:
            self.is_renewing = False
            if error is not None:
                self._lines.warning("no journal: every partition is synced by itself", reason=str(error))
            if file is None:
                self._failures += 1
                return
            if self.file is not None:
                self.file.close()
            self.file = cast(RingFile, file)
            self.ring = Ring(run_id, self._size)
            if self._is_closed:
                self.file.close()
            elif self.frozen and failures == self._failures:
                self.frozen = False
                self._lines.info("the journal is in use again")

        self._loop.run_in("read", lambda: prepare(self._files, self._state, run_id, self._size), prepared)

    def freeze(self, error: WorldError) -> None:
        """H4."""
        self._failures += 1
        if not self.frozen:
            self.frozen = True
            self._lines.error(
                "the journal is frozen: partitions are synced by themselves until it is in use again",
                reason=error.what,
            )

    def keep(self, lane: Lane, error: WorldError) -> None:
        """H4: the lane's partition is in doubt. Its files are synced by who restores it, and by nobody else: a second sync
        of one that failed proves nothing.
        """
        self.freeze(error)
        self._doubtful.add(lane)
        self._forget_files(lane)

    def restored(self, lane: Lane) -> None:
        """What it has of the lane's partition is in synced files."""
        self._doubtful.discard(lane)

    def forget(self, lane: Lane) -> None:
        """The topic was deleted: what it has of the lane's partition is nobody's."""
        lane.journal = None
        self._doubtful.discard(lane)
        if self.frozen:  # else a checkpoint will come to them
            self._forget_files(lane)

    def _forget_files(self, lane: Lane) -> None:
        for files in (*self.owed, *self.due):
            for file in [file for file, whose in files.items() if whose.owner is lane.owner]:
                del files[file]

    def next_owed(self) -> dict[File, Lane] | None:
        """Some of the files that are not synced yet, if there are any."""
        return next((files for files in (*self.due, *self.owed) if files), None)

    def is_needed(self) -> bool:
        """Whether it may be somebody's only copy."""
        return bool(self._doubtful) or self.next_owed() is not None

    def may_thaw(self, now_ms: int) -> bool:
        """Whether it is time to try (H5). Asked each second; after a failure the wait begins when this is asked."""
        if not self.frozen or self._is_closed or self.is_renewing:
            return False
        if self._failures != self._failures_seen:
            self._failures_seen = self._failures
            has_held = now_ms - self._thaw_at_ms > THAW_AFTER_MS_MAX
            longer_ms = min(2 * self._thaw_after_ms, THAW_AFTER_MS_MAX)
            self._thaw_after_ms = THAW_AFTER_MS if has_held or not longer_ms else longer_ms
            self._thaw_at_ms = now_ms + self._thaw_after_ms
        return now_ms >= self._thaw_at_ms

    def close(self) -> None:
        self.frozen = self._is_closed = True
        if self.file is not None:
            self.file.close()


class JournalCommitter:
    """Durable in the ring first, in the file later."""

    def __init__(
        self,
        turn: Turn,
        loop: Loop,
        uncommitted: Uncommitted,
        journal: Journal,
    ) -> None:
        self._turn = turn
        self._loop = loop
        self._uncommitted = uncommitted
        self._journal = journal
        self._jobs = 0
        self._gathered: list[Lane] = []
        self._flying = False
        self._registered = False
        self._syncing = 0
        """Files of checkpoints, and of a thaw, that are being synced."""
        self.rounds = 0

    def take(self, lane: Lane, write: Write) -> None:
        lane.writes.append(write)
        lane.bytes += write.size
        self._uncommitted.bytes += write.size
        if not lane.queued and not lane.busy:
            self._queue(lane)

    def _queue(self, lane: Lane) -> None:
        lane.queued = True
        self._gathered.append(lane)
        if not self._registered and not self._flying:
            self._registered = True
            self._turn.write(self._begin)

    # -- a round

    def _begin(self) -> None:
        self._registered = False
        if self._flying:
            return
        gathered, self._gathered = self._gathered, []
        chosen: list[Lane] = []
        size = jobs = 0
        for at, lane in enumerate(gathered):
            if jobs == JOBS_MAX:
                self._gathered = gathered[at:] + self._gathered
                self._registered = True
                self._loop.soon(self._begin)
                break
            lane.queued = False
            if lane.failed or not (lane.writes or lane.chores):
                self._forget(lane)
            elif (
                lane.bytes > SMALL_BYTES
                or lane.syncing
                or lane.behind
                or lane.chores
                or size > ROUND_BYTES_MAX
                or not self._journal.usable
            ):
                self._start_job(lane)
                jobs += 1
            else:
                chosen.append(lane)
                size += lane.bytes
        if chosen:
            self._start_round(chosen)

    def _start_round(self, lanes: list[Lane]) -> None:
        ring, file = self._journal.ring, self._journal.file
        assert ring is not None and file is not None, "a usable journal has both"
        taken = Round()
        for lane in lanes:
            self._add(taken, lane)
        left = ring.half
        if self._make_room(ring, taken.size):
            self._write_round(ring, file, taken, lanes)
        else:
            for lane in lanes:
                self._start_job(lane)
        if ring.half != left:
            self._checkpoint(left)  # now that this round has written its files: C4

    def _write_round(self, ring: Ring, file: RingFile, taken: Round, lanes: list[Lane]) -> None:
        parts: list[Part] = []
        for lane in lanes:
            parts.append((lane, lane.writes, lane.bytes))
            lane.writes, lane.bytes = [], 0
            lane.busy, lane.journal = True, self._journal
        position, sequence = ring.place(taken.size)
        chunks = taken.to_chunks(ring.run_id, sequence)
        self._flying = True
        self.rounds += 1
        if len(lanes) == 1 and len(parts[0][1]) == 1 and taken.size <= QUICK_BYTES and file.is_quick():
            self._write_files(ring.half, parts)
            self._landed(parts, written_now(file, position, chunks))
            return
        self._loop.run_in(
            "commit", lambda: file.write(position, chunks), lambda _, error: self._landed(parts, error)
        )
        self._write_files(ring.half, parts)  # while the disk works

    def _write_files(self, half: int, parts: list[Part]) -> None:
        """Readers will find the bytes in the files."""
        owed = self._journal.owed[half]
        for lane, writes, _ in parts:
            try:
                for written in write_runs(writes):
                    owed[written] = lane
            except WorldError as error:
                lane.failed = True
                lane.owner.failed(error)

    def _add(self, taken: Round, lane: Lane) -> None:
        """One entry for each run of batches in one segment."""
        writes, at = lane.writes, 0
        while at < len(writes):
            first = at
            path = writes[first].file.path
            while at < len(writes) and writes[at].file.path == path:
                at += 1
            taken.add(lane.owner.topic_id, path[len(self._journal.root) + 1 :], writes[first:at])

    def _make_room(self, ring: Ring, size: int) -> bool:
        """H3: turn to the other half when this one is full, whose checkpoint the caller begins; False while that one's
        files are not synced yet.
        """
        if ring.fits(size) and len(self._journal.owed[ring.half]) <= FILES_OWED_MAX:
            return True
        return ring.turn() and ring.fits(size)

    def _landed(self, parts: list[Part], error: BaseException | None) -> None:
        self._flying = False
        if error is not None:
            self._journal.freeze(as_world(error))
        for lane, writes, size in parts:
            lane.busy = False
            if lane.failed:
                self._uncommitted.bytes -= size
                self._forget(lane)
            elif error is not None:
                # The bytes are in the file, and a job writes them once more before it syncs: nothing was answered.
                lane.writes[:0] = writes
                lane.bytes += size
                self._start_job(lane)
            else:
                self._uncommitted.bytes -= size
                lane.owner.committed(writes[-1].end_offset, size)
                lane.owner.released()
        if self._gathered and not self._registered:
            self._begin()

    # -- H3, H4, H5

    def _checkpoint(self, half: int) -> None:
        journal = self._journal
        journal.due[half], journal.owed[half] = journal.owed[half], {}
        self._sync_next(half)

    def _sync_next(self, half: int) -> None:
        ring, due = self._journal.ring, self._journal.due[half]
        assert ring is not None, "there is a half to check"
        if due:
            self._sync_one(due, lambda: self._sync_next(half))
        else:
            ring.paid(half)

    def _sync_one(self, due: dict[File, Lane], go_on: Callable[[], None]) -> None:
        """One file after the other; meanwhile its partition goes by jobs, for a write would wait for the sync."""
        file, lane = due.popitem()
        lane.syncing += 1
        self._syncing += 1

        def synced(_: object | None, error: BaseException | None) -> None:
            lane.syncing -= 1
            self._syncing -= 1
            if error is None:
                go_on()
                return
            self._journal.freeze(as_world(error))
            lane.owner.sync_failed(as_world(error))

        self._loop.run_in("commit", file.sync, synced)

    def thaw(self, now_ms: int) -> None:
        """H5, each second: the next step, if it is time for one."""
        journal = self._journal
        if self._flying or self._syncing or not journal.may_thaw(now_ms):
            return
        if journal.next_owed() is not None:
            self._pay()
        elif not journal.is_needed():
            journal.prepare()

    def _pay(self) -> None:
        owed = self._journal.next_owed()
        if owed is not None:
            self._sync_one(owed, self._pay)

    # -- jobs of single partitions

    def _start_job(self, lane: Lane) -> None:
        self._jobs += 1
        if self._jobs == self._journal.jobs_first:
            self._journal.prepare()
        lane.busy = True
        writes, size = lane.writes, lane.bytes
        lane.writes, lane.bytes = [], 0
        run_job(self._loop, lane, writes, size, self._uncommitted, sync=True)

    def settle(self, lane: Lane) -> None:
        if not lane.queued and not lane.busy:
            self._queue(lane)

    def released(self, lane: Lane) -> None:
        if lane.writes or lane.chores:
            self.settle(lane)

    def _forget(self, lane: Lane) -> None:
        self._uncommitted.bytes -= lane.bytes
        lane.writes, lane.bytes, lane.chores = [], 0, []
