"""The end of a loop turn: its order, and the one look at the clock that its requests share."""

from collections.abc import Callable

from barnabas.partitions.turn import Turn


class Clock:
    """Each look at it is a millisecond later."""

    def __init__(self) -> None:
        self.looks = 0

    def wall_ms(self) -> int:
        self.looks += 1
        return 1_000 + self.looks

    def mono_ms(self) -> int:
        return 0

    def mono_us(self) -> int:
        return 0


class HandLoop:
    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def end_turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


def a_turn() -> tuple[Turn, HandLoop, Clock]:
    loop, clock = HandLoop(), Clock()
    return Turn(loop, clock), loop, clock


def test_the_requests_of_a_turn_share_a_look_at_the_clock() -> None:
    turn, loop, clock = a_turn()
    turn.now_ms()
    turn.write(lambda: None)
    looks = clock.looks
    assert {turn.now_ms() for _ in range(5)} == {1_000 + looks + 1}
    loop.end_turn()
    turn.send(lambda: None)
    assert turn.now_ms() == 1_000 + looks + 2


def test_without_an_end_of_turn_to_come_each_look_is_new() -> None:
    """Nothing would tell that the time has gone stale."""
    turn, loop, _ = a_turn()
    turn.write(lambda: None)
    turn.now_ms()
    loop.end_turn()
    assert turn.now_ms() < turn.now_ms() < turn.now_ms()


def test_who_asks_at_the_end_of_a_turn_gets_no_old_time() -> None:
    turn, loop, _ = a_turn()
    told: list[int] = []
    turn.write(lambda: told.append(turn.now_ms()))
    begun = turn.now_ms()
    loop.end_turn()
    assert told[0] > begun


def test_writers_run_before_senders() -> None:
    turn, loop, _ = a_turn()
    order: list[str] = []
    turn.send(lambda: order.append("send"))
    turn.write(lambda: order.append("write"))
    loop.end_turn()
    assert order == ["write", "send"]
