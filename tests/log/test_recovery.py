"""What a crash leaves: torn tails at every byte, flipped bits in every header field, lost indexes and snapshots."""

import pytest
from written_log import NOW_MS, Disk, append, everything, located, rolled, searched

from barnabas.log.recovery import DamagedLog
from barnabas.log.times import first_since
from barnabas.records.batch import HEADER_BYTES, read_header
from barnabas.records.record import all_records, batches

FIELDS = {
    "base offset": 0,
    "length": 8,
    "leader epoch": 12,
    "magic": 16,
    "crc": 17,
    "attributes": 21,
    "last offset delta": 23,
    "base timestamp": 27,
    "max timestamp": 35,
    "producer id": 43,
    "producer epoch": 51,
    "base sequence": 53,
    "record count": 57,
}


def filled(disk: Disk, count: int = 5) -> list[int]:
    """A log that was never closed; returns where each batch begins."""
    log = disk.log()
    for number in range(count):
        append(log, [b"v%d" % number, b"w"], producer_id=9, producer_epoch=0, base_sequence=number * 2)
    return [position for _, position in batches(disk.content())]


def test_a_torn_tail_is_cut_at_the_last_whole_batch_at_every_byte(disk: Disk) -> None:
    starts = filled(disk)
    content = disk.content()
    for size in range(starts[2], len(content)):
        disk.overwrite(content[:size])
        whole = sum(1 for start in [*starts[1:], len(content)] if start <= size)
        log = disk.log()
        assert log.end_offset == whole * 2, f"cut at {size}"
        assert len(disk.content()) == ([*starts, len(content)])[whole]
        assert log.producers.by_id[9].last_sequence == whole * 2 - 1
        disk.overwrite(content)


@pytest.mark.parametrize("rest", [b"\0" * 4096, b"garbage" * 100, b"\xff" * 61])
def test_zeros_and_garbage_behind_the_last_batch_are_cut(disk: Disk, rest: bytes) -> None:
    filled(disk)
    content = disk.content()
    disk.overwrite(content + rest)
    assert disk.log().end_offset == 10
    assert disk.content() == content


@pytest.mark.parametrize("field", FIELDS)
def test_a_flipped_bit_above_the_recovery_point_cuts_there(disk: Disk, field: str) -> None:
    starts = filled(disk)
    content = bytearray(disk.content())
    content[starts[3] + FIELDS[field]] ^= 0x40
    disk.overwrite(bytes(content))
    log = disk.log()
    assert log.end_offset == 6
    assert len(list(all_records(everything(log)))) == 6


@pytest.mark.parametrize("field", FIELDS)
def test_a_flipped_bit_below_the_recovery_point_is_damage_and_nothing_is_cut(disk: Disk, field: str) -> None:
    starts = filled(disk)
    content = bytearray(disk.content())
    content[starts[3] + FIELDS[field]] ^= 0x40
    disk.overwrite(bytes(content))
    with pytest.raises(DamagedLog, match=r"recovery point 10"):
        disk.log(recovery_point=10)
    assert disk.content() == bytes(content)


def test_a_flipped_value_byte_is_found_too(disk: Disk) -> None:
    starts = filled(disk)
    content = bytearray(disk.content())
    content[starts[4] + HEADER_BYTES + 8] ^= 1
    disk.overwrite(bytes(content))
    assert disk.log().end_offset == 8


def test_a_base_offset_that_skips_is_not_believed(disk: Disk) -> None:
    starts = filled(disk)
    content = bytearray(disk.content())
    content[starts[4] : starts[4] + 8] = (4000).to_bytes(8, "big")
    disk.overwrite(bytes(content))
    assert disk.log().end_offset == 8


def test_segments_behind_a_cut_one_go(disk: Disk) -> None:
    log = disk.log(internal_segment_bytes=400)
    for number in range(12):
        append(log, [b"%d" % number * 60])
    first = log.segments[1]
    name = f"{first.base_offset:020d}.log"
    content = disk.content(name)
    disk.overwrite(content[:-1], name)
    again = disk.log(internal_segment_bytes=400)
    assert again.segments[-1].base_offset == first.base_offset
    assert again.end_offset == first.end_offset - 1
    assert append(again, [b"on"]) == again.end_offset - 1


@pytest.mark.parametrize("suffix", ["index", "timeindex"])
@pytest.mark.parametrize("damage", ["absent", "torn", "wrong"])
def test_broken_indexes_are_rebuilt_from_the_log(disk: Disk, suffix: str, damage: str) -> None:
    log = disk.log(index_interval_bytes=100)
    for number in range(50):
        append(log, [b"x" * 60], timestamp=NOW_MS + number)
    log.close(clean=True)
    name = f"00000000000000000000.{suffix}"
    content = disk.content(name)
    if damage == "absent":
        disk.files.unlink(disk.path(name))
    else:
        disk.overwrite(content[:-3] if damage == "torn" else content[::-1], name)
    again = disk.log(clean=True, index_interval_bytes=100)
    for offset in (0, 17, 49):
        assert read_header(located(again, offset, 1, 50), 0).base_offset == offset
    assert searched(first_since(again, NOW_MS + 33, 50)) == (NOW_MS + 33, 33, 1)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("left", ["zeros", "older"])
def test_a_time_index_that_was_not_synced_is_not_believed(disk: Disk, left: str, clean: bool) -> None:
    """By the greatest timestamp retention takes segments away: zeros would make all of them 50 years old."""
    options = {"internal_segment_bytes": 2_000, "index_interval_bytes": 100}
    log = disk.log(**options)
    for number in range(40):
        append(log, [b"x" * 60], timestamp=NOW_MS + number)
    log.close(clean=True)
    known = [segment.max_timestamp for segment in log.segments]
    assert len(known) > 2 and known[-1] == NOW_MS + 39
    for segment in log.segments:
        name = f"{segment.base_offset:020d}.timeindex"
        content = disk.content(name)
        disk.overwrite(bytes(len(content)) if left == "zeros" else content[:12], name)
    again = disk.log(clean=clean, recovery_point=40, **options)
    assert [segment.max_timestamp for segment in again.segments] == known
    assert searched(first_since(again, NOW_MS + 33, 40)) == (NOW_MS + 33, 33, 1)


@pytest.mark.parametrize("clean", [True, False])
def test_what_an_older_time_index_does_not_know_is_read(disk: Disk, clean: bool) -> None:
    """The offset index is of a minute later, and in that minute lies a batch that is later than those behind it."""
    stamps = [*range(20), 100, *range(50, 69)]
    log = disk.log(index_interval_bytes=100)
    for segment in range(2):
        for stamp in stamps:
            append(log, [b"x" * 60], timestamp=NOW_MS + 1000 * segment + stamp)
        rolled(log)
    log.close(clean=True)
    for base in (0, 40):
        name = f"{base:020d}.timeindex"
        disk.overwrite(disk.content(name)[:48], name)
    again = disk.log(clean=clean, recovery_point=79, index_interval_bytes=100)
    found = [(segment.max_timestamp, segment.max_timestamp_offset) for segment in again.segments]
    assert found[:2] == [(NOW_MS + 100, 20), (NOW_MS + 1100, 60)]
    assert searched(first_since(again, NOW_MS + 90, 80)) == (NOW_MS + 100, 20, 1)
    assert searched(first_since(again, NOW_MS + 1068, 80)) == (NOW_MS + 1100, 60, 1)


@pytest.mark.parametrize("damage", ["absent", "flipped", "from the future"])
def test_producer_state_comes_back_from_the_log_when_the_snapshot_does_not(disk: Disk, damage: str) -> None:
    log = disk.log()
    for number in range(7):
        append(log, [b"x"], producer_id=3, producer_epoch=2, base_sequence=number)
    log.close(clean=True)
    name = next(name for name in disk.files.list(log.folder) if name.endswith(".snapshot"))
    content = bytearray(disk.content(name))
    disk.files.unlink(disk.path(name))
    if damage == "flipped":
        content[-1] ^= 1
        disk.files.write_atomic(disk.path(name), bytes(content))
    elif damage == "from the future":
        disk.files.write_atomic(disk.path("00000000000000000900.snapshot"), bytes(content))
    again = disk.log(clean=True)
    producer = again.producers.by_id[3]
    assert (producer.epoch, producer.last_sequence, len(producer.batches)) == (2, 6, 5)


@pytest.mark.parametrize("log_start", [1, 2])
def test_deleted_records_are_still_known_as_retries(disk: Disk, log_start: int) -> None:
    """DeleteRecords moved the log start into, or behind, the only batch of a producer that had not heard of its success."""
    log = disk.log()
    append(log, [b"v", b"w"], producer_id=9, producer_epoch=0, base_sequence=0)
    again = disk.log(log_start_offset=log_start)
    assert again.producers.by_id[9].last_sequence == 1


def test_a_clean_restart_reads_no_batch_but_the_tail(os_disk: Disk) -> None:
    log = os_disk.log(index_interval_bytes=1000)
    for number in range(500):
        append(log, [b"x" * 100], producer_id=1, producer_epoch=0, base_sequence=number)
    log.close(clean=True)
    content = bytearray(os_disk.content())
    content[5000:5100] = bytes(100)  # never looked at after a clean stop
    os_disk.overwrite(bytes(content))
    again = os_disk.log(clean=True, index_interval_bytes=1000)
    assert again.end_offset == 500
    assert again.producers.by_id[1].last_sequence == 499


def test_left_over_names_of_a_crash_are_finished_or_undone(disk: Disk) -> None:
    filled(disk)
    content = disk.content()
    disk.files.write_atomic(disk.path("00000000000000000000.log.swap"), content)
    disk.files.write_atomic(disk.path("00000000000000000000.log.cleaned"), b"half")
    disk.files.write_atomic(disk.path("00000000000000000099.log.deleted"), b"old")
    log = disk.log()
    assert log.end_offset == 10 and disk.content() == content
    assert [
        name for name in disk.files.list(log.folder) if name.endswith((".swap", ".cleaned", ".deleted"))
    ] == []
