"""What handlers may touch: the parts of a running node, and nothing of the outside but its clock, its loop and its chance."""

from collections.abc import Callable, Sequence

from barnabas.cluster.config_changes import ConfigResult
from barnabas.cluster.image import Image
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions
from barnabas.coordinators.group.coordinator import GroupCoordinator
from barnabas.partitions.fetch_session import FetchSessions
from barnabas.partitions.open import Partitions
from barnabas.partitions.producer_ids import ProducerIds
from barnabas.partitions.turn import Turn
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Loop, WorldError
from barnabas.server.topics import TopicChanges
from barnabas.telemetry import Log, Telemetry


class Broker:
    """One node's parts, as its handlers see them. Assembled by node.py."""

    __slots__ = (
        "clock",
        "cluster",
        "disk_bytes",
        "fetch_sessions",
        "groups",
        "log",
        "loop",
        "node_id",
        "options",
        "partitions",
        "producer_ids",
        "telemetry",
        "topics",
        "turn",
        "waits",
        "write_checkpoints",
    )

    def __init__(
        self,
        node_id: int,
        clock: Clock,
        loop: Loop,
        options: BrokerOptions,
        cluster: ClusterStore,
        partitions: Partitions,
        groups: GroupCoordinator,
        fetch_sessions: FetchSessions,
        producer_ids: ProducerIds,
        topics: TopicChanges,
        turn: Turn,
        waits: Waits,
        telemetry: Telemetry,
        log: Log,
        write_checkpoints: Callable[[Callable[[WorldError | None], None]], None],
        disk_bytes: Callable[[], tuple[int, int]],
    ) -> None:
        self.node_id = node_id
        self.clock = clock
        self.loop = loop
        self.options = options
        self.cluster = cluster
        self.partitions = partitions
        self.groups = groups
        self.fetch_sessions = fetch_sessions
        self.producer_ids = producer_ids
        self.topics = topics
        self.turn = turn
        self.waits = waits
        self.telemetry = telemetry
        self.log = log
        self.write_checkpoints = write_checkpoints
        self.disk_bytes = disk_bytes

    @property
    def log_level(self) -> str:
        """Level of the one logger there is, in Kafka's names."""
        return self.log.level.upper().replace("WARNING", "WARN")

    def use_levels(self, results: Sequence[ConfigResult]) -> None:
        """BROKER_LOGGER resources that were altered; None puts a logger back to its start value."""
        for result in results:
            for level in (result.levels or {}).values():
                self.log.set_level(level)

    @property
    def image(self) -> Image:
        return self.cluster.image
