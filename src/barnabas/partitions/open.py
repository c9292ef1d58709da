"""The partitions this node leads: opened at start and at CreateTopics, re-opened after a failure, closed at delete.

O1  A partition is in here before anybody is told of it: Metadata and CreateTopics name only what serves.
O2  One bad partition never stops the others: a damaged log is offline, and says why.
O3  Re-opening after a failed write: reopen.py.
O4  A log that could not be read at the start (no descriptor left, a disk that failed for a moment) is tried again.
O5  Only what the image says this node leads is open here; of other partitions it is known that they exist. A partition
    that gets another leader is closed before the image is shown to anybody.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from barnabas import errors
from barnabas.cluster.image import Topic
from barnabas.config.effective import BrokerOptions, TopicOptions, topic_options
from barnabas.log import folder as names
from barnabas.log.loading import load_log, stand_in
from barnabas.log.log import Log
from barnabas.log.recovery import DamagedLog
from barnabas.log.segment import OpenFiles
from barnabas.log.take_up import forget_kept, keep, kept_of
from barnabas.partitions.committer import CacheCommitter, Committer, Uncommitted
from barnabas.partitions.data_folder import DataFolder
from barnabas.partitions.journal_committer import JournalCommitter
from barnabas.partitions.node_journal import Journal
from barnabas.partitions.partition import Partition
from barnabas.partitions.recompression import Recompression
from barnabas.partitions.reopen import REOPEN_AFTER_MS, REOPEN_AFTER_MS_MAX, Keeper, NewReign
from barnabas.partitions.turn import Turn
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Entropy, Files, Loop, WorldError
from barnabas.telemetry import Log as Lines

LEAVES_AFTER_MS: Final = 5
FLUSH_NEVER: Final = 2**63 - 1
OFFSETS_TOPIC: Final = "__consumer_offsets"
Led = list[Partition | None]
"""The partitions of a topic by index; None: another node leads it."""


class Partitions:
    """All partitions of one node."""

    def __init__(
        self,
        node_id: int,
        clock: Clock,
        loop: Loop,
        turn: Turn,
        waits: Waits,
        files: Files,
        entropy: Entropy,
        folder: DataFolder,
        options: BrokerOptions,
        open_files_max: int,
        new_reign: NewReign,
        lines: Lines,
        durable: bool,
    ) -> None:
        self._node_id = node_id
        self._clock = clock
        self._loop = loop
        self._waits = waits
        self._files = files
        self._entropy = entropy
        self.folder = folder
        self._options = options
        self._lines = lines
        self._durable = durable
        self.open_files = OpenFiles(files, open_files_max)
        self.uncommitted = Uncommitted()
        self._cache = CacheCommitter(turn, loop, self.uncommitted)
        self.journal = Journal(
            files,
            loop,
            folder.state,
            folder.root,
            options.get_int("barnabas.journal.bytes"),
            entropy.uuid,
            lines,
        )
        self._sync = JournalCommitter(turn, loop, self.uncommitted, self.journal, waits)
        self._keeper = Keeper(
            clock,
            loop,
            waits,
            files,
            folder,
            lines,
            new_reign,
            self._serves,
            self._is_synced,
            self.journal.restored,
            self._is_open,
        )
        self._on_failure = self._failed
        """Bound once: for each partition it would weigh 72 bytes."""
        self._by_name: dict[str, Led] = {}
        self._keeping: set[Partition] = set()
        """That have left while they were in doubt: what the journal has of them is being kept."""
        self._leaving: set[str] = set()
        """Folders of deleted partitions that have not been renamed yet."""
        self._by_id: dict[bytes, Led] = {}
        self._count = 0
        self.on_opened: list[Callable[[Partition], None]] = []
        self.on_closed: list[Callable[[Partition], None]] = []
        self.reign = 0
        self.taken_up = False
        """Whether what the start found is open: a folder that appears after it was written by another process."""
        self.stale_offsets = False
        """Whether another process has changed the checkpoints: they are read anew before the next log is loaded."""

    # -- finding

    def by_name(self, topic: str) -> Led | None:
        return self._by_name.get(topic)

    def by_id(self, topic_id: bytes) -> Led | None:
        return self._by_id.get(topic_id)

    def get(self, topic: str, index: int) -> Partition | None:
        """The partition, if there is one and this node leads it."""
        found = self._by_name.get(topic)
        return found[index] if found is not None and 0 <= index < len(found) else None

    def of_topic(self, topic: str) -> Iterable[Partition]:
        """Those of its partitions that this node leads."""
        return (partition for partition in self._by_name.get(topic, ()) if partition is not None)

    def missing_code(self, topic: str, index: int) -> int:
        """Why get() gives none."""
        known = 0 <= index < len(self._by_name.get(topic, ()))
        return errors.NOT_LEADER_OR_FOLLOWER if known else errors.UNKNOWN_TOPIC_OR_PARTITION

    def all(self) -> Iterable[Partition]:
        """Those of now: who pauses between two of them may meet one that is offline, for it has been closed."""
        for partitions in list(self._by_name.values()):
            for partition in partitions:
                if partition is not None:
                    yield partition

    def count(self) -> int:
        return self._count

    # -- opening

    def opening(self, topic: Topic) -> Iterator[None]:
        """Open the partitions of a topic that this node leads and has not open yet; close those that others lead by now.

        A step each: until its own, a partition is as one that another node leads.
        """
        assert self.reign > 0, "a partition writes under a reign of this start (decision 16)"
        options = topic_options(topic.overrides, self._options)
        known = self._by_name.setdefault(topic.name, [])
        self._by_id[topic.topic_id] = known
        known.extend([None] * (len(topic.partitions) - len(known)))
        for index, placed in enumerate(topic.partitions):
            partition = known[index]
            if placed.leader != self._node_id:
                if partition is not None:
                    known[index] = None
                    self._leave(partition)
            elif partition is None:
                known[index] = partition = self._open(
                    topic, index, max(self.reign, placed.leader_epoch), options
                )
                self._count += 1
                if not partition.offline:
                    self._is_open(partition)
                yield

    def _leave(self, partition: Partition) -> None:
        self._count -= 1
        for tell in self.on_closed:
            tell(partition)
        partition.close()
        partition.log.close(clean=False)

    def _open(self, topic: Topic, index: int, epoch: int, options: TopicOptions) -> Partition:
        log, problem = self._load(topic.name, index, topic.topic_id, options)
        partition = Partition(
            topic.name,
            topic.topic_id,
            index,
            log,
            epoch,
            options,
            self._committer(options),
            self._waits,
            self._on_failure,
        )
        self._recompress(partition)
        if problem is not None:
            partition.offline = True
            partition.readable = False
            self._lines.error("partition is offline", partition=repr(partition), reason=str(problem))
            if isinstance(problem, WorldError):
                self._load_later(partition, REOPEN_AFTER_MS)
        return partition

    def _load(
        self, topic: str, index: int, topic_id: bytes, options: TopicOptions
    ) -> tuple[Log, DamagedLog | WorldError | None]:
        """The log as its folder has it, or one that stands in for it and why."""

        def make() -> Log:
            return self._new_log(topic, index, topic_id, options)

        try:
            if names.partition_folder(self.folder.root, topic, index) in self._leaving:
                raise WorldError("the folder of a deleted topic of this name is being renamed")
            if self.taken_up or self.folder.is_shared:
                self.folder.set_aside_namesake(topic, index, topic_id, self._entropy.uuid)
            if self.stale_offsets:
                self.folder.reread()
                self.stale_offsets = False
        except WorldError as error:
            return stand_in(make, self.folder.offsets), error
        return load_log(
            self._files,
            self.folder.root,
            make,
            self._clock.wall_ms(),
            self.folder.was_clean and not self.taken_up,
            self.folder.offsets,
        )

    def _load_later(self, partition: Partition, after_ms: int) -> None:
        """O4."""
        self._waits.call_after(after_ms, lambda: self._load_again(partition, after_ms))

    def _load_again(self, partition: Partition, after_ms: int) -> None:
        if not self._serves(partition):
            return  # deleted meanwhile
        log, problem = self._load(partition.topic, partition.index, partition.topic_id, partition.options)
        if problem is not None:
            self._lines.warning("partition stays offline", partition=repr(partition), reason=str(problem))
            if isinstance(problem, WorldError):
                self._load_later(partition, min(after_ms * 2, REOPEN_AFTER_MS_MAX))
            return
        # Nobody wrote under its reign, so it needs no new one.
        partition.reopened(log, partition.epoch)
        self._lines.info("partition is online", partition=repr(partition), epoch=partition.epoch)
        self._is_open(partition)

    def _new_log(self, topic: str, index: int, topic_id: bytes, options: TopicOptions) -> Log:
        jitter_ms = options.segment_jitter_ms
        return Log(
            self.open_files,
            names.partition_folder(self.folder.root, topic, index),
            topic,
            index,
            topic_id,
            options,
            self._entropy.below(jitter_ms + 1) if jitter_ms > 0 else 0,
        )

    def _committer(self, options: TopicOptions) -> Committer:
        """flush.messages asks for a sync before the answer: that is what the sync kind does for every batch."""
        if self._durable and (options.durability_sync or options.flush_messages < FLUSH_NEVER):
            return self._sync
        return self._cache

    def thaw_journal(self, now_ms: int) -> None:
        """Each second: a frozen journal comes back when it can."""
        for owner in self.journal.in_doubt():
            if isinstance(owner, Partition) and not self._serves(owner) and owner not in self._keeping:
                self._keep(owner)
        self._sync.thaw(now_ms)

    def _keep(self, partition: Partition) -> None:
        """It has another leader, while the ring alone has some of its records: who loads it next takes them up."""
        folder, lane = partition.log.folder.rpartition("/")[2], partition.lane
        self._keeping.add(partition)

        def kept(_: object | None, error: BaseException | None) -> None:
            self._keeping.discard(partition)
            if error is not None:
                self._lines.warning(
                    "the journal stays frozen for a partition", partition=repr(partition), reason=str(error)
                )
            else:
                self.journal.restored(lane)

        self._loop.run_in(
            "commit",
            lambda: keep(self._files, self.folder.state, self.folder.root, folder, partition.topic_id),
            kept,
        )

    def reconfigure(self, topic: Topic) -> None:
        """The topic's options changed: they act from the next batch on."""
        options = topic_options(topic.overrides, self._options)
        for partition in self.of_topic(topic.name):
            partition.use(self._committer(options), options)
            self._recompress(partition)

    def _recompress(self, partition: Partition) -> None:
        """Only a topic that opens batches pays for what does it."""
        if partition.options.opens_batches and not partition.recompresses:
            partition.recompress(Recompression(partition, self._loop, self.uncommitted))

    def closing(self, name: str, topic_id: bytes) -> Iterator[None]:
        """Of a deleted topic, a partition each step: the folder is renamed and removed after file.delete.delay.ms (decision 17).

        From the first step on nobody finds any of them.
        """
        partitions = list(self.of_topic(name))
        self._by_name.pop(name, None)
        self._by_id.pop(topic_id, None)
        for partition in partitions:
            self._leave(partition)
            self.journal.forget(partition.lane)
            self._delete(partition)
            yield

    def _delete(self, partition: Partition) -> None:
        """A thread that changes names in the folder ends first: it must find neither another folder of that name nor none."""
        folder, lane = partition.log.folder, partition.lane
        gone = names.deleted_folder(self.folder.root, partition.topic, partition.index, self._entropy.uuid())
        try:
            release = None if lane.busy or lane.syncing else self.folder.lock_names()
            if release is None:
                self._leaving.add(folder)
                self._waits.call_after(LEAVES_AFTER_MS, lambda: self._delete(partition))
                return
            self._leaving.discard(folder)
            try:
                is_there = self._files.exists(folder) and names.is_of(self._files, folder, partition.topic_id)
                if is_there:
                    self._files.rename(folder, gone)
            finally:
                release()
        except WorldError as error:
            self._leaving.discard(folder)
            self._lines.error("cannot delete a partition's folder", folder=folder, reason=error.what)
            return
        if not is_there:
            return  # never made, or a namesake's by now (D5)

        def remove() -> None:
            self._files.remove_folder(gone)
            kept = kept_of(self._files, self.folder.root, partition.topic_id, partition.index)
            forget_kept(self._files, self.folder.root, kept)

        def removed(_: object | None, error: BaseException | None) -> None:
            if error is not None:  # the next start removes it
                self._lines.warning("a deleted folder stays", folder=gone, reason=str(error))

        self._waits.call_after(
            partition.options.file_delete_delay_ms,
            lambda: self._loop.run_in("upkeep", remove, removed),
        )

    # -- O3

    def _failed(self, partition: Partition, error: WorldError) -> None:
        self._lines.error(
            "partition is offline after a failed write", partition=repr(partition), reason=error.what
        )
        self.folder.drop_ballast(error)
        for tell in self.on_closed:
            tell(partition)
        self._keeper.reopen_later(partition)

    def _serves(self, partition: Partition) -> bool:
        return self.get(partition.topic, partition.index) is partition

    def _is_synced(self, partition: Partition) -> bool:
        return self._committer(partition.options) is self._sync

    def _is_open(self, partition: Partition) -> None:
        for tell in self.on_opened:
            tell(partition)

    def stop(self) -> None:
        """What is offline stays so: the node closes all."""
        self._keeper.stopped = True
