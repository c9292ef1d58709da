"""The journal of one node: its ring, which files are owed to it, and whether it may be used (decision 18).

What goes into it, and when its files are synced, is the committer's (journal_committer.py, H1-H3).

H4  A sync that fails leaves records that were answered in the ring alone. The ring is frozen: nothing is written to it
    any more, the partition is restored from it, and all go on by jobs.
H5  It thaws when it is nobody's only copy: every file named in it has been synced, every partition in doubt restored, or kept
    for its next leader (take_up.py J4). A new run begins then, by the one write that makes the old one void. Each failure
    doubles the wait before that.
Crash   between the last sync and the new run: what lies in the files already. In the write of block 0: of either run, or of
        none if it is torn.
"""

from collections.abc import Callable
from typing import Final, cast

from barnabas.log.journal import Ring, prepare
from barnabas.partitions.committer import Committed, Lane
from barnabas.ports import File, Files, Loop, RingFile, WorldError
from barnabas.telemetry import Log as Lines

JOB_WORTH_BYTES: Final = 1024 * 1024
THAW_AFTER_MS: Final = 1_000
THAW_AFTER_MS_MAX: Final = 600_000


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
        self.is_closed = False
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
            if self.is_closed:
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

    def in_doubt(self) -> list[Committed]:
        """H4: whose partitions are to be restored from it."""
        return [lane.owner for lane in self._doubtful]

    def restored(self, lane: Lane) -> None:
        """What it has of the lane's partition is in synced files, or kept in a file of its own."""
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
        if not self.frozen or self.is_closed or self.is_renewing:
            return False
        if self._failures != self._failures_seen:
            self._failures_seen = self._failures
            has_held = now_ms - self._thaw_at_ms > THAW_AFTER_MS_MAX
            longer_ms = min(2 * self._thaw_after_ms, THAW_AFTER_MS_MAX)
            self._thaw_after_ms = THAW_AFTER_MS if has_held or not longer_ms else longer_ms
            self._thaw_at_ms = now_ms + self._thaw_after_ms
        return now_ms >= self._thaw_at_ms

    def close(self) -> None:
        self.frozen = self.is_closed = True
        if self.file is not None:
            self.file.close()
