"""A log is cut: what lies at or behind an offset goes, on disk and then in RAM.

K1  Planned on the loop, where the segments behind the offset leave the log at once; worked in a pool's thread, applied on the
    loop. Meanwhile nobody writes to the log; who reads below the offset meets what was there before.
K2  work() touches files alone, by handles of its own.
Crash   all that was to stay is there, and some of what was to go: nobody had been told of that, and recovery takes it up or
        cuts it as a torn tail.
"""

from collections.abc import Sequence

from barnabas.log import recovery
from barnabas.log.checkpoints import write_epochs
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.producer_state import ProducerState
from barnabas.log.segment import Segment, reader_of
from barnabas.ports import Files


class Cut:
    """One truncation of one log. kept: its segments that stay, the last of them up to position."""

    def __init__(
        self,
        files: Files,
        folder: str,
        kept: Sequence[Segment],
        epochs: LeaderEpochs,
        offset: int,
        now_ms: int,
    ) -> None:
        """Raises WorldError when the place of offset cannot be read."""
        self.offset = offset
        self.kept = kept
        self.position = kept[-1].position_of(offset) if kept else 0
        self.producers = ProducerState()
        """Of what stays, once it has been worked."""
        self._files = files
        self._folder = folder
        self._epochs = epochs.before(offset)
        self._epochs_path = epochs.path if epochs.is_cut_by(offset) else None
        self._now_ms = now_ms

    def work(self) -> None:
        """Raises WorldError; then what was to stay is there, and the next cut takes the rest."""
        files, folder = self._files, self._folder
        stay = {segment.base_offset for segment in self.kept}
        # Also what a roll, or a cut, left that failed half way (log L5); the last first, lest a hole is left.
        for base in reversed(recovery.bases_in(files, folder)):
            if base not in stay:
                recovery.drop_files(files, folder, base)
        readers = [reader_of(files, folder, segment) for segment in self.kept]
        if readers:
            last = readers[-1]
            last.file.truncate(self.position)
            last.file.sync()  # else a crash brings back what the next segment's offsets replaced
            last.size, last.end_offset = self.position, min(self.offset, last.end_offset)
            files.sync_folder(folder)
        if self._epochs_path is not None and files.exists(self._epochs_path):
            write_epochs(files, self._epochs_path, self._epochs)
        self.producers = recovery.load_producers(files, folder, readers, self._now_ms)
        for reader in readers:
            reader.close()
