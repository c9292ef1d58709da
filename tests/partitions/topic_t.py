"""A topic of one partition on a simulated machine."""

from barnabas.partitions.partition import Partition
from barnabas.testing.machine import VirtualMachine


def made_topic(machine: VirtualMachine) -> Partition:
    """Topic t, and its only partition."""
    made: list[dict[str, int]] = []
    machine.node.topics.create_automatically(["t"], made.append)
    machine.time.run_until(lambda: bool(made))
    partition = machine.node.partitions.get("t", 0)
    assert partition is not None
    return partition
