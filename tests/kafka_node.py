"""Apache Kafka 4.3 to compare with: one node, broker and controller, from the jars that BARNABAS_KAFKA_LIB names."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.kafka import free_ports

JARS = os.environ.get("BARNABAS_KAFKA_LIB", "")
LOOPBACK = "127.0.0.1"
START_S = 60.0
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
controller.listener.names=CONTROLLER
log.dirs={folder}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
"""


def is_there() -> bool:
    return bool(JARS) and shutil.which("java") is not None


@contextmanager
def kafka_node(folder: Path, options: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """A running node's address. It is killed in the end: nobody wants its data."""
    broker, controller = free_ports(2)
    properties = folder / "server.properties"
    text = PROPERTIES.format(host=LOOPBACK, broker=broker, controller=controller, folder=folder / "data")
    properties.write_text(text + "".join(f"{name}={value}\n" for name, value in options.items()))
    java = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*"]
    formatted = subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(properties)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert formatted.returncode == 0, formatted.stderr + formatted.stdout
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(properties)], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_for(process, broker, folder / "output.txt")
            yield LOOPBACK, broker
        finally:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    """Until somebody listens; that the node is ready its clients see."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Apache Kafka did not start: {output.read_text()[-2000:]}")
