"""What is wrong with a partition's files, found without a node: every batch is checked as a start checks it after a crash.

E1  Nothing is written here; mend.py does that.
E2  Damage is a run of bytes that is no whole batch, up to the next one that is, and the offsets that are lost with it. Bytes
    behind the next segment's base, and a gap between two segments, count too.
E3  What a start cuts by itself is no damage: in a folder that was not stopped cleanly, all from the first fault at or above
    the recovery point on.
E4  An index that contradicts its log is named; it holds nothing that the log has not.
E5  A base offset lies outside its batch's checksum. Behind damage it is believed when the damaged batch, the next batch or
    the next segment bears it out; else a batch with a wrong one would take the place of all that follow.
The search for the next whole batch believes the length of the damaged one first, for a record may hold a batch of its own.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from barnabas.log import folder as names
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.index import IndexUnusable, OffsetIndex, TimeIndex
from barnabas.log.recovery import fault, header_at
from barnabas.ports import File, Files
from barnabas.records.batch import HEADER_BYTES, MAGIC, MAGIC_AT, BatchHeader

WINDOW_BYTES: Final = 1 << 20
OFFSETS_MAX: Final = 2**31
"""Offsets of one segment: an int32 tells one from the base."""


class Batch:
    """A whole batch at a position."""

    __slots__ = ("header", "position")

    def __init__(self, header: BatchHeader, position: int) -> None:
        self.header = header
        self.position = position


class Damage:
    """Bytes [position, end) of a segment are no batch; offsets [offset, behind) are in none."""

    __slots__ = ("base", "behind", "end", "epoch", "offset", "position", "reason")

    def __init__(
        self, base: int, position: int, end: int, offset: int, behind: int, epoch: int, reason: str
    ) -> None:
        self.base = base
        self.position = position
        self.end = end
        self.offset = offset
        self.behind = behind
        self.epoch = epoch
        self.reason = reason


Piece: TypeAlias = Batch | Damage


class Source:
    """A segment's bytes, a window at a time."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.size = file.size()
        self._chunk = b""
        self._chunk_at = 0

    def window(self, position: int, size: int = HEADER_BYTES) -> tuple[bytes, int]:
        """A chunk and where position lies in it; size bytes follow unless the file ends."""
        if position < self._chunk_at or position + size > self._chunk_at + len(self._chunk):
            self._chunk = self._file.read(position, max(WINDOW_BYTES, size))
            self._chunk_at = position
        return self._chunk, position - self._chunk_at

    def header(self, position: int) -> tuple[BatchHeader | None, bytes, int]:
        """The header at position, with a chunk that holds the whole batch where the file does."""
        chunk, at = self.window(position)
        header = header_at(chunk, at)
        if header is not None and HEADER_BYTES <= header.size <= self.size - position:
            chunk, at = self.window(position, header.size)
        return header, chunk, at


class Walk:
    """One segment from its first byte to its last. behind: base offset of the next segment, None for the last one;
    then synced_end is how far the log is known to have reached."""

    def __init__(
        self, file: File, base: int, behind: int | None, epochs: LeaderEpochs, synced_end: int = 0
    ) -> None:
        self.base = base
        self.behind = behind
        self.source = Source(file)
        self._epochs = epochs
        self._known_end = synced_end if behind is None else behind
        self.end_offset = base

    def pieces(self) -> Iterator[Piece]:
        position, epoch = 0, -1
        held: tuple[Batch, int, int] | None = None
        """A batch behind a hole, with offset and epoch before it: its successor shows whether it lies."""
        while position < self.source.size:
            reason = self._fault(position, self.end_offset, epoch)
            if not reason:
                if held is not None:
                    yield held[0]
                batch = Batch(self._header(position), position)
                held = (
                    (batch, self.end_offset, epoch) if batch.header.base_offset != self.end_offset else None
                )
                if held is None:
                    yield batch
                position += batch.header.size
                self.end_offset, epoch = batch.header.next_offset, batch.header.leader_epoch
                continue
            start = position
            if held is not None:
                liar, before, epoch_before = held
                if not self._fault(position, before, epoch_before):
                    start, self.end_offset, epoch = liar.position, before, epoch_before
                    reason = f"base offset {liar.header.base_offset} where {before} follows"
                else:
                    yield liar
                held = None
            position = self._next_whole(start, epoch)
            found = self._known_end
            if position < self.source.size:
                found = self._header(position).base_offset
            behind = max(found, self.end_offset)
            yield Damage(self.base, start, position, self.end_offset, behind, epoch, reason)
            self.end_offset = behind
        if held is not None:
            yield held[0]
        if self.end_offset < self._known_end:
            size, offset = self.source.size, self.end_offset
            yield Damage(self.base, size, size, offset, self._known_end, epoch, "the file ends")
            self.end_offset = self._known_end

    def _header(self, position: int) -> BatchHeader:
        header = self.source.header(position)[0]
        assert header is not None, "it was found whole"
        return header

    def _fault(self, position: int, expected: int, epoch: int) -> str:
        header, chunk, at = self.source.header(position)
        return fault(header, chunk, at, expected, epoch, self._epochs, self.behind)

    def _next_whole(self, start: int, epoch: int) -> int:
        """Position of the first whole batch behind start that can follow; the file's size when there is none."""
        source = self.source
        damaged = source.header(start)[0]
        promised = -1
        if damaged is not None and HEADER_BYTES <= damaged.size < source.size - start:
            claimed, promised = start + damaged.size, damaged.next_offset
            if self._may_follow(claimed, epoch, promised):
                return claimed
        position = start + 1
        while position + HEADER_BYTES <= source.size:
            chunk, at = source.window(position)
            found = chunk.find(MAGIC, at + MAGIC_AT)
            if found < 0:
                position += len(chunk) - at - MAGIC_AT
                continue
            position += found - MAGIC_AT - at
            if self._may_follow(position, epoch, promised):
                return position
            position += 1
        return source.size

    def _may_follow(self, position: int, epoch: int, promised: int) -> bool:
        """A whole batch whose offset is credible (E5). promised: what the damaged batch says comes behind it."""
        header = header_at(*self.source.window(position))
        if header is None or not self.end_offset <= header.base_offset < self.base + OFFSETS_MAX:
            return False
        if self._fault(position, header.base_offset, epoch):
            return False
        if header.base_offset == promised:
            return True
        after = position + header.size
        if after == self.source.size and self.behind is not None:
            return header.next_offset == self.behind
        successor = self.source.header(after)[0]
        if successor is not None and not self._fault(after, successor.base_offset, header.leader_epoch):
            follows = successor.base_offset - header.next_offset
            return follows == 0 if self.behind is None else follows >= 0
        return header.base_offset <= self._known_end


class SegmentFacts:
    """One segment as it was found."""

    __slots__ = ("base", "batches", "damages", "end_offset", "records", "size", "wrong_indexes")

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.size = size
        self.end_offset = base
        self.batches = 0
        self.records = 0
        self.damages: list[Damage] = []
        self.wrong_indexes: list[str] = []


class Examined:
    """One partition as it was found."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.segments: list[SegmentFacts] = []
        self.unfinished: Damage | None = None

    @property
    def damages(self) -> list[Damage]:
        return [damage for segment in self.segments for damage in segment.damages]

    @property
    def start_offset(self) -> int:
        return self.segments[0].base if self.segments else 0

    @property
    def end_offset(self) -> int:
        return self.segments[-1].end_offset if self.segments else 0


def bases_of(files: Files, folder: str) -> list[int]:
    """Base offsets of the segments of a partition's folder."""
    stems = (
        name.removesuffix(names.LOG_SUFFIX) for name in files.list(folder) if name.endswith(names.LOG_SUFFIX)
    )
    return sorted(int(stem) for stem in stems if stem.isdigit())


def walks(files: Files, folder: str, recovery_point: int) -> Iterator[Walk]:
    """The segments of a folder, one after the other."""
    epochs = LeaderEpochs(files, folder)
    epochs.load()
    bases = bases_of(files, folder)
    for at, base in enumerate(bases):
        behind = bases[at + 1] if at + 1 < len(bases) else None
        file = files.open(f"{folder}/{names.segment_name(base, names.LOG_SUFFIX)}")
        yield Walk(file, base, behind, epochs, recovery_point)
        file.close()


def examine(files: Files, folder: str, clean: bool, recovery_point: int) -> Examined:
    """All segments of a partition's folder. clean: the node had stopped cleanly."""
    examined = Examined(folder)
    for walk in walks(files, folder, recovery_point):
        segment = SegmentFacts(walk.base, walk.source.size)
        examined.segments.append(segment)
        entries = index_entries(files, folder, segment)
        contradicted = False
        for piece in walk.pieces():
            if isinstance(piece, Batch):
                segment.batches += 1
                segment.records += piece.header.record_count
                segment.end_offset = piece.header.next_offset
                last = piece.header.next_offset - 1
                contradicted |= entries.pop(piece.position, last) != last
            elif piece.offset >= recovery_point and not clean:
                examined.unfinished = piece
                return examined
            else:
                segment.damages.append(piece)
                segment.end_offset = piece.behind
        if (entries or contradicted) and not segment.damages:
            segment.wrong_indexes.append(index_path(folder, segment.base, names.INDEX_SUFFIX))
    return examined


def index_path(folder: str, base: int, suffix: str) -> str:
    return f"{folder}/{names.segment_name(base, suffix)}"


def index_entries(files: Files, folder: str, segment: SegmentFacts) -> dict[int, int]:
    """Last offset by position of each entry of the offset index; what cannot be used is noted (E4)."""
    entries: dict[int, int] = {}
    path = index_path(folder, segment.base, names.INDEX_SUFFIX)
    if files.exists(path):
        try:
            index = OffsetIndex.load(files.read_all(path), segment.size)
            entries = {
                position: segment.base + offset
                for position, offset in zip(index.positions, index.offsets, strict=True)
            }
        except IndexUnusable:
            segment.wrong_indexes.append(path)
    path = index_path(folder, segment.base, names.TIME_INDEX_SUFFIX)
    if files.exists(path):
        try:
            TimeIndex.load(files.read_all(path))
        except IndexUnusable:
            segment.wrong_indexes.append(path)
    return entries
