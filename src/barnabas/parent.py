"""The parent of several workers: it holds the data folder and what its workers share; it serves no client itself.

Start   folder (lock) → workers of an earlier parent have ended → metadata → one set of checkpoints, no journal (consolidate) →
        the shared addresses → spread the leaders → strays, identity → state folders → workers → all serve.
Stop    workers → one set of checkpoints → clean mark.
Failed  when all workers end again and again (supervisor.py, W9): it serves nobody and waits to be stopped.
Crash   between any two: the workers end by themselves, the next start, of workers or of one node, consolidates.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from barnabas.cluster import changes, placing
from barnabas.cluster.changes import TopicResult
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import Fact, Image, Topic, TopicDeleted
from barnabas.cluster.settled import Settled
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions
from barnabas.config.load import Listener, listeners_of, node_id_of
from barnabas.config.workers import own_listeners, worker_options
from barnabas.log.folder import CLEAN_MARK
from barnabas.node import StartFailed
from barnabas.partitions.data_folder import DataFolder, FolderRefused
from barnabas.partitions.owners import bury, consolidate, owner_folder, owners, remove_deleted, try_lock
from barnabas.partitions.waits import Waits
from barnabas.ports import (
    Child,
    Clock,
    Entropy,
    Files,
    Listening,
    Loop,
    MetaStore,
    Network,
    Processes,
    WorldError,
)
from barnabas.server.topics import rules_of
from barnabas.supervisor import Supervisor
from barnabas.telemetry import Log
from barnabas.wire.messages.create_topics import CreatableTopic

EARLIER_MS: Final = 30_000
"""For workers of an earlier parent, which stop by themselves, to end."""
EARLIER_CHECK_MS: Final = 50
REMEDY: Final = "--host and --port, or listeners in the configuration"
OWN_REMEDY: Final = "barnabas.workers.port in the configuration; all workers have a port of their own"
OF_NO_NODE: Final = -1
"""The parent waits for others to have come as far as the metadata; it marks nothing itself."""

SWEEP_AFTER_MS: Final = 1_000
"""After the time in which a worker that lives has removed the folders of a topic that was deleted."""
SWEEP_MS: Final = 60_000

Done = Callable[[StartFailed | None], None]
Step = Callable[[], object]


class Deleted:
    """A topic that was deleted while this parent ran, and who led it then, by partition: node ids and the processes that
    served.
    """

    def __init__(self, version: int, leaders: Sequence[tuple[int, Child | None]]) -> None:
        """version: of the image that lacks it."""
        self.version = version
        self.leaders = leaders


class ParentWorld:
    """What a parent has of the outside."""

    def __init__(
        self,
        clock: Clock,
        loop: Loop,
        files: Files,
        network: Network,
        entropy: Entropy,
        processes: Processes,
        open_store: Callable[[], MetaStore],
    ) -> None:
        """open_store: the metadata store, to be shared with workers; called once, when none of an earlier run has it open."""
        self.clock = clock
        self.loop = loop
        self.files = files
        self.network = network
        self.entropy = entropy
        self.processes = processes
        self.open_store = open_store


class Parent:
    """N brokers on one folder. `start`, then `stop`. All calls on its loop."""

    def __init__(
        self,
        world: ParentWorld,
        folder: DataFolder,
        options: BrokerOptions,
        setup: Mapping[str, object],
        log: Log,
    ) -> None:
        """options: of the whole. setup: what each worker is told besides its own options (worker.py)."""
        self.shared: list[Listener] = []
        self.failure: StartFailed | None = None
        """Why no worker is left, and none will be started."""
        self.on_failed: Callable[[StartFailed], None] = lambda failure: None
        self._world = world
        self._folder = folder
        self._options = options
        self._setup = setup
        self._log = log
        self._waits = Waits(world.clock, world.loop)
        self._reserved: list[Listening] = []
        self._cluster: ClusterStore | None = None
        self._settled: Settled | None = None
        self._supervisor: Supervisor | None = None
        self._on_started: Done | None = None
        self._earlier_until_ms = 0
        self._image: Image | None = None
        """The last one shown."""
        self._deleted: dict[bytes, Deleted] = {}
        self._is_sweeping = False
        self._is_stopping = False

    @property
    def is_started(self) -> bool:
        """Workers have been started; they may not serve yet."""
        return self._supervisor is not None

    @property
    def supervisor(self) -> Supervisor:
        assert self._supervisor is not None, "the workers have been started"
        return self._supervisor

    @property
    def cluster(self) -> ClusterStore:
        assert self._cluster is not None, "the metadata has been opened"
        return self._cluster

    @property
    def settled(self) -> Settled:
        assert self._settled is not None, "the metadata has been opened"
        return self._settled

    # -- start, step by step

    def start(self, done: Done) -> None:
        """done(None) when all workers serve, or the reason why they never will. It may come inside this call."""
        self._on_started = done
        self._earlier_until_ms = self._world.clock.mono_ms() + EARLIER_MS
        self._do(self._folder.open, self._outlive_earlier_workers)

    def _do(self, *steps: Step) -> None:
        """One after the other; a failure ends the start."""
        try:
            for step in steps:
                step()
        except (FolderRefused, WorldError, StartFailed) as error:
            self._fail(str(error))

    def _then(self, step: Step) -> Callable[[WorldError | None], None]:
        return lambda error: self._do(step) if error is None else self._fail(error.what)

    def _fail(self, text: str) -> None:
        done, self._on_started = self._on_started, None
        if done is not None:
            self._close(False, lambda _: done(StartFailed(text)))

    def _outlive_earlier_workers(self) -> None:
        """A parent that was killed leaves workers that stop when they notice."""
        files, root = self._world.files, self._folder.root
        for node_id in owners(files, root):
            release = try_lock(files, root, node_id)
            if release is not None:
                release()
            elif self._world.clock.mono_ms() < self._earlier_until_ms:
                self._waits.call_after(EARLIER_CHECK_MS, lambda: self._do(self._outlive_earlier_workers))
                return
            else:
                raise StartFailed(
                    f"Worker {node_id} of an earlier run still has {owner_folder(root, node_id)} after "
                    f"{EARLIER_MS // 1000} s: find the process with `ps -ef | grep barnabas.worker` and stop it."
                )
        self._open_metadata()

    def _open_metadata(self) -> None:
        store = self._world.open_store()
        self._cluster = ClusterStore(store)
        self._settled = Settled(store, OF_NO_NODE, self._waits.call_after)
        self._cluster.load(self._then(lambda: self.settled.load(self._then(self._consolidate_first))))

    def _consolidate_first(self) -> None:
        # Without a mark of the root nothing is taken for clean, though all workers had ended well: what a burial left to the
        # next leader may not have met one.
        def consolidated(were_clean: bool, error: WorldError | None) -> None:
            was_clean = were_clean and self._folder.was_clean
            self._then(lambda: self._spread(was_clean))(error)

        self._consolidate(consolidated)

    def _consolidate(self, done: Callable[[bool, WorldError | None], None]) -> None:
        """done(whether all workers of the last run had ended cleanly, None), or (False, why not)."""
        files, folder, topics, log = self._world.files, self._folder, self.cluster.image.topics, self._log

        def consolidated(clean: object, error: BaseException | None) -> None:
            done(bool(clean), None if error is None else _as_world_error(error))

        self._world.loop.run_in("read", lambda: consolidate(files, folder, topics, log), consolidated)

    def _spread(self, was_clean: bool) -> None:
        self.shared = self._reserve(listeners_of(self._options.static), REMEDY)
        own = {
            node_id: self._reserve(listeners, OWN_REMEDY)
            for node_id, listeners in own_listeners(self._options).items()
        }
        settings = worker_options(self._options, self.shared, own)
        node_ids = list(settings)

        def spread(moved: int | None, error: WorldError | None) -> None:
            if moved:
                self._log.info("partitions were spread over the workers", moved=moved, workers=len(node_ids))
            self._then(lambda: self._launch(settings, was_clean))(error)

        def named(_: None, error: WorldError | None) -> None:
            self._then(
                lambda: self.cluster.submit(
                    lambda image: placing.spread(image, node_ids, afresh=True), spread
                )
            )(error)

        self.cluster.submit(lambda image: changes.name_cluster(image, self._world.entropy), named)

    def _reserve(self, listeners: Sequence[Listener], remedy: str) -> list[Listener]:
        """With the ports that they got. They stay ours while no worker listens there: one that died comes back to its own."""
        found = []
        for listener in listeners:
            try:
                reserved = self._world.network.reserve(listener.host or "0.0.0.0", listener.port)
            except WorldError as error:
                raise WorldError(f"{error.what} ({remedy})", error.errno) from error
            self._reserved.append(reserved)
            found.append(Listener(listener.name, listener.host, reserved.port, listener.protocol))
        return found

    def _launch(self, settings: Mapping[int, Mapping[str, str]], was_clean: bool) -> None:
        world, image = self._world, self.cluster.image
        self._folder.write_identity(image.cluster_id, node_id_of(self._options.static), world.entropy.uuid())
        self._folder.set_aside(
            {topic.name: (topic.topic_id, len(topic.partitions)) for topic in image.topics.values()},
            world.entropy.uuid,
        )
        for node_id in settings:
            self._make_state_folder(node_id, was_clean)
        self._supervisor = Supervisor(
            world.clock,
            self._waits,
            world.processes,
            self._take_over,
            {node_id: {**self._setup, "options": options} for node_id, options in settings.items()},
            self._options,
            self._log,
            self._hopeless,
        )
        self._image = image
        self.cluster.listen(self._note_deleted)
        self._supervisor.start(self._supervised)

    def _make_state_folder(self, node_id: int, was_clean: bool) -> None:
        """Raises WorldError."""
        state = owner_folder(self._folder.root, node_id)
        self._world.files.make_folder(state)
        if was_clean:
            self._world.files.write_atomic(f"{state}/{CLEAN_MARK}", b"")

    def _supervised(self, error: StartFailed | None) -> None:
        if error is not None:
            self._supervisor = None  # its processes have ended
            self._fail(str(error))
            return
        self.cluster.listen(lambda image, facts: self._look())
        self._look()

    def _hopeless(self, text: str) -> None:
        self.failure = StartFailed(text)
        self._log.error("no worker comes up: this ends", reason=text)
        self.on_failed(self.failure)

    def _look(self) -> None:
        """The workers have told the metadata before they told us; only now do we see it there."""
        if (
            self._on_started is not None
            and self.supervisor.workers.keys() <= self.cluster.image.brokers.keys()
        ):
            done, self._on_started = self._on_started, None
            done(None)

    # -- topics

    def refresh(self, done: Callable[[Image | None, WorldError | None], None]) -> None:
        """done(the image with all that anybody has committed by now, None)."""

        def read(_: None, error: WorldError | None) -> None:
            done(self.cluster.image if error is None else None, error)

        self.cluster.submit(lambda image: Decision(None), read)

    def create_topics(
        self,
        asks: Sequence[CreatableTopic],
        done: Callable[[list[TopicResult] | None, WorldError | None], None],
    ) -> None:
        """done(results, None) when they are made, and all workers that run serve them."""
        rules, entropy = rules_of(self._options), self._world.entropy

        def made(results: list[TopicResult] | None, error: WorldError | None) -> None:
            if error is not None:
                done(None, error)
                return
            self.settled.wait(self.cluster.image.version, self._serving, lambda: done(results, None))
            self.settled.review()

        self.cluster.submit(lambda image: changes.create_topics(image, asks, rules, entropy, False), made)

    def _serving(self) -> list[int]:
        """Whose partitions can be waited for: one that is away opens all it leads before it serves."""
        return [worker.node_id for worker in self.supervisor.workers.values() if worker.state == "serving"]

    # -- a dead worker

    def _take_over(self, node_id: int, done: Callable[[WorldError | None], None]) -> None:
        """Fence, recover, give away. Its process has ended, so its lock can only be held by one that we do not know."""
        world, root = self._world, self._folder.root
        try:
            release = try_lock(world.files, root, node_id)
            if release is None:
                raise WorldError(f"another process holds worker {node_id}'s lock")
        except WorldError as error:
            refused = error
            world.loop.soon(lambda: done(refused))
            return

        is_whole = False

        def buried(all_whole: object, error: BaseException | None) -> None:
            nonlocal is_whole
            is_whole = all_whole is True
            if error is not None:
                finished(None, _as_world_error(error))
            else:
                self.cluster.submit(lambda image: placing.take_over(image, node_id), finished)

        def finished(_: object, error: WorldError | None) -> None:
            release()
            try:
                # It comes back to an empty one, or, where this failed, to what is left. Until it does, the folder is not clean
                # if a log was left as it was: its next leader may not come to it before all stop.
                self._make_state_folder(node_id, was_clean=error is None and is_whole)
            except WorldError as problem:
                error = error or problem
            done(error)

        def bury_it(image: Image | None, error: WorldError | None) -> None:
            if image is None:
                finished(None, error)
                return
            led = led_by(image, node_id)
            world.loop.run_in(
                "read",
                lambda: bury(world.files, root, node_id, led, self._options, world.clock, self._log),
                buried,
            )

        # It may have led more than we have heard of: the image as of now has all that it can have opened.
        self.refresh(bury_it)

    # -- deleted topics: a leader removes the folders, unless it is dead and does not hear of it

    def _note_deleted(self, image: Image, facts: Sequence[Fact]) -> None:
        before, self._image = self._image, image
        if self._supervisor is None or before is None:
            return
        workers = self._supervisor.workers
        for fact in facts:
            topic = before.topics.get(fact.name) if isinstance(fact, TopicDeleted) else None
            if topic is not None:
                found = [(each.leader, workers.get(each.leader)) for each in topic.partitions]
                leaders = [
                    (node_id, worker.child if worker and worker.state == "serving" else None)
                    for node_id, worker in found
                ]
                self._deleted[topic.topic_id] = Deleted(image.version, leaders)
        if self._deleted and not self._is_sweeping:
            self._is_sweeping = True
            self._waits.call_after(self._removing_ms(), self._sweep)

    def _removing_ms(self) -> int:
        return self._options.get_int("log.segment.delete.delay.ms") + SWEEP_AFTER_MS

    def _sweep(self) -> None:
        if self._supervisor is None or self._is_stopping:
            return
        files, root, log = self._world.files, self._folder.root, self._log
        free = {topic_id: self._free_of(deleted) for topic_id, deleted in self._deleted.items()}

        def swept(left: object, error: BaseException | None) -> None:
            if isinstance(left, set):
                for topic_id in free.keys() - left:
                    del self._deleted[topic_id]
            else:
                log.warning("the folders of deleted topics stay", reason=str(error))
            self._is_sweeping = bool(self._deleted)
            if self._is_sweeping:
                self._waits.call_after(SWEEP_MS, self._sweep)

        self._world.loop.run_in(
            "read", lambda: remove_deleted(files, root, free, self._world.entropy.uuid, log), swept
        )

    def _free_of(self, deleted: Deleted) -> set[int]:
        """The partitions whose leader of then has ended, and was buried or has come back without them. One that was coming
        back may have opened them: then it has had the time to remove them.
        """
        free = set()
        long_ago_ms = self._world.clock.mono_ms() - self._removing_ms()
        for index, (node_id, child) in enumerate(deleted.leaders):
            worker = self.supervisor.workers.get(node_id)
            if (
                worker is None
                or (worker.state == "waiting" and worker.is_buried)
                or (
                    worker.state == "serving"
                    and worker.child is not child
                    and worker.serving_since_ms <= long_ago_ms
                    and self.settled.reached(deleted.version, [node_id])
                )
            ):
                free.add(index)
        return free

    # -- stop

    def stop(self, done: Callable[[bool], None]) -> None:
        """done(whether the stop was clean: nothing is scanned at the next start)."""
        self._is_stopping = True
        if self._supervisor is None:
            self._close(False, done)
        else:
            self._supervisor.stop(lambda clean: self._close(clean, done))

    def _close(self, clean: bool, done: Callable[[bool], None]) -> None:
        for reserved in self._reserved:
            reserved.close()

        def consolidated(were_clean: bool, error: WorldError | None) -> None:
            try:
                if error is not None:
                    raise error
                self._folder.close(were_clean)
            except WorldError as problem:
                self._log.error("no clean mark", reason=problem.what)
                self._folder.close(clean=False)
                done(False)
                return
            done(were_clean)

        if clean:
            self._consolidate(consolidated)
        else:
            consolidated(False, None)

    def kill(self) -> None:
        """Without a clean stop: no worker outlives this."""
        if self._supervisor is not None:
            self._supervisor.kill()


def led_by(image: Image, node_id: int) -> list[tuple[Topic, int]]:
    return [
        (topic, index)
        for topic in image.topics.values()
        for index, partition in enumerate(topic.partitions)
        if partition.leader == node_id
    ]


def _as_world_error(error: BaseException) -> WorldError:
    return error if isinstance(error, WorldError) else WorldError(repr(error))
