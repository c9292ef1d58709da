"""What every coordinator shares: shards over the partitions of an internal topic.

A shard is one partition and the state that its records lead to. Facts are appended to the partition by its normal append
and applied at once; a reply waits until every fact it could have seen is committed. Loading is applying all records from
the beginning, in slices, so that the loop turns meanwhile.

R1  Nothing is answered from a shard that has not loaded: COORDINATOR_LOAD_IN_PROGRESS.
R2  A shard whose partition fails is dropped whole, with its sessions, and loaded anew when the partition is back:
    there is no rollback code.
    One whose log holds what cannot be read is dropped, too, until its partition is opened anew: the others serve.
R3  Facts that may share a batch are gathered until the end of the loop turn. Nobody sees them before: they are appended and
    applied together, ahead of whatever else is appended, and only then does anybody wait for them to be durable.
Crash   what was gathered is lost, and nobody was answered.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from barnabas import errors
from barnabas.ports import Clock, Cold, Loop
from barnabas.records.compression import CannotDecompress
from barnabas.records.record import BadRecord, Record, batches, build_batch, records_of
from barnabas.telemetry import Log
from barnabas.wire.primitives import Malformed

LOAD_SLICE_BYTES: Final = 16 * 1024
"""What is read and applied in about a millisecond."""
BATCH_BYTES_MAX: Final = 900_000
GATHERED_BYTES_MAX: Final = 16 * 1024
"""More is not gathered: what is appended and applied in about a millisecond."""
RECORD_BYTES: Final = 32
"""What a record weighs beside its key and value, at most."""
UNREADABLE: Final = "a coordinator cannot read its log: its groups are not served"
Told = Callable[[int], None]
"""Who waits for facts: told 0 once they are committed, an error code when that failed."""


class TurnEnd(Protocol):
    """The end of the loop turn (partitions/turn.py)."""

    def write(self, callback: Callable[[], None]) -> None: ...


class ShardPartition(Protocol):
    """What a shard needs of its partition."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    def append_own(self, batch: bytes, now_ms: int) -> int: ...
    def when_committed(self, end_offset: int, callback: Callable[[int], None]) -> None: ...
    def read_bytes(self, offset: int, max_bytes: int, waits: bool = True) -> bytes:
        """Raises Cold unless it waits for the disk."""


class Shard:
    """One partition's worth of a coordinator. Subclasses hold the state and say how a record changes it."""

    def __init__(
        self,
        index: int,
        partition: ShardPartition,
        clock: Clock,
        loop: Loop,
        turn: TurnEnd,
        lines: Log,
        codec: int = 0,
    ) -> None:
        self.index = index
        self.partition = partition
        self.clock = clock
        self.loaded = False
        self.dropped = False
        self._loop = loop
        self._turn = turn
        self._lines = lines
        self._codec = codec
        self._seen_offset = 0
        self._gathered: list[Record] = []
        self._gathered_bytes = 0
        self._told: list[Told] = []
        """Who waits for what is gathered."""
        self._is_gathering = False

    def apply(self, record: Record) -> None:
        """The only way state that is kept changes."""
        raise AssertionError("a shard says what its records mean")

    def on_loaded(self) -> None:
        """All records are applied: timers may start."""

    def load(self) -> None:
        """In slices; R1 holds until the end."""
        self._slice(self.partition.log_start_offset)

    def _slice(self, offset: int, waits: bool = False) -> None:
        if self.dropped:
            return
        try:
            content = self.partition.read_bytes(offset, LOAD_SLICE_BYTES, waits)
        except Cold as cold:
            # Then it is in memory, or how it fails is told where failures are told.
            self._loop.run_in("read", cold.work, lambda *_: self._slice(offset, True))
            return
        if self.dropped:
            return  # it could not be read (R2)
        read_to = offset
        try:
            for header, at in batches(content):
                if not header.is_control:
                    for record in records_of(content, header, at):
                        self.apply(record)
                read_to = header.next_offset
            if content and read_to == offset:
                raise BadRecord("bytes that are no batch")
        except (BadRecord, CannotDecompress, Malformed) as damage:
            self._lines.error(UNREADABLE, partition=self.index, offset=read_to, reason=str(damage))
            self.drop()
            return
        if read_to == offset or read_to >= self.partition.high_watermark:
            self.loaded = True
            self._seen_offset = max(read_to, self.partition.high_watermark)
            self.on_loaded()
            return
        self._loop.soon(lambda: self._slice(read_to))

    def gather(self, facts: Sequence[Record], told: Told) -> None:
        """R3. Append and apply facts with others of this loop turn, in one batch."""
        size = size_of(facts)
        if self._gathered and self._gathered_bytes + size > GATHERED_BYTES_MAX:
            self.append_gathered()
        self._gathered.extend(facts)
        self._gathered_bytes += size
        self._told.append(told)
        if not self._is_gathering:
            self._is_gathering = True
            self._turn.write(self._turn_ends)

    def _turn_ends(self) -> None:
        self._is_gathering = False
        self.append_gathered()

    @property
    def has_gathered(self) -> bool:
        """Whether there are facts that nobody sees yet (R3)."""
        return bool(self._gathered)

    def append_gathered(self) -> None:
        """R3. From now on what was gathered is seen."""
        if not self._gathered:
            return
        facts, self._gathered = self._gathered, []
        waiting, self._told = self._told, []
        self._gathered_bytes = 0
        code = self._append(facts)
        if code:
            tell(waiting, code)
        else:
            self.when_durable(lambda code: tell(waiting, code))

    def append(self, facts: Sequence[Record]) -> int:
        """Append facts and apply them; returns an error code, 0 when they are on their way to be durable."""
        self.append_gathered()
        return self._append(facts) if facts else 0

    def _append(self, facts: Sequence[Record]) -> int:
        now_ms = self.clock.wall_ms()
        for fact in facts:
            fact.timestamp = now_ms
        for part in parted(facts):
            end_offset = self.partition.append_own(build_batch(part, codec=self._codec), now_ms)
            if end_offset < 0:
                return coordinator_code(-end_offset)
            for fact in part:
                self.apply(fact)
            self._seen_offset = end_offset
        return 0

    @property
    def has_uncommitted(self) -> bool:
        """Whether something was applied that a crash could take back."""
        return self._seen_offset > self.partition.high_watermark

    def when_durable(self, told: Told) -> None:
        """told(0) once all that was applied so far is committed; told(code) when that failed."""
        self.partition.when_committed(self._seen_offset, lambda code: told(coordinator_code(code)))

    def drop(self) -> None:
        """R2. Clients look for the coordinator again."""
        self.dropped = True
        self._gathered = []
        self._gathered_bytes = 0
        waiting, self._told = self._told, []
        tell(waiting, errors.NOT_COORDINATOR)


def tell(waiting: Sequence[Told], code: int) -> None:
    for told in waiting:
        told(code)


def size_of(facts: Sequence[Record]) -> int:
    """Bytes in a batch, at most."""
    size = 0
    for fact in facts:
        size += len(fact.key or b"") + len(fact.value or b"") + RECORD_BYTES
    return size


def parted(facts: Sequence[Record]) -> list[Sequence[Record]]:
    """Facts in order, in runs that fit a batch."""
    if size_of(facts) <= BATCH_BYTES_MAX:
        return [facts]
    parts: list[list[Record]] = [[]]
    size = 0
    for fact in facts:
        bytes_of = size_of([fact])
        if size + bytes_of > BATCH_BYTES_MAX and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(fact)
        size += bytes_of
    return [*parts]


def coordinator_code(code: int) -> int:
    """An append's error as clients of a coordinator understand it: look for the coordinator again."""
    if code in (errors.KAFKA_STORAGE_ERROR, errors.NOT_LEADER_OR_FOLLOWER):
        return errors.NOT_COORDINATOR
    return code
