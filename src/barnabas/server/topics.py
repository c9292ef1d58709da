"""Topics made, grown and deleted: from a decision on the image to partitions that serve.

T1  A reply to CreateTopics, CreatePartitions or Metadata comes after the partitions are open (decision 24): this listens
    to the image before those who asked are told.
T3  timeout_ms is how long a change may wait to begin: with none left nothing is done and REQUEST_TIMED_OUT answers. What has
    begun is answered when it is durable, however late. So Kafka's controller does it.
T2  Internal topics are made by the broker alone, when they are first needed.
"""

from collections.abc import Callable, Sequence
from typing import Final

from barnabas import errors
from barnabas.cluster import changes
from barnabas.cluster.changes import Decision, TopicResult, TopicRules
from barnabas.cluster.image import (
    CLUSTER_DEFAULT,
    Fact,
    Image,
    OverridesSet,
    Topic,
    TopicDeleted,
    TopicSet,
)
from barnabas.cluster.store import ClusterStore
from barnabas.config.effective import BrokerOptions, topic_fault
from barnabas.ids import ZERO_UUID
from barnabas.partitions.open import OFFSETS_TOPIC, Partitions
from barnabas.partitions.waits import Waits
from barnabas.ports import Entropy, WorldError
from barnabas.wire.messages.create_topics import CreatableTopic, CreatableTopicConfig

OFFSETS_OVERRIDES: Final = {"cleanup.policy": "compact", "compression.type": "producer"}
Done = Callable[[list[TopicResult]], None]
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


class TopicChanges:
    """Changes of topics on one node."""

    def __init__(
        self,
        node_id: int,
        cluster: ClusterStore,
        partitions: Partitions,
        options: BrokerOptions,
        entropy: Entropy,
        waits: Waits,
    ) -> None:
        self._node_id = node_id
        self._cluster = cluster
        self._partitions = partitions
        self._options = options
        self._entropy = entropy
        self._waits = waits
        self._known: dict[str, Topic] = {}
        self._taken_up = False
        cluster.listen(self._changed)

    # -- following the image

    def take_up(self) -> None:
        """At start, once this node has its reign: open every topic of the image."""
        self._taken_up = True
        for topic in self._cluster.image.topics.values():
            self._known[topic.name] = topic
            self._partitions.open_topic(topic)

    def _changed(self, image: Image, facts: Sequence[Fact]) -> None:
        if not self._taken_up:
            return  # the image is being loaded: without a reign nothing may be opened
        for fact in facts:
            if isinstance(fact, TopicSet):
                self._set(fact.topic)
            elif isinstance(fact, TopicDeleted):
                topic = self._known.pop(fact.name, None)
                if topic is not None:
                    self._partitions.close_topic(topic.name, topic.topic_id, delete=True)
            elif isinstance(fact, OverridesSet) and fact.scope == "broker":
                self.use_broker_overrides(image)

    def _set(self, topic: Topic) -> None:
        known = self._known.get(topic.name)
        self._known[topic.name] = topic
        if known is not None and known.topic_id != topic.topic_id:
            self._partitions.close_topic(known.name, known.topic_id, delete=True)
        if known is not None and known.overrides != topic.overrides:
            self._partitions.reconfigure(topic)
        self._partitions.open_topic(topic)

    def use_broker_overrides(self, image: Image) -> None:
        """Dynamic broker options changed: topics that take their default from them follow."""
        self._options.set_dynamic(
            image.overrides.get(("broker", str(self._node_id)), {}),
            image.overrides.get(("broker", CLUSTER_DEFAULT), {}),
        )
        for topic in self._known.values():
            self._partitions.reconfigure(topic)

    # -- deciding

    def rules(self) -> TopicRules:
        options = self._options
        return TopicRules(
            overrides_fault=topic_fault,
            partitions_default=options.get_int("num.partitions"),
            replication_default=options.get_int("default.replication.factor"),
            replication_exact=options.get_str("barnabas.replication") == "exact",
            delete_enabled=options.get_bool("delete.topic.enable"),
        )

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
            else:
                done(results)

        def late() -> None:
            if self._cluster.withdraw(submission):
                refuse(errors.REQUEST_TIMED_OUT, None)

        if timeout_ms is not None and timeout_ms <= 0:
            refuse(errors.REQUEST_TIMED_OUT, None)
            return
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
        if OFFSETS_TOPIC in self._known:
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

    def advertised(self, listener: str) -> list[Advertised]:
        """All brokers, as clients of that listener reach them."""
        return [
            Advertised(broker.node_id, endpoint.host, endpoint.port, broker.rack)
            for broker in self._cluster.image.brokers.values()
            for endpoint in (broker.endpoint(listener),)
        ]
