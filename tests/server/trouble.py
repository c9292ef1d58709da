"""Partitions in trouble, for tests: their broker runs in this process, so its own parts are at hand."""

from collections.abc import Callable
from pathlib import Path

from rawclient import RawClient

import barnabas
from barnabas.partitions.partition import Partition
from barnabas.server.connection import ServerConnection


def on_loop(broker: barnabas.Broker, act: Callable[[], object]) -> None:
    """act on the broker's own thread; returns when it did."""
    broker._call(lambda done: done(act()))


def partition_of(broker: barnabas.Broker, topic: str, index: int = 0) -> Partition:
    partition = broker._node.partitions.get(topic, index)
    assert partition is not None
    return partition


def hold(broker: barnabas.Broker, topic: str) -> None:
    """What is appended from now on stays uncommitted, until the topic is deleted: a stop would wait for it."""
    partition = partition_of(broker, topic)

    def never_ends() -> None:
        partition.lane.busy = True  # as if a thread were writing

    on_loop(broker, never_ends)


def cut_log(folder: Path, topic: str) -> None:
    """Of a broker that stopped: bytes that were synced are gone, so the partition stays offline at the next start."""
    log = folder / f"{topic}-0" / f"{0:020}.log"
    content = log.read_bytes()
    assert content
    log.write_bytes(content[:-5])


def port_of(client: RawClient) -> int:
    port: int = client.socket.getsockname()[1]
    return port


def served_of(broker: barnabas.Broker, client: RawClient) -> ServerConnection:
    port = port_of(client)
    found: list[ServerConnection] = []

    def look() -> None:
        for served, connection in broker._node.listeners._open.items():
            if connection.peer_port == port:
                found.append(served)

    on_loop(broker, look)
    (served,) = found
    return served
