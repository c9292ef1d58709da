"""Virtual time must be able to find what a real one hides, and give the same again for the same seed."""

import random

import pytest

from barnabas.ports import Compare, WorldError
from barnabas.testing.meta import DiskContents, VirtualMetaStore
from barnabas.testing.virtual import VirtualLoop, VirtualTime


def order_of(seed: int) -> list[int]:
    time = VirtualTime(seed)
    loop = VirtualLoop(time)
    told: list[int] = []
    for at in range(10):
        loop.soon(lambda at=at: told.append(at))  # type: ignore[misc]
    time.settle()
    return told


def test_one_millisecond_is_shuffled_by_the_seed() -> None:
    assert sorted(order_of(1)) == list(range(10))
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)) for seed in range(20)}) == 20


def test_time_jumps_and_never_sleeps() -> None:
    time = VirtualTime()
    told: list[int] = []
    for delay_ms in (86_400_000, 5, 60_000):
        time.after(delay_ms, lambda: told.append(time.mono_ms()))
    time.run_for(60_000)
    assert told == [5, 60_000]
    assert time.mono_ms() == 60_000
    time.run_until(lambda: len(told) == 3, limit_ms=86_400_000)
    assert told[2] == 86_400_000


def test_what_is_never_reached_names_the_seed() -> None:
    time = VirtualTime(42)
    with pytest.raises(AssertionError, match="seed 42: not reached, and nothing is left to run"):
        time.run_until(lambda: False)

    def again() -> None:
        time.after(1000, again)

    again()
    with pytest.raises(AssertionError, match="seed 42: not reached, and 5000 ms have passed"):
        time.run_until(lambda: False, limit_ms=5_000)


def test_the_wall_clock_may_step_and_the_other_does_not() -> None:
    time = VirtualTime()
    wall_ms, mono_ms = time.wall_ms(), time.mono_ms()
    time.step_wall(-3_600_000)
    assert (time.wall_ms(), time.mono_ms()) == (wall_ms - 3_600_000, mono_ms)
    time.run_for(10)
    assert (time.wall_ms(), time.mono_ms()) == (wall_ms - 3_600_000 + 10, mono_ms + 10)


def commit_order(seed: int) -> tuple[object, ...]:
    time = VirtualTime(seed)
    loop = VirtualLoop(time)
    ended: list[object] = []
    for at in range(4):
        loop.run_in("commit", lambda at=at: at, lambda result, error: ended.append(result))  # type: ignore[misc]
    time.run_until(lambda: len(ended) == 4)
    return tuple(ended)


def test_a_pool_of_several_threads_may_change_the_order() -> None:
    orders = {commit_order(seed) for seed in range(30)}
    assert {tuple(sorted(map(str, order))) for order in orders} == {("0", "1", "2", "3")}
    assert len(orders) > 5


def test_a_bug_in_pool_work_reaches_the_test() -> None:
    time = VirtualTime()
    loop = VirtualLoop(time)

    def work() -> object:
        raise AssertionError("our own bug")

    loop.run_in("commit", work, lambda result, error: None)
    with pytest.raises(AssertionError, match="our own bug"):
        time.run_for(100)


def work_of_a_killed_loop(seed: int) -> tuple[str, ...]:
    time = VirtualTime(seed)
    loop, survivor = VirtualLoop(time), VirtualLoop(time)
    worked: list[str] = []
    told: list[str] = []
    loop.run_in("metadata", lambda: worked.append("first"), lambda result, error: told.append("answer"))
    loop.run_in("metadata", lambda: worked.append("second"), lambda result, error: told.append("answer"))
    loop.soon(lambda: told.append("soon"))
    loop.wake_at(3, lambda: told.append("timer"))
    survivor.wake_at(3, lambda: told.append("survivor"))
    loop.kill()
    loop.kill()
    loop.run_in("metadata", lambda: worked.append("late"), lambda result, error: None)
    time.run_for(1000)
    assert told == ["survivor"]
    return tuple(worked)


def test_a_killed_loop_is_silent_and_its_work_may_have_happened() -> None:
    outcomes = {work_of_a_killed_loop(seed) for seed in range(40)}
    assert outcomes == {(), ("first",)}, "what waited behind the running work never began"


def acknowledged_and_found(seed: int) -> tuple[bool, bool]:
    """A transaction, a crash some milliseconds later, and what the next store finds."""
    time = VirtualTime(seed)
    loop, contents = VirtualLoop(time), DiskContents()
    acknowledged: list[bool] = []
    store = VirtualMetaStore(loop, contents)
    store.txn((), {"a": b"1", "b": b"1"}, (), lambda yes, error: acknowledged.append(yes))
    time.run_for(seed % 4)
    loop.kill()
    time.run_for(100)
    found: list[list[str]] = []
    reopened = VirtualMetaStore(VirtualLoop(time), contents)
    reopened.range("", lambda values, error: found.append(list(values)))
    time.run_until(lambda: bool(found))
    assert found[0] in ([], ["a", "b"]), f"seed {seed}: half a transaction"
    return bool(acknowledged), bool(found[0])


def test_a_transaction_in_flight_at_a_crash_is_whole_or_absent() -> None:
    outcomes = {acknowledged_and_found(seed) for seed in range(60)}
    assert outcomes == {(False, False), (False, True), (True, True)}, "acknowledged is never lost"


def test_leased_keys_end_with_the_store_that_granted_them() -> None:
    time = VirtualTime()
    loop, contents = VirtualLoop(time), DiskContents()
    store = VirtualMetaStore(loop, contents)
    leases: list[int] = []
    store.grant(1000, lambda lease, error: leases.append(lease))
    time.run_for(20)
    store.txn((), {"session": b""}, (), lambda yes, error: None, leases[0])
    store.txn((), {"kept": b""}, (), lambda yes, error: None)
    time.run_for(20)
    assert sorted(contents.values) == ["kept", "session"]
    VirtualMetaStore(VirtualLoop(time), contents)
    assert sorted(contents.values) == ["kept"]


def what_a_power_failure_leaves(seed: int) -> str:
    """Of commits d, e (not durable), D (durable), f and g (not), which replaced each other's values of one key."""
    time = VirtualTime(seed)
    loop, contents = VirtualLoop(time), DiskContents()
    store = VirtualMetaStore(loop, contents)
    for value in "deDfg":
        puts = {"a": value.encode(), value: b""}
        store.txn((), puts, (), lambda yes, error: None, durable=value.isupper())
    time.run_for(100)
    loop.kill()
    contents.crash(time.random)
    found = contents.values
    kept = found["a"].value.decode()
    assert sorted(found) == sorted({"a", *"deDfg"[: "deDfg".index(kept) + 1]})
    assert found["a"].version == "deDfg".index(kept) + 1
    return kept


def test_a_power_failure_undoes_the_last_commits_that_were_not_durable() -> None:
    assert {what_a_power_failure_leaves(seed) for seed in range(40)} == {"D", "f", "g"}


def test_nothing_durable_is_undone_and_a_lease_comes_back_with_its_key() -> None:
    time = VirtualTime()
    loop, contents = VirtualLoop(time), DiskContents()
    store = VirtualMetaStore(loop, contents)
    store.grant(10_000, lambda lease, error: store.txn((), {"a": b"1"}, (), lambda yes, error: None, lease))
    time.run_for(100)
    store.txn((), {}, ["a"], lambda yes, error: None, durable=False)
    time.run_for(100)
    assert not contents.values and not contents.leases
    for seed in range(20):
        contents.crash(random.Random(seed))
    assert contents.values["a"].value == b"1" and contents.leases == {"a": 1}


def test_a_full_disk_commits_nothing_and_is_read() -> None:
    time = VirtualTime()
    contents = DiskContents()
    store = VirtualMetaStore(VirtualLoop(time), contents)
    contents.is_full = True
    errors: list[WorldError | None] = []
    store.txn((), {"a": b"1"}, (), lambda yes, error: errors.append(error))
    store.txn((), {}, (), lambda yes, error: errors.append(error))
    store.range("", lambda found, error: errors.append(error))
    time.run_for(100)
    assert isinstance(errors[0], WorldError) and errors[1:] == [None, None] and not contents.values


@pytest.mark.parametrize("happened", [False, True])
def test_a_scripted_failure_answers_an_error(happened: bool) -> None:
    time = VirtualTime()
    store = VirtualMetaStore(VirtualLoop(time))
    store.fail_next(happened=happened)
    answers: list[tuple[bool, WorldError | None]] = []
    store.txn([Compare("a", 0)], {"a": b"1"}, (), lambda *answer: answers.append(answer))
    store.txn([Compare("a", 0)], {"a": b"2"}, (), lambda *answer: answers.append(answer))
    time.run_until(lambda: len(answers) == 2)
    assert answers[0][0] is False
    assert isinstance(answers[0][1], WorldError)
    assert answers[1] == (not happened, None)
