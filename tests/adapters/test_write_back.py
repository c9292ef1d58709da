"""Which pages the kernel is asked to write: whole ones, of an open file."""

import os
from pathlib import Path

import pytest

from barnabas.adapters import write_back as module
from barnabas.adapters.files import OsFiles
from barnabas.adapters.write_back import PAGE_BYTES, SYNC_FILE_RANGE_WRITE


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    calls: list[tuple[int, int, int, int]] = []

    def call(*given: int) -> int:
        calls.append(given)  # type: ignore[arg-type]
        return -1

    monkeypatch.setattr(module, "_sync_file_range", call)
    return calls


def test_a_page_that_is_only_begun_waits_for_its_rest(
    asked: list[tuple[int, int, int, int]], tmp_path: Path
) -> None:
    file = OsFiles().open(f"{tmp_path}/a", create=True)
    file.write_back(PAGE_BYTES + 1, 3 * PAGE_BYTES)
    file.write_back(4 * PAGE_BYTES + 1, PAGE_BYTES - 2)
    assert asked == [(file.fileno(), PAGE_BYTES, 3 * PAGE_BYTES, SYNC_FILE_RANGE_WRITE)]
    file.write_back(4 * PAGE_BYTES + 1, PAGE_BYTES - 1)
    assert asked[1:] == [(file.fileno(), 4 * PAGE_BYTES, PAGE_BYTES, SYNC_FILE_RANGE_WRITE)]


def test_a_closed_file_is_nobodys(asked: list[tuple[int, int, int, int]], tmp_path: Path) -> None:
    file = OsFiles().open(f"{tmp_path}/a", create=True)
    file.close()
    file.write_back(0, PAGE_BYTES)
    assert asked == []


def test_the_system_has_the_call_and_takes_it(tmp_path: Path) -> None:
    if module._sync_file_range is None:
        pytest.skip("this system has no sync_file_range")
    fd = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, bytes(4 * PAGE_BYTES))
        assert module._sync_file_range(fd, 0, 4 * PAGE_BYTES, SYNC_FILE_RANGE_WRITE) == 0
    finally:
        os.close(fd)
