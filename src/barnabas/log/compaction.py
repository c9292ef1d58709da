"""Compaction: of each key the last record survives (cleanup.policy=compact).

C1  Only closed segments below the recovery point and the high watermark are rewritten, each into one of the same name.
C2  Offsets never change. A batch keeps its base offset and last offset delta; the last batch of a segment and the last
    batch of a living producer stay even when they are empty, so that neither offsets nor sequences are forgotten.
C3  A tombstone (null value) stays until its batch's delete horizon: the first compaction writes now +
    delete.retention.ms into the base timestamp and sets attribute bit 6 (KIP-534). A record without key goes.
    Control batches stay.
Crash   NNN.log.cleaned       the copy is not complete: recovery unlinks it, the old segment stands
        NNN.log.swap          the copy is complete and durable: recovery renames it over NNN.log and drops the indexes
        NNN.log, no indexes   done; indexes are rebuilt
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from barnabas.config.effective import TopicOptions
from barnabas.log import folder as names
from barnabas.log.recovery import finish_swap
from barnabas.log.segment import NO_TIMESTAMP, OpenFiles, Segment, reader_of
from barnabas.ports import Files, WorldError
from barnabas.records import compression
from barnabas.records.batch import (
    CODEC_MASK,
    DELETE_HORIZON,
    HEADER,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAGIC,
    OVERHEAD_BYTES,
    BatchHeader,
    read_header,
    seal,
)
from barnabas.records.record import Record, encode_record, records_of

WRITE_BYTES: Final = 1 << 20
NO_HORIZON: Final = -1
LastOffsets = Mapping[bytes, int]
"""The offset of the newest record of each key."""
Tails = Collection[tuple[int, int, int]]
"""(producer id, epoch, last sequence) of the newest batch of each living producer."""


def choose(
    segments: Sequence[Segment], options: TopicOptions, now_ms: int, below_offset: int, cleaned_offset: int
) -> list[Segment]:
    """The segments to rewrite, [] when too little of them is new (min.cleanable.dirty.ratio). C1."""
    ready: list[Segment] = []
    for segment in segments[:-1]:
        if segment.end_offset > below_offset:
            break
        if (
            options.min_compaction_lag_ms
            and segment.max_timestamp > now_ms - options.min_compaction_lag_ms
            and segment.base_offset >= cleaned_offset
        ):
            break
        ready.append(segment)
    whole: int = sum(segment.size for segment in ready)
    dirty: int = sum(segment.size for segment in ready if segment.base_offset >= cleaned_offset)
    return ready if dirty > 0 and dirty >= whole * options.min_cleanable_dirty_ratio else []


class Compaction:
    """One run over the closed segments of a log: made on the loop, worked in a pool's thread, installed copy by copy.

    work() touches closed files only, by handles of its own, so the log goes on meanwhile.
    """

    def __init__(
        self,
        pool: OpenFiles,
        folder: str,
        chosen: Sequence[Segment],
        options: TopicOptions,
        now_ms: int,
        cleaned_offset: int,
        tails: Tails,
    ) -> None:
        self.chosen = list(chosen)
        self._pool = pool
        self._folder = folder
        self._options = options
        self._now_ms = now_ms
        self._tails = tails
        self.sources = [reader_of(pool.files, folder, segment) for segment in chosen]
        """Of each of chosen a reader; after work() with its indexes, for by their names nobody finds these any more."""
        self.copies: list[Segment] = []
        """What work() made of chosen, one for one: with their indexes, still under their .cleaned names."""
        self._dirty = [source for source in self.sources if source.base_offset >= cleaned_offset]

    def work(self) -> None:
        """Every chosen segment has a complete and durable .cleaned copy when this returns. Raises WorldError."""
        latest = last_offsets(self._dirty)
        for source, old in zip(self.sources, self.chosen, strict=True):
            copy = Segment(self._pool, self._folder, source.base_offset, source.created_ms)
            write_cleaned(self._pool.files, source, copy, latest, self._now_ms, self._options, self._tails)
            if copy.max_timestamp == NO_TIMESTAMP:
                copy.max_timestamp = old.max_timestamp
            self.copies.append(copy)
            source.load_indexes()
            source.close()


def last_offsets(segments: Sequence[Segment]) -> dict[bytes, int]:
    """The newest offset of each key in these segments."""
    found: dict[bytes, int] = {}
    for segment in segments:
        for content, header in batches_of(segment):
            if not header.is_control:
                for record in records_of(content, header, 0):
                    if record.key is not None:
                        found[record.key] = record.offset
    return found


def batches_of(segment: Segment) -> Iterator[tuple[bytes, BatchHeader]]:
    """Each batch of a segment, read one by one."""
    for header, position in segment.scan(0):
        content = segment.file.read(position, header.size)
        yield content, read_header(content, 0)


def compacted(
    content: bytes, header: BatchHeader, latest: LastOffsets, now_ms: int, options: TopicOptions, keep: bool
) -> bytes:
    """What remains of one batch: the same bytes, fewer records, or b"". keep: not less than an empty batch. Pure."""
    if header.is_control:
        return content
    has_horizon = header.attributes & DELETE_HORIZON != 0
    horizon_ms = header.base_timestamp if has_horizon else now_ms + options.delete_retention_ms
    left: list[Record] = []
    count = 0
    tombstones = 0
    for record in records_of(content, header, 0):
        count += 1
        if record.key is None or latest.get(record.key, -1) > record.offset:
            continue
        if record.value is None:
            if has_horizon and now_ms >= horizon_ms:
                continue
            tombstones += 1
        left.append(record)
    if len(left) == count and (has_horizon or not tombstones) and (left or keep):
        return content
    if not left and not keep:
        return b""
    return rewritten(header, left, horizon_ms if tombstones else NO_HORIZON)


def rewritten(header: BatchHeader, records: Sequence[Record], horizon_ms: int) -> bytes:
    """A batch with the span of header and these of its records. C2, C3."""
    attributes = header.attributes & ~DELETE_HORIZON
    base_timestamp = records[0].timestamp if records else header.max_timestamp
    if horizon_ms != NO_HORIZON:
        attributes |= DELETE_HORIZON
        base_timestamp = horizon_ms
    body = b"".join(
        encode_record(record, record.timestamp - base_timestamp, record.offset - header.base_offset)
        for record in records
    )
    if not records:
        attributes &= ~CODEC_MASK
    else:
        body = compression.compress(header.codec, body, None)
    stamped = header.attributes & LOG_APPEND_TIME or not records
    batch = bytearray(HEADER_BYTES) + body
    HEADER.pack_into(
        batch,
        0,
        header.base_offset,
        len(batch) - OVERHEAD_BYTES,
        header.leader_epoch,
        MAGIC,
        0,
        attributes,
        header.last_offset_delta,
        base_timestamp,
        header.max_timestamp if stamped else max(record.timestamp for record in records),
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        len(records),
    )
    seal(batch)
    return bytes(batch)


def write_cleaned(
    files: Files,
    source: Segment,
    copy: Segment,
    latest: LastOffsets,
    now_ms: int,
    options: TopicOptions,
    tails: Tails,
) -> None:
    """What is left of source, complete and durable, under its .cleaned name; copy learns where its batches lie."""
    file = files.open(source.path(names.LOG_SUFFIX) + names.CLEANED_SUFFIX, create=True)
    file.truncate(0)
    copy.clear_indexes()
    written, gathered = 0, bytearray()
    for content, header in batches_of(source):
        tail = (header.producer_id, header.producer_epoch, header.last_sequence) in tails
        keep = tail or header.next_offset >= source.end_offset
        left = compacted(content, header, latest, now_ms, options, keep)
        if left:
            position = written + len(gathered)
            copy.note(read_header(left, 0), position, options.index_interval_bytes)
            copy.size = position + len(left)
            gathered += left
        if len(gathered) >= WRITE_BYTES:
            written += file.write(written, [bytes(gathered)])
            gathered.clear()
    file.write(written, [bytes(gathered)])
    copy.end_offset = source.end_offset
    file.sync()
    file.close()


def replace(files: Files, folder: str, segment: Segment, copy: Segment) -> WorldError | None:
    """The copy's file takes the name of the segment's, in a pool's thread: the segment's own file is pinned.

    Raises WorldError when the segment still has its name. Returns one when the copy has it: what failed then, a sync or
    the indexes, a restart can do without.
    """
    path = segment.path(names.LOG_SUFFIX)
    swapped = path + names.SWAP_SUFFIX
    files.rename(path + names.CLEANED_SUFFIX, swapped)
    files.sync_folder(folder)
    try:
        finish_swap(files, folder, swapped.rpartition("/")[2])
        copy.write_indexes()
    except WorldError as error:
        if files.exists(swapped):
            raise
        return error
    return None
