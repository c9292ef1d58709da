"""What every Loop holds."""

from collections.abc import Callable
from typing import Protocol, get_args

import pytest

from barnabas.ports import Clock, Loop, Pool


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
