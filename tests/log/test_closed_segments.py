"""Indexes of closed segments: in memory when somebody looks into the segment, and no longer than that (segment S3)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_log import NOW_MS, Disk, append, everything, located, searched

from barnabas.adapters.ram_files import RamFiles
from barnabas.log.log import Log
from barnabas.log.segment import Segment
from barnabas.log.times import first_since
from barnabas.ports import Cold
from barnabas.records.batch import read_header

OPTIONS = {"internal_segment_bytes": 2_000, "index_interval_bytes": 100}
COUNT = 60


def written(disk: Disk, stamps: list[int] | None = None) -> Log:
    log = disk.log(**OPTIONS)
    for stamp in stamps or range(COUNT):
        append(log, [b"x" * 60], timestamp=NOW_MS + stamp)
    log.close(clean=True)
    return log


def indexed(log: Log) -> list[bool]:
    return [segment._offset_index is not None for segment in log.segments]


def base_at(log: Log, offset: int) -> int:
    return read_header(located(log, offset, 1, COUNT), 0).base_offset


@pytest.mark.parametrize(("clean", "recovery_point"), [(True, 0), (False, COUNT)])
def test_a_start_loads_the_last_ones_only(disk: Disk, clean: bool, recovery_point: int) -> None:
    before = written(disk)
    log = disk.log(clean=clean, recovery_point=recovery_point, **OPTIONS)
    closed = len(log.segments) - 1
    assert closed >= 3
    assert indexed(log) == [False] * closed + [True]
    assert [segment.max_timestamp for segment in log.segments] == [
        segment.max_timestamp for segment in before.segments
    ]
    offset = log.segments[1].base_offset + 3
    assert base_at(log, offset) == offset
    assert indexed(log) == [False, True, *[False] * (closed - 2), True]
    append(log, [b"more"])


def test_a_reader_who_may_not_wait_has_a_thread_load_them(disk: Disk) -> None:
    written(disk)
    log = disk.log(clean=True, **OPTIONS)
    with pytest.raises(Cold) as raised:
        log.locate(5, 100, upto_offset=COUNT, min_one=True, waits=False)
    raised.value.work()
    assert not indexed(log)[0], "a thread changes nothing that the loop sees"
    assert log.locate(5, 100, upto_offset=COUNT, min_one=True, waits=False) is not None
    assert indexed(log)[0]


def test_a_time_is_looked_for_in_segments_that_a_thread_loads(disk: Disk) -> None:
    written(disk)
    log = disk.log(clean=True, **OPTIONS)
    search = first_since(log, NOW_MS + 33, COUNT)
    load = next(search)
    assert sum(indexed(log)) == 1
    load()
    look = search.send(None)
    assert sum(indexed(log)) == 2
    with pytest.raises(StopIteration) as end:
        search.send(look())
    assert end.value.value == (NOW_MS + 33, 33, 1)


def test_a_segment_that_goes_while_its_indexes_are_loaded(disk: Disk) -> None:
    written(disk)
    log = disk.log(clean=True, **OPTIONS)
    search = first_since(log, NOW_MS + 3, COUNT)
    load = next(search)
    log.advance_log_start(log.segments[1].base_offset)
    gone = log.delete_expired(NOW_MS, COUNT)
    log.set_aside(gone)
    load()
    load = search.send(None)  # of the next segment
    load()
    look = search.send(None)
    with pytest.raises(StopIteration) as end:
        search.send(look())
    assert end.value.value == (NOW_MS + log.log_start_offset, log.log_start_offset, 1)


def test_they_go_when_nobody_looks_into_the_segment_any_more(disk: Disk) -> None:
    written(disk)
    log = disk.log(clean=True, **OPTIONS)
    everything(log)
    base_at(log, 5)
    log.drop_idle_indexes()
    base_at(log, 5)
    log.drop_idle_indexes()
    assert indexed(log)[0]
    assert sum(indexed(log)) == 2, "and the last one's, which grow"
    log.drop_idle_indexes()
    assert sum(indexed(log)) == 1
    assert base_at(log, 5) == 5
    assert searched(first_since(log, NOW_MS + 33, COUNT)) == (NOW_MS + 33, 33, 1)


@pytest.mark.parametrize("suffix", ["index", "timeindex"])
def test_those_that_are_broken_in_the_middle_are_made_anew(disk: Disk, suffix: str) -> None:
    """A start looks at the ends only."""
    before = written(disk)
    segment = before.segments[0]
    name = f"{segment.base_offset:020d}.{suffix}"
    content = bytearray(disk.content(name))
    size = 8 if suffix == "index" else 12
    content[size : 2 * size] = b"\xff" * 4 + bytes(size - 4)
    disk.overwrite(bytes(content), name)
    log = disk.log(clean=True, **OPTIONS)
    assert not indexed(log)[0], "its last pairs are true"
    for offset in range(segment.base_offset, segment.end_offset):
        assert base_at(log, offset) == offset


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=30, max_size=60),
    st.sampled_from(["index", "timeindex"]),
    st.integers(0, 3),
    st.sampled_from(["whole", "zeros", "garbage", "empty", "absent"]),
)
def test_what_retention_goes_by_is_true_whatever_is_left_of_them(
    stamps: list[int], suffix: str, number: int, left: str
) -> None:
    disk = Disk(RamFiles(), "/ram")
    before = written(disk, stamps)
    known = [(segment.max_timestamp, segment.max_timestamp_offset) for segment in before.segments]
    name = f"{before.segments[min(number, len(known) - 1)].base_offset:020d}.{suffix}"
    content = disk.content(name)
    if left == "absent":
        disk.files.unlink(disk.path(name))
    else:
        pair = 8 if suffix == "index" else 12
        remains = {
            "whole": content,
            "zeros": content[: len(content) // pair // 2 * pair] + bytes(2 * pair),
            "garbage": content[:-pair] + b"\x00\x00\x00\x41" * (pair // 4),
            "empty": b"",
        }
        disk.overwrite(remains[left], name)
    log = disk.log(clean=True, **OPTIONS)
    assert [segment.max_timestamp for segment in log.segments] == [stamp for stamp, _ in known]
    for segment, (_, offset) in zip(log.segments, known, strict=True):
        assert batch_of(log, segment, segment.max_timestamp_offset) == batch_of(log, segment, offset)


def batch_of(log: Log, segment: Segment, offset: int) -> int:
    """The timestamp of the batch that has that offset: of those that share the greatest any will do."""
    return next(header.max_timestamp for header, _ in segment.scan(0) if header.next_offset > offset)
