"""The committer that syncs by a journal: one durable write a round for all partitions that gathered little (decision 18).

A round takes what the partitions have gathered since the last one began. Those with SMALL_BYTES or less go together into
one write of the ring, done by the system while the loop writes their files without a sync, or a thread those that are just
being synced; the others get a job of their own: write and sync.

H1  One round is in flight. A partition is in one round or one job at a time, so its batches become durable in order.
    Where a thread has to write the ring, the loop itself writes a round of one batch if the disk has been quick lately: two
    thread hops cost more.
H2  A partition is told when its bytes are durable in the ring and its readers find them in the file.
H3  When a half of the ring is full, the files named in it are synced in the background, some at a time (the checkpoint),
    before that half is used again. A round for which there is no room waits for the last of them, if by jobs it would be
    nearly as many syncs, and ROOM_WAIT_MS at most: then all go by jobs until that checkpoint has ended.
H4, H5  A sync that fails freezes the journal for a while (node_journal.py).
Crash   the next start takes up what the ring has (log/journal.py).
"""

from collections.abc import Sequence
from typing import Final, cast

from librt.strings import BytesWriter

from barnabas.log.journal import Ring, Round, entry_head
from barnabas.log.write import Write
from barnabas.partitions.committer import (
    Committer,
    Lane,
    Uncommitted,
    as_world,
    run_job,
    write_one,
    write_runs,
)
from barnabas.partitions.node_journal import Journal
from barnabas.partitions.turn import Turn
from barnabas.partitions.waits import Timer, Waits
from barnabas.ports import File, Loop, RingFile, WorldError

SMALL_BYTES: Final = 64 * 1024
QUICK_BYTES: Final = 32 * 1024
OUT_KEPT_BYTES: Final = 1024 * 1024
"""What a larger round is put together in goes with it."""
ROUND_BYTES_MAX: Final = 4 * 1024 * 1024
FILES_OWED_MAX: Final = 1024
"""Files named in one half of the ring: they stay open until its checkpoint."""
SYNCS_MAX: Final = 8
"""Of a checkpoint, in flight: as many as its pool has threads, so that none is said to be under way that has not begun."""
ROOM_WAIT_MS: Final = 1_000
ROOM_WAIT_SHARE: Final = 4
"""A round waits for room when the checkpoint has at most so many files to sync for each of its partitions."""
LATE_MAX: Final = 2
"""Of the commit pool's threads: a file system may hold a write up until the sync of its file has ended."""
JOBS_MAX: Final = 64
"""Begun in one go: recovery points and first appends of thousands of partitions may meet, and others wait for the loop."""


def written_now(file: RingFile, position: int, chunks: Sequence[bytes | memoryview]) -> WorldError | None:
    try:
        file.write(position, chunks)
    except WorldError as error:
        return error
    return None


class Late:
    """Lanes of a round whose files were being synced as it began: a thread writes them (C4). They land when that has ended
    and the ring has them, too.
    """

    __slots__ = ("half", "is_in_ring", "is_written", "lanes", "ring_error")

    def __init__(self, half: int, lanes: list[Lane]) -> None:
        self.half = half
        self.lanes = lanes
        self.is_written = False
        self.is_in_ring = False
        self.ring_error: BaseException | None = None


def write_each(lanes: list[Lane]) -> list[list[File] | WorldError]:
    """In a thread: the files of each lane that have been written, or why they have not."""
    told: list[list[File] | WorldError] = []
    for lane in lanes:
        try:
            told.append(write_runs(lane.flying))
        except WorldError as error:
            told.append(error)
    return told


class JournalCommitter(Committer):
    """Durable in the ring first, in the file later."""

    def __init__(
        self,
        turn: Turn,
        loop: Loop,
        uncommitted: Uncommitted,
        journal: Journal,
        waits: Waits,
    ) -> None:
        self._turn = turn
        self._loop = loop
        self._waits = waits
        self._uncommitted = uncommitted
        self._journal = journal
        self._jobs = 0
        self._gathered: list[Lane] = []
        self._out = BytesWriter()
        """Where rounds are put together."""
        self._flying = False
        self._registered = False
        self._syncing = 0
        """Files of a checkpoint, or of a thaw, that are being synced. One of these is under way at a time."""
        self._in_sync: set[Lane] = set()
        """Whose they are."""
        self._sync_failed = False
        """One of them; no more are begun then."""
        self._late = [0, 0]
        """Rounds named in each half of which a thread has still to write some files."""
        self._waiting: list[Lane] = []
        """For room in the ring (H3)."""
        self._room_timer: Timer | None = None
        self._waited_in_vain = False
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
        put_off: list[Lane] = []
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
            elif lane.syncing and self._must_wait(lane, size):
                lane.queued = True
                put_off.append(lane)
            elif self._goes_alone(lane, size):
                self._start_job(lane)
                jobs += 1
            else:
                chosen.append(lane)
                size += lane.bytes
        self._gathered += put_off
        if chosen:
            self._start_round(chosen)

    def _goes_alone(self, lane: Lane, size: int) -> bool:
        """By a job, beside a round that has size bytes so far."""
        return (
            lane.bytes > SMALL_BYTES
            or lane.behind
            or bool(lane.chores)
            or size > ROUND_BYTES_MAX
            or not self._journal.usable
        )

    def _must_wait(self, lane: Lane, size: int) -> bool:
        """While its file is being synced: a job would hold a thread until that sync has ended, and then sync it once more."""
        if self._goes_alone(lane, size):
            return lane in self._in_sync and not lane.chores
        return sum(self._late) >= LATE_MAX

    def _start_round(self, lanes: list[Lane]) -> None:
        ring, file = self._journal.ring, self._journal.file
        assert ring is not None and file is not None, "a usable journal has both"
        if self._waiting and self._may_wait(lanes):
            self._wait_for_room(lanes)
            return
        taken = Round(self._out)
        for lane in lanes:
            self._add(taken, lane)
        if taken.size > OUT_KEPT_BYTES:
            self._out = BytesWriter()
        left = ring.half
        if self._make_room(ring, taken.size):
            self._write_round(ring, file, taken, lanes)
        elif ring.holds(taken.size) and self._may_wait(lanes):
            self._wait_for_room(lanes)
        else:
            for lane in lanes:
                self._start_job(lane)
        if ring.half != left:
            self._checkpoint(left)  # now that this round has written its files: C4

    def _write_round(self, ring: Ring, file: RingFile, taken: Round, lanes: list[Lane]) -> None:
        late: list[Lane] = []
        for lane in lanes:
            lane.flying, lane.writes = lane.writes, lane.flying
            lane.flying_bytes, lane.bytes = lane.bytes, 0
            lane.busy, lane.journal = True, self._journal
            if lane.syncing:
                late.append(lane)
        if late:
            lanes = [lane for lane in lanes if not lane.syncing]
        position, sequence = ring.place(taken.size)
        chunks = taken.to_chunks(ring.run_id, sequence)
        self._flying = True
        self.rounds += 1
        if (
            not late
            and len(lanes) == 1
            and len(lanes[0].flying) == 1
            and taken.size <= QUICK_BYTES
            and file.is_quick()
        ):
            self._write_files(ring.half, lanes)
            self._landed(lanes, None, written_now(file, position, chunks))
            return
        behind = self._write_late(ring.half, late) if late else None
        self._loop.write_ring(file, position, chunks, lambda _, error: self._landed(lanes, behind, error))
        self._write_files(ring.half, lanes)  # while the disk works

    def _write_late(self, half: int, lanes: list[Lane]) -> Late:
        """C4. Their half is not paid before they are written, and synced (J2)."""
        late = Late(half, lanes)
        self._late[half] += 1

        def written(told: object | None, error: BaseException | None) -> None:
            assert error is None, "each lane says its own"
            self._late_written(late, cast(list[list[File] | WorldError], told))

        self._loop.run_in("commit", lambda: write_each(lanes), written)
        return late

    def _late_written(self, late: Late, told: list[list[File] | WorldError]) -> None:
        journal, ring, half = self._journal, self._journal.ring, late.half
        assert ring is not None, "it has the round, or will have it"
        is_left = ring.half != half
        owed = journal.due[half] if is_left else journal.owed[half]
        for lane, files in zip(late.lanes, told, strict=True):
            if isinstance(files, WorldError):
                lane.failed = True
                lane.owner.failed(files)
            elif not lane.failed:
                for file in files:
                    owed[file] = lane
        self._late[half] -= 1
        if is_left:
            self._sync_more(half)
        late.is_written = True
        if late.is_in_ring:
            self._land(late.lanes, late.ring_error)
        self._go_on()

    def _write_files(self, half: int, lanes: list[Lane]) -> None:
        """Readers will find the bytes in the files."""
        owed = self._journal.owed[half]
        for lane in lanes:
            writes = lane.flying
            try:
                if len(writes) == 1:
                    owed[write_one(writes[0])] = lane
                    continue
                for written in write_runs(writes):
                    owed[written] = lane
            except WorldError as error:
                lane.failed = True
                lane.owner.failed(error)

    def _add(self, taken: Round, lane: Lane) -> None:
        """One entry for each run of batches in one segment."""
        writes, at = lane.writes, 0
        while at < len(writes):
            first, file = at, writes[at].file
            path = file.path
            at += 1
            while at < len(writes) and (writes[at].file is file or writes[at].file.path == path):
                at += 1
            if path != lane.path:
                lane.path = path
                lane.entry_head = entry_head(lane.owner.topic_id, path[len(self._journal.root) + 1 :])
            taken.add(lane.entry_head, writes if at - first == len(writes) else writes[first:at])

    def _make_room(self, ring: Ring, size: int) -> bool:
        """H3: turn to the other half when this one is full, whose checkpoint the caller begins; False while that one's
        files are not synced yet.
        """
        if ring.fits(size) and len(self._journal.owed[ring.half]) <= FILES_OWED_MAX:
            return True
        return ring.holds(size) and ring.turn()

    def _landed(self, lanes: list[Lane], late: Late | None, error: BaseException | None) -> None:
        self._flying = False
        if error is not None:
            self._journal.freeze(as_world(error))
        self._land(lanes, error)
        if late is not None:
            late.is_in_ring, late.ring_error = True, error
            if late.is_written:
                self._land(late.lanes, error)
        self._go_on()

    def _land(self, lanes: list[Lane], error: BaseException | None) -> None:
        for lane in lanes:
            writes, size = lane.flying, lane.flying_bytes
            lane.busy = False
            if error is not None and not lane.failed:
                # The bytes are in the file, and a job writes them once more before it syncs: nothing was answered.
                lane.writes[:0] = writes
                lane.bytes += size
                writes.clear()
                self._start_job(lane)
                continue
            self._uncommitted.bytes -= size
            if lane.failed:
                writes.clear()
                self._forget(lane)
                continue
            end_offset = writes[-1].end_offset
            writes.clear()  # before the owner may begin a job
            lane.owner.committed(end_offset, size)
            if lane.writes or lane.chores:
                lane.owner.released()

    # -- H3, H4, H5

    def _may_wait(self, lanes: list[Lane]) -> bool:
        """For room in the ring: whether the checkpoint ends about as soon as a sync of each lane's file would."""
        if self._waited_in_vain:
            return False
        left = self._syncing + sum(map(len, self._journal.due))
        return left <= ROOM_WAIT_SHARE * len(lanes)

    def _wait_for_room(self, lanes: list[Lane]) -> None:
        for lane in lanes:
            lane.queued = True
        self._waiting += lanes
        if self._room_timer is None:
            self._room_timer = self._waits.call_after(ROOM_WAIT_MS, self._wait_no_more)

    def _wait_no_more(self) -> None:
        """A disk that hangs in one sync may serve the others."""
        self._waited_in_vain = True
        self._end_wait()

    def _end_wait(self) -> None:
        if self._room_timer is not None:
            self._room_timer.cancel()
            self._room_timer = None
        self._gathered, self._waiting = self._waiting + self._gathered, []
        self._go_on()

    def _go_on(self) -> None:
        """With what was gathered meanwhile."""
        if self._gathered and not self._registered and not self._flying:
            self._begin()

    def _checkpoint(self, half: int) -> None:
        journal = self._journal
        journal.due[half], journal.owed[half] = journal.owed[half], {}
        self._sync_failed = False
        self._sync_more(half)

    def _sync_more(self, half: int | None) -> None:
        """Of the half that was left, or of all that is owed: some files at once. The half is paid when none is left, unless one
        has failed.
        """
        journal, ring = self._journal, self._journal.ring
        assert ring is not None, "there is a half to check"
        owed = self._due(half)
        while owed and self._syncing < SYNCS_MAX and not self._sync_failed and not journal.is_closed:
            self._sync_one(owed, half)
            owed = self._due(half)
        if half is not None and not (owed or self._syncing or self._sync_failed or self._late[half]):
            ring.paid(half)
            self._waited_in_vain = False
            self._end_wait()

    def _due(self, half: int | None) -> dict[File, Lane] | None:
        return self._journal.next_owed() if half is None else self._journal.due[half]

    def _sync_one(self, owed: dict[File, Lane], half: int | None) -> None:
        """Meanwhile its partition is written by threads, for a write would wait for the sync."""
        file, lane = owed.popitem()
        lane.syncing += 1
        self._syncing += 1
        self._in_sync.add(lane)

        def synced(_: object | None, error: BaseException | None) -> None:
            lane.syncing -= 1
            self._syncing -= 1
            self._in_sync.discard(lane)
            if error is None:
                self._sync_more(half)
                self._go_on()
                return
            self._sync_failed = True
            self._journal.freeze(as_world(error))
            lane.owner.sync_failed(as_world(error))
            self._end_wait()

        self._loop.run_in("checkpoint", file.sync, synced)

    def thaw(self, now_ms: int) -> None:
        """H5, each second: the next step, if it is time for one."""
        journal = self._journal
        if self._flying or self._syncing or any(self._late) or not journal.may_thaw(now_ms):
            return
        if journal.next_owed() is not None:
            self._sync_failed = False
            self._sync_more(None)
        elif not journal.is_needed():
            self._waited_in_vain = False
            journal.prepare()

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
