"""A partition whose write or sync failed comes back.

R1  The log is cut to what had been committed, and a new file begins under a new reign (decision 6).
R2  What waits for the disk happens in a pool's thread. Meanwhile the partition is offline: nobody writes, readers meet what
    lies below the high watermark; lane.syncing keeps its folder where it is.
R3  Behind each wait all is looked at anew: the partition may be deleted, and a sync of its file may have failed once more.
Crash   at any moment: as after the failed write itself; recovery cuts or takes up what nobody had been told of.
"""

from collections.abc import Callable
from typing import Final

from barnabas.log.take_up import restore
from barnabas.partitions.committer import Lane, as_world, sync_all
from barnabas.partitions.data_folder import DataFolder
from barnabas.partitions.partition import Partition
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Files, Loop, WorldError
from barnabas.telemetry import Log as Lines

REOPEN_AFTER_MS: Final = 1_000
REOPEN_AFTER_MS_MAX: Final = 60_000
NewReign = Callable[[str, int, Callable[[int, int], None]], None]
"""Asks the metadata store for a reign for one partition (topic, index): done(code, reign)."""


class Keeper:
    """Who re-opens: what it needs of the node, and of all partitions."""

    def __init__(
        self,
        clock: Clock,
        loop: Loop,
        waits: Waits,
        files: Files,
        folder: DataFolder,
        lines: Lines,
        new_reign: NewReign,
        serves: Callable[[Partition], bool],
        is_synced: Callable[[Partition], bool],
        restored: Callable[[Lane], None],
        opened: Callable[[Partition], None],
    ) -> None:
        """serves: whether it is still a partition of this node; is_synced: whether its answers wait for a sync; restored: what
        a journal has of it is in synced files.
        """
        self.clock = clock
        self.loop = loop
        self.waits = waits
        self.files = files
        self.folder = folder
        self.lines = lines
        self.new_reign = new_reign
        self.serves = serves
        self.is_synced = is_synced
        self.restored = restored
        self.opened = opened
        self.stopped = False

    def reopen_later(self, partition: Partition, after_ms: int = REOPEN_AFTER_MS) -> None:
        self.waits.call_after(after_ms, lambda: self.reopen(partition, after_ms))

    def reopen(self, partition: Partition, after_ms: int, *, is_restored: bool = False) -> None:
        """after_ms: how long this was waited for; should it fail, the next wait is longer."""
        if self.stopped or not self.serves(partition):
            return
        if partition.lane.busy or partition.lane.syncing:
            # Two syncs of one file: Linux tells its error to one of them, so both must have been heard.
            self.reopen_later(partition)
            return
        partition.log.drop_files()
        Attempt(self, partition, after_ms, is_restored).begin()


class Attempt:
    """One way back, from the first sync to the first new file."""

    def __init__(self, keeper: Keeper, partition: Partition, after_ms: int, is_restored: bool) -> None:
        """is_restored: what the journal has was written once more just now."""
        self._is_restored = is_restored
        self._keeper = keeper
        self._partition = partition
        self._after_ms = after_ms

    def _put_off(self, error: BaseException) -> None:
        keeper, partition = self._keeper, self._partition
        keeper.lines.warning("partition stays offline", partition=repr(partition), reason=str(error))
        keeper.reopen_later(partition, min(self._after_ms * 2, REOPEN_AFTER_MS_MAX))

    def _in_thread(
        self, work: Callable[[], object], then: Callable[[], None], failed: Callable[[BaseException], None]
    ) -> None:
        """R2, R3."""
        partition, lane = self._partition, self._partition.lane
        lane.syncing += 1

        def done(_: object | None, error: BaseException | None) -> None:
            lane.syncing -= 1
            if not self._keeper.serves(partition):
                return  # deleted meanwhile
            if error is not None:
                failed(error)
            else:
                then()

        self._keeper.loop.run_in("commit", work, done)

    def _is_sure(self) -> bool:
        """Whether all that was answered is in the files, as far as was heard; if not, another attempt begins with that."""
        lane = self._partition.lane
        if lane.in_doubt or lane.syncing:
            self._put_off(WorldError("its file is being synced once more"))
            return False
        return True

    # -- what was answered

    def begin(self) -> None:
        """A failed write leaves open whether all that was answered is on disk. One sync tells, and only one: after a failed
        sync the next succeeds without what was lost (decision 6).
        """
        partition, lane = self._partition, self._partition.lane
        if lane.in_doubt:
            self._restore()
        elif lane.journal is None and not self._keeper.is_synced(partition):
            self._ask_for_a_reign()
        else:
            try:
                files = partition.unsynced_files()
            except WorldError as error:
                self._lost(error)
                return
            self._in_thread(lambda: sync_all(files), self._whole, self._lost)

    def _whole(self) -> None:
        if self._is_sure():
            self._partition.is_durable()
            self._ask_for_a_reign()

    def _lost(self, error: BaseException) -> None:
        self._partition.doubt(as_world(error))
        if not self._partition.lane.in_doubt:
            self._ask_for_a_reign()
        elif self._is_restored:
            self._put_off(error)
        else:
            self._restore()

    def _restore(self) -> None:
        """Records that were answered are in the journal alone: they are written and synced once more."""
        keeper, log = self._keeper, self._partition.log
        folder, point = log.folder.rpartition("/")[2], log.checkpointed_offset

        def restored() -> None:
            self._partition.lane.in_doubt = False
            keeper.restored(self._partition.lane)
            keeper.reopen(self._partition, self._after_ms, is_restored=True)

        self._in_thread(
            lambda: restore(keeper.files, keeper.folder.state, keeper.folder.root, folder, point),
            restored,
            self._put_off,
        )

    # -- what goes on

    def _ask_for_a_reign(self) -> None:
        partition = self._partition

        def told(code: int, reign: int) -> None:
            if self._keeper.stopped or not self._keeper.serves(partition):
                return  # deleted meanwhile
            if code:
                self._put_off(WorldError(f"no new reign: error {code}"))
            elif self._is_sure():
                self._cut(reign)

        self._keeper.new_reign(partition.topic, partition.index, told)

    def _cut(self, reign: int) -> None:
        partition, log = self._partition, self._partition.log
        try:
            cut = log.cutting(partition.high_watermark, self._keeper.clock.wall_ms())
        except WorldError as error:
            self._put_off(error)
            return

        def worked() -> None:
            if not self._is_sure():
                return
            assert partition.high_watermark == cut.offset, "only a doubt lowers it"
            try:
                log.apply(cut)
                log.begin_anew(self._keeper.clock.wall_ms(), reign)
            except WorldError as error:
                self._put_off(error)
                return
            chores, log.chores = log.chores, []
            self._in_thread(
                lambda: [chore() for chore in chores], lambda: self._reopened(reign), self._put_off
            )

        self._in_thread(cut.work, worked, self._put_off)

    def _reopened(self, reign: int) -> None:
        keeper, partition = self._keeper, self._partition
        if not self._is_sure():
            return
        partition.reopened(partition.log, reign)
        keeper.lines.info("partition is online again", partition=repr(partition), epoch=reign)
        keeper.opened(partition)
