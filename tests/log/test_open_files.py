"""The pool of open segment files: a limit, and who goes when it is reached."""

import pytest

from barnabas.adapters.ram_files import RamFile, RamFiles
from barnabas.log import folder as names
from barnabas.log.segment import OpenFiles, Segment


def pool_of(limit: int) -> OpenFiles:
    files = RamFiles()
    files.make_folder("/t-0")
    return OpenFiles(files, limit)


def segments(pool: OpenFiles, count: int) -> list[Segment]:
    return [open_segment(pool, number) for number in range(count)]


def open_segment(pool: OpenFiles, base_offset: int) -> Segment:
    """As a roll leaves it: made, open and not used since."""
    segment = Segment(pool, "/t-0", base_offset, 0)
    segment.make_empty().make()
    assert segment.file
    segment.file_used = False
    return segment


def is_open(segment: Segment) -> bool:
    return segment._file is not None


def test_no_more_than_the_limit_are_open_and_each_opens_again_when_it_is_used() -> None:
    pool = pool_of(3)
    made = segments(pool, 10)
    assert len(pool) == sum(map(is_open, made)) == 3
    for segment in made:
        segment.size = 1  # its file exists
        assert segment.file.path.endswith(f"{segment.base_offset:020}.log")
        assert len(pool) == sum(map(is_open, made)) == 3


def test_a_file_in_use_outlives_those_nobody_asks_for() -> None:
    pool = pool_of(3)
    first, *others = segments(pool, 3)
    for number in range(10, 20):
        assert first.file
        open_segment(pool, number)
        assert is_open(first)
    assert not any(map(is_open, others))


def test_when_all_are_in_use_the_one_opened_first_goes() -> None:
    pool = pool_of(3)
    made = segments(pool, 3)
    assert all(segment.file for segment in made)
    (newest,) = segments(pool, 1)
    assert [is_open(segment) for segment in [*made, newest]] == [False, True, True, True]


def test_a_range_that_is_being_sent_keeps_its_file() -> None:
    pool = pool_of(1)
    first, second = segments(pool, 2)
    first.size = 1
    held = first.file
    held.write(0, [b"x"])
    assert second.file and not is_open(first)
    assert held.read(0, 1) == b"x"


def test_a_closed_segment_leaves_the_pool() -> None:
    pool = pool_of(3)
    (only,) = segments(pool, 1)
    only.close()
    assert len(pool) == 0


def test_only_what_a_crash_left_in_its_place_is_cut_when_a_segment_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = pool_of(2)
    cut: list[str] = []
    truncate = RamFile.truncate

    def noted(file: RamFile, size: int) -> None:
        cut.append(file.path)
        truncate(file, size)

    monkeypatch.setattr(RamFile, "truncate", noted)
    fresh, taken = Segment(pool, "/t-0", 0, 0), Segment(pool, "/t-0", 1, 0)
    pool.files.open(taken.path(names.LOG_SUFFIX), create=True).write(0, [b"left"])
    for segment in (fresh, taken):
        segment.make_empty().make()
    assert cut == [taken.path(names.LOG_SUFFIX)]
    assert fresh.file.size() == taken.file.size() == 0
