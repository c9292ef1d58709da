"""A node that stops closes its logs: what a start without scan needs is written and synced, some of them at a time.

Z1  Nothing is written to them any more: who asks has seen to that. What was taken is committed first, and threads that are at
    work in a partition's folder end.
Z2  Clean means: every log has all of it.
Crash   no clean mark, so the next start scans.
"""

from collections.abc import Callable, Iterator
from typing import Final

from barnabas.partitions.committer import as_world
from barnabas.partitions.open import Partitions
from barnabas.partitions.partition import Partition
from barnabas.partitions.slices import in_slices
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Files, Loop, WorldError
from barnabas.telemetry import Log as Lines

DRAIN_MS: Final = 10_000
DRAIN_CHECK_MS: Final = 5
JOBS_MAX: Final = 16
"""Of the commit pool's, at once: enough to keep the disk busy."""


class Closing:
    """The end of all logs of one node."""

    def __init__(
        self,
        clock: Clock,
        loop: Loop,
        waits: Waits,
        files: Files,
        partitions: Partitions,
        lines: Lines,
        done: Callable[[bool], None],
    ) -> None:
        """done(clean) once all are closed."""
        self._clock = clock
        self._loop = loop
        self._waits = waits
        self._files = files
        self._partitions = partitions
        self._lines = lines
        self._done = done
        self._deadline_ms = clock.mono_ms() + DRAIN_MS
        self._busy = False
        self._clean = True
        self._jobs = 0
        self._left: Iterator[Partition] = iter(())
        self._ended = self._told = False

    def begin(self) -> None:
        """Wait until all is committed, or for DRAIN_MS."""
        in_slices(self._clock, self._loop, self._look(), self._looked)

    def _look(self) -> Iterator[None]:
        self._busy = self._partitions.journal.is_renewing
        for partition in self._partitions.all():
            if partition.is_committing or partition.lane.syncing:
                self._busy = True
                return
            yield

    def _looked(self) -> None:
        if self._busy and self._clock.mono_ms() < self._deadline_ms:
            self._waits.call_after(DRAIN_CHECK_MS, self.begin)
            return
        self._clean = not self._busy
        self._left = iter(self._partitions.all())
        self._go_on()

    def _go_on(self) -> None:
        in_slices(self._clock, self._loop, self._close_some(), self._paused)

    def _close_some(self) -> Iterator[None]:
        while self._jobs < JOBS_MAX:
            partition = next(self._left, None)
            if partition is None:
                self._ended = True
                return
            try:
                work = self._work_on(partition)
            except WorldError as error:
                self._failed(partition, error)
                work = None
            if work is not None:
                self._run(partition, work)
            elif not partition.offline:
                partition.log.close(clean=False)
            yield

    def _paused(self) -> None:
        if self._ended and not self._jobs and not self._told:
            self._told = True
            self._done(self._clean)

    def _run(self, partition: Partition, work: Callable[[], bool]) -> None:
        self._jobs += 1

        def ran(is_clean: object | None, error: BaseException | None) -> None:
            self._jobs -= 1
            if error is not None:
                self._failed(partition, as_world(error))
            elif not is_clean:
                self._clean = False
            elif not partition.offline:
                partition.log.settled()
            if not partition.offline:
                partition.log.close(clean=False)
            self._go_on()

        self._loop.run_in("commit", work, ran)

    def _failed(self, partition: Partition, error: WorldError) -> None:
        self._clean = False
        self._lines.error("a log did not close cleanly", partition=repr(partition), reason=error.what)

    def _work_on(self, partition: Partition) -> Callable[[], bool] | None:
        """For a pool's thread: returns whether the log is as a clean stop leaves it. Raises WorldError."""
        log = partition.log
        if not partition.offline:
            settle = log.settling() if self._clean else None
            return None if settle is None else lambda: settle() is None
        if partition.lane.syncing or partition.lane.busy:
            self._clean = False  # somebody is at work there still
            return None
        # After a failed sync the page cache shows bytes that are on no disk: the next start must not take them up. One that
        # is damaged was never opened: its files are evidence and stay as they are.
        cut = log.cutting(partition.high_watermark, self._clock.wall_ms()) if log.segments else None

        def work() -> bool:
            if cut is not None:
                cut.work()
            return not self._files.exists(log.folder)

        return work
