"""When the loop stays awake for more to come, and when it lets itself fall asleep; on a clock turned by hand."""

import threading
from collections.abc import Callable

import pytest

from barnabas.adapters.vigil import STREAK, WINDOW_NS, Vigil, pays_here

SHORT_NS, LONG_NS = WINDOW_NS // 2, WINDOW_NS * 2


class Bench:
    """The loop, its clock, and the peer."""

    def __init__(self, pays: bool = True) -> None:
        self.now_ns = 10 * LONG_NS
        self.waiting: list[Callable[[], None]] = []
        self.vigil = Vigil(self, lambda: pays, lambda: self.now_ns)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()

    def hear(self, gap_ns: int, *, runs: int = 1) -> None:
        """A peer sends after that gap; while awake the loop has looked meanwhile."""
        for _ in range(10):
            self.turn()
            self.now_ns += gap_ns // 10
        for _ in range(runs):
            self.vigil.heard()
        self.turn()

    @property
    def sleeps(self) -> bool:
        """Nothing is to be done: the loop waits in the kernel."""
        return not self.waiting


def awake() -> Bench:
    bench = Bench()
    for _ in range(STREAK + 1):  # the first gap is that since the start
        assert not bench.vigil.is_awake
        bench.hear(SHORT_NS)
    assert bench.vigil.is_awake
    return bench


def test_it_stays_awake_after_a_streak_of_short_gaps() -> None:
    assert not awake().sleeps


def test_one_long_gap_ends_it_and_a_new_streak_is_needed() -> None:
    bench = awake()
    bench.hear(LONG_NS)
    assert not bench.vigil.is_awake
    assert bench.sleeps
    for _ in range(STREAK - 1):
        bench.hear(SHORT_NS)
        assert bench.sleeps
    bench.hear(SHORT_NS)
    assert not bench.sleeps


def test_it_ends_when_nobody_comes() -> None:
    bench = awake()
    turns = 0
    while not bench.sleeps:
        bench.turn()
        bench.now_ns += WINDOW_NS // 20
        turns += 1
        assert turns < 30
    assert not bench.vigil.is_awake


def test_a_long_gap_breaks_a_streak() -> None:
    bench = Bench()
    for _ in range(5):
        for _ in range(STREAK - 1):
            bench.hear(SHORT_NS)
        bench.hear(LONG_NS)
    assert bench.sleeps


def test_many_runs_of_one_turn_are_one_piece_of_work() -> None:
    bench = Bench()
    bench.hear(SHORT_NS, runs=10 * STREAK)
    bench.hear(SHORT_NS, runs=10 * STREAK)
    assert not bench.vigil.is_awake


def test_it_sleeps_while_a_thread_has_work() -> None:
    bench = awake()
    bench.vigil.jobs += 1
    bench.turn()
    assert bench.sleeps
    for _ in range(2 * STREAK):
        bench.hear(SHORT_NS)
        assert bench.sleeps
    bench.vigil.jobs -= 1
    bench.hear(SHORT_NS)
    assert not bench.sleeps


def test_where_it_does_not_pay_it_never_stays_awake() -> None:
    bench = Bench(pays=False)
    for _ in range(3 * STREAK):
        bench.hear(SHORT_NS)
        assert bench.sleeps


@pytest.mark.parametrize(
    ("cores", "is_main", "expected"), [(2, True, True), (1, True, False), (2, False, False)]
)
def test_it_pays_with_two_cores_and_the_interpreter_alone(
    monkeypatch: pytest.MonkeyPatch, cores: int, is_main: bool, expected: bool
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    found: list[bool] = []
    if is_main:
        found.append(pays_here())
    else:
        thread = threading.Thread(target=lambda: found.append(pays_here()))
        thread.start()
        thread.join()
    assert found == [expected]
