"""What is filled with what, and when it ends: the page cache of the machine that is measured on."""

import os

import pytest
from bench.page_cache import READ_BYTES, FullPageCache

from bench import page_cache


@pytest.fixture
def small_machine(monkeypatch):
    """Memory for four reads; each takes its part of what is free."""
    free = [page_cache.FREE_BYTES + 3 * READ_BYTES]
    monkeypatch.setattr(page_cache, "total_bytes", lambda: 4 * READ_BYTES)
    monkeypatch.setattr(page_cache, "free_bytes", lambda: free[0])
    reads = []
    real = os.preadv

    def preadv(file, buffers, at):
        reads.append(at // READ_BYTES)
        free[0] -= READ_BYTES
        return real(file, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)
    return free, reads


def test_it_reads_until_little_is_free_and_goes_on_there(tmp_path, small_machine):
    free, reads = small_machine
    cache = FullPageCache(tmp_path)
    cache.fill()
    assert reads == [0, 1, 2, 3]
    cache.fill()
    assert reads == [0, 1, 2, 3]
    free[0] = page_cache.FREE_BYTES + READ_BYTES
    cache.fill()
    assert reads == [0, 1, 2, 3, 4, 0]
    cache.close()


def test_memory_that_stays_free_ends_it_after_one_round(tmp_path, small_machine):
    free, reads = small_machine
    free[0] += 1 << 40
    FullPageCache(tmp_path).fill()
    assert reads == [0, 1, 2, 3, 4]


def test_the_file_holds_nothing_on_the_disk(tmp_path):
    FullPageCache(tmp_path)
    assert (tmp_path / "hole").stat().st_size > page_cache.total_bytes()
    assert (tmp_path / "hole").stat().st_blocks == 0
