"""Older records that are no longer in memory: threads read them, the loop never waits for the disk."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rawclient import RawClient, batch_of
from reading import fetch_all, fetch_one, fill, list_one, values_of, wanted

import barnabas
from barnabas.adapters import cold

TOPIC = "cold"
VALUES = [b"%05d" % number + b"x" * 1000 for number in range(300)]
PAGE_BYTES = 4096
OLDEST = 1 << 40
NEWEST = OLDEST + 1000

pytestmark = pytest.mark.skipif(not cold.RWF_NOWAIT, reason="this system cannot be asked what is in memory")


class PageCache:
    """Of one process: it knows what threads have read since it last forgot everything, and who waited for the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pread, self._preadv, self._sendfile = os.pread, os.preadv, os.sendfile
        self._known: set[tuple[int, int]] | None = None
        self.breaches: list[str] = []
        self.read_by_threads = 0
        monkeypatch.setattr(os, "pread", self.pread)
        monkeypatch.setattr(os, "preadv", self.preadv)
        monkeypatch.setattr(os, "sendfile", self.sendfile)

    def forget(self) -> None:
        self._known = set()

    def _is_known(self, fd: int, position: int, size: int) -> bool:
        if self._known is None:
            return True
        found = os.fstat(fd)
        end = min(position + size, found.st_size)
        pages = range(position // PAGE_BYTES, -(-end // PAGE_BYTES))
        return self._known.issuperset((found.st_ino, page) for page in pages)

    def _touch(self, fd: int, position: int, size: int) -> None:
        if self._is_known(fd, position, size):
            return
        thread = threading.current_thread().name
        if thread.startswith("barnabas-read"):
            self.read_by_threads += 1
        else:
            self.breaches.append(f"{thread} waits for {size} bytes at {position}")
        assert self._known is not None
        inode = os.fstat(fd).st_ino
        last = -(-(position + size) // PAGE_BYTES)
        self._known.update((inode, page) for page in range(position // PAGE_BYTES, last))

    def pread(self, fd: int, size: int, position: int) -> bytes:
        self._touch(fd, position, size)
        return self._pread(fd, size, position)

    def preadv(self, fd: int, rooms: Sequence[Any], position: int, flags: int = 0) -> int:
        size = sum(map(len, rooms))
        if not flags & cold.RWF_NOWAIT:
            self._touch(fd, position, size)
        elif not self._is_known(fd, position, size):
            raise BlockingIOError
        return self._preadv(fd, rooms, position, 0)

    def sendfile(self, out: int, fd: int, position: int, size: int) -> int:
        self._touch(fd, position, size)
        return self._sendfile(out, fd, position, size)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageCache]:
    cache = PageCache(monkeypatch)
    yield cache
    assert cache.read_by_threads, "nothing was cold"
    assert cache.breaches == []


@pytest.fixture(params=["written", "found at a start"])
def asking(request: pytest.FixtureRequest, tmp_path: Path, pages: PageCache) -> Iterator[RawClient]:
    """What is asked for was written by this broker, or by one before it: then nothing of it is remembered."""
    config = {"barnabas.durability": "cache"}
    with (
        barnabas.Broker(tmp_path, config=config, topics={TOPIC: 2}) as first,
        RawClient(first.bootstrap) as client,
    ):
        fill(client, TOPIC, *VALUES)
        for number, value in enumerate(VALUES[:41]):
            batch = batch_of([value], timestamp=OLDEST if number < 40 else NEWEST)
            assert client.produce(TOPIC, batch, partition=1).error_code == 0
        if request.param == "written":
            pages.forget()
            yield client
            return
    with barnabas.Broker(tmp_path) as second, RawClient(second.bootstrap) as client:
        pages.forget()
        yield client


@pytest.mark.parametrize("limit", [1, 3_000, 12_000, 40_000, 1 << 20])
def test_a_fetch_from_the_middle(asking: RawClient, pages: PageCache, limit: int) -> None:
    for offset in (0, 150, 299):
        pages.forget()
        part = fetch_one(asking, TOPIC, fetch_offset=offset, partition_max_bytes=limit)
        assert part.error_code == 0
        found = values_of(part)
        assert found == VALUES[offset : offset + len(found)]
        assert found


def test_a_fetch_of_several_partitions_and_one_that_waits(asking: RawClient) -> None:
    answer = fetch_all(asking, TOPIC, wanted(fetch_offset=7), wanted(partition=1, fetch_offset=33))
    first, second = answer.responses[0].partitions
    assert values_of(first) == VALUES[7:]
    assert values_of(second) == VALUES[33:41]


def test_a_fetch_whose_wait_ends_in_the_cold(asking: RawClient, pages: PageCache) -> None:
    part = fetch_one(asking, TOPIC, fetch_offset=290, min_bytes=1 << 20, max_wait_ms=50)
    assert values_of(part) == VALUES[290:]


def test_a_time_is_looked_for(asking: RawClient) -> None:
    assert list_one(asking, TOPIC, NEWEST - 999, partition_index=1).offset == 40
    assert list_one(asking, TOPIC, -3, partition_index=1).offset == 40
    assert list_one(asking, TOPIC, 0, partition_index=1).offset == 0
