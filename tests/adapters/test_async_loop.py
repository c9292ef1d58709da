"""What only the real loop can show: signals, threads, its end."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from barnabas.adapters.loop import ANSWERS_MAX, AsyncLoop, new_event_loop


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[AsyncLoop]:
    made = AsyncLoop(new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop())
    yield made
    made.close()
    made.asyncio.close()


def run(loop: AsyncLoop) -> None:
    """Until somebody stops it; a bound, should nobody do so."""
    guard = loop.asyncio.call_later(10, loop.asyncio.stop)
    loop.asyncio.run_forever()
    assert not guard.cancelled()
    guard.cancel()


def test_work_is_done_elsewhere_and_answered_here(loop: AsyncLoop) -> None:
    threads: list[str] = []

    def done(result: object | None, error: BaseException | None) -> None:
        threads.append(threading.current_thread().name)
        loop.asyncio.stop()

    loop.run_in("commit", lambda: threads.append(threading.current_thread().name), done)
    run(loop)
    assert threads[0].startswith("barnabas-commit")
    assert threads[1] == threading.current_thread().name
    assert loop.vigil.jobs == 0


def test_between_the_answers_of_many_jobs_others_have_their_turn(loop: AsyncLoop) -> None:
    told: list[object] = []
    seen: list[int] = []

    def look() -> None:
        seen.append(len(told))
        if len(told) < 3 * ANSWERS_MAX:
            loop.asyncio.call_soon(look)
        else:
            loop.asyncio.stop()

    for at in range(3 * ANSWERS_MAX):
        loop.run_in("metadata", lambda at=at: at, lambda result, _: told.append(result))  # type: ignore[misc]
    for pool in loop._pools.values():
        pool.shutdown(wait=True)
    loop.asyncio.call_soon(look)
    run(loop)
    assert told == list(range(3 * ANSWERS_MAX))
    assert max(after - before for before, after in pairwise([0, *seen])) <= ANSWERS_MAX


def test_an_answer_that_raises_does_not_swallow_those_behind_it(loop: AsyncLoop) -> None:
    told: list[object] = []
    complaints: list[object] = []
    loop.asyncio.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    bug = RuntimeError("a bug of ours")

    def answer(result: object | None, error: BaseException | None) -> None:
        told.append(result)
        if result == 0:
            raise bug
        if result == 9:
            loop.asyncio.stop()

    for at in range(10):
        loop.run_in("metadata", lambda at=at: at, answer)  # type: ignore[misc]
    for pool in loop._pools.values():
        pool.shutdown(wait=True)  # all ten answers wait when the first is handed out
    run(loop)
    assert told == list(range(10))
    assert complaints == [bug]


def test_close_waits_for_work_and_hands_out_its_answer(loop: AsyncLoop) -> None:
    told: list[object] = []
    go = threading.Event()
    loop.run_in("commit", lambda: go.wait(10), lambda result, error: told.append(result))
    loop.asyncio.call_soon(loop.asyncio.stop)
    run(loop)
    go.set()
    loop.close()
    assert told == [True]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_stop_is_told_on_the_loop(loop: AsyncLoop, name: str) -> None:
    told: list[str] = []

    def stop(heard: str) -> None:
        told.append(heard)
        loop.asyncio.stop()

    loop.on_stop_signal(stop)
    loop.soon(lambda: os.kill(os.getpid(), getattr(signal, name)))
    run(loop)
    assert told == [name]
