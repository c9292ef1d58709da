"""The journal's format and what a start takes up of it: log/journal.py J1-J3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from librt.strings import BytesWriter
from written_log import TOPIC_ID

from barnabas.adapters.ram_files import RamFiles
from barnabas.log import folder as names
from barnabas.log.checkpoints import LEADER_EPOCHS, Offsets, OffsetSet, write_epochs
from barnabas.log.journal import (
    BLOCK_BYTES,
    JOURNAL,
    Entry,
    Ring,
    Round,
    entry_head,
    half_bytes,
    header,
    prepare,
    read_rounds,
    void,
    whole_blocks,
)
from barnabas.log.take_up import restore, take_up
from barnabas.log.write import Write
from barnabas.ports import File, Files
from barnabas.records.batch import HEAD_BYTES, new_head, part_of, read_header
from barnabas.records.record import Record, build_batch
from barnabas.testing.disk import VirtualDisk

RUN = bytes(range(16))
EPOCH = 3
ROOT = "/data"
LOG = "t-0/00000000000000000000.log"
JOURNAL_BYTES = BLOCK_BYTES * 21


def write_of(file: File, position: int, offset: int, size: int = 20, epoch: int = EPOCH) -> Write:
    batch = build_batch([Record(None, bytes([offset % 251]) * size, 1)], base_offset=offset)
    return Write(
        file,
        position,
        new_head(offset, len(batch), epoch, read_header(batch, 0).crc),
        part_of(batch, HEAD_BYTES, len(batch)),
        len(batch),
        offset + 1,
    )


def content_of(write: Write) -> bytes:
    return write.head + bytes(write.body)


class Written:
    """A journal that is written as the committer does it."""

    def __init__(self, files: Files, size: int = JOURNAL_BYTES) -> None:
        files.make_folder(ROOT)
        self.file = files.open(f"{ROOT}/{JOURNAL}", create=True)
        self.file.write(0, [header(RUN, size), bytes(size - BLOCK_BYTES)])
        self.ring = Ring(RUN, size)
        self.out = BytesWriter()

    def put(self, *parts: tuple[str, list[Write]]) -> tuple[int, int]:
        taken = Round(self.out)
        for path, writes in parts:
            taken.add(entry_head(TOPIC_ID, path), writes)
        if not self.ring.fits(taken.size):
            left = self.ring.half
            assert self.ring.turn(), "the other half is owed"
            self.ring.paid(left)
        position, sequence = self.ring.place(taken.size)
        chunks = taken.to_chunks(RUN, sequence)
        assert sum(map(len, chunks)) == whole_blocks(taken.size)
        self.file.write(position, chunks)
        return position, taken.size


def told(rounds: list[list[Entry]]) -> list[list[tuple[str, int, bytes]]]:
    return [[(entry.path, entry.position, entry.batches) for entry in entries] for entries in rounds]


def test_rounds_come_back_as_they_were_written() -> None:
    files = RamFiles()
    journal = Written(files)
    one = [write_of(journal.file, 0, 0), write_of(journal.file, 88, 1)]
    two = [write_of(journal.file, 500, 7, size=5000)]
    journal.put((LOG, one), ("größe-12/00000000000000000007.log", two))
    journal.put((LOG, two))
    assert told(read_rounds(journal.file)) == [
        [
            (LOG, 0, b"".join(map(content_of, one))),
            ("größe-12/00000000000000000007.log", 500, content_of(two[0])),
        ],
        [(LOG, 500, content_of(two[0]))],
    ]


def test_a_torn_round_ends_what_is_read_wherever_it_is_torn() -> None:
    files = RamFiles()
    journal = Written(files)
    journal.put((LOG, [write_of(journal.file, 0, 0)]))
    position, size = journal.put((LOG, [write_of(journal.file, 88, 1)]))
    whole = journal.file.read(position, size)
    for at in range(size):
        journal.file.write(position + at, [bytes([whole[at] ^ 0x40])])
        assert len(read_rounds(journal.file)) == 1, f"byte {at} was changed"
        journal.file.write(position + at, [whole[at : at + 1]])
    assert len(read_rounds(journal.file)) == 2


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=60))
def test_the_newest_rounds_are_read_whatever_the_lap(sizes: list[int]) -> None:
    """All of the half that is being written and all of the one before it, in order, and nothing older."""
    journal = Written(RamFiles())
    halves: list[list[int]] = [[]]
    for number, size in enumerate(sizes):
        before = journal.ring.half
        journal.put((LOG, [write_of(journal.file, number, number, size)]))
        if journal.ring.half != before:
            halves.append([])
        halves[-1].append(number)
    read = [entries[0].position for entries in read_rounds(journal.file)]
    needed = [number for half in halves[-2:] for number in half]
    assert read == needed


def test_a_half_that_is_owed_is_not_begun_again() -> None:
    ring = Ring(RUN, JOURNAL_BYTES)
    room = half_bytes(JOURNAL_BYTES)
    assert ring.place(room)[0] == BLOCK_BYTES and not ring.fits(1)
    assert ring.turn() and ring.place(room)[0] == BLOCK_BYTES + room
    assert not ring.turn() and ring.half == 1
    ring.paid(0)
    assert ring.turn() and ring.half == 0 and ring.fits(room) and not ring.fits(room + 1)


@pytest.mark.parametrize("broken", ["absent", "zeros", "short", "of another version", "damaged"])
def test_what_is_no_journal_has_no_rounds(broken: str) -> None:
    files = RamFiles()
    journal = Written(files)
    journal.put((LOG, [write_of(journal.file, 0, 0)]))
    if broken == "zeros":
        void(files, ROOT)
    elif broken == "short":
        journal.file.truncate(100)
    elif broken == "of another version":
        journal.file.write(4, [b"\x00\x02"])
    elif broken == "damaged":
        journal.file.write(10, [b"\xff"])
    else:
        files.unlink(f"{ROOT}/{JOURNAL}")
        void(files, ROOT)
        assert take_up(files, ROOT, ROOT, Offsets()).bytes == 0
        return
    assert read_rounds(journal.file) == []


def test_the_next_run_begins_with_a_journal_that_says_nothing() -> None:
    disk = VirtualDisk()
    disk.make_folder(ROOT)
    ring = prepare(disk, ROOT, RUN, JOURNAL_BYTES)
    assert ring is not None and ring.size() == JOURNAL_BYTES
    taken = Round()
    taken.add(entry_head(TOPIC_ID, LOG), [write_of(ring, 0, 0)])
    ring.write(BLOCK_BYTES, taken.to_chunks(RUN, 0))
    assert len(read_rounds(ring)) == 1
    again = prepare(disk, ROOT, bytes(16), JOURNAL_BYTES)
    assert again is not None and read_rounds(again) == []


class Partition:
    """A folder with a log of three batches, a journal that has them too, and a file that lost them."""

    def __init__(self) -> None:
        self.files = RamFiles()
        self.files.make_folder(f"{ROOT}/t-0")
        names.write_partition_metadata(self.files, f"{ROOT}/t-0", TOPIC_ID)
        self.epochs([(EPOCH, 0)])
        self.file = self.files.open(f"{ROOT}/{LOG}", create=True)
        self.writes = [write_of(self.file, 0, 0)]
        for offset in (1, 2):
            self.writes.append(write_of(self.file, offset * self.writes[0].size, offset))
        Written(self.files).put((LOG, self.writes))

    def epochs(self, entries: list[tuple[int, int]]) -> None:
        write_epochs(self.files, f"{ROOT}/t-0/{LEADER_EPOCHS}", entries)

    def take_up(self, recovery_point: int = 0, only: str | None = None) -> list[int]:
        """The offsets that are in the file afterwards."""
        if only is None:
            points = OffsetSet({("t", 0): recovery_point}, {}, None)
            assert not take_up(self.files, ROOT, ROOT, Offsets([points])).refused
        else:
            restore(self.files, ROOT, ROOT, only, recovery_point)
        found = []
        for write in self.writes:
            content = self.file.read(write.position, write.size)
            if content == content_of(write):
                found.append(read_header(content, 0).base_offset)
        return found


def test_a_start_writes_what_the_file_lost() -> None:
    assert Partition().take_up() == [0, 1, 2]


def test_what_lies_below_the_recovery_point_is_left_alone() -> None:
    """It has been synced, and compaction may have been there since."""
    assert Partition().take_up(recovery_point=2) == [2]


def test_a_log_start_inside_the_segment_leaves_no_hole_before_it() -> None:
    partition = Partition()
    partition.epochs([(EPOCH, 2)])
    assert partition.take_up() == [0, 1, 2]


def test_batches_that_count_are_written_around_those_that_do_not() -> None:
    """An entry of which the second batch alone is of an older epoch."""
    partition = Partition()
    partition.writes[1] = write_of(partition.file, partition.writes[0].size, 1, epoch=EPOCH - 1)
    Written(partition.files).put((LOG, partition.writes))
    assert partition.take_up() == [0, 2]


def test_what_was_cut_off_does_not_come_back() -> None:
    partition = Partition()
    partition.epochs([(EPOCH, 0), (EPOCH + 1, 1)])
    assert partition.take_up() == []


def test_a_topic_of_the_same_name_is_another_one() -> None:
    partition = Partition()
    names.write_partition_metadata(partition.files, f"{ROOT}/t-0", bytes(16))
    assert partition.take_up() == []


def test_a_deleted_segment_is_not_made_anew() -> None:
    partition = Partition()
    partition.files.unlink(f"{ROOT}/{LOG}")
    partition.take_up()
    assert not partition.files.exists(f"{ROOT}/{LOG}")


def test_one_partition_may_be_taken_up_alone() -> None:
    assert Partition().take_up(only="t-1") == []
    assert Partition().take_up(only="t-0") == [0, 1, 2]
