"""A node: the only place where parts are chosen and wired together. Start order is written once; stop is its reverse.

Start   data folder (lock, clean mark; opened by running.py) → metadata (image) → journals → a reign → partitions → coordinators →
        listeners → ready.
Stop    listeners → coordinators → what is appended gets committed → logs (indexes, snapshots) → checkpoints → clean mark.
Crash   between any two: the lock is freed by the kernel, the clean mark is absent, the next start recovers.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from barnabas import errors
from barnabas.cluster import changes, placing
from barnabas.cluster.image import BrokerImage, Endpoint, Fact, Image, TopicDeleted
from barnabas.cluster.settled import Settled
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions
from barnabas.config.load import Listener, advertised_of, bootstrap_of, listeners_of, node_id_of
from barnabas.coordinators.group.coordinator import GroupCoordinator
from barnabas.partitions.closing import Closing
from barnabas.partitions.data_folder import DataFolder
from barnabas.partitions.fetch_session import FetchSessions
from barnabas.partitions.loop_lag import LoopLag
from barnabas.partitions.open import OFFSETS_TOPIC, Partitions
from barnabas.partitions.owners import consolidate, take_up_own
from barnabas.partitions.partition import Partition
from barnabas.partitions.producer_ids import ProducerIds
from barnabas.partitions.turn import Turn
from barnabas.partitions.upkeep import Upkeep
from barnabas.partitions.waits import Waits
from barnabas.ports import World, WorldError
from barnabas.server.broker import Broker
from barnabas.server.dispatch import Dispatch
from barnabas.server.health import Health
from barnabas.server.listener import Listeners
from barnabas.server.topics import TopicChanges
from barnabas.telemetry import Log, Telemetry

PEERS_MS: Final = 10_000
"""For workers that start together: one that has much to recover must not keep clients from the others for long."""
PEERS_CHECK_MS: Final = 20


class StartFailed(Exception):
    """The node cannot start; the text says why and what to do."""


class Node:
    """One broker: `start`, then `stop`. All calls on its loop."""

    def __init__(
        self,
        world: World,
        folder: DataFolder,
        options: BrokerOptions,
        telemetry: Telemetry,
        log: Log,
        durable: bool,
        open_files_max: int = 4096,
        peers: Collection[int] = (),
    ) -> None:
        """folder: with a state folder of its own this is a worker, and who started it keeps what is common to all. peers: the
        workers that start together with it.
        """
        self._peers = peers
        self._world = world
        self._options = options
        self._durable = durable
        self.log = log
        self.telemetry = telemetry
        self.node_id = node_id_of(options.static)
        for name in ("node.id", "broker.id"):
            if name not in options.static:
                options.learn(name, str(self.node_id))
        self.bound: dict[str, tuple[str, int]] = {}
        self.metrics_port = -1
        self._started = False
        self._stopping = False
        clock, loop = world.clock, world.loop
        self.waits = Waits(clock, loop)
        self.turn = Turn(loop, clock)
        self.folder = folder
        self.cluster = ClusterStore(world.meta)
        self._settled = Settled(world.meta, self.node_id, self.waits.call_after) if folder.is_shared else None
        self.partitions = Partitions(
            self.node_id,
            clock,
            loop,
            self.turn,
            self.waits,
            world.files,
            world.entropy,
            self.folder,
            options,
            open_files_max,
            self._new_reign,
            log,
            durable,
        )
        self.topics = self._make_topics(world)
        self.cluster.listen(self._changed)
        self.groups = self._make_groups(world)
        self.upkeep = self._make_upkeep(world)
        self._lag = LoopLag(clock, self.waits, telemetry)
        self.broker = self._make_broker(world)
        self.listeners = Listeners(
            world.network,
            Dispatch(self.broker),
            self.turn,
            self.waits,
            self.partitions.uncommitted,
            options.get_int,
            telemetry,
        )
        self.health = Health(world.network, telemetry)
        self.partitions.on_opened.append(self._opened)
        self.partitions.on_closed.append(self._closed)
        self._declare_gauges()

    def _make_topics(self, world: World) -> TopicChanges:
        return TopicChanges(
            self.node_id,
            world.clock,
            world.loop,
            self.cluster,
            self.partitions,
            self._options,
            world.entropy,
            self.waits,
            self._settled,
        )

    def _make_groups(self, world: World) -> GroupCoordinator:
        return GroupCoordinator(
            world.clock,
            self.waits,
            world.loop,
            self.turn,
            world.entropy,
            lambda: self.cluster.image,
            self._options,
            self._offsets_count,
            self.log,
        )

    def _make_upkeep(self, world: World) -> Upkeep:
        memory_max = None if self._durable else self._options.get_int("barnabas.memory.max.bytes")
        return Upkeep(
            world.clock,
            world.loop,
            self.waits,
            self.partitions,
            self.folder,
            self._options,
            self.log,
            memory_max,
        )

    def _make_broker(self, world: World) -> Broker:
        return Broker(
            self.node_id,
            world.clock,
            world.loop,
            self._options,
            self.cluster,
            self.partitions,
            self.groups,
            FetchSessions(
                self._options.get_int("max.incremental.fetch.session.cache.slots"), world.entropy.below
            ),
            ProducerIds(self._take_producer_ids),
            self.topics,
            self.turn,
            self.waits,
            self.telemetry,
            self.log,
            self.upkeep.write_checkpoints,
            self._disk_bytes,
        )

    def _declare_gauges(self) -> None:
        partitions = self.partitions
        self.telemetry.gauge("barnabas_partitions", "Partitions of this node").read_from(partitions.count)
        self.telemetry.gauge("barnabas_partitions_offline", "Partitions that do not serve").read_from(
            lambda: sum(1 for partition in partitions.all() if partition.offline)
        )
        self.telemetry.gauge("barnabas_log_bytes", "Bytes of all logs").read_from(
            lambda: sum(partition.log.size_bytes for partition in partitions.all())
        )
        self.telemetry.gauge("barnabas_fetch_sessions", "Open fetch sessions").read_from(
            lambda: len(self.broker.fetch_sessions)
        )
        self.telemetry.gauge(
            "barnabas_fetch_session_bytes", "Memory of the partitions of all fetch sessions"
        ).read_from(lambda: self.broker.fetch_sessions.held_bytes)
        self.telemetry.gauge("barnabas_timers", "Timers that will fire").read_from(self.waits.pending)

    # -- start

    def start(self, done: Callable[[StartFailed | None], None]) -> None:
        """done(None) when clients can connect, or the reason why they never will."""

        def failed(text: str) -> None:
            self.folder.close(clean=False)
            done(StartFailed(text))

        def succeeds(step: Callable[[], None]) -> bool:
            """Whatever goes wrong is told: who waits for the start must not wait for ever."""
            try:
                step()
            except WorldError as problem:
                text = problem.what
            except Exception as bug:
                text = repr(bug)
            else:
                return True
            self.listeners.stop()
            self.health.stop()
            failed(text)
            return False

        def ready(error: WorldError | None) -> None:
            if error is not None:
                failed(error.what)
                return
            self.cluster.submit(
                lambda image: changes.start_node(image, self._own_image(image.brokers), self._world.entropy),
                reigned,
            )

        def reigned(reign: int | None, error: WorldError | None) -> None:
            if reign is None:
                failed(error.what if error else "the metadata store failed")
                return
            self.partitions.reign = reign
            if not succeeds(self._open):
                return
            self.cluster.submit(
                lambda image: changes.register_broker(image, self._own_image(image.brokers)), registered
            )

        def registered(_: None, error: WorldError | None) -> None:
            if error is not None:
                failed(error.what)
                return
            self._with_peers(self._world.clock.mono_ms() + PEERS_MS, welcome)

        def welcome() -> None:
            if not succeeds(lambda: self._listen(bootstrap_of(self._options.static), shared=True)):
                return
            self._started = True
            self.health.ready = True
            self.topics.serving()
            done(None)

        self._take_up(ready)

    def _with_peers(self, until_ms: int, go_on: Callable[[], None]) -> None:
        """A client's first question is answered with all brokers, or with those there are by then."""
        late = self._world.clock.mono_ms() >= until_ms
        if late or all(node_id in self.cluster.image.brokers for node_id in self._peers):
            go_on()
        elif not self._stopping:
            self.waits.call_after(PEERS_CHECK_MS, lambda: self._with_peers(until_ms, go_on))

    def _take_up(self, done: Callable[[WorldError | None], None]) -> None:
        """The image as it is, what journals have, and then, without workers, this node as the only one of the image."""

        def loaded(error: WorldError | None) -> None:
            try:
                if error is not None:
                    raise error
                self._take_up_journals()
            except WorldError as problem:
                done(problem)
                return
            if self._settled is not None:
                self._settled.load(done)
            else:
                # There may have been workers, or another node id.
                self.cluster.submit(lambda image: placing.spread(image, [self.node_id]), spread)

        def spread(moved: int | None, error: WorldError | None) -> None:
            if moved:
                self.log.info("this node leads what others did", partitions=moved)
            done(error)

        self.cluster.load(loaded)

    def _own_image(self, known: object) -> BrokerImage:
        told = advertised_of(self._options.static, self.bound)
        return BrokerImage(
            self.node_id,
            tuple(_endpoint(listener) for listener in told.values()),
            self._options.get("broker.rack"),
            self.partitions.reign,
        )

    def _take_up_journals(self) -> None:
        """Before the image is changed: workers of an earlier run, if they still live, follow it. Raises WorldError."""
        files, folder = self._world.files, self.folder
        if folder.is_shared:
            take_up_own(files, folder, self.log)
        else:
            were_clean = consolidate(files, folder, self.cluster.image.topics, self.log)
            folder.was_clean = folder.was_clean and were_clean

    def _open(self) -> None:
        image = self.cluster.image
        self.topics.use_broker_overrides(image)
        if not self.folder.is_shared:
            self.folder.write_identity(image.cluster_id, self.node_id, self._world.entropy.uuid())
            self.folder.set_aside(
                {topic.name: (topic.topic_id, len(topic.partitions)) for topic in image.topics.values()},
                self._world.entropy.uuid,
            )
        self.groups.start()
        self.topics.take_up()
        # A worker's parent has its addresses reserved, so they can only be shared with that.
        self._listen(listeners_of(self._options.static), shared=self.folder.is_shared)
        port = self._options.get_int("barnabas.metrics.port")
        if port >= 0:
            self.metrics_port = self._listen_for_health(port)
        self.listeners.start()
        self.upkeep.start()
        self._lag.start()

    def _listen(self, listeners: Sequence[Listener], shared: bool) -> None:
        """The first address under a listener's name is what clients are told; those for bootstrap come last."""
        for listener in listeners:
            host = listener.host or "0.0.0.0"
            try:
                listening = self.listeners.listen(listener.name, host, listener.port, shared=shared)
            except WorldError as error:
                text = f"{error.what} (--host and --port, or listeners in the configuration)"
                raise WorldError(text, error.errno) from error
            self.bound.setdefault(listener.name, (listening.host, listening.port))

    def _listen_for_health(self, port: int) -> int:
        try:
            return self.health.listen(self._options.get_str("barnabas.metrics.host"), port).port
        except WorldError as error:
            text = f"metrics page: {error.what} (barnabas.metrics.port; -1 turns the page off)"
            raise WorldError(text, error.errno) from error

    # -- stop

    def stop(self, done: Callable[[bool], None]) -> None:
        """done(True) after a clean stop: nothing is scanned at the next start."""
        if self._stopping:
            return
        self._stopping = True
        self.health.ready = False
        if not self._started:
            self.folder.close(clean=False)
            done(False)
            return
        self.listeners.stop()
        self.groups.stop()
        self.upkeep.stop()
        self.partitions.stop()
        world = self._world
        Closing(
            world.clock,
            world.loop,
            self.waits,
            world.files,
            self.partitions,
            self.log,
            lambda clean: self._closed_all(clean, done),
        ).begin()

    def _closed_all(self, clean: bool, done: Callable[[bool], None]) -> None:
        def written(error: WorldError | None) -> None:
            self.health.stop()
            self._lag.stop()
            self.partitions.journal.close()
            try:
                self.folder.close(clean and error is None)
            except WorldError as problem:
                self.log.error("no clean mark", reason=problem.what)
            done(clean and error is None)

        self.upkeep.write_checkpoints(written)

    # -- what parts ask of each other

    def _offsets_count(self) -> int:
        topic = self.cluster.image.topics.get(OFFSETS_TOPIC)
        return 0 if topic is None else len(topic.partitions)

    def _opened(self, partition: Partition) -> None:
        if partition.topic == OFFSETS_TOPIC:
            self.groups.on_partition_opened(partition.index, partition)

    def _closed(self, partition: Partition) -> None:
        if partition.topic == OFFSETS_TOPIC:
            self.groups.on_partition_closed(partition.index)

    def _changed(self, _: Image, facts: Sequence[Fact]) -> None:
        deleted = [fact.name for fact in facts if isinstance(fact, TopicDeleted)]
        for name in deleted:
            self.groups.on_topic_deleted(name)
        if deleted and self._started:
            # A topic of the same name must not meet the old one's recovery points and log starts after a crash.
            self.upkeep.write_checkpoints()

    def _new_reign(self, topic: str, index: int, done: Callable[[int, int], None]) -> None:
        def told(reign: int | None, error: WorldError | None) -> None:
            done(-1 if reign is None else 0, reign or 0)

        self.cluster.submit(lambda image: placing.under_reign(image, topic, index), told)

    def _take_producer_ids(self, done: Callable[[int, int, int], None]) -> None:
        def told(first: int | None, error: WorldError | None) -> None:
            code = errors.COORDINATOR_LOAD_IN_PROGRESS if first is None else 0
            done(code, first or 0, changes.PRODUCER_ID_BLOCK)

        self.cluster.submit(changes.take_producer_ids, told)

    def _disk_bytes(self) -> tuple[int, int]:
        """Total and usable bytes of the disk the folder is on. The file system keeps both: 3 µs, whatever is in the folder."""
        files, root = self._world.files, self.folder.root
        return files.total_bytes(root), files.free_bytes(root)


def _endpoint(listener: Listener) -> Endpoint:
    return Endpoint(listener.name, listener.host, listener.port, listener.protocol or "PLAINTEXT")
