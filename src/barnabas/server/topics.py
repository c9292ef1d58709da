"""Topics made, grown and deleted: from a decision on the image to partitions that serve.

T1  A reply to CreateTopics, CreatePartitions or Metadata comes after the partitions are open (decision 24): this listens
    to the image before those who asked are told.
T3  timeout_ms is how long a change may wait to begin: with none left nothing is done and REQUEST_TIMED_OUT answers. What has
    begun is answered when it is durable, however late. So Kafka's controller does it.
T2  Internal topics are made by the broker alone, when they are first needed.
T4  With workers T1 holds for all of them: who asked is told when each broker has opened what it leads of it (settled.py), or
    when timeout_ms is over: it is made by then, and Kafka's controller does not wait for brokers at all. One that is asked
    by name about a topic the others do not all know yet waits a little, too. So are options that are altered (altering.py).
T5  Opening and closing goes in slices: ten thousand partitions, or those of a dead broker, hold up nobody's request. A change
    that fits into one slice is done before the image is shown.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from barnabas import errors
from barnabas.cluster import changes
from barnabas.cluster.changes import TopicResult, TopicRules
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerRegistered,
    BrokerRemoved,
    Fact,
    Image,
    OverridesSet,
    Topic,
    TopicDeleted,
    TopicSet,
)
from barnabas.cluster.placing import epoch_of
from barnabas.cluster.settled import Settled
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions, topic_fault
from barnabas.ids import ZERO_UUID
from barnabas.partitions.open import OFFSETS_TOPIC, Partitions
from barnabas.partitions.slices import in_slices
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Entropy, Loop, WorldError
from barnabas.wire.messages.create_topics import CreatableTopic, CreatableTopicConfig

OFFSETS_OVERRIDES: Final = {"cleanup.policy": "compact", "compression.type": "producer"}
SETTLE_MS_MAX: Final = 30_000
Done = Callable[[list[TopicResult]], None]
NOBODY: Final = (-1, -1)
Asked = tuple[str | None, bytes]
"""How a request names a topic: by name or by id."""


class Advertised:
    """A broker as clients of one listener are told of it."""

    __slots__ = ("host", "node_id", "port", "rack")

    def __init__(self, node_id: int, host: str, port: int, rack: str | None) -> None:
        self.node_id = node_id
        self.host = host
        self.port = port
        self.rack = rack


def rules_of(options: BrokerOptions) -> TopicRules:
    return TopicRules(
        overrides_fault=topic_fault,
        partitions_default=options.get_int("num.partitions"),
        replication_default=options.get_int("default.replication.factor"),
        replication_exact=options.get_str("barnabas.replication") == "exact",
        delete_enabled=options.get_bool("delete.topic.enable"),
    )


class TopicChanges:
    """Changes of topics on one node."""

    def __init__(
        self,
        node_id: int,
        clock: Clock,
        loop: Loop,
        cluster: ClusterStore,
        partitions: Partitions,
        options: BrokerOptions,
        entropy: Entropy,
        waits: Waits,
        settled: Settled | None,
    ) -> None:
        """settled: how far the other brokers are; None where there can be none."""
        self._node_id = node_id
        self._clock = clock
        self._loop = loop
        self._cluster = cluster
        self._partitions = partitions
        self._options = options
        self._entropy = entropy
        self._waits = waits
        self._settled = settled
        self._known: dict[str, Topic] = {}
        self._settling = False
        self._unsettled: dict[str, int] = {}
        """Topics that changed, and the version of the image from which on everybody knows them so."""
        self._taken_up = False
        self._steps: deque[Iterator[None]] = deque()
        self._following = False
        self._when_followed: list[Callable[[], None]] = []
        cluster.listen(self._changed)

    # -- following the image

    def take_up(self) -> None:
        """At start, once this node has its reign: open every topic of the image."""
        self._taken_up = True
        for topic in self._cluster.image.topics.values():
            self._known[topic.name] = topic
            for _ in self._partitions.opening(topic):
                pass  # nobody is served yet, so nobody waits for a turn
        self._partitions.taken_up = True

    def serving(self) -> None:
        """Clients can connect: what the image says so far is opened."""
        if self._settled is not None:
            self._settled.mark(self._cluster.image.version)

    def _changed(self, image: Image, facts: Sequence[Fact]) -> None:
        if not self._taken_up:
            return  # the image is being loaded: without a reign nothing may be opened
        if any(isinstance(fact, BrokerRemoved | BrokerRegistered) for fact in facts):
            # What it led may be ours now. Who hears late is told of a removal and a return as of a return alone.
            self._partitions.stale_offsets = True
        for fact in facts:
            if isinstance(fact, TopicSet):
                self._steps.append(self._set(fact.topic))
                self._unsettle(fact.topic.name, image)
            elif isinstance(fact, TopicDeleted):
                self._steps.append(self._delete(fact.name))
                self._unsettle(fact.name, image)
            elif isinstance(fact, OverridesSet) and fact.scope == "broker":
                self.use_broker_overrides(image)
        self._steps.append(self._mark(image.version))
        if not self._following:
            self._following = True
            in_slices(self._clock, self._loop, self._follow(), self._followed)

    def _follow(self) -> Iterator[None]:
        """T5. What changes meanwhile comes behind it."""
        while self._steps:
            yield from self._steps.popleft()

    def _followed(self) -> None:
        self._following = False
        told, self._when_followed = self._when_followed, []
        for tell in told:
            tell()

    def _set(self, topic: Topic) -> Iterator[None]:
        known = self._known.get(topic.name)
        self._known[topic.name] = topic
        if known is not None and known.topic_id != topic.topic_id:
            yield from self._partitions.closing(known.name, known.topic_id)
        if known is not None and known.overrides != topic.overrides:
            self._partitions.reconfigure(topic)
        yield from self._partitions.opening(topic)

    def _delete(self, name: str) -> Iterator[None]:
        topic = self._known.pop(name, None)
        if topic is not None:
            yield from self._partitions.closing(topic.name, topic.topic_id)

    def _mark(self, version: int) -> Iterator[None]:
        if self._settled is not None:
            self._settled.mark(version)
            self._settled.review()
        yield

    def use_broker_overrides(self, image: Image) -> None:
        """Dynamic broker options changed: topics that take their default from them follow."""
        self._options.set_dynamic(image.broker_overrides(self._node_id), image.cluster_overrides())
        for topic in self._known.values():
            self._partitions.reconfigure(topic)

    # -- T4

    def _unsettle(self, name: str, image: Image) -> None:
        if self._settled is not None and len(image.brokers) > 1:
            self._unsettled[name] = image.version
            if not self._settling:
                self._settle()

    def _settle(self) -> None:
        """Forget the topics that everybody knows by now; one wait goes on for as long as there are others."""
        settled, version = self._settled, self._cluster.image.version
        assert settled is not None, "only then are topics unsettled"

        def reached() -> None:
            for name in [name for name, until in self._unsettled.items() if until <= version]:
                del self._unsettled[name]
            self._settling = False
            if self._unsettled:
                self._settle()

        self._settling = True
        settled.wait(version, self._others, reached)

    def _others(self) -> Collection[int]:
        return self._cluster.image.brokers.keys() - {self._node_id}

    def when_settled(self, names: Collection[str], timeout_ms: int, done: Callable[[], None]) -> bool:
        """Whether all brokers serve these topics as the image has them; if not, done() once they do or the time is over."""
        if self._following:

            def followed() -> None:
                if self.when_settled(names, timeout_ms, done):
                    done()

            self._when_followed.append(followed)
            return False
        if not self._unsettled:
            return True
        version = max((self._unsettled.get(name, 0) for name in names), default=0)
        return self._when_marked(version, timeout_ms, done)

    def when_all_settled(self, timeout_ms: int, done: Callable[[], None]) -> bool:
        """The same of all that the image says, whatever it speaks of."""
        if self._following:

            def followed() -> None:
                if self.when_all_settled(timeout_ms, done):
                    done()

            self._when_followed.append(followed)
            return False
        return self._when_marked(self._cluster.image.version, timeout_ms, done)

    def _when_marked(self, version: int, timeout_ms: int, done: Callable[[], None]) -> bool:
        settled = self._settled
        if settled is None or settled.reached(version, self._others()):
            return True

        def reached() -> None:
            timer.cancel()
            done()

        def late() -> None:
            waiting.cancel()
            done()

        timer = self._waits.call_after(max(timeout_ms, 0), late)
        waiting = settled.wait(version, self._others, reached)
        return False

    # -- deciding

    def rules(self) -> TopicRules:
        return rules_of(self._options)

    def create(
        self,
        asks: Sequence[CreatableTopic],
        validate_only: bool,
        done: Done,
        timeout_ms: int | None = None,
    ) -> None:
        """done(results) once what was made serves."""
        self.submit(
            lambda image: changes.create_topics(image, asks, self.rules(), self._entropy, validate_only),
            [(ask.name, ZERO_UUID) for ask in asks],
            done,
            timeout_ms,
        )

    def submit(
        self,
        decide: Callable[[Image], Decision[list[TopicResult]]],
        asked: Sequence[Asked],
        done: Done,
        timeout_ms: int | None = None,
    ) -> None:
        """A decision about the topics asked for. When it is not made (T3) or the store fails, each of them gets that code."""

        def refuse(code: int, text: str | None) -> None:
            done([TopicResult(name, code, text, topic_id=topic_id) for name, topic_id in asked])

        def told(results: list[TopicResult] | None, error: WorldError | None) -> None:
            if timer is not None:
                timer.cancel()
            if results is None:
                refuse(errors.KAFKA_STORAGE_ERROR, error.what if error is not None else None)
                return
            names = [result.name for result in results if result.name is not None]
            left_ms = SETTLE_MS_MAX if timeout_ms is None else deadline_ms - self._clock.mono_ms()
            if self.when_settled(names, left_ms, lambda: done(results)):
                done(results)

        def late() -> None:
            if self._cluster.withdraw(submission):
                refuse(errors.REQUEST_TIMED_OUT, None)

        if timeout_ms is not None and timeout_ms <= 0:
            refuse(errors.REQUEST_TIMED_OUT, None)
            return
        deadline_ms = self._clock.mono_ms() + (timeout_ms or 0)
        timer = None if timeout_ms is None else self._waits.call_after(timeout_ms, late)
        submission = self._cluster.submit(decide, told)

    def create_automatically(self, names: Sequence[str], done: Callable[[dict[str, int]], None]) -> None:
        """Topics that clients asked for and nobody made. done(error code by name); a name that exists by now is 0."""
        wanted = dict.fromkeys(name for name in names if name != OFFSETS_TOPIC)
        asks = [CreatableTopic(name=name, num_partitions=-1, replication_factor=-1) for name in wanted]

        def told(results: list[TopicResult]) -> None:
            codes = {result.name or "": result.code for result in results}
            for name, code in codes.items():
                if code == errors.TOPIC_ALREADY_EXISTS:
                    codes[name] = 0
            if OFFSETS_TOPIC in names:
                self.ensure_offsets_topic(lambda code: done({**codes, OFFSETS_TOPIC: code}))
            else:
                done(codes)

        self.create(asks, False, told)

    def ensure_offsets_topic(self, done: Callable[[int], None]) -> None:
        """T2. done(0) once __consumer_offsets serves."""
        if OFFSETS_TOPIC in self._cluster.image.topics:
            if self.when_settled([OFFSETS_TOPIC], SETTLE_MS_MAX, lambda: done(0)):
                done(0)
            return
        overrides = {
            **OFFSETS_OVERRIDES,
            "segment.bytes": self._options.get_str("offsets.topic.segment.bytes"),
        }
        ask = CreatableTopic(
            name=OFFSETS_TOPIC,
            num_partitions=self._options.get_int("offsets.topic.num.partitions"),
            replication_factor=-1,
            configs=[CreatableTopicConfig(name=name, value=value) for name, value in overrides.items()],
        )

        def told(results: list[TopicResult]) -> None:
            code = results[0].code
            done(0 if code == errors.TOPIC_ALREADY_EXISTS else code)

        self.create([ask], False, told)

    # -- telling

    @property
    def controller_id(self) -> int:
        """Whom clients ask for changes. Any broker makes them; one that makes all meets no other's in between."""
        return min(self._cluster.image.brokers, default=self._node_id)

    def leader_of(self, name: str, topic_id: bytes, index: int) -> tuple[int, int]:
        """Broker and epoch of a partition's leader, by topic name or id: (-1, -1) when it has none now."""
        image = self._cluster.image
        known = image.topics.get(name) or image.topics_by_id.get(topic_id)
        if known is None or not 0 <= index < len(known.partitions):
            return NOBODY
        placed = known.partitions[index]
        return (placed.leader, epoch_of(image, placed)) if placed.leader in image.brokers else NOBODY

    def advertised(self, listener: str) -> list[Advertised]:
        """All brokers, as clients of that listener reach them."""
        return [
            Advertised(broker.node_id, endpoint.host, endpoint.port, broker.rack)
            for broker in self._cluster.image.brokers.values()
            for endpoint in (broker.endpoint(listener),)
        ]
