"""Damage found and taken out: what is whole stays at its offset, what is lost is said, and the log opens again."""

import errno
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_recovery import FIELDS
from written_log import NOW_MS, Disk, append, everything, rolled, searched

from barnabas.adapters.ram_files import RamFiles
from barnabas.log.examine import Examined, examine
from barnabas.log.mend import mend
from barnabas.log.recovery import DamagedLog
from barnabas.log.times import first_since
from barnabas.ports import WorldError
from barnabas.records.batch import HEADER_BYTES
from barnabas.records.record import all_records, batches, build_batch
from barnabas.testing.disk import Kind, VirtualDisk

FIRST = "00000000000000000000.log"


def filled(disk: Disk, count: int = 5, **overrides: object) -> list[int]:
    """Batches of two records in one segment, or more; where those of the first file begin."""
    log = disk.log(**overrides)
    for number in range(count):
        append(log, [b"v%d" % number, b"w"], producer_id=9, producer_epoch=0, base_sequence=number * 2)
    log.close(clean=True)
    return [position for _, position in batches(disk.content())]


def examined(disk: Disk, recovery_point: int = 10, clean: bool = False) -> Examined:
    return examine(disk.files, f"{disk.root}/t-0", clean, recovery_point)


def losses(found: Examined) -> list[tuple[int, int, int, int]]:
    return [(each.position, each.end, each.offset, each.behind) for each in found.damages]


def flip(disk: Disk, position: int, name: str = FIRST) -> bytes:
    """Change one bit of a file; what the file was."""
    before = disk.content(name)
    content = bytearray(before)
    content[position] ^= 0x40
    disk.overwrite(bytes(content), name)
    return before


def values(disk: Disk, recovery_point: int = 10, clean: bool = False) -> dict[int, bytes | None]:
    """Offset → value of all that the log serves after a start."""
    log = disk.log(recovery_point=recovery_point, clean=clean)
    assert log.end_offset == recovery_point
    return {record.offset: record.value for record in all_records(everything(log))}


@pytest.mark.parametrize("segment_bytes", [1 << 30, 200])
def test_a_sound_log_is_whole(disk: Disk, segment_bytes: int) -> None:
    filled(disk, internal_segment_bytes=segment_bytes)
    found = examined(disk)
    assert found.damages == [] and found.unfinished is None
    assert (found.start_offset, found.end_offset) == (0, 10)
    assert sum(segment.records for segment in found.segments) == 10
    assert not any(segment.wrong_indexes for segment in found.segments)
    before = disk.content()
    mend(disk.files, found)
    assert disk.content() == before


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_flipped_bit_costs_one_batch_and_no_offset(disk: Disk, field: str, number: int) -> None:
    starts = [*filled(disk), len(disk.content())]
    before = flip(disk, starts[number] + FIELDS[field])
    with pytest.raises(DamagedLog):
        disk.log(recovery_point=10)
    found = examined(disk)
    assert losses(found) == [(starts[number], starts[number + 1], number * 2, number * 2 + 2)]
    damaged = disk.content()
    mend(disk.files, found)
    kept = {offset: b"w" if offset % 2 else b"v%d" % (offset // 2) for offset in range(10)}
    del kept[number * 2], kept[number * 2 + 1]
    for clean in (False, True):
        assert values(disk, clean=clean) == kept
    assert examined(disk).damages == []
    cut = disk.content(f"{FIRST}.cut-{starts[number]}")
    assert cut == damaged[starts[number] : starts[number + 1]] != before[starts[number] : starts[number + 1]]


def test_the_log_goes_on_behind_what_was_repaired(disk: Disk) -> None:
    starts = filled(disk)
    flip(disk, starts[4] + HEADER_BYTES)
    mend(disk.files, examined(disk))
    log = disk.log(recovery_point=10)
    assert append(log, [b"new"]) == 10, "8 and 9 are not given again"
    assert list(all_records(everything(log)))[-1].value == b"new"


def test_a_file_that_ends_too_early_is_filled_to_the_recovery_point(disk: Disk) -> None:
    starts = filled(disk)
    content = disk.content()
    for size in range(starts[1], len(content), 7):
        disk.overwrite(content[:size])
        found = examined(disk)
        whole = sum(1 for start in [*starts[1:], len(content)] if start <= size)
        cut = ([*starts, len(content)])[whole]
        assert losses(found) == [(cut, size, whole * 2, 10)]
        mend(disk.files, found)
        assert sorted(values(disk)) == list(range(whole * 2)), f"cut at {size}"


def segmented(disk: Disk) -> list[str]:
    """Ten batches of one record over several segments; the names of their files."""
    log = disk.log(internal_segment_bytes=200)
    for number in range(10):
        append(log, [b"%d" % number * 40])
    log.close(clean=True)
    return [f"{segment.base_offset:020d}.log" for segment in log.segments]


@pytest.mark.parametrize("clean", [False, True])
def test_a_segment_of_garbage_and_one_that_is_gone_leave_the_others(disk: Disk, clean: bool) -> None:
    files = segmented(disk)
    assert len(files) > 4
    disk.overwrite(random.Random(1).randbytes(300), files[1])
    disk.files.unlink(disk.path(files[3]))
    found = examined(disk, clean=clean)
    bases = [int(name[:20]) for name in files]
    lost = {*range(bases[1], bases[2]), *range(bases[3], bases[4])}
    assert {offset for each in found.damages for offset in range(each.offset, each.behind)} == lost
    mend(disk.files, found)
    assert sorted(values(disk, clean=clean)) == sorted(set(range(10)) - lost)


def test_bytes_behind_the_next_segments_base_are_cut_and_nothing_is_lost(disk: Disk) -> None:
    files = segmented(disk)
    stray = build_batch([], base_offset=int(files[1][:20]), last_offset_delta=0, leader_epoch=1)
    disk.overwrite(disk.content(files[0]) + stray, files[0])
    found = examined(disk)
    (damage,) = found.damages
    assert (damage.end - damage.position, damage.offset) == (len(stray), damage.behind)
    mend(disk.files, found)
    assert sorted(values(disk)) == list(range(10))


def test_in_a_closed_segment_the_batch_that_lies_goes_not_its_successor(disk: Disk) -> None:
    log = disk.log()
    for number in range(4):
        append(log, [b"%d" % number])
    rolled(log)
    append(log, [b"4"])
    log.close(clean=True)
    starts = [position for _, position in batches(disk.content())]
    content = bytearray(disk.content())
    content[starts[1] : starts[1] + 8] = (3).to_bytes(8, "big")
    disk.overwrite(bytes(content))
    found = examined(disk, 5)
    assert losses(found) == [(starts[1], starts[2], 1, 2)]
    mend(disk.files, found)
    assert sorted(values(disk, 5)) == [0, 2, 3, 4]


@pytest.mark.parametrize("field", ["crc", "length"])
def test_a_batch_inside_a_record_is_found_only_when_lengths_lie(disk: Disk, field: str) -> None:
    """Somebody mirrors batches as values: the one inside has a good checksum, too."""
    inner = build_batch([], base_offset=3, last_offset_delta=0, leader_epoch=1)
    log = disk.log()
    append(log, [b"a"])
    append(log, [b"before" + inner + b"after"])
    append(log, [b"b"])
    log.close(clean=True)
    starts = [position for _, position in batches(disk.content())]
    flip(disk, starts[1] + FIELDS[field])
    found = examined(disk, 3)
    if field == "crc":
        assert losses(found) == [(starts[1], starts[2], 1, 2)]
    mend(disk.files, found)
    assert examined(disk, disk.log(recovery_point=3).end_offset).damages == []


def test_what_the_next_start_cuts_by_itself_is_left_to_it(disk: Disk) -> None:
    starts = filled(disk)
    flip(disk, starts[3] + FIELDS["crc"])
    found = examined(disk, recovery_point=6)
    assert found.damages == []
    assert found.unfinished is not None and found.unfinished.offset == 6
    assert losses(examined(disk, recovery_point=6, clean=True)) == [(starts[3], starts[4], 6, 8)]
    assert disk.log(recovery_point=6).end_offset == 6


def test_an_index_that_contradicts_its_log_goes(disk: Disk) -> None:
    log = disk.log(index_interval_bytes=100)
    for number in range(50):
        append(log, [b"x" * 60], timestamp=NOW_MS + number)
    log.close(clean=True)
    for suffix in ("index", "timeindex"):
        name = f"{0:020d}.{suffix}"
        content = bytearray(disk.content(name))
        if suffix == "index":
            content[7] ^= 1  # the position of the first entry
        else:
            content = content[::-1]
        disk.overwrite(bytes(content), name)
    found = examined(disk, 50)
    assert found.damages == []
    (segment,) = found.segments
    assert sorted(segment.wrong_indexes) == [disk.path(f"{0:020d}.{name}") for name in ("index", "timeindex")]
    mend(disk.files, found)
    again = disk.log(clean=True, index_interval_bytes=100)
    assert searched(first_since(again, NOW_MS + 33, 50)) == (NOW_MS + 33, 33, 1)
    assert not any(segment.wrong_indexes for segment in examined(disk, 50).segments)


def test_a_second_repair_keeps_what_the_first_one_cut(disk: Disk) -> None:
    starts = filled(disk)
    kept = []
    for _ in range(2):
        flip(disk, starts[2] + FIELDS["crc"])
        kept.append(disk.content()[starts[2] : examined(disk).damages[0].end])
        mend(disk.files, examined(disk))
    assert disk.content(f"{FIRST}.cut-{starts[2]}") == kept[0]
    assert disk.content(f"{FIRST}.cut-{starts[2]}-2") == kept[1]
    disk.log(recovery_point=10)
    assert f"{FIRST}.cut-{starts[2]}" in disk.files.list(f"{disk.root}/t-0"), "a start leaves them alone"


@pytest.mark.parametrize("kind", ["open", "write", "sync", "rename", "unlink", "sync_folder"])
def test_a_repair_that_fails_half_way_leaves_the_log_or_repairs_it(kind: Kind) -> None:
    disk = Disk(VirtualDisk(3), "/data")
    starts = filled(disk)
    flip(disk, starts[2] + FIELDS["crc"])
    found = examined(disk)
    assert isinstance(disk.files, VirtualDisk)
    disk.files.fail(kind, errno.EIO, path="")
    with pytest.raises(WorldError):
        mend(disk.files, found)
    mend(disk.files, examined(disk))
    assert sorted(values(disk)) == [0, 1, 2, 3, 6, 7, 8, 9]


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=200)), max_size=3),
    st.booleans(),
)
def test_whatever_was_overwritten_all_other_batches_stay(
    sizes: list[int], damages: list[tuple[int, bytes]], clean: bool
) -> None:
    disk = Disk(RamFiles(), "/ram")
    log = disk.log()
    for number, size in enumerate(sizes):
        append(log, [b"%d" % number * 9] * size)
    log.close(clean=True)
    end = log.end_offset
    before = disk.content()
    content = bytearray(before)
    for position, garbage in damages:
        place = position % len(content)
        content[place : place + len(garbage)] = garbage[: len(content) - place]
    disk.overwrite(bytes(content))
    untouched = {
        offset
        for header, at in batches(before)
        if content[at : at + header.size] == before[at : at + header.size]
        for offset in range(header.base_offset, header.next_offset)
    }
    mend(disk.files, examined(disk, end, clean))
    assert examined(disk, end, clean).damages == []
    offset_fields = [range(at, at + 8) for _, at in batches(before)]
    if all(content[field.start : field.stop] == before[field.start : field.stop] for field in offset_fields):
        assert set(values(disk, end, clean)) == untouched


@pytest.mark.parametrize("offset", [9, 300, 1 << 24])
def test_a_wrong_offset_behind_damage_is_not_believed(disk: Disk, offset: int) -> None:
    """It lies outside the checksum; believed, it would push all later batches out."""
    starts = filled(disk)
    flip(disk, starts[1] + FIELDS["length"])
    content = bytearray(disk.content())
    content[starts[2] : starts[2] + 8] = offset.to_bytes(8, "big")
    disk.overwrite(bytes(content))
    found = examined(disk)
    assert losses(found) == [(starts[1], starts[3], 2, 6)]
    mend(disk.files, found)
    assert sorted(values(disk)) == [0, 1, 6, 7, 8, 9]
