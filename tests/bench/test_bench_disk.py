"""The program that says what the disk allows: it writes where it should, as often as it says."""

import os
from pathlib import Path

import pytest

from bench import disk


def test_at_a_steady_rate_each_write_is_timed(tmp_path: Path) -> None:
    numbers: list[int] = []
    taken = disk.steady(numbers.append, 1000, 0.05)
    assert numbers == list(range(50)) and len(taken) == 50 and min(taken) > 0
    assert len(disk.steady_appends(str(tmp_path / "log"), 1000, 0.02)) == 20
    assert (tmp_path / "log").stat().st_size == 20 * 200


@pytest.mark.parametrize("writers", disk.WRITERS)
def test_each_writer_writes_its_ring_round_and_round(tmp_path: Path, writers: int) -> None:
    paths = [tmp_path / f"ring-{number}" for number in range(writers)]
    for path in paths:
        path.write_bytes(bytes(disk.RING_BYTES))
    try:
        os.close(os.open(paths[0], os.O_RDWR | os.O_DIRECT))
    except OSError:
        pytest.skip("the file system of the test has no O_DIRECT")
    assert len(disk.steady_ring(str(paths[0]), 1000, 0.01)) == 10
    assert paths[0].read_bytes() == bytes(disk.RING_BYTES), "zeros over zeros"
    assert disk.rate_of(tmp_path, writers, 1 << 20, 0.1) > 0
    for path in paths:
        content = path.read_bytes()
        assert len(content) == disk.RING_BYTES
        assert content[:4096] == b"r" * 4096
