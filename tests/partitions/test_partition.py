"""A partition and those who wait for what it commits."""

from itertools import product

from barnabas import errors
from barnabas.partitions.partition import Partition
from barnabas.ports import WorldError
from barnabas.records.record import Record, build_batch
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime

OPTIONS = {"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1"}


def appended() -> tuple[VirtualMachine, Partition]:
    """One record, which is not committed yet."""
    time = VirtualTime(3)
    machine = VirtualMachine(time, Wire(time), OPTIONS)
    machine.boot()
    machine.make_topics("t")
    partition = machine.partition("t")
    batch = build_batch([Record(None, b"v", time.wall_ms())])
    assert partition.append(batch, 0, len(batch), 9, time.wall_ms()).code == 0
    return machine, partition


def test_who_waits_is_told_once_also_when_another_finds_that_the_partition_fails() -> None:
    machine, partition = appended()
    told: list[tuple[str, int]] = []

    def fail(code: int) -> None:
        told.append(("first", code))
        partition.failed(WorldError("an index cannot be read"))

    partition.when_committed(1, fail)
    partition.when_committed(1, lambda code: told.append(("second", code)))
    partition.when_committed(2, lambda code: told.append(("third", code)))
    machine.time.run_for(100)
    assert sorted(told) == [("first", 0), ("second", 0), ("third", errors.KAFKA_STORAGE_ERROR)]


def test_who_waits_is_told_in_order_of_offsets_and_may_wait_again() -> None:
    machine, partition = appended()
    told: list[str] = []
    partition.when_committed(2, lambda _: told.append("later"))
    partition.when_committed(
        1, lambda _: partition.when_committed(1, lambda _: told.append("what is committed already"))
    )
    partition.when_committed(1, lambda _: told.append("next"))
    machine.time.run_for(100)
    assert told == ["what is committed already", "next"]
    batch = build_batch([Record(None, b"v", machine.time.wall_ms())])
    partition.append(batch, 0, len(batch), 9, machine.time.wall_ms())
    machine.time.run_for(100)
    assert told[2:] == ["later"]


def test_of_a_partition_that_has_nothing_for_a_reader_a_plan_tells_nothing() -> None:
    """And where there may be something a plan is made: among others for each reader that is not at the end."""
    machine, partition = appended()
    machine.time.run_for(100)
    now = partition.epoch
    seen = set()
    for log_start, readable in product((0, 1), (True, False)):
        partition.log.advance_log_start(log_start)
        partition.readable = readable
        for offset, isolation, epoch, last_epoch in product(
            (-1, 0, 1, 2), (0, 1), (-1, now - 1, now, now + 1), (-1, now - 1, now, now + 1)
        ):
            plan = partition.plan_fetch(offset, 100, isolation, True, epoch, last_epoch)
            is_nothing = plan.code == 0 and plan.piece is None and plan.diverging is None
            if partition.has_nothing_for(offset, epoch, last_epoch):
                assert is_nothing and plan.size == 0
                seen.add((offset, epoch, last_epoch))
    assert seen == {(1, epoch, last_epoch) for epoch in (-1, now) for last_epoch in (-1, now)}
