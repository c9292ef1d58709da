"""An Apache Kafka whose every listener is reached through a tap, its own talk with itself included.

One node, broker and controller, that serves all there is: SASL, ACLs, delegation tokens, client telemetry, two log folders.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

START_S_MAX = 60
USERS = {"admin": "admin-secret", "alice": "alice-secret"}
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


class Ports(NamedTuple):
    """Where the taps listen for each listener, and where the broker does."""

    clients: int
    sasl: int
    between_brokers: int
    controllers: int
    strangers: int
    """A second way to the broker's listener for SASL, for who is refused there."""


def free_ports() -> Ports:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in Ports._fields]
    ports = Ports(*(each.getsockname()[1] for each in sockets))
    for each in sockets:
        each.close()
    return ports


def properties(folder: Path, own: Ports, taps: Ports) -> str:
    users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
    return f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{taps.controllers}
controller.listener.names=CONTROLLER
listeners=CLIENTS://127.0.0.1:{own.clients},SASL://127.0.0.1:{own.sasl},BROKERS://127.0.0.1:{own.between_brokers},\
CONTROLLER://127.0.0.1:{own.controllers}
advertised.listeners=CLIENTS://127.0.0.1:{taps.clients},SASL://127.0.0.1:{taps.sasl},\
BROKERS://127.0.0.1:{taps.between_brokers},CONTROLLER://127.0.0.1:{taps.controllers}
inter.broker.listener.name=BROKERS
listener.security.protocol.map=CLIENTS:PLAINTEXT,SASL:SASL_PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl.plain.sasl.jaas.config={PLAIN} required {users};
listener.name.sasl.scram-sha-256.sasl.jaas.config={SCRAM} required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
delegation.token.secret.key=secret
metric.reporters=TelemetrySink
log.dirs={folder}/a,{folder}/b
log.initial.task.delay.ms=1000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.streams.initial.rebalance.delay.ms=0
"""


@contextmanager
def running(folder: Path, jars: str, own: Ports, taps: Ports) -> Iterator[None]:
    """jars: a class path, with the folder of TelemetrySink.class in it."""
    config = folder / "server.properties"
    config.write_text(properties(folder, own, taps))
    java = ["java", "-Xmx512m", "-cp", jars]
    cluster = "MkU3OEVBNTcwNTJENDM2Qg"
    formatted = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
    subprocess.run(formatted, check=True, capture_output=True, text=True)
    with open(folder / "kafka.log", "w") as log:
        broker = subprocess.Popen([*java, "kafka.Kafka", str(config)], stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_S_MAX
        while not is_open(own.clients):
            assert broker.poll() is None, (folder / "kafka.log").read_text()[-3000:]
            assert time.monotonic() < until, "Apache Kafka does not start"
            time.sleep(0.2)
        yield
    finally:
        broker.terminate()
        try:
            broker.wait(30)
        except subprocess.TimeoutExpired:
            broker.kill()


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
