"""The journal: a ring of blocks where batches are durable before their own files are (decision 18).

Layout   block 0   b"BNBJ", u16 version, 16 bytes run id, u64 size of the file, u32 CRC-32C of all that; zeros
         then two halves of one size, each full of rounds, each of which begins on a block:
         round     b"BNBR", 16 bytes run id, u64 sequence, u32 entries, u32 size of the body, u32 CRC-32C of these
                   fields and of the body; the body; zeros up to the next block
         entry     16 bytes topic id, u16 size and path of the segment below the data folder, u64 position in it,
                   u32 size and whole batches, as the segment has them there
         integers big-endian; a block is 4,096 bytes.
J1       Sequences rise by one from round to round. A round is written by one durable write, one at a time.
J2       A half is begun anew only when every file named in it has been synced since (the committer's checkpoint), so the
         rounds that are still needed are the newest ones, without a gap.
Crash    in a write of a round: its checksum fails, and nobody had been told of it. At any other time: start takes up
         what is left (take_up.py), before the logs are recovered, and then gives the ring a new run id, so that all of it
         is void.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from librt.strings import BytesWriter, write_i32_be, write_i64_be

from barnabas.log.write import Write
from barnabas.ports import File, Files, RingFile
from barnabas.records.batch import crc32c

JOURNAL: Final = "journal"
BLOCK_BYTES: Final = 4096
KEPT_ROUND_BYTES: Final = 16 * 1024 * 1024
VERSION: Final = 1

_HEADER: Final = Struct(">4sH16sQ")
_ROUND: Final = Struct(">4s16sQII")
_CRC: Final = Struct(">I")
_ENTRY: Final = Struct(">16sH")
_PLACE: Final = Struct(">QI")
PLACE_BYTES: Final[int] = _PLACE.size
ROUND_BYTES: Final = _ROUND.size + _CRC.size


def whole_blocks(size: int) -> int:
    """size, rounded up to blocks."""
    return (size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES


def half_bytes(size: int) -> int:
    """Bytes of each half of a journal of size bytes."""
    return (size - BLOCK_BYTES) // 2 // BLOCK_BYTES * BLOCK_BYTES


def header(run_id: bytes, size: int) -> bytes:
    """Block 0: from now on only rounds of this run count."""
    fields = _HEADER.pack(b"BNBJ", VERSION, run_id, size)
    return (fields + _CRC.pack(crc32c(fields))).ljust(BLOCK_BYTES, b"\0")


def read_run_id(content: bytes) -> bytes | None:
    """The run whose rounds count; None when block 0 is not whole or of another version."""
    fields = content[: _HEADER.size]
    if len(content) < BLOCK_BYTES or _CRC.unpack_from(content, _HEADER.size)[0] != crc32c(fields):
        return None
    magic, version, run_id, _ = _HEADER.unpack(fields)
    return run_id if magic == b"BNBJ" and version == VERSION else None


def entry_head(topic_id: bytes, path: str) -> bytes:
    """What the entries of one segment begin with: path is below the data folder."""
    name = path.encode()
    return _ENTRY.pack(topic_id, len(name)) + name


class Round:
    """One write of the ring, being put together: in one piece, for its checksum and its copy cost a call a piece."""

    __slots__ = ("_chunks", "_entries", "_out", "size")

    def __init__(self, out: BytesWriter | None = None) -> None:
        """out: whatever is in it goes, what was made of it stays. One that has grown before need not copy what it has to grow."""
        self._chunks: list[bytes | memoryview] = []
        self._out = BytesWriter() if out is None else out
        """What comes behind these."""
        self._out.truncate(0)
        self._entries = 0
        self.size = ROUND_BYTES

    def add(self, head: bytes, writes: list[Write]) -> None:
        """Batches that follow each other in the segment that has this entry_head()."""
        size = 0
        for write in writes:
            size += write.size
        self._begin_entry(head, writes[0].position, size)
        for write in writes:
            self._out.write(write.head)
            body = write.body
            if isinstance(body, bytes):
                self._out.write(body)
            else:
                self._chunks.append(self._out.getvalue())
                self._chunks.append(body)
                self._out.truncate(0)

    def add_entry(self, entry: "Entry") -> None:
        """One that was read."""
        self._begin_entry(entry_head(entry.topic_id, entry.path), entry.position, len(entry.batches))
        self._out.write(entry.batches)

    def _begin_entry(self, head: bytes, position: int, size: int) -> None:
        out = self._out
        out.write(head)
        write_i64_be(out, position)
        write_i32_be(out, size)
        self.size += len(head) + PLACE_BYTES + size
        self._entries += 1

    def to_chunks(self, run_id: bytes, sequence: int) -> list[bytes | memoryview]:
        """The whole round, a multiple of BLOCK_BYTES."""
        self._chunks.append(self._out.getvalue())
        self._out.truncate(0)
        fields = _ROUND.pack(b"BNBR", run_id, sequence, self._entries, self.size - ROUND_BYTES)
        crc = crc32c(fields)
        for chunk in self._chunks:
            crc = crc32c(chunk, crc)
        return [fields + _CRC.pack(crc), *self._chunks, bytes(whole_blocks(self.size) - self.size)]


class Entry:
    """Batches that were durable in the ring."""

    __slots__ = ("batches", "path", "position", "topic_id")

    def __init__(self, topic_id: bytes, path: str, position: int, batches: bytes) -> None:
        self.topic_id = topic_id
        self.path = path
        self.position = position
        self.batches = batches


def read_rounds(file: File) -> list[list[Entry]]:
    """The rounds that may still be needed, in order; [] when the file is no journal. Raises WorldError."""
    run_id = read_run_id(file.read(0, BLOCK_BYTES))
    if run_id is None:
        return []
    half = half_bytes(file.size())
    found: dict[int, list[Entry]] = {}
    for begin in (BLOCK_BYTES, BLOCK_BYTES + half):
        found.update(
            (sequence, entries) for sequence, entries, _ in _rounds(file, run_id, begin, begin + half)
        )
    rounds: list[list[Entry]] = []
    newest = max(found, default=-1)
    while newest - len(rounds) in found:
        rounds.append(found[newest - len(rounds)])
    return rounds[::-1]


def _rounds(file: File, run_id: bytes, at: int, end: int) -> Iterator[tuple[int, list[Entry], int]]:
    """(sequence, entries, where the next begins) as far as rounds follow each other; behind the newest of a half lie those
    of the lap before.
    """
    newest = -1
    while at + BLOCK_BYTES <= end:
        content = file.read(at, BLOCK_BYTES)
        magic, run, sequence, count, body_bytes = _ROUND.unpack_from(content)
        size = ROUND_BYTES + body_bytes
        if magic != b"BNBR" or run != run_id or sequence <= newest or at + size > end:
            return
        if size > BLOCK_BYTES:
            content = file.read(at, size)
        body = memoryview(content)[ROUND_BYTES:size]
        if crc32c(body, crc32c(content[: _ROUND.size])) != _CRC.unpack_from(content, _ROUND.size)[0]:
            return
        newest = sequence
        at += whole_blocks(size)
        yield sequence, _entries(bytes(body), count), at


def _entries(body: bytes, count: int) -> list[Entry]:
    entries: list[Entry] = []
    at = 0
    for _ in range(count):
        topic_id, size = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        path = body[at : at + size].decode()
        at += size
        position, size = _PLACE.unpack_from(body, at)
        at += _PLACE.size
        entries.append(Entry(topic_id, path, position, body[at : at + size]))
        at += size
    return entries


def kept_content(run_id: bytes, entries: Sequence[Entry]) -> bytes:
    """A whole file of its own for some entries of a run: block 0, then rounds, one behind the other to the end."""
    chunks: list[bytes | memoryview] = []
    sequence, taken = 0, Round()
    for at, entry in enumerate(entries):
        taken.add_entry(entry)
        if taken.size > KEPT_ROUND_BYTES or at == len(entries) - 1:
            chunks += taken.to_chunks(run_id, sequence)
            sequence, taken = sequence + 1, Round()
    return b"".join([header(run_id, BLOCK_BYTES + sum(map(len, chunks))), *chunks])


def read_kept(file: File) -> list[Entry] | None:
    """The entries of such a file; None when they are not all there."""
    run_id = read_run_id(file.read(0, BLOCK_BYTES))
    if run_id is None:
        return None
    found: list[Entry] = []
    end = BLOCK_BYTES
    for _, entries, behind in _rounds(file, run_id, BLOCK_BYTES, file.size()):
        found += entries
        end = behind
    return found if file.read(0, _HEADER.size) == _HEADER.pack(b"BNBJ", VERSION, run_id, end) else None


class Ring:
    """Where the next round goes, and which half waits for its checkpoint. Knows places, not bytes."""

    __slots__ = ("_at", "_half", "_half_bytes", "_next_sequence", "_owed", "run_id")

    def __init__(self, run_id: bytes, size: int) -> None:
        self.run_id = run_id
        self._half_bytes = half_bytes(size)
        self._half = 0
        self._at = 0
        self._owed = [False, False]
        self._next_sequence = 0

    @property
    def half(self) -> int:
        """The half that rounds go into now: 0 or 1."""
        return self._half

    def holds(self, size: int) -> bool:
        """Whether a round of size bytes can go into a half that is empty."""
        return whole_blocks(size) <= self._half_bytes

    def fits(self, size: int) -> bool:
        """Whether a round of size bytes can go into this half."""
        return self._at + whole_blocks(size) <= self._half_bytes

    def turn(self) -> bool:
        """Go on in the other half; False while that one's checkpoint is owed. The one left owes its own now."""
        other = 1 - self._half
        if self._owed[other]:
            return False
        self._owed[self._half] = True
        self._half, self._at = other, 0
        return True

    def paid(self, half: int) -> None:
        """Every file named in that half has been synced (J2)."""
        self._owed[half] = False

    def place(self, size: int) -> tuple[int, int]:
        """(position in the file, sequence) of a round of size bytes, which fits."""
        position = BLOCK_BYTES + self._half * self._half_bytes + self._at
        self._at += whole_blocks(size)
        sequence = self._next_sequence
        self._next_sequence += 1
        return position, sequence


def prepare(files: Files, state: str, run_id: bytes, size: int) -> RingFile | None:
    """The ring's file, void and ready; None where such a file cannot be had. Slow when it must be made. WorldError."""
    ring = files.open_ring(f"{state}/{JOURNAL}", size)
    if ring is not None:
        ring.write(0, [header(run_id, size)])
    return ring


def void(files: Files, state: str) -> None:
    """After it was taken up: nothing of the journal counts any more. Raises WorldError."""
    path = f"{state}/{JOURNAL}"
    if files.exists(path):
        file = files.open(path)
        try:
            file.write(0, [bytes(BLOCK_BYTES)])
            file.sync()
        finally:
            file.close()
