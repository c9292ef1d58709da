"""One segment: a .log file of whole batches and its two indexes.

S1  Batches follow each other without holes; each base offset is at or behind the end of the one before.
S2  What lies at or behind `size` does not exist, whatever the file holds: size counts what has been assigned, which may
    be ahead of what has been written.
S3  The indexes of the last segment of a log are in memory. Those of closed ones are loaded when they are asked for, by a thread,
    and let go when nobody asks any more: a gigabyte of small batches has 5 MB of them.
The file is opened on first use and dropped by the pool when too many are open; a range that is still being sent keeps
its descriptor alive by holding the File.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from librt.strings import read_i32_be, read_i64_be
from mypy_extensions import i64

from barnabas.log import folder as names
from barnabas.log.index import (
    OFFSET_PAIR,
    OFFSET_PAIR_BYTES,
    TIME_PAIR,
    TIME_PAIR_BYTES,
    IndexUnusable,
    OffsetIndex,
    TimeIndex,
)
from barnabas.log.recent import Recent
from barnabas.ports import Cold, File, Files, WorldError
from barnabas.records.batch import (
    HEADER_BYTES,
    LAST_OFFSET_DELTA_AT,
    LENGTH_AT,
    OVERHEAD_BYTES,
    BatchHeader,
)

SCAN_BYTES: Final = 8 * 1024
SEARCH_BYTES: Final = 4 * 1024 + HEADER_BYTES
"""The index has a pair about every 4 KB."""
READ_BYTES_MAX: Final = 8 * 1024
"""What a reader wants of a partition is read at once, by the read that finds it, up to this size; what is more is a range of
the file."""
NO_TIMESTAMP: Final = -1


IndexFiles = tuple[tuple[str, Callable[[], bytes]], ...]
"""Path and content of each: the content is made by whoever writes it, a thread most often."""


class OpenFiles:
    """Open segment files of all logs, at most limit of them. One that was used since it was last looked at gets a
    second chance: nearly the least recently used goes first, and a use costs one assignment (the clock algorithm).
    """

    def __init__(self, files: Files, limit: int) -> None:
        assert limit > 0, "a segment in use is open"
        self.files = files
        self._limit = limit
        self._open: dict[int, Segment] = {}

    def opened(self, segment: "Segment") -> None:
        self._open[id(segment)] = segment
        while len(self._open) > self._limit:
            oldest = self._open.pop(next(iter(self._open)))
            if oldest.file_used or oldest is segment:
                oldest.file_used = False
                self._open[id(oldest)] = oldest
            else:
                oldest.drop_file()

    def closed(self, segment: "Segment") -> None:
        self._open.pop(id(segment), None)

    def __len__(self) -> int:
        return len(self._open)


def write_derived(files: Files, path: str, content: bytes) -> None:
    """A file that can be made anew from the log. Most often it has a first part of the content already, or all of it: then it
    only grows, for a truncation may wait for the disk.
    """
    file = files.open(path, create=True)
    size = file.size()
    if size > len(content) or file.read(0, size) != content[:size]:
        file.truncate(0)
        size = 0
    if size < len(content):
        file.write(size, [content[size:]])
    file.close()


class NewFile:
    """A file that is named before it is made: a pool's thread makes it, and until then it is empty."""

    __slots__ = ("_files", "_made", "path")

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._made: File | None = None
        self.path = path

    def make(self) -> None:
        """ext4 writes a file that was ever truncated to nothing, even an empty one, to the disk when it is closed: 256 MB took
        its closer, often the loop, 130 ms. So only what a crash left is truncated."""
        file = self._files.open(self.path, create=True)
        if file.size() > 0:
            file.truncate(0)
        self._made = file

    @property
    def made(self) -> File | None:
        return self._made

    def _file(self) -> File:
        if self._made is None:
            raise WorldError(f"{self.path}: not made yet")
        return self._made

    def fileno(self) -> int:
        return self._file().fileno()

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        return self._file().write(position, chunks)

    def read(self, position: int, size: int) -> bytes:
        return b"" if self._made is None else self._made.read(position, size)

    def read_now(self, position: int, size: int) -> bytes | None:
        return b"" if self._made is None else self._made.read_now(position, size)

    def size(self) -> int:
        return 0 if self._made is None else self._made.size()

    def truncate(self, size: int) -> None:
        self._file().truncate(size)

    def write_back(self, position: int, size: int) -> None:
        if self._made is not None:
            self._made.write_back(position, size)

    def sync(self) -> None:
        self._file().sync()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def read(file: File, position: int, size: int, waits: bool) -> bytes:
    """Raises Cold unless it waits."""
    if waits:
        return file.read(position, size)
    content = file.read_now(position, size)
    if content is None:
        raise unread(file, position, size)
    return content


def unread(file: File, position: int, size: int) -> Cold:
    """Apart, for a function that has a lambda makes an object for it at every call."""
    return Cold(lambda: file.read(position, size))


def headers(file: File, position: int, end: int) -> Iterator[tuple[BatchHeader, int]]:
    """Headers and positions of the whole batches from position on, as far as they are whole and lie before end."""
    chunk, chunk_at = b"", position
    while position + HEADER_BYTES <= end:
        if position < chunk_at or position + HEADER_BYTES > chunk_at + len(chunk):
            chunk, chunk_at = file.read(position, min(SCAN_BYTES, end - position)), position
            if len(chunk) < HEADER_BYTES:
                return
        header = BatchHeader(chunk, position - chunk_at)
        if header.size < HEADER_BYTES or position + header.size > end:
            return
        yield header, position
        position += header.size


def search(
    file: File, position: i64, offset: i64, behind: i64, ahead: i64, look: i64, waits: bool
) -> tuple[i64, i64, bytes]:
    """From position on, batch by batch, up to the position behind. Every fetch of older records comes here: of a header only
    what is needed is read. look: how many bytes beside those ahead may have to be passed. Returns what Segment.find does.
    Raises Cold unless it waits.
    """
    chunk, chunk_at = b"", position
    while position + HEADER_BYTES <= behind:
        at = position - chunk_at
        if at + HEADER_BYTES > len(chunk):
            size = min(max(look + ahead, HEADER_BYTES), behind - position)
            if waits:
                chunk = file.read(position, size)
            else:
                known = file.read_now(position, size)
                if known is None:
                    raise searched(file, position, offset, behind, ahead, look)
                chunk = known
            chunk_at, at = position, 0
            if len(chunk) < HEADER_BYTES:
                break
        length: int = read_i32_be(chunk, at + LENGTH_AT)
        last_offset_delta: int = read_i32_be(chunk, at + LAST_OFFSET_DELTA_AT)
        if read_i64_be(chunk, at) + last_offset_delta >= offset:
            content = chunk[at : at + ahead] if at or len(chunk) > ahead else chunk
            return position, length + OVERHEAD_BYTES, content
        if length + OVERHEAD_BYTES < HEADER_BYTES:
            break
        position += length + OVERHEAD_BYTES
    return behind, 0, b""


def searched(file: File, position: int, offset: int, behind: int, ahead: int, look: int) -> Cold:
    """The rest of a search: a thread goes all the way, so that the second one finds every step in memory."""
    return Cold(lambda: search(file, position, offset, behind, ahead, look, True))


class Segment:
    """Offsets [base_offset, end_offset) at positions [0, size)."""

    __slots__ = (
        "_file",
        "_folder",
        "_index_used",
        "_loaded",
        "_new",
        "_offset_index",
        "_pool",
        "_recent",
        "_time_index",
        "base_offset",
        "created_ms",
        "end_offset",
        "file_used",
        "first_timestamp",
        "is_made",
        "max_timestamp",
        "max_timestamp_offset",
        "size",
        "unindexed_bytes",
    )

    base_offset: i64
    end_offset: i64
    size: i64
    max_timestamp_offset: i64
    unindexed_bytes: i64

    def __init__(self, pool: OpenFiles, folder: str, base_offset: i64, created_ms: int) -> None:
        self._pool = pool
        self._folder = folder
        self.base_offset = base_offset
        self.end_offset = base_offset
        self.size = 0
        self.created_ms = created_ms
        self.first_timestamp = NO_TIMESTAMP
        self.max_timestamp = NO_TIMESTAMP
        self.max_timestamp_offset = base_offset
        self.unindexed_bytes = 0
        self._file: File | None = None
        self._new: NewFile | None = None
        self.is_made = True
        """Its file is there, and durably so; False from a roll until a thread has done what that takes."""
        self.file_used = False
        self._offset_index: OffsetIndex | None = None
        self._time_index: TimeIndex | None = None
        self._index_used = False
        """Since they were last looked at by drop_idle_indexes."""
        self._loaded: list[Segment] | None = None
        """Where a thread puts a reader of this segment when it has loaded the indexes."""
        self._recent: Recent | None = None
        """Made at the first append."""

    # -- files

    def path(self, suffix: str) -> str:
        return f"{self._folder}/{names.segment_name(self.base_offset, suffix)}"

    @property
    def file(self) -> File:
        if self._file is None:
            return self._opened()
        self.file_used = True
        return self._file

    def _opened(self) -> File:
        new = self._new
        if new is None:
            self._file = self._pool.files.open(self.path(names.LOG_SUFFIX), create=self.size == 0)
        elif new.made is None:
            return new
        else:
            self._file, self._new = new.made, None
        self._pool.opened(self)
        self.file_used = True
        return self._file

    def drop_file(self) -> None:
        """The descriptor closes when the last range that names the file is gone."""
        self._file = None

    def pin_file(self) -> None:
        """It stays open until close(), for its name will be another file's. Raises WorldError."""
        file = self.file
        self._pool.closed(self)
        self._file = file

    def unpin_file(self) -> None:
        """It has its name still."""
        if self._file is not None:
            self._pool.opened(self)

    def close(self) -> None:
        self._pool.closed(self)
        self._file = self._new = None

    def make_empty(self) -> NewFile:
        """A new segment has empty indexes, and an empty file once somebody makes it."""
        self._offset_index = OffsetIndex()
        self._time_index = TimeIndex()
        self._new = NewFile(self._pool.files, self.path(names.LOG_SUFFIX))
        self.is_made = False
        return self._new

    @property
    def offset_index(self) -> OffsetIndex:
        if self._offset_index is None:
            self._load_indexes()
        assert self._offset_index is not None
        return self._offset_index

    @property
    def time_index(self) -> TimeIndex:
        if self._time_index is None:
            self._load_indexes()
        assert self._time_index is not None
        return self._time_index

    def _load_indexes(self) -> None:
        files = self._pool.files
        try:
            offset_path, time_path = self.path(names.INDEX_SUFFIX), self.path(names.TIME_INDEX_SUFFIX)
            if not files.exists(offset_path) or not files.exists(time_path):
                raise IndexUnusable("absent")
            offset_index = OffsetIndex.load(files.read_all(offset_path), self.size)
            self._time_index = TimeIndex.load(files.read_all(time_path))
            self._offset_index = offset_index
        except IndexUnusable:
            self.rebuild_indexes()

    def loading(self) -> Callable[[], object] | None:
        """What a thread has to do before the indexes are there; None: they are. It raises WorldError. S3."""
        self._index_used = True
        if self._offset_index is not None:
            return None
        if self._loaded:
            self.adopt_indexes(self._loaded[-1])
            return None
        loaded = self._loaded = []
        reader = reader_of(self._pool.files, self._folder, self)

        def load() -> None:
            reader.load_indexes()
            loaded.append(reader)

        return load

    def load_indexes(self) -> None:
        """Here and now, unless they are there. Raises WorldError."""
        if self._offset_index is None:
            self._load_indexes()
            self._pool.closed(self)
            self._file = None

    def adopt_indexes(self, reader: "Segment") -> None:
        """Those that a reader of this segment has loaded."""
        self._loaded = None
        if self._offset_index is None:
            self._index_used = True
            self._offset_index, self._time_index = reader._offset_index, reader._time_index

    def drop_idle_indexes(self) -> None:
        """At the second call since they were used. They are in their files, or made anew from the log (S3)."""
        if not self._index_used:
            self._offset_index = self._time_index = self._loaded = None
        self._index_used = False

    def last_pairs(self) -> tuple[int, int, int, int] | None:
        """Of the index files alone, unproven: last offset and position, greatest timestamp and its offset. None: one of them is
        not there, or empty. Raises WorldError.
        """
        files = self._pool.files
        last: list[bytes] = []
        for suffix, size in (
            (names.INDEX_SUFFIX, OFFSET_PAIR_BYTES),
            (names.TIME_INDEX_SUFFIX, TIME_PAIR_BYTES),
        ):
            path = self.path(suffix)
            if not files.exists(path):
                return None
            file = files.open(path)
            last.append(file.read(max(file.size() // size - 1, 0) * size, size))
            file.close()
            if len(last[-1]) < size:
                return None
        return (*OFFSET_PAIR.unpack(last[0]), *TIME_PAIR.unpack(last[1]))

    def clear_indexes(self) -> None:
        """Whoever calls this notes every batch again."""
        self._offset_index, self._time_index = OffsetIndex(), TimeIndex()
        self.unindexed_bytes = 0
        self.max_timestamp = NO_TIMESTAMP
        self.first_timestamp = NO_TIMESTAMP

    def rebuild_indexes(self, interval_bytes: int = 4096) -> None:
        self.clear_indexes()
        for header, position in self.scan(0):
            self.note(header, position, interval_bytes)

    def index_files(self) -> IndexFiles:
        """At roll, recovery point and close: what is to be written, as of now; the last greatest timestamp closes the time index."""
        if self._offset_index is None or self._time_index is None:
            return ()
        if self.max_timestamp != NO_TIMESTAMP:
            self._time_index.add(self.max_timestamp, self.max_timestamp_offset - self.base_offset)
        return (
            (self.path(names.INDEX_SUFFIX), self._offset_index.copy().to_bytes),
            (self.path(names.TIME_INDEX_SUFFIX), self._time_index.copy().to_bytes),
        )

    def write_indexes(self) -> None:
        for path, content in self.index_files():
            write_derived(self._pool.files, path, content())

    # -- growing

    def note(self, header: BatchHeader, position: i64, interval_bytes: i64) -> None:
        """A batch (with its final base offset) lies at position."""
        last_offset = header.base_offset + header.last_offset_delta
        if header.max_timestamp > self.max_timestamp:
            self.max_timestamp = header.max_timestamp
            self.max_timestamp_offset = last_offset
        if self.first_timestamp == NO_TIMESTAMP:
            self.first_timestamp = header.max_timestamp
        if self.unindexed_bytes > interval_bytes:
            self.offset_index.add(last_offset - self.base_offset, position)
            self.time_index.add(self.max_timestamp, self.max_timestamp_offset - self.base_offset)
            self.unindexed_bytes = 0
        self.unindexed_bytes += header.size

    def grow(self, position: i64, size: i64, end_offset: i64) -> None:
        """The tail is remembered batch by batch, so that readers at the end need no scan."""
        self.size = position + size
        self.end_offset = end_offset
        if self._recent is None:
            self._recent = Recent(end_offset, position)
        else:
            self._recent.add(end_offset, position)

    @property
    def remembered(self) -> int:
        """Batches at its end whose places are known without a search."""
        return 0 if self._recent is None else self._recent.count

    def forget_recent(self) -> None:
        self._recent = None

    # -- finding

    def scan(self, position: int) -> Iterator[tuple[BatchHeader, int]]:
        return headers(self.file, position, self.size)

    def position_of(self, offset: i64) -> i64:
        """Where the batch that holds offset (or the first one behind it) begins; size when there is none."""
        return 0 if offset <= self.base_offset else self.find(offset)[0]

    def find(self, offset: i64, wanted: i64 = 0, waits: bool = True) -> tuple[i64, i64, bytes]:
        """position_of, the bytes of the batch there as far as they are known without a read more (else 0), and what was
        read on the way of the content from there on: of wanted bytes, up to READ_BYTES_MAX, most often all.

        Raises WorldError, and Cold unless it waits for the disk.
        """
        if offset >= self.end_offset:
            return self.size, 0, b""
        recent = self._recent
        if recent is not None:
            position, behind = recent.find(offset)
            if position >= 0:
                return position, (behind if behind >= 0 else self.size) - position, b""
            # Remembered batches may not be in the file yet: the search ends before them.
            return self._search(offset, recent.first_position, wanted, waits)
        if offset <= self.base_offset and not 0 < wanted <= READ_BYTES_MAX:
            return 0, 0, b""
        return self._search(offset, self.size, wanted, waits)

    def _search(self, offset: i64, behind: i64, wanted: i64, waits: bool) -> tuple[i64, i64, bytes]:
        if self._offset_index is None and not waits:
            load = self.loading()
            if load is not None:
                raise Cold(load)
        self._index_used = True
        relative = offset - self.base_offset
        index = self.offset_index
        at = index.last_upto(relative)
        position, last_offset = 0, -1
        if at >= 0:
            position, last_offset = int(index.positions[at]), int(index.offsets[at])
        # Only the batch that a pair names, and the first one, are found with none to pass.
        look: i64 = 0 if relative <= 0 or relative == last_offset else SEARCH_BYTES
        ahead = min(wanted, behind - position)
        if ahead > READ_BYTES_MAX:
            ahead = 0
        return search(self.file, position, offset, behind, ahead, look, waits)

    def first_batch_bytes(self, position: int, waits: bool = True) -> int:
        content = read(self.file, position, OVERHEAD_BYTES, waits)
        if len(content) < OVERHEAD_BYTES:
            raise WorldError(f"{self.path(names.LOG_SUFFIX)}: shorter than its batches")
        return int.from_bytes(content[LENGTH_AT:], "big") + OVERHEAD_BYTES

    def cut(self, offset: int, position: int) -> None:
        """The file has been cut at position, where the batch that held offset began: forget it and all behind it."""
        self.offset_index.truncate(position)
        self.time_index.truncate(max(offset - self.base_offset, 0))
        self.forget_recent()
        self.size = position
        self.end_offset = min(offset, self.end_offset)
        stamps = self.time_index.timestamps
        self.max_timestamp = stamps[-1] if stamps else NO_TIMESTAMP
        self.max_timestamp_offset = self.base_offset + (self.time_index.offsets[-1] if stamps else 0)
        if position == 0 or not stamps:
            self.first_timestamp = NO_TIMESTAMP
        elif self.first_timestamp == NO_TIMESTAMP:
            self.first_timestamp = stamps[0]
        start = self.offset_index.positions[-1] if self.offset_index.positions else 0
        for header, _ in self.scan(start):
            if header.max_timestamp > self.max_timestamp:
                self.max_timestamp, self.max_timestamp_offset = header.max_timestamp, header.next_offset - 1


def reader_of(files: Files, folder: str, segment: Segment) -> Segment:
    """The same segment as it is now, with descriptor and indexes of its own: for a pool's thread."""
    reader = Segment(OpenFiles(files, 1), folder, segment.base_offset, segment.created_ms)
    reader.size, reader.end_offset = segment.size, segment.end_offset
    return reader
