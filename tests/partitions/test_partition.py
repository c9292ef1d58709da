"""A partition and those who wait for what it commits."""

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
