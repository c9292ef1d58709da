"""Apache Kafka 4.3 in a process of its own: one KRaft node, broker and controller, on loopback."""

import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from .broker import DELETE_DELAY_MS, BrokerFailed, Running

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.delete.delay.ms={delay}
"""
LONG_SESSION = "broker.session.timeout.ms=86400000\n"
"""Of the broker with its controller: longer than it stands still while others are measured. One that starts again has the default:
after a SIGKILL its controller does not take it in before the session of the one before is over."""
FLUSH = "log.flush.interval.messages=1\n"
LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.file.ref=file
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c %m%n
"""
HEAP = ["-Xms1G", "-Xmx1G"]
G1 = ["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]
CLUSTER_ID = "YmFybmFiYXMtYmVuY2gtMQ"
SAID_CHARACTERS = 1000


class RunningKafka(Running):
    """flush: each message is synced before it is acknowledged. Its other options that matter for speed are Kafka's defaults, and its heap those
    of Kafka's own start script with 1 GB. A folder that was used before is served again."""

    def __init__(self, folder: Path, jars: Path, *, flush: bool = False) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._said, self._logged = folder / "output.txt", folder / "broker.log"
        self._logged.touch()
        self.port, controller = free_ports(2)
        properties, logging = folder / "server.properties", folder / "log4j2.properties"
        is_new = not (folder / "data" / "meta.properties").exists()
        text = PROPERTIES.format(
            broker=self.port, controller=controller, folder=folder, delay=DELETE_DELAY_MS
        )
        properties.write_text(text + (LONG_SESSION if is_new else "") + (FLUSH if flush else ""))
        logging.write_text(LOGGING.format(log=self._logged))
        java = ["java", "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={logging}"]
        if is_new:
            command = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BrokerFailed(f"Kafka's folder cannot be prepared: {done.stderr[-SAID_CHARACTERS:]}")
        begun = time.perf_counter()
        with self._said.open("w") as output:
            self.process = subprocess.Popen(
                [*java, *HEAP, *G1, "kafka.Kafka", str(properties)],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.wait_until_it_answers(begun)

    def data_folder(self) -> Path:
        return self.folder / "data"

    def last_words(self) -> str:
        said = self._said.read_text(errors="replace") + self._logged.read_text(errors="replace")
        return said[-SAID_CHARACTERS:].strip()


def find_jars() -> Path | None:
    """Kafka's jars, fetched on first use; None without Java."""
    if shutil.which("java") is None:
        return None
    fetcher = Path(__file__).parent.parent / "tools" / "kafka_jars.sh"
    done = subprocess.run([fetcher], stdout=subprocess.PIPE, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def java_version() -> str:
    done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[0] if done.stderr else "unknown"


def free_ports(count: int) -> list[int]:
    """Of this moment: the port is asked for again at once by the node itself."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
