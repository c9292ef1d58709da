"""Which record has a time: looked for segment by segment, each in a thread, for what is read may be cold, large and packed.

T1  A thread is given an open file and positions, never a segment: what the loop does meanwhile (compaction, retention)
    changes neither.
T2  The segments are looked at anew after each thread: one may have been replaced or be gone.
T3  This module stays interpreted: compiled it would hold the interpreter's lock for as long as a batch has records.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TypeAlias

from barnabas.log.log import Log
from barnabas.log.segment import NO_TIMESTAMP, Segment, headers
from barnabas.ports import File, WorldError
from barnabas.records.batch import read_header
from barnabas.records.record import records_of

Found = tuple[int, int, int]
"""Timestamp, offset, leader epoch."""
Search: TypeAlias = "Generator[Callable[[], Found | None], Found | None, Found | None]"
"""Yields what is to be done in a thread, is sent what that returned, returns what was found. Raises WorldError."""


def first_since(log: Log, timestamp: int, upto_offset: int) -> Search:
    """The first record at or after timestamp, below upto_offset."""
    return _search(log, lambda stamp: stamp >= timestamp, timestamp, upto_offset)


def first_of_greatest(log: Log, upto_offset: int) -> Search:
    """The first record that has the greatest timestamp of the log (KIP-734)."""
    greatest = max((segment.max_timestamp for segment in log.segments), default=NO_TIMESTAMP)
    return _search(log, lambda stamp: stamp == greatest, greatest, upto_offset)


def _search(log: Log, wanted: Callable[[int], bool], reaches: int, upto_offset: int) -> Search:
    offset = log.log_start_offset
    tried: Segment | None = None
    while reaches != NO_TIMESTAMP and offset < upto_offset:
        for segment in log.segments:
            if segment.max_timestamp >= reaches and segment.end_offset > offset:
                break
        else:
            return None
        load = None if segment is tried else segment.loading()
        if load is not None:
            tried = segment
            yield _in_silence(load)
            continue
        start = segment.offset_index.lookup(segment.time_index.lookup(reaches))
        offset, begin = segment.end_offset, log.log_start_offset
        found = yield _first_in(segment.file, start, segment.size, wanted, reaches, begin, upto_offset)
        if found is not None:
            return found
    return None


def _in_silence(load: Callable[[], object]) -> Callable[[], None]:
    """The segment may go meanwhile: if it is still there, what fails is told where its indexes are used."""

    def work() -> None:
        with suppress(WorldError):
            load()

    return work


def _first_in(
    file: File,
    start: int,
    end: int,
    wanted: Callable[[int], bool],
    reaches: int,
    from_offset: int,
    upto_offset: int,
) -> Callable[[], Found | None]:
    def look() -> Found | None:
        for header, position in headers(file, start, end):
            if header.base_offset >= upto_offset:
                return None
            if header.max_timestamp < reaches or header.next_offset <= from_offset:
                continue
            content = file.read(position, header.size)
            for record in records_of(content, read_header(content, 0), 0):
                if wanted(record.timestamp) and from_offset <= record.offset < upto_offset:
                    return record.timestamp, record.offset, header.leader_epoch
        return None

    return look
