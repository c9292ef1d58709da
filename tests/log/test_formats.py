"""The small files beside the log: indexes, checkpoints, epochs, names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_log import Disk

from barnabas.log import checkpoints, folder
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.index import IndexUnusable, OffsetIndex, TimeIndex

BATCHES = st.lists(st.tuples(st.integers(1, 50), st.integers(61, 5000)), max_size=40)


@given(BATCHES, st.integers(0, 3000))
def test_a_look_up_never_passes_the_batch_that_holds_the_offset(
    batches: list[tuple[int, int]], wanted: int
) -> None:
    index, offset, position, expected = OffsetIndex(), 0, 0, 0
    for records, size in batches:
        last = offset + records - 1
        index.add(last, position)
        if last <= wanted:
            expected = position
        offset, position = offset + records, position + size
    torn = OffsetIndex.load(index.to_bytes() + b"torn", position + 1)
    assert index.lookup(wanted) == torn.lookup(wanted) == expected


@pytest.mark.parametrize(
    "pairs", [[(5, 100), (5, 200)], [(5, 100), (6, 100)], [(5, 100), (4, 200)], [(5, 1000)], [(0, 0), (0, 0)]]
)
def test_an_offset_index_that_does_not_rise_or_leads_the_log_is_unusable(
    pairs: list[tuple[int, int]],
) -> None:
    index = OffsetIndex()
    for offset, position in pairs:
        index.add(offset, position)
    with pytest.raises(IndexUnusable):
        OffsetIndex.load(index.to_bytes(), 1000)


def test_a_time_index_keeps_first_reaches_and_refuses_to_fall() -> None:
    index = TimeIndex()
    for timestamp, offset in ((10, 1), (10, 2), (9, 3), (20, 4)):
        index.add(timestamp, offset)
    assert list(index.timestamps) == [10, 20] and list(index.offsets) == [1, 4]
    assert [index.lookup(timestamp) for timestamp in (9, 10, 11, 20, 21)] == [0, 0, 1, 1, 4]
    assert TimeIndex.load(index.to_bytes() + b"torn").to_bytes() == index.to_bytes()
    with pytest.raises(IndexUnusable):
        TimeIndex.load(index.to_bytes()[12:] + index.to_bytes())


OFFSETS = {("a", 0): 5, ("a.b-c_d", 12): 2**40}


def test_offset_checkpoints_are_kafkas_lines(disk: Disk) -> None:
    path = f"{disk.root}/{checkpoints.RECOVERY_POINTS}"
    assert checkpoints.read_offsets(disk.files, path) == {}
    checkpoints.write_offsets(disk.files, path, OFFSETS)
    assert disk.files.read_all(path) == b"0\n2\na 0 5\na.b-c_d 12 1099511627776\n"
    assert checkpoints.read_offsets(disk.files, path) == OFFSETS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0",
        b"1\n0\n",
        b"0\n3\na 0 5\n",
        b"0\n1\na 0\n",
        b"0\n1\na x 5\n",
        b"0\n1\na 0 -5\n",
        b"\xff\xfe\n",
    ],
)
def test_a_checkpoint_that_does_not_parse_counts_as_absent(disk: Disk, content: bytes) -> None:
    path = f"{disk.root}/{checkpoints.LOG_STARTS}"
    disk.files.write_atomic(path, content)
    assert checkpoints.read_offsets(disk.files, path) == {}


def test_offsets_count_for_the_topic_they_were_written_for(disk: Disk) -> None:
    """K1: a folder from before has no ids, and all count; a name that stands there with another id does not."""
    one, other = bytes(16), bytes(range(16))
    checkpoints.write_offsets(disk.files, f"{disk.root}/{checkpoints.RECOVERY_POINTS}", OFFSETS)
    assert checkpoints.Offsets.read(disk.files, [disk.root]).recovery_point("a", 0, one) == 5
    checkpoints.write_all(disk.files, disk.root, OFFSETS, {("a", 0): 3}, {"a": one})
    read = checkpoints.Offsets.read(disk.files, [disk.root])
    assert (read.recovery_point("a", 0, one), read.log_start("a", 0, one)) == (5, 3)
    assert (read.recovery_point("a", 0, other), read.log_start("a", 0, other)) == (0, 0)
    assert read.recovery_point("a.b-c_d", 12, one) == 0, "no id stands beside it"
    disk.files.write_atomic(f"{disk.root}/{checkpoints.TOPIC_IDS}", b"0\n1\na xyz\n")
    assert checkpoints.Offsets.read(disk.files, [disk.root]).recovery_point("a", 0, one) == 0


def test_of_several_sets_the_greatest_offset_counts_that_is_the_topics(disk: Disk) -> None:
    """K2; each set's ids judge that set alone."""
    one, other = bytes(16), bytes(range(16))
    for name, topic_id, point in (("x", one, 7), ("y", other, 9), ("z", one, 5)):
        folder = f"{disk.root}/{name}"
        disk.files.make_folder(folder)
        checkpoints.write_all(
            disk.files, folder, {("a", 0): point}, {("a", 0): point - 4}, {"a": topic_id, name: one}
        )
    old = f"{disk.root}/from-before"
    disk.files.make_folder(old)
    checkpoints.write_offsets(disk.files, f"{old}/{checkpoints.RECOVERY_POINTS}", {("b", 1): 2, ("a", 0): 6})
    folders = [f"{disk.root}/{name}" for name in ("z", "from-before", "x", "y", "nowhere")]
    read = checkpoints.Offsets.read(disk.files, folders)
    assert (read.recovery_point("a", 0, one), read.log_start("a", 0, one)) == (7, 3)
    assert (read.recovery_point("a", 0, other), read.log_start("a", 0, other)) == (9, 5)
    assert (read.recovery_point("b", 1, other), read.log_start("b", 1, other)) == (2, 0)
    assert (read.recovery_point("b", 0, one), read.log_start("c", 0, one)) == (0, 0)


def epochs_of(disk: Disk, *entries: tuple[int, int]) -> LeaderEpochs:
    epochs = LeaderEpochs(disk.files, disk.root)
    for epoch, start in entries:
        epochs.begin(epoch, start)()
    return epochs


def test_an_epoch_is_durable_when_its_chore_is_done(disk: Disk) -> None:
    epochs_of(disk, (1, 0), (3, 10)).begin(4, 15)
    again = epochs_of(disk)
    again.load()
    assert again.latest == 3
    assert disk.files.read_all(f"{disk.root}/leader-epoch-checkpoint") == b"0\n2\n1 0\n3 10\n"


def test_an_epoch_that_begins_where_another_did_replaces_it(disk: Disk) -> None:
    epochs = epochs_of(disk, (1, 0), (3, 10), (4, 10))
    assert epochs.end_of(3, 20) == (1, 10)
    assert epochs.end_of(4, 20) == (4, 20)


@pytest.mark.parametrize(
    ("epoch", "end"), [(0, (0, 5)), (1, (1, 10)), (2, (1, 10)), (3, (3, 20)), (4, (-1, -1)), (-1, (-1, -1))]
)
def test_the_end_of_each_epoch(disk: Disk, epoch: int, end: tuple[int, int]) -> None:
    assert epochs_of(disk, (1, 5), (3, 10)).end_of(epoch, 20) == end


def test_epochs_shrink_with_the_log(disk: Disk) -> None:
    epochs = epochs_of(disk, (1, 0), (3, 10), (5, 20))
    epochs.truncate_to(20)
    assert epochs.latest == 3
    epochs.advance_start(12)
    assert [epochs.epoch_of(offset) for offset in (11, 12)] == [-1, 3]
    again = epochs_of(disk)
    again.load()
    assert again.end_of(1, 20) == (1, 10), "the file still tells of epochs that ended before the log starts"
    again.advance_start(12)
    assert again.end_of(3, 20) == (3, 20) and again.end_of(1, 20) == (1, 12)


def test_names_of_folders_and_segments() -> None:
    assert folder.parse_partition("a-b-12") == ("a-b", 12)
    assert [folder.parse_partition(name) for name in ("a", "a-", "-1", "a-1.x-delete", "a-b")] == [None] * 5
    assert folder.segment_name(7, ".log") == "00000000000000000007.log"
    deleted = folder.deleted_folder("/d", "t" * 249, 3, bytes(16))
    assert len(deleted.removeprefix("/d/")) == 255 and deleted.endswith(f"-3.{'0' * 32}-delete")


@given(st.binary(min_size=16, max_size=16))
def test_a_topic_id_comes_back_from_its_text(uuid: bytes) -> None:
    text = folder.uuid_text(uuid)
    assert len(text) == 22 and folder.uuid_bytes(text) == uuid
