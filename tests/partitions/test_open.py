"""Opening partitions: a disk that fails for a moment costs a moment."""

import errno

import pytest

from barnabas.partitions.open import REOPEN_AFTER_MS
from barnabas.partitions.partition import Partition
from barnabas.records.record import Record, build_batch
from barnabas.testing.disk import Kind
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime

STATIC = {"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1"}


def machine_with_three_records(log_start: int = 0) -> VirtualMachine:
    """Stopped by a power failure after its recovery point."""
    time = VirtualTime(1)
    machine = VirtualMachine(time, Wire(time), STATIC)
    machine.boot()
    made: list[dict[str, int]] = []
    machine.node.topics.create_automatically(["t"], made.append)
    time.run_until(lambda: bool(made))
    partition = partition_of(machine)
    for _ in range(3):
        batch = build_batch([Record(None, b"value", time.wall_ms())])
        partition.append(batch, 0, len(batch), 9, time.wall_ms())
    time.run_until(lambda: partition.high_watermark == 3)
    partition.log.advance_log_start(log_start)
    time.run_for(65_000)
    machine.crash()
    return machine


def partition_of(machine: VirtualMachine) -> Partition:
    partition = machine.node.partitions.get("t", 0)
    assert partition is not None
    return partition


@pytest.mark.parametrize("kind", ["open", "read", "sync"])
def test_a_partition_that_could_not_be_read_is_loaded_when_the_disk_works_again(kind: Kind) -> None:
    machine = machine_with_three_records()
    machine.disk.fail(kind, errno.EIO, times=3, path="t-0/0000")
    machine.boot()
    assert partition_of(machine).offline
    machine.time.run_for(8 * REOPEN_AFTER_MS)
    partition = partition_of(machine)
    assert (partition.offline, partition.readable, partition.high_watermark) == (False, True, 3)
    assert partition.plan_fetch(0, 1 << 20, 0, True, -1).size > 0


def test_checkpoints_keep_what_they_say_of_a_partition_that_is_not_loaded() -> None:
    machine = machine_with_three_records(log_start=2)
    machine.disk.fail("read", errno.EIO, times=1_000, path="t-0/0000")
    machine.boot()
    machine.node.upkeep.write_checkpoints()
    machine.time.run_for(1_000)
    machine.crash()
    machine.disk.heal()
    machine.boot()
    assert partition_of(machine).log_start_offset == 2
