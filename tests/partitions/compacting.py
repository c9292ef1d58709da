"""__consumer_offsets of a virtual machine, written to until it has been compacted."""

from barnabas.partitions.open import OFFSETS_TOPIC
from barnabas.partitions.partition import Partition
from barnabas.records.record import Record, build_batch
from barnabas.testing.machine import VirtualMachine


def offsets_topic(machine: VirtualMachine) -> Partition:
    """Its first partition, once it serves."""
    done: list[int] = []
    machine.node.topics.ensure_offsets_topic(done.append)
    machine.time.run_until(lambda: bool(done))
    return machine.partition(OFFSETS_TOPIC)


def much_is_compacted(machine: VirtualMachine, partition: Partition) -> None:
    """Three megabytes of three keys, over several segments, become one."""
    for number in range(60):
        batch = build_batch([Record(b"key-%d" % (number % 3), b"x" * 60_000, machine.time.wall_ms())])
        assert partition.append_own(batch, machine.time.wall_ms()) > 0
        machine.time.run_for(50)
    assert partition.log.size_bytes > 3_000_000
    machine.time.run_for(120_000)
    assert partition.log.size_bytes < 1_400_000
