"""What every Loop holds."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, get_args

import pytest

from barnabas.adapters.files import OsFiles
from barnabas.ports import Clock, Files, Loop, Pool, RingFile, WorldError
from barnabas.testing.disk import VirtualDisk

BLOCK_BYTES = 4096
RING_BYTES = 64 * BLOCK_BYTES


class Driver(Protocol):
    clock: Clock
    loop: Loop

    def run_until(self, reached: Callable[[], bool]) -> None: ...


def test_soon_is_later_than_now(driver: Driver) -> None:
    told: list[int] = []
    driver.loop.soon(lambda: told.append(1))
    driver.loop.from_thread(lambda: told.append(2))
    assert told == []
    driver.run_until(lambda: len(told) == 2)
    assert sorted(told) == [1, 2]


def test_the_timer_rings_when_its_time_has_passed(driver: Driver) -> None:
    due_ms = driver.clock.mono_ms() + 3
    rung_ms: list[int] = []
    driver.loop.wake_at(due_ms, lambda: rung_ms.append(driver.clock.mono_ms()))
    driver.run_until(lambda: bool(rung_ms))
    assert rung_ms[0] >= due_ms


def test_there_is_one_timer(driver: Driver) -> None:
    told: list[str] = []
    now_ms = driver.clock.mono_ms()
    driver.loop.wake_at(now_ms + 1, lambda: told.append("first"))
    driver.loop.wake_at(now_ms + 4, lambda: told.append("second"))
    driver.run_until(lambda: bool(told))
    driver.loop.wake_at(now_ms, lambda: told.append("overdue"))
    driver.run_until(lambda: len(told) == 2)
    assert told == ["second", "overdue"]


def test_a_disarmed_timer_is_silent(driver: Driver) -> None:
    told: list[str] = []
    now_ms = driver.clock.mono_ms()
    driver.loop.wake_at(now_ms + 1, lambda: told.append("disarmed"))
    driver.loop.wake_at(None, lambda: told.append("never"))
    driver.loop.run_in("read", lambda: None, lambda result, error: None)
    driver.loop.wake_at(now_ms + 8, lambda: told.append("last"))
    driver.run_until(lambda: bool(told))
    assert told == ["last"]


@pytest.mark.parametrize("pool", get_args(Pool))
def test_a_pool_answers_with_the_result_or_the_error(driver: Driver, pool: Pool) -> None:
    answers: dict[str, tuple[object | None, BaseException | None]] = {}
    failure = OSError("no")

    def fail() -> object:
        raise failure

    driver.loop.run_in(pool, lambda: 7, lambda *answer: answers.update(good=answer))
    driver.loop.run_in(pool, fail, lambda *answer: answers.update(bad=answer))
    assert answers == {}
    driver.run_until(lambda: len(answers) == 2)
    assert answers == {"good": (7, None), "bad": (None, failure)}


@pytest.mark.parametrize("pool", ["metadata", "compress", "upkeep"])
def test_a_pool_of_one_thread_keeps_the_order(driver: Driver, pool: Pool) -> None:
    worked: list[int] = []
    answered: list[object] = []
    for at in range(30):
        driver.loop.run_in(
            pool,
            lambda at=at: worked.append(at) or at,  # type: ignore[misc,func-returns-value]
            lambda result, error: answered.append(result),
        )
    driver.run_until(lambda: len(answered) == 30)
    assert worked == answered == list(range(30))


@pytest.fixture(params=["os", "virtual"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    made: Files = OsFiles() if request.param == "os" else VirtualDisk()
    made.make_folder(str(tmp_path))
    return made


@pytest.fixture
def ring(files: Files, tmp_path: Path) -> RingFile:
    made = files.open_ring(f"{tmp_path}/ring", RING_BYTES)
    if made is None:
        pytest.skip("this file system has no O_DIRECT")
    return made


def test_a_ring_is_written_and_the_answer_comes_later(driver: Driver, files: Files, ring: RingFile) -> None:
    answers: list[tuple[object | None, BaseException | None]] = []
    chunks = [b"a" * 5000, b"", memoryview(b"b" * 3192)]
    driver.loop.write_ring(ring, BLOCK_BYTES, chunks, lambda *answer: answers.append(answer))
    assert answers == []
    driver.run_until(lambda: bool(answers))
    assert answers == [(8192, None)]
    assert files.open(ring.path).read(BLOCK_BYTES, 8192) == b"a" * 5000 + b"b" * 3192


def test_the_next_write_of_a_ring_begins_in_the_answer_of_the_last(
    driver: Driver, files: Files, ring: RingFile
) -> None:
    written: list[int] = []

    def write_next(result: object | None, error: BaseException | None) -> None:
        assert error is None
        written.append(len(written))
        if len(written) < RING_BYTES // BLOCK_BYTES:
            begin()

    def begin() -> None:
        block = bytes([len(written)]) * BLOCK_BYTES
        driver.loop.write_ring(ring, len(written) * BLOCK_BYTES, [block], write_next)

    begin()
    driver.run_until(lambda: len(written) == RING_BYTES // BLOCK_BYTES)
    content = files.open(ring.path).read(0, RING_BYTES)
    assert content == b"".join(bytes([block]) * BLOCK_BYTES for block in written)


def test_a_ring_that_cannot_be_written_says_why(driver: Driver, files: Files, ring: RingFile) -> None:
    if isinstance(files, VirtualDisk):
        files.fail("write", errno.EBADF)
    ring.close()
    answers: list[tuple[object | None, BaseException | None]] = []
    driver.loop.write_ring(ring, 0, [bytes(BLOCK_BYTES)], lambda *answer: answers.append(answer))
    assert answers == []
    driver.run_until(lambda: bool(answers))
    result, error = answers[0]
    assert result is None
    assert isinstance(error, WorldError) and error.errno == errno.EBADF
