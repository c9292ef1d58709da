"""Appending, finding, rolling, retention and truncation of one partition's log, on disk and in memory."""

from functools import partial
from itertools import product

import pytest
from written_log import NOW_MS, TOPIC_ID, Disk, append, everything, located, rolled, searched

from barnabas.log.folder import read_topic_id, write_partition_metadata
from barnabas.log.segment import READ_BYTES_MAX
from barnabas.log.times import first_of_greatest, first_since
from barnabas.ports import Cold, WorldError
from barnabas.records.record import all_records
from barnabas.wire.primitives import join


def values(content: bytes) -> list[bytes | None]:
    return [record.value for record in all_records(content)]


def test_a_partition_has_no_folder_before_its_first_append(disk: Disk) -> None:
    log = disk.log()
    assert not disk.files.exists(log.folder)
    append(log, [b"a"])
    assert read_topic_id(disk.files, log.folder) == TOPIC_ID


def test_a_log_does_not_write_into_the_folder_of_a_deleted_namesake(disk: Disk) -> None:
    log = disk.log()
    disk.files.make_folder(log.folder)
    write_partition_metadata(disk.files, log.folder, bytes(16))
    with pytest.raises(WorldError, match="deleted topic"):
        append(log, [b"a"])
    disk.files.remove_folder(log.folder)
    log.truncate_to(0, NOW_MS)
    append(log, [b"a"])
    assert read_topic_id(disk.files, log.folder) == TOPIC_ID


def test_offsets_follow_each_other_and_readers_get_the_bytes(disk: Disk) -> None:
    log = disk.log()
    assert [append(log, [b"a", b"b"]), append(log, [b"c"]), append(log, [b"d"] * 5)] == [0, 2, 3]
    assert log.end_offset == 8
    assert values(everything(log)) == [b"a", b"b", b"c"] + [b"d"] * 5


def test_a_fetch_begins_with_the_batch_that_holds_the_offset(disk: Disk) -> None:
    log = disk.log()
    append(log, [b"a", b"b", b"c"])
    append(log, [b"d"])
    for offset, first in ((0, b"a"), (1, b"a"), (2, b"a"), (3, b"d")):
        assert values(located(log, offset, 1 << 20, 4))[0] == first


def test_nothing_at_or_behind_the_bound_is_located(disk: Disk) -> None:
    log = disk.log()
    append(log, [b"a"])
    append(log, [b"b"])
    assert values(located(log, 0, 1 << 20, 1)) == [b"a"]
    assert log.locate(1, 1 << 20, upto_offset=1, min_one=True) is None


@pytest.mark.parametrize("remembered", [True, False])
def test_a_batch_is_found_weighed_and_read_by_at_most_one_read(disk: Disk, remembered: bool) -> None:
    log = disk.log(index_interval_bytes=200)
    for number in range(50):
        append(log, [b"%d" % number, b"x" * 100])
    if not remembered:
        log.close(clean=True)
        log = disk.log(clean=True, index_interval_bytes=200)
    assert log.segments[0].offset_index.positions  # loaded, from a file of its own
    file = log.segments[0].file
    reads: list[int] = []

    class Counting:
        path = file.path

        def read(self, position: int, size: int) -> bytes:
            reads.append(position)
            return file.read(position, size)

    log.segments[0]._file = Counting()  # type: ignore[assignment]
    for offset, limit, enough, may_read in product(
        (0, 33, 99), (100, 300, 8192, 100_000), (True, False), (True, False)
    ):
        reads.clear()
        found = log.locate(offset, limit, upto_offset=100, min_one=enough, may_read=may_read)
        # Of a batch that is larger than the limit the search has not read all.
        assert len(reads) <= (not remembered) + (may_read and (remembered or limit == 100))
        if limit == 100 and not enough:
            assert found is None
            continue
        assert found is not None
        content = join([found])
        assert values(content)[0] == b"%d" % (offset // 2)
        assert isinstance(found, bytes) == (may_read and len(content) <= READ_BYTES_MAX)


def test_no_more_is_read_than_is_wanted_where_a_pair_of_the_index_names_the_batch(disk: Disk) -> None:
    log = disk.log(index_interval_bytes=200)
    for _ in range(50):
        append(log, [b"x" * 100])
    log.close(clean=True)
    log = disk.log(clean=True, index_interval_bytes=200)
    segment = log.segments[0]
    named = [0, *segment.offset_index.offsets]
    file, sizes = segment.file, []

    class Counting:
        path = file.path

        def read(self, position: int, size: int) -> bytes:
            sizes.append(size)
            return file.read(position, size)

    segment._file = Counting()  # type: ignore[assignment]
    for offset in range(50):
        sizes.clear()
        found = log.locate(offset, 400, upto_offset=50, min_one=True, may_read=True)
        assert isinstance(found, bytes) and next(all_records(found)).offset == offset
        assert len(sizes) == 1 and (sizes[0] <= 400) == (offset in named or offset == 49)


def test_what_is_cold_is_asked_for_again_after_a_thread_has_read_it(disk: Disk) -> None:
    """Whatever a reader wants costs few threads, and the answer is that of one who waits."""
    log = disk.log(index_interval_bytes=2_000)
    for number in range(300):
        append(log, [b"%d" % number, b"x" * 100])
    log.close(clean=True)
    log = disk.log(clean=True, index_interval_bytes=2_000)
    file = log.segments[0].file
    known: set[int] = set()

    class Forgetful:
        """Of whose bytes nothing is in memory until it has been read."""

        path = file.path

        def read(self, position: int, size: int) -> bytes:
            known.update(range(position, position + size))
            return file.read(position, size)

        def read_now(self, position: int, size: int) -> bytes | None:
            content = file.read(position, size)
            return content if known.issuperset(range(position, position + len(content))) else None

    wanted = list(product((0, 1, 301, 599), (100, 300, 8192, 100_000), (7, 333, 600), (True, False)))
    for offset, limit, upto, may_read in wanted:
        ask = partial(log.locate, offset, limit, upto_offset=upto, min_one=True, may_read=may_read)
        log.segments[0]._file = file
        patient = ask(waits=True)
        log.segments[0]._file = Forgetful()  # type: ignore[assignment]
        known.clear()
        threads = 0
        while True:
            try:
                found = ask(waits=False)
                break
            except Cold as cold:
                cold.work()
                threads += 1
        assert threads <= 3
        assert (None if found is None else join([found])) == (None if patient is None else join([patient]))


def test_a_first_batch_larger_than_the_limit_comes_whole_only_when_asked(disk: Disk) -> None:
    log = disk.log()
    append(log, [b"x" * 5000])
    assert values(located(log, 0, 100, 1)) == [b"x" * 5000]
    assert log.locate(0, 100, upto_offset=1, min_one=False) is None


def test_every_offset_is_found_when_the_tail_is_no_longer_remembered(disk: Disk) -> None:
    log = disk.log(index_interval_bytes=200)
    for number in range(1500):
        append(log, [b"%d" % number, b"second"])
    log.close(clean=True)
    log = disk.log(clean=True, index_interval_bytes=200)
    for offset in range(0, 3000, 7):
        assert values(located(log, offset, 1, 3000))[0] == b"%d" % (offset // 2)


def test_a_segment_rolls_by_size_and_the_log_reads_on(disk: Disk) -> None:
    log = disk.log(internal_segment_bytes=4096)
    for number in range(40):
        append(log, [b"%03d" % number * 100])
    assert len(log.segments) > 2
    assert len(values(everything(log))) == 40
    log.close(clean=True)
    again = disk.log(clean=True, internal_segment_bytes=4096)
    assert again.end_offset == 40 and len(values(everything(again))) == 40


def test_a_segment_rolls_by_time_of_its_records(disk: Disk) -> None:
    log = disk.log(segment_ms=1000)
    append(log, [b"a"], timestamp=NOW_MS)
    append(log, [b"b"], timestamp=NOW_MS + 1000)
    assert len(log.segments) == 1
    append(log, [b"c"], timestamp=NOW_MS + 1001)
    assert len(log.segments) == 2


def test_retention_by_time_and_size_takes_whole_old_segments_only(disk: Disk) -> None:
    log = disk.log(segment_ms=1, retention_ms=10_000, retention_bytes=-1)
    for number in range(5):
        append(log, [b"x"], timestamp=NOW_MS + number * 5_000)
    gone = log.delete_expired(NOW_MS + 20_001, high_watermark=5)
    assert [segment.base_offset for segment in gone] == [0, 1, 2]
    assert log.log_start_offset == 3
    assert log.delete_expired(NOW_MS + 10**9, high_watermark=3) == [], "nothing at the high watermark goes"
    for segment in gone:
        log.unlink_deleted(segment)
    assert not [name for name in disk.files.list(log.folder) if name.endswith(".deleted")]


def test_delete_records_moves_the_start_and_never_back(disk: Disk) -> None:
    log = disk.log()
    for _ in range(4):
        append(log, [b"x"])
    log.advance_log_start(3)
    log.advance_log_start(1)
    assert log.log_start_offset == 3
    assert disk.log(log_start_offset=3).log_start_offset == 3


def test_times_are_found_record_by_record(disk: Disk) -> None:
    log = disk.log(index_interval_bytes=100)
    for number in range(200):
        append(log, [b"x" * 50], timestamp=NOW_MS + number * 10)
    for wanted in (0, 5, 10, 995, 1990):
        found = searched(first_since(log, NOW_MS + wanted, 200))
        assert found == (NOW_MS + -(-wanted // 10) * 10, -(-wanted // 10), 1)
    assert searched(first_since(log, NOW_MS + 1991, 200)) is None
    assert searched(first_since(log, NOW_MS + 1000, 50)) is None, "not above the bound"
    assert searched(first_of_greatest(log, 200)) == (NOW_MS + 1990, 199, 1)


def test_log_append_time_replaces_the_producers(disk: Disk) -> None:
    from barnabas.records.batch import check_crc, read_header
    from barnabas.records.record import Record, build_batch

    log = disk.log()
    batch = build_batch([Record(None, b"v", 5)])
    write = log.append(read_header(batch, 0), batch, 0, 1, NOW_MS, NOW_MS + 7)
    log.do_chores()
    write.file.write(write.position, [write.head, write.body])
    content = everything(log)
    header = read_header(content, 0)
    assert check_crc(content, 0, header.size, header.crc)
    (record,) = all_records(content)
    assert record.timestamp == NOW_MS + 7


def test_truncation_forgets_offsets_producers_and_epochs(disk: Disk) -> None:
    log = disk.log()
    append(log, [b"a"], producer_id=7, producer_epoch=0, base_sequence=0)
    append(log, [b"b"], epoch=4, producer_id=7, producer_epoch=0, base_sequence=1)
    log.truncate_to(1, NOW_MS)
    assert log.end_offset == 1 and values(everything(log)) == [b"a"]
    assert log.producers.by_id[7].last_sequence == 0
    assert log.epochs.latest == 1
    assert append(log, [b"c"], epoch=5) == 1
    assert values(everything(log)) == [b"a", b"c"]


def test_epochs_tell_where_each_ended(disk: Disk) -> None:
    log = disk.log()
    append(log, [b"a"], epoch=2)
    append(log, [b"b"], epoch=2)
    append(log, [b"c"], epoch=5)
    assert log.epoch_end_offset(2) == (2, 2)
    assert log.epoch_end_offset(4) == (2, 2)
    assert log.epoch_end_offset(5) == (5, 3)
    assert log.epoch_end_offset(6) == (-1, -1)


def test_open_descriptors_are_bounded(os_disk: Disk) -> None:
    log = os_disk.log(internal_segment_bytes=1024)
    for number in range(60):
        append(log, [b"%03d" % number * 200])
    assert len(values(everything(log))) == 60
    assert len(log._pool) <= 8


def test_the_active_segment_expires_as_the_others_do(disk: Disk) -> None:
    """A topic that nobody writes to any more must still let its records go."""
    log = disk.log(retention_ms=1000)
    for _ in range(3):
        append(log, [b"x"], timestamp=NOW_MS)
    assert log.delete_expired(NOW_MS + 1000, high_watermark=3) == []
    assert log.delete_expired(NOW_MS + 1001, high_watermark=2) == [], "not all of it is committed"
    assert log.delete_expired(NOW_MS + 1001, high_watermark=3) == [], (
        "the segment that keeps the end offset is being made"
    )
    assert log.delete_expired(NOW_MS + 1001, high_watermark=3) == [], "still"
    log.do_chores()
    (gone,) = log.delete_expired(NOW_MS + 1001, high_watermark=3)
    assert gone.base_offset == 0
    assert (log.log_start_offset, log.end_offset) == (3, 3)
    assert log.delete_expired(NOW_MS + 10**9, high_watermark=3) == [], "an empty one stays"
    again = disk.log(log_start_offset=3)
    assert again.end_offset == 3
    assert append(again, [b"on"]) == 3


def test_retention_by_size_leaves_at_least_that_much(disk: Disk) -> None:
    log = disk.log(internal_segment_bytes=400, retention_bytes=900)
    for number in range(12):
        append(log, [b"%02d" % number * 50])
    log.delete_expired(NOW_MS, high_watermark=12)
    assert 900 <= log.size_bytes < 900 + log.segments[0].size


def test_a_segment_rolls_when_its_index_is_full(disk: Disk) -> None:
    log = disk.log(index_interval_bytes=1, segment_index_bytes=32)
    for _ in range(20):
        append(log, [b"x"])
    assert len(log.segments) > 2
    assert all(segment.offset_index.size_bytes <= 32 for segment in log.segments)
    assert len(values(everything(log))) == 20


def test_a_segment_rolls_before_a_relative_offset_overflows(disk: Disk) -> None:
    log = disk.log()
    append(log, [b"a"])
    log.end_offset = log.segments[0].base_offset + 2**31 - 1
    append(log, [b"b"])
    assert len(log.segments) == 1
    append(log, [b"c"])
    assert [segment.base_offset for segment in log.segments] == [0, 2**31]


def test_a_recovery_point_covers_no_segment_that_was_written_behind_it(disk: Disk) -> None:
    """Its last records may have been on their way to it, behind the chore that made the next one, when it was synced."""
    log = disk.log()
    append(log, [b"a"])
    synced = log.segments[:]
    append(log, [b"b"])
    rolled(log)
    append(log, [b"c"])
    log.reached_recovery_point(synced, 1)
    assert log.unsynced == synced and log.closed_below(1) == []
    assert log.closed_below(2) == synced
    log.reached_recovery_point(synced, 2)
    assert log.unsynced == [] and log.recovery_point == 2
