"""What a crash leaves, and how it becomes a log again.

Truth     the .log files. Indexes that break an invariant are rebuilt; snapshots that do not check are replayed.
Clean     after a clean stop nothing is scanned but the tail behind the last index entry of the last segment.
R1        Above the recovery point a torn tail is cut at the last whole batch with a good checksum, a base offset that
          follows its neighbour and the epoch that the epoch file names for its offset.
R2        Below it everything had been synced: a batch that fails R1 there, or is not there, is damage. The partition
          alone goes offline (DamagedLog); nothing is cut, so that nothing is lost in silence.
R3        Left-over names: .deleted and .cleaned files and indexes without a log are unlinked, a .swap file finishes the
          swap it began.
R4        Holes between offsets are made by compaction, so they exist in closed segments only, and never at their edges.
          What lies in a segment behind the base offset of the next one was truncated: it is cut, and the next stays.
R5        What is taken up above the recovery point is written again and synced before it is served: it may stand in the
          page cache alone, and after a failed sync the kernel calls such bytes clean and would never write them.
R6        Indexes are not synced. A power failure may leave zeros of one, or an older one, that are whole in form. What retention
          goes by, the greatest timestamp, is taken from one only when the batch that it names has it; and where the offset
          index is newer, as its last batch tells by a later time, what lies behind that batch counts, too.
"""

from typing import Final

from barnabas.log import folder as names
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.producer_state import ProducerState
from barnabas.log.segment import OpenFiles, Segment, headers
from barnabas.ports import Files
from barnabas.records.batch import HEADER_BYTES, MAGIC, BatchHeader, check_crc

CHUNK_BYTES: Final = 1 << 20
REBUILT_INTERVAL_BYTES: Final = 4096
REMEDY: Final = (
    "Restore the file from a backup, or stop the node and see what `barnabas log repair` would do."
)


class DamagedLog(Exception):
    """Synced bytes of a partition are not what was written. The remedy is in the text."""


def finish_renames(files: Files, folder: str) -> None:
    """R3. Must run before the segments are listed."""
    listed = files.list(folder)
    for name in listed:
        if name.endswith((names.DELETED_SUFFIX, names.CLEANED_SUFFIX, ".tmp")):
            files.unlink(f"{folder}/{name}")
    for name in listed:
        if name.endswith(names.SWAP_SUFFIX):
            finish_swap(files, folder, name)
    for name in listed:
        stem, _, suffix = name.rpartition(".")
        if f".{suffix}" in (names.INDEX_SUFFIX, names.TIME_INDEX_SUFFIX) and not files.exists(
            f"{folder}/{stem}{names.LOG_SUFFIX}"
        ):
            files.unlink(f"{folder}/{name}")


def finish_swap(files: Files, folder: str, swapped: str) -> None:
    """A compacted segment was complete: it replaces the segment of its name; the indexes are rebuilt."""
    name = swapped.removesuffix(names.SWAP_SUFFIX)
    stem = name.removesuffix(names.LOG_SUFFIX)
    for suffix in (names.INDEX_SUFFIX, names.TIME_INDEX_SUFFIX):
        files.unlink(f"{folder}/{stem}{suffix}")
    files.rename(f"{folder}/{swapped}", f"{folder}/{name}")
    files.sync_folder(folder)


def bases_in(files: Files, folder: str) -> list[int]:
    """The base offsets of the segments whose files are there, in order."""
    return sorted(
        int(name.removesuffix(names.LOG_SUFFIX))
        for name in files.list(folder)
        if name.endswith(names.LOG_SUFFIX) and name.removesuffix(names.LOG_SUFFIX).isdigit()
    )


def load_segments(
    pool: OpenFiles,
    folder: str,
    now_ms: int,
    clean: bool,
    recovery_point: int,
    epochs: LeaderEpochs,
) -> list[Segment]:
    """The segments of a folder in order, their tails repaired. Raises DamagedLog (R2)."""
    files = pool.files
    bases = bases_in(files, folder)
    segments: list[Segment] = []
    for at, base in enumerate(bases):
        segment = Segment(pool, folder, base, now_ms)
        segment.size = 1  # the file exists: it must not be made anew
        segment.size = segment.file.size()
        behind = bases[at + 1] if at + 1 < len(bases) else None
        if behind is not None and (clean or behind <= recovery_point):
            segment.end_offset = behind
            set_timestamps(segment)
        elif clean:
            find_end(segment)
        else:
            write_again(segment, repair(segment, recovery_point, epochs, behind))
            segment.write_indexes()
            if behind is not None and segment.end_offset != behind:
                for later in bases[at + 1 :]:
                    drop_files(files, folder, later)
                files.sync_folder(folder)
                segments.append(segment)
                break
        segments.append(segment)
    return segments


def set_timestamps(segment: Segment) -> None:
    """What retention goes by, of a closed segment: most often by the last pairs of its indexes alone. R6."""
    pairs = segment.last_pairs()
    if pairs is None or not are_true(segment, *pairs):
        load_timestamps(segment)
        return
    _, position, timestamp, offset = pairs
    segment.max_timestamp, segment.max_timestamp_offset = timestamp, segment.base_offset + offset
    look_behind(segment, position, segment.size)


def are_true(segment: Segment, last_offset: int, position: int, timestamp: int, offset: int) -> bool:
    """Whether the last pair of the offset index names a batch, and that of the time index the same one or one behind it."""
    return (
        offset >= last_offset
        and ends_at(segment, position, last_offset)
        and names_batch(segment, position, timestamp, offset)
    )


def ends_at(segment: Segment, position: int, offset: int) -> bool:
    """Whether a batch lies at position and its last record has that (relative) offset."""
    for header, _ in segment.scan(position):
        return header.next_offset - 1 - segment.base_offset == offset
    return False


def load_timestamps(segment: Segment) -> None:
    """The same by whole indexes, which are made anew where they lie. R6."""
    index = segment.time_index
    if index.timestamps and is_true(segment):
        trust_times(segment, segment.size)
    elif segment.size:
        segment.rebuild_indexes()


def look_behind(segment: Segment, position: int, end: int) -> None:
    """The indexes may lag."""
    for header, _ in headers(segment.file, position, end):
        if header.max_timestamp > segment.max_timestamp:
            segment.max_timestamp, segment.max_timestamp_offset = (
                header.max_timestamp,
                header.next_offset - 1,
            )


def is_true(segment: Segment) -> bool:
    """Whether the last pair of the time index names a batch that has that timestamp. R6."""
    index = segment.time_index
    offset, timestamp = index.offsets[-1], index.timestamps[-1]
    return names_batch(segment, segment.offset_index.lookup(offset), timestamp, offset)


def names_batch(segment: Segment, position: int, timestamp: int, offset: int) -> bool:
    """Whether the batch with that offset, looked for from position on, has that timestamp."""
    offset += segment.base_offset
    for header, _ in segment.scan(position):
        if header.next_offset > offset:
            return header.base_offset <= offset and header.max_timestamp == timestamp
    return False


def trust_times(segment: Segment, end: int) -> None:
    """The greatest timestamp below position end, by the time index and the batches that it does not know."""
    index = segment.time_index
    segment.max_timestamp = index.timestamps[-1]
    segment.max_timestamp_offset = segment.base_offset + index.offsets[-1]
    segment.first_timestamp = index.timestamps[0]
    look_behind(segment, known_to(segment), end)


def known_to(segment: Segment) -> int:
    """Where the batches begin that the time index may not know: both indexes have a last pair of one moment, unless it is the older
    one of the two. R6.
    """
    index, times = segment.offset_index, segment.time_index
    if not index.positions:
        return 0
    for header, position in segment.scan(index.positions[-1]):
        return position if header.max_timestamp <= times.timestamps[-1] else index.lookup(times.offsets[-1])
    return 0


def find_end(segment: Segment) -> None:
    """After a clean stop: from the last index entry on, headers alone."""
    load_timestamps(segment)
    index = segment.offset_index
    if index.positions and not ends_at(segment, index.positions[-1], index.offsets[-1]):
        segment.rebuild_indexes()
        index = segment.offset_index
    position: int = index.positions[-1] if index.positions else 0
    end, size = segment.base_offset, position
    for header, at in segment.scan(position):
        end, size = header.next_offset, at + header.size
        if header.max_timestamp > segment.max_timestamp:
            segment.max_timestamp, segment.max_timestamp_offset = header.max_timestamp, end - 1
        segment.unindexed_bytes = size - position
    if size != segment.size:
        raise DamagedLog(
            f"{segment.path(names.LOG_SUFFIX)}: {segment.size - size} bytes at the end are no batch although the node "
            f"had stopped cleanly. {REMEDY}"
        )
    segment.end_offset = end


def repair(segment: Segment, recovery_point: int, epochs: LeaderEpochs, behind: int | None) -> int:
    """Checks what may not have been synced and cuts a torn tail; returns where that begins.

    behind: the base of the next segment. R1, R2, R4.
    """
    position, expected = start_of_scan(segment, recovery_point)
    file = segment.file
    size = segment.size  # the file's: the segment's own grows with what proves good
    hole = None
    unsynced_at = position
    segment.size = position
    segment.unindexed_bytes = 0
    epoch = -1
    reason = ""
    chunk, chunk_at = b"", position
    while position < size:
        if position + HEADER_BYTES > chunk_at + len(chunk):
            chunk, chunk_at = file.read(position, CHUNK_BYTES), position
        header = header_at(chunk, position - chunk_at)
        if header is not None and chunk_at + len(chunk) < position + header.size <= size:
            chunk, chunk_at = file.read(position, max(CHUNK_BYTES, header.size)), position
        reason = fault(header, chunk, position - chunk_at, expected, epoch, epochs, behind)
        if header is None or reason:
            if hole is not None and header is not None and header.base_offset < expected:
                position, expected = hole  # the batch that seemed to follow a hole is the one that lies
            break
        if header.base_offset != expected:
            hole = position, expected
        segment.note(header, position, REBUILT_INTERVAL_BYTES)
        expected = header.next_offset
        epoch = header.leader_epoch
        segment.grow(position, header.size, expected)
        position += header.size
        if expected <= recovery_point:
            unsynced_at = position
    segment.end_offset = expected
    if expected < recovery_point and (behind is None or expected < behind):
        raise DamagedLog(
            f"{segment.path(names.LOG_SUFFIX)}: {reason or 'the file ends'} at position {position} (offset {expected}), "
            f"below the recovery point {recovery_point}. {REMEDY}"
        )
    if position < size:
        cut(segment, position)
    return unsynced_at


def write_again(segment: Segment, position: int) -> None:
    """R5. Nothing to do when the log ends at its recovery point: then all of it had been synced."""
    if position == segment.size:
        return
    while position < segment.size:
        content = segment.file.read(position, min(CHUNK_BYTES, segment.size - position))
        segment.file.write(position, [content])
        position += len(content)
    segment.file.sync()


def start_of_scan(segment: Segment, recovery_point: int) -> tuple[int, int]:
    """Position and offset from which to check: the last indexed batch below the recovery point, else the beginning.

    The indexes are used only when their entries prove to name a batch; otherwise they are forgotten and rebuilt.
    """
    index = segment.offset_index
    wanted = recovery_point - 1 - segment.base_offset
    at = index.last_upto(wanted)
    if at >= 0:
        position, last_offset = index.positions[at], segment.base_offset + int(index.offsets[at])
        header = header_at(segment.file.read(position, HEADER_BYTES), 0)
        if header is not None and header.magic == MAGIC and header.next_offset == last_offset + 1:
            index.truncate(int(position) + 1)
            segment.time_index.truncate(header.next_offset - segment.base_offset)
            if segment.time_index.timestamps and is_true(segment):
                trust_times(segment, position)
                return position, header.base_offset
    segment.clear_indexes()
    return 0, segment.base_offset


def header_at(chunk: bytes, at: int) -> BatchHeader | None:
    return BatchHeader(chunk, at) if at + HEADER_BYTES <= len(chunk) else None


def fault(
    header: BatchHeader | None,
    chunk: bytes,
    at: int,
    expected: int,
    epoch: int,
    epochs: LeaderEpochs,
    behind: int | None,
) -> str:
    """What is wrong with the batch at a position; "" when nothing is."""
    if header is None:
        return "a cut header"
    if header.size < HEADER_BYTES or at + header.size > len(chunk):
        return "a cut batch"
    if header.magic != MAGIC:
        return f"magic {header.magic}"
    if header.base_offset < expected or (header.base_offset != expected and behind is None):
        return f"base offset {header.base_offset} where {expected} follows"
    if not check_crc(chunk, at, header.size, header.crc):
        return "a wrong checksum"
    if header.last_offset_delta < 0:
        return "a negative offset delta"
    if behind is not None and header.next_offset > behind:
        return f"offset {header.next_offset - 1} in the segment before {behind}"
    if header.leader_epoch < epoch or header.leader_epoch != epochs.epoch_of(
        header.base_offset, header.leader_epoch
    ):
        return f"leader epoch {header.leader_epoch} where {epochs.epoch_of(header.base_offset, epoch)} wrote"
    return ""


def cut(segment: Segment, position: int) -> None:
    """What was noted of the cut bytes goes too: the indexes are made anew where the cut is behind noted batches."""
    segment.file.truncate(position)
    segment.file.sync()
    if position < segment.size:
        segment.size = position
        segment.forget_recent()
        segment.rebuild_indexes()


def drop_files(files: Files, folder: str, base: int) -> None:
    """A segment behind a cut one: its offsets would leave a hole."""
    for suffix in (names.LOG_SUFFIX, names.INDEX_SUFFIX, names.TIME_INDEX_SUFFIX):
        files.unlink(f"{folder}/{names.segment_name(base, suffix)}")


def load_producers(files: Files, folder: str, segments: list[Segment], now_ms: int) -> ProducerState:
    """The newest good snapshot at or below the end, then the headers behind it.

    Those of records that were deleted count as long as they are there: their producer may not have heard of its success.
    """
    end = segments[-1].end_offset if segments else 0
    bases = sorted(
        (
            int(name.removesuffix(names.SNAPSHOT_SUFFIX))
            for name in files.list(folder)
            if name.endswith(names.SNAPSHOT_SUFFIX) and name.removesuffix(names.SNAPSHOT_SUFFIX).isdigit()
        ),
        reverse=True,
    )
    state, offset = ProducerState(), 0
    for base in bases:
        path = f"{folder}/{names.segment_name(base, names.SNAPSHOT_SUFFIX)}"
        loaded = ProducerState.load(files.read_all(path), now_ms) if base <= end else None
        if loaded is None:
            files.unlink(path)
            continue
        state, offset = loaded, base
        break
    for segment in segments:
        if segment.end_offset <= offset:
            continue
        for header, _ in segment.scan(segment.position_of(max(offset, segment.base_offset))):
            if header.producer_id >= 0 and header.base_offset >= offset and not header.is_control:
                state.update(header, header.base_offset, now_ms)
    return state
