"""Leader epochs of one partition: which epoch wrote from which offset on (KIP-101, KIP-320).

I1  Epochs and start offsets both rise strictly.
I2  An epoch is in the file before a batch of it is in the log; a crash between leaves an epoch without records.
I3  Of epochs that ended before the log starts the file may still tell: who loads it says where the log starts.
"""

from bisect import bisect_right
from collections.abc import Callable

from barnabas.log.checkpoints import LEADER_EPOCHS, read_epochs, write_epochs
from barnabas.ports import Files


class LeaderEpochs:
    """The epoch cache of a log."""

    __slots__ = ("_entries", "_files", "_folder", "latest")

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder
        self._entries: list[tuple[int, int]] = []
        self.latest = -1
        """The newest epoch that wrote, or -1. A plain field: every append asks."""

    @property
    def path(self) -> str:
        """Made when it is asked for: thousands of partitions have one."""
        return f"{self._folder}/{LEADER_EPOCHS}"

    def load(self) -> None:
        self._keep(read_epochs(self._files, self.path))

    def _keep(self, entries: list[tuple[int, int]]) -> None:
        self._entries = entries
        self.latest = entries[-1][0] if entries else -1

    def begin(self, epoch: int, start_offset: int) -> Callable[[], None]:
        """epoch, newer than all, begins to write at start_offset; durable when what is returned has been called (I2)."""
        kept = [entry for entry in self._entries if entry[1] < start_offset]
        kept.append((epoch, start_offset))
        self._keep(kept)
        return lambda: write_epochs(self._files, self.path, kept)

    def end_of(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(greatest epoch <= epoch, offset behind its last record); (-1, -1) when it is older than all that is known."""
        if not self._entries or epoch == -1:
            return -1, -1
        if epoch >= self._entries[-1][0]:
            return (epoch, log_end_offset) if epoch == self._entries[-1][0] else (-1, -1)
        found = bisect_right(self._entries, (epoch, 1 << 62)) - 1
        if found < 0:
            return epoch, self._entries[0][1]
        return self._entries[found][0], self._entries[found + 1][1]

    def epoch_of(self, offset: int, otherwise: int = -1) -> int:
        """The epoch that wrote offset."""
        at = bisect_right(self._entries, offset, key=lambda entry: entry[1]) - 1
        return self._entries[at][0] if at >= 0 else otherwise

    def before(self, offset: int) -> list[tuple[int, int]]:
        """The epochs that begin before offset, with where they do: what the file says once the log is cut there."""
        return [entry for entry in self._entries if entry[1] < offset]

    def is_cut_by(self, offset: int) -> bool:
        """Whether one begins at or behind offset."""
        return len(self.before(offset)) != len(self._entries)

    def cut(self, offset: int) -> None:
        """Forget epochs that begin at or behind offset, in RAM: who cuts the log has written the file."""
        self._keep(self.before(offset))

    def truncate_to(self, offset: int) -> None:
        """Forget epochs that begin at or behind offset, in the file too. No folder: nothing was ever written."""
        if self.is_cut_by(offset):
            kept = self.before(offset)
            if self._files.exists(self.path):
                write_epochs(self._files, self.path, kept)
            self._keep(kept)

    def advance_start(self, offset: int) -> None:
        """The log begins at offset now: older epochs go, the one that covers offset begins there. In RAM alone (I3)."""
        at = bisect_right(self._entries, offset, key=lambda entry: entry[1]) - 1
        if at > 0 or (at == 0 and self._entries[0][1] < offset):
            self._keep([(self._entries[at][0], offset), *self._entries[at + 1 :]])
