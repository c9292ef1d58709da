"""The cluster as this node knows it: one snapshot in RAM that is never edited, and the facts that lead to the next.

I1  An Image and all it holds is treated as immutable: a reader may keep it over a whole request.
I2  Only a Draft makes a new one, from facts; store.py shows it when they are durable. It copies each dictionary that the facts
    touch once, however many facts there are, and shares the rest: 10,000 topics cost a pointer each, not an object.
I3  version rises by one with each committed transaction, so what is encoded from an image (Metadata) may be kept
    for as long as the version stands.
Truth   the MetaStore (store.py). The image is rebuilt from it at each start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

METADATA_VERSION_MIN: Final = 7
METADATA_VERSION: Final = 30
"""metadata.version as Apache Kafka 4.3 finalises it (4.3-IV0); 7 is the oldest it supports (3.3-IV3)."""

FEATURES_SUPPORTED: Final[Mapping[str, tuple[int, int]]] = {
    "metadata.version": (METADATA_VERSION_MIN, METADATA_VERSION)
}
FEATURES_FINALIZED: Final[Mapping[str, int]] = {"metadata.version": METADATA_VERSION}
"""transaction.version and group.version are absent until transactions and KIP-848 groups exist (decision 41)."""

Scope: TypeAlias = Literal["broker", "group", "client-metrics"]
"""What overrides may be kept for besides topics, which carry their own."""

CLUSTER_DEFAULT: Final = ""
"""The name under which the broker overrides for all brokers are kept, as Kafka's empty resource name."""


class PartitionImage:
    """Who has one partition. leader_epoch is 0 until a cluster assigns leaders; one node uses its reign."""

    __slots__ = ("isr", "leader", "leader_epoch", "replicas")

    def __init__(
        self, leader: int, leader_epoch: int, replicas: tuple[int, ...], isr: tuple[int, ...]
    ) -> None:
        self.leader = leader
        self.leader_epoch = leader_epoch
        self.replicas = replicas
        self.isr = isr

    def facts(self) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
        return self.leader, self.leader_epoch, self.replicas, self.isr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartitionImage) and self.facts() == other.facts()

    def __hash__(self) -> int:
        return hash(self.facts())

    def __repr__(self) -> str:
        return f"PartitionImage{self.facts()}"


@dataclass(slots=True)
class Topic:
    """A topic: its 16-byte id (KIP-516), its partitions by index, and what its creator set."""

    name: str
    topic_id: bytes
    partitions: tuple[PartitionImage, ...]
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Endpoint:
    """Where one listener of a broker can be reached."""

    listener: str
    host: str
    port: int
    protocol: str = "PLAINTEXT"


@dataclass(slots=True)
class BrokerImage:
    """A registered broker. host and port are those of its first listener.

    reign is the one it took when it started: what it leads has at least this leader epoch (decision 16). 0: it was
    registered by a program that did not say.
    """

    node_id: int
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None
    reign: int = 0

    @property
    def host(self) -> str:
        return self.endpoints[0].host

    @property
    def port(self) -> int:
        return self.endpoints[0].port

    def endpoint(self, listener: str) -> Endpoint:
        """The one clients of that listener should use; the first when the broker has none of that name."""
        return next((known for known in self.endpoints if known.listener == listener), self.endpoints[0])


# -- facts -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class ClusterNamed:
    """The cluster got its id; once, at its first start."""

    cluster_id: str


@dataclass(slots=True)
class ReignTaken:
    """A start, takeover or re-open got a leader epoch above all before it (decision 16)."""

    reign: int


@dataclass(slots=True)
class BrokerRegistered:
    broker: BrokerImage


@dataclass(slots=True)
class BrokerRemoved:
    """The broker is no more. What it led has been given to others by then, or is in the same decision."""

    node_id: int


@dataclass(slots=True)
class TopicSet:
    """A topic was made, or is now this."""

    topic: Topic


@dataclass(slots=True)
class TopicDeleted:
    name: str


@dataclass(slots=True)
class OverridesSet:
    """The overrides of one resource are now these and no others; none at all removes the resource."""

    scope: Scope
    name: str
    overrides: Mapping[str, str]


@dataclass(slots=True)
class ProducerIdsTaken:
    """Every producer id below this one has been given to some node."""

    producer_id_next: int


Fact: TypeAlias = (
    ClusterNamed
    | ReignTaken
    | BrokerRegistered
    | BrokerRemoved
    | TopicSet
    | TopicDeleted
    | OverridesSet
    | ProducerIdsTaken
)


# -- image -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Image:
    """The snapshot. Mappings are never edited once the image exists (I1)."""

    version: int = 0
    cluster_id: str = ""
    reign: int = 0
    producer_id_next: int = 0
    brokers: Mapping[int, BrokerImage] = field(default_factory=dict)
    topics: Mapping[str, Topic] = field(default_factory=dict)
    topics_by_id: Mapping[bytes, Topic] = field(default_factory=dict)
    overrides: Mapping[tuple[Scope, str], Mapping[str, str]] = field(default_factory=dict)
    collisions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names by their metric name ('.' as '_'): two that share one may not both exist."""

    features_supported: Mapping[str, tuple[int, int]] = field(default_factory=lambda: FEATURES_SUPPORTED)
    features_finalized: Mapping[str, int] = field(default_factory=lambda: FEATURES_FINALIZED)

    @property
    def features_epoch(self) -> int:
        """Epoch of the finalised features: here, as in Kafka, how far the metadata has come."""
        return self.version

    def broker_overrides(self, node_id: int) -> Mapping[str, str]:
        """What is set for this broker alone; what is set for all of them is cluster_overrides()."""
        return self.overrides.get(("broker", str(node_id)), {})

    def cluster_overrides(self) -> Mapping[str, str]:
        return self.overrides.get(("broker", CLUSTER_DEFAULT), {})

    def group_overrides(self, group: str) -> Mapping[str, str]:
        return self.overrides.get(("group", group), {})

    def client_metrics_overrides(self, subscription: str) -> Mapping[str, str]:
        return self.overrides.get(("client-metrics", subscription), {})


def metric_name(topic: str) -> str:
    """Kafka's metrics write '.' as '_', so `a.b` and `a_b` would be one there."""
    return topic.replace(".", "_")


class Draft:
    """The next image in the making: dictionaries are copied at their first touch (I2).

    image may be read between facts, to decide the next ones; it is an Image (I1) once the last fact is taken.
    """

    def __init__(self, before: Image) -> None:
        self.before = before
        self.image = replace(before, version=before.version + 1)
        self._topics: dict[str, Topic] = {}
        self._topics_by_id: dict[bytes, Topic] = {}
        self._collisions: dict[str, frozenset[str]] = {}
        self._overrides: dict[tuple[Scope, str], Mapping[str, str]] = {}

    def take(self, fact: Fact) -> None:
        match fact:
            case TopicSet(topic):
                self._set_topic(topic)
            case TopicDeleted(name):
                self._delete_topic(name)
            case OverridesSet():
                self._set_overrides(fact)
            case BrokerRegistered(broker):
                self.image.brokers = {**self.image.brokers, broker.node_id: broker}
            case BrokerRemoved(node_id):
                brokers = dict(self.image.brokers)
                del brokers[node_id]
                self.image.brokers = brokers
            case ProducerIdsTaken(producer_id_next):
                self.image.producer_id_next = producer_id_next
            case ReignTaken(reign):
                self.image.reign = reign
            case ClusterNamed(cluster_id):
                self.image.cluster_id = cluster_id

    def _open_topics(self) -> None:
        if self.image.topics is self.before.topics:
            self.image.topics = self._topics = dict(self.before.topics)
            self.image.topics_by_id = self._topics_by_id = dict(self.before.topics_by_id)
            self.image.collisions = self._collisions = dict(self.before.collisions)

    def _set_topic(self, topic: Topic) -> None:
        self._open_topics()
        old = self._topics.get(topic.name)
        if old is not None and old.topic_id != topic.topic_id:
            del self._topics_by_id[old.topic_id]
        self._topics[topic.name] = self._topics_by_id[topic.topic_id] = topic
        name = metric_name(topic.name)
        self._collisions[name] = self._collisions.get(name, frozenset()) | {topic.name}

    def _delete_topic(self, name: str) -> None:
        self._open_topics()
        topic = self._topics.pop(name)
        del self._topics_by_id[topic.topic_id]
        left = self._collisions.pop(metric_name(name)) - {name}
        if left:
            self._collisions[metric_name(name)] = left

    def _set_overrides(self, fact: OverridesSet) -> None:
        if self.image.overrides is self.before.overrides:
            self.image.overrides = self._overrides = dict(self.before.overrides)
        if fact.overrides:
            self._overrides[(fact.scope, fact.name)] = fact.overrides
        else:
            self._overrides.pop((fact.scope, fact.name), None)


def apply(image: Image, facts: Iterable[Fact]) -> Image:
    """The image after these facts, in their order, as one version. Removing what is absent is our own error."""
    draft = Draft(image)
    for fact in facts:
        draft.take(fact)
    return draft.image


def is_news(before: Image, fact: Fact) -> bool:
    """Whether the image says something else so far."""
    match fact:
        case TopicSet(topic):
            return before.topics.get(topic.name) != topic
        case TopicDeleted(name):
            return name in before.topics
        case OverridesSet(scope, name, overrides):
            return before.overrides.get((scope, name), {}) != overrides
        case BrokerRegistered(broker):
            return before.brokers.get(broker.node_id) != broker
        case BrokerRemoved(node_id):
            return node_id in before.brokers
        case ProducerIdsTaken(producer_id_next):
            return before.producer_id_next != producer_id_next
        case ReignTaken(reign):
            return before.reign != reign
        case ClusterNamed(cluster_id):
            return before.cluster_id != cluster_id


def difference(before: Image, after: Image) -> list[Fact]:
    """Facts that lead from before to after, whatever happened in between. Deletions come first.

    A topic that was deleted and made again is deleted here too: its id tells.
    """
    facts: list[Fact] = [
        TopicDeleted(topic.name)
        for topic in before.topics.values()
        if topic.topic_id not in after.topics_by_id
    ]
    facts += [TopicSet(topic) for topic in after.topics.values() if before.topics.get(topic.name) != topic]
    facts += [OverridesSet(*key, {}) for key in before.overrides if key not in after.overrides]
    facts += [
        OverridesSet(*key, overrides)
        for key, overrides in after.overrides.items()
        if before.overrides.get(key) != overrides
    ]
    facts += [BrokerRemoved(node_id) for node_id in before.brokers if node_id not in after.brokers]
    facts += [
        BrokerRegistered(broker)
        for broker in after.brokers.values()
        if before.brokers.get(broker.node_id) != broker
    ]
    if after.producer_id_next != before.producer_id_next:
        facts.append(ProducerIdsTaken(after.producer_id_next))
    if after.reign != before.reign:
        facts.append(ReignTaken(after.reign))
    if after.cluster_id != before.cluster_id:
        facts.append(ClusterNamed(after.cluster_id))
    return facts
