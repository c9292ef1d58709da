"""What may change in the cluster, decided: each function reads an image and returns the reply and the facts.

Pure: nothing here touches the store or the clock; chance comes as a port. A reply is given when its facts are durable
(store.py). Codes, their order of precedence and whether a message is null are Apache Kafka 4.3's, as observed; the
sentences are ours. Limits: TOPIC_NAME_CHARACTERS_MAX, PARTITIONS_PER_REQUEST_MAX, PRODUCER_ID_BLOCK.

Differences from Kafka, on purpose: CreatePartitions beyond PARTITIONS_PER_REQUEST_MAX is refused with
POLICY_VIOLATION (Kafka: UNKNOWN_SERVER_ERROR after having added some), and a replication factor may be any number
unless replication_exact (decision 26).
"""

from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from barnabas import errors
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerImage,
    BrokerRegistered,
    ClusterNamed,
    Fact,
    Image,
    PartitionImage,
    ProducerIdsTaken,
    ReignTaken,
    Topic,
    TopicDeleted,
    TopicSet,
    metric_name,
)
from barnabas.cluster.placing import Placing, next_reign
from barnabas.config.effective import normalised
from barnabas.config.tables import TOPIC
from barnabas.ids import ZERO_UUID
from barnabas.ports import Entropy
from barnabas.wire.messages.create_partitions import CreatePartitionsTopic
from barnabas.wire.messages.create_topics import CreatableReplicaAssignment, CreatableTopic
from barnabas.wire.messages.delete_topics import DeleteTopicState

TOPIC_NAME_CHARACTERS_MAX: Final = 249
TOPIC_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
METADATA_TOPIC: Final = "__cluster_metadata"
PARTITIONS_PER_REQUEST_MAX: Final = 10_000
PRODUCER_ID_BLOCK: Final = 1_000
USE_DEFAULT: Final = -1


@dataclass(slots=True)
class TopicRules:
    """What the broker's options say about topics. overrides_fault names what is wrong with a set, or gives None."""

    overrides_fault: Callable[[Mapping[str, str]], str | None]
    partitions_default: int = 1
    replication_default: int = 1
    replication_exact: bool = False
    delete_enabled: bool = True


@dataclass(slots=True)
class TopicResult:
    """What became of one topic of a request; topic is how it is (or would be) afterwards, None after an error."""

    name: str | None
    code: int = errors.NONE
    message: str | None = None
    topic: Topic | None = None
    topic_id: bytes = field(default=ZERO_UUID)


Fault = tuple[int, str]
"""An error code and its sentence."""


# -- topics: create --------------------------------------------------------------------------------


def topic_name_fault(name: str) -> str | None:
    """Why this cannot be a topic's name, or None: Kafka's rules, which keep a name usable as a folder's."""
    if not name:
        return "A topic name may not be empty"
    if name in (".", ".."):
        return f"A topic may not be called '{name}'"
    if len(name) > TOPIC_NAME_CHARACTERS_MAX:
        return f"A topic name has at most {TOPIC_NAME_CHARACTERS_MAX} characters, this one {len(name)}"
    if not TOPIC_NAME_CHARACTERS.issuperset(name):
        return f"Topic name '{name}' has characters other than ASCII letters, digits, '.', '_' and '-'"
    return None


def create_topics(
    image: Image,
    asks: Sequence[CreatableTopic],
    rules: TopicRules,
    entropy: Entropy,
    validate_only: bool = False,
) -> Decision[list[TopicResult]]:
    """One result for each name, in the order of the request; a name asked for twice gets one INVALID_REQUEST.

    Every topic stands for itself, but too many partitions in all refuse the whole request, as in Kafka.
    """
    counts = Counter(ask.name for ask in asks)
    once = [ask for ask in asks if counts[ask.name] == 1]
    too_many = sum(partitions_wanted(ask, rules) for ask in once) > PARTITIONS_PER_REQUEST_MAX
    results: list[TopicResult] = []
    for name, count in counts.items():
        if too_many:
            results.append(TopicResult(name, *TOO_MANY))
        elif count > 1:
            results.append(TopicResult(name, *NAMED_TWICE))
    if not too_many:
        placing = Placing(image)
        results += [create_topic(image, ask, rules, entropy, placing) for ask in once]
    place = {name: index for index, name in enumerate(counts)}
    results.sort(key=lambda result: place[result.name or ""])
    made = [] if validate_only else [result.topic for result in results if result.topic is not None]
    return Decision(results, [TopicSet(topic) for topic in made])


def create_topic(
    image: Image, ask: CreatableTopic, rules: TopicRules, entropy: Entropy, placing: Placing
) -> TopicResult:
    fault = new_name_fault(image, ask.name)
    overrides = normalised(TOPIC, {config.name: config.value or "" for config in ask.configs})
    if fault is None and ask.configs:
        fault = new_overrides_fault(ask, overrides, rules)
    if fault is None:
        fault = new_shape_fault(image, ask, rules)
    if fault is not None:
        return TopicResult(ask.name, *fault)
    if ask.assignments:
        by_index = {assigned.partition_index: assigned.broker_ids for assigned in ask.assignments}
        partitions = assigned_partitions(by_index[index] for index in range(len(by_index)))
    else:
        partitions = placing.place(partitions_wanted(ask, rules))
    topic = Topic(ask.name, readable_uuid(entropy.uuid()), partitions, overrides)
    return TopicResult(ask.name, topic=topic, topic_id=topic.topic_id)


def new_name_fault(image: Image, name: str) -> Fault | None:
    if name == METADATA_TOPIC:
        return errors.INVALID_REQUEST, f"Topic {name} is internal and cannot be created by a client"
    text = topic_name_fault(name)
    if text is not None:
        return errors.INVALID_TOPIC_EXCEPTION, text
    if name in image.topics:
        return errors.TOPIC_ALREADY_EXISTS, f"There is a topic '{name}' already"
    for other in sorted(image.collisions.get(metric_name(name), ())):
        return (
            errors.INVALID_TOPIC_EXCEPTION,
            f"Topic name '{name}' collides with '{other}': '.' and '_' are one in metric names",
        )
    return None


def new_overrides_fault(ask: CreatableTopic, overrides: Mapping[str, str], rules: TopicRules) -> Fault | None:
    for config in ask.configs:
        if config.value is None:
            return errors.INVALID_CONFIG, f"A topic config may not be null: {config.name}"
    text = rules.overrides_fault(overrides)
    return None if text is None else (errors.INVALID_CONFIG, text)


def new_shape_fault(image: Image, ask: CreatableTopic, rules: TopicRules) -> Fault | None:
    """Assignments, replication factor and partition count, in Kafka's order of precedence."""
    if ask.assignments:
        if ask.replication_factor != USE_DEFAULT:
            return errors.INVALID_REQUEST, "With manual assignments the replication factor must be -1"
        if ask.num_partitions != USE_DEFAULT:
            return errors.INVALID_REQUEST, "With manual assignments the number of partitions must be -1"
        return new_assignments_fault(image, ask.assignments)
    if ask.replication_factor < USE_DEFAULT or ask.replication_factor == 0:
        return (
            errors.INVALID_REPLICATION_FACTOR,
            "The replication factor must be above 0, or -1 for the default",
        )
    if ask.num_partitions < USE_DEFAULT or ask.num_partitions == 0:
        return errors.INVALID_PARTITIONS, "The number of partitions must be above 0, or -1 for the default"
    factor = ask.replication_factor if ask.replication_factor > 0 else rules.replication_default
    if rules.replication_exact and factor > len(image.brokers):
        return (
            errors.INVALID_REPLICATION_FACTOR,
            f"Replication factor {factor} needs as many brokers, there are {len(image.brokers)} "
            "(barnabas.replication=any accepts it and keeps one replica)",
        )
    return None


def new_assignments_fault(image: Image, assignments: list[CreatableReplicaAssignment]) -> Fault | None:
    indexes = set()
    for assigned in assignments:
        if assigned.partition_index in indexes:
            return (
                errors.INVALID_REPLICA_ASSIGNMENT,
                f"Partition {assigned.partition_index} is assigned more than once",
            )
        indexes.add(assigned.partition_index)
    fault = replicas_fault(image, [assigned.broker_ids for assigned in assignments])
    if fault is None and indexes != set(range(len(indexes))):
        return (
            errors.INVALID_REPLICA_ASSIGNMENT,
            "Assigned partitions must be numbered 0, 1, 2, … without a gap",
        )
    return fault


def replicas_fault(image: Image, assignments: list[list[int]], factor: int | None = None) -> Fault | None:
    """What is wrong with these lists of brokers; factor is how many each must have, None: as the first has."""
    for broker_ids in assignments:
        if not broker_ids:
            return errors.INVALID_REPLICA_ASSIGNMENT, "An assignment names no broker"
        for broker_id, count in sorted(Counter(broker_ids).items()):
            if count > 1:
                return errors.INVALID_REPLICA_ASSIGNMENT, f"An assignment names broker {broker_id} twice"
            if broker_id not in image.brokers:
                return (
                    errors.INVALID_REPLICA_ASSIGNMENT,
                    f"An assignment names broker {broker_id}, which does not exist",
                )
        factor = len(broker_ids) if factor is None else factor
        if len(broker_ids) != factor:
            return (
                errors.INVALID_REPLICA_ASSIGNMENT,
                f"An assignment has {len(broker_ids)} replicas where the others have {factor}",
            )
    return None


def partitions_wanted(ask: CreatableTopic, rules: TopicRules) -> int:
    if ask.assignments:
        return len(ask.assignments)
    return rules.partitions_default if ask.num_partitions == USE_DEFAULT else max(ask.num_partitions, 0)


def assigned_partitions(assignments: Iterable[Sequence[int]]) -> tuple[PartitionImage, ...]:
    return tuple(
        PartitionImage(broker_ids[0], 0, tuple(broker_ids), tuple(broker_ids)) for broker_ids in assignments
    )


# -- topics: delete, grow --------------------------------------------------------------------------


def delete_topics(
    image: Image, asks: Sequence[DeleteTopicState], rules: TopicRules, version: int
) -> Decision[list[TopicResult]]:
    """By name or by id. One result for each distinct wrong name or id, each entry without either, and each topic.

    Versions before 3 know no TOPIC_DELETION_DISABLED and get INVALID_REQUEST instead.
    """
    if not rules.delete_enabled:
        code = errors.TOPIC_DELETION_DISABLED if version >= 3 else errors.INVALID_REQUEST
        return Decision([TopicResult(ask.name, code, topic_id=ask.topic_id) for ask in asks])
    names = Counter(ask.name for ask in asks if ask.name is not None and ask.topic_id == ZERO_UUID)
    ids = Counter(ask.topic_id for ask in asks if ask.name is None)
    named_by_id = {image.topics_by_id[topic_id].name for topic_id in ids if topic_id in image.topics_by_id}
    results = [
        TopicResult(
            ask.name, errors.INVALID_REQUEST, "Give a topic name or a topic id, not both", None, ask.topic_id
        )
        for ask in asks
        if ask.name is not None and ask.topic_id != ZERO_UUID
    ]
    unnamed = ids.pop(ZERO_UUID, 0)
    text = "Neither a topic name nor a topic id was given"
    results += [TopicResult(None, errors.INVALID_REQUEST, text) for _ in range(unnamed)]
    results += [delete_by_id(image, topic_id, count, names) for topic_id, count in ids.items()]
    results += [
        delete_by_name(image, name, count) for name, count in names.items() if name not in named_by_id
    ]
    facts = [TopicDeleted(result.topic.name) for result in results if result.topic is not None]
    return Decision(results, facts)


def delete_by_id(image: Image, topic_id: bytes, count: int, names: Mapping[str, int]) -> TopicResult:
    if count > 1:
        return TopicResult(None, errors.INVALID_REQUEST, "The topic id is given twice", None, topic_id)
    topic = image.topics_by_id.get(topic_id)
    if topic is None:
        return TopicResult(None, errors.UNKNOWN_TOPIC_ID, "There is no topic with this id", None, topic_id)
    if topic.name in names:
        text = "The topic is given by its name and by its id"
        return TopicResult(topic.name, errors.INVALID_REQUEST, text, None, topic_id)
    return TopicResult(topic.name, topic=topic, topic_id=topic_id)


def delete_by_name(image: Image, name: str, count: int) -> TopicResult:
    if count > 1:
        return TopicResult(name, *NAMED_TWICE)
    topic = image.topics.get(name)
    if topic is None:
        return TopicResult(name, errors.UNKNOWN_TOPIC_OR_PARTITION, "There is no such topic")
    return TopicResult(name, topic=topic, topic_id=topic.topic_id)


def create_partitions(
    image: Image, asks: Sequence[CreatePartitionsTopic], validate_only: bool = False
) -> Decision[list[TopicResult]]:
    """Grow topics to a count. An unknown topic's message is null, as in Kafka; a wish for fewer is an error.

    Every topic stands for itself, but too many partitions in all refuse the whole request.
    """
    counts = Counter(ask.name for ask in asks)
    once = [ask for ask in asks if counts[ask.name] == 1]
    if sum(partitions_added(image, ask) for ask in once) > PARTITIONS_PER_REQUEST_MAX:
        return Decision([TopicResult(name, *TOO_MANY) for name in counts])
    results = [TopicResult(name, *NAMED_TWICE) for name, count in counts.items() if count > 1]
    placing = Placing(image)
    results += [grow_topic(image, ask, placing) for ask in once]
    grown = [] if validate_only else [result.topic for result in results if result.topic is not None]
    return Decision(results, [TopicSet(topic) for topic in grown])


def partitions_added(image: Image, ask: CreatePartitionsTopic) -> int:
    """0 where nothing can be added: an unknown topic, a wish for fewer."""
    topic = image.topics.get(ask.name)
    return 0 if topic is None else max(ask.count - len(topic.partitions), 0)


def grow_topic(image: Image, ask: CreatePartitionsTopic, placing: Placing) -> TopicResult:
    topic = image.topics.get(ask.name)
    if topic is None:
        return TopicResult(ask.name, errors.UNKNOWN_TOPIC_OR_PARTITION)
    fault = growth_fault(image, topic, ask)
    if fault is not None:
        return TopicResult(ask.name, *fault)
    old = topic.partitions
    if ask.assignments is None:
        added = placing.place(ask.count - len(old), old)
    else:
        added = assigned_partitions(assigned.broker_ids for assigned in ask.assignments)
    grown = Topic(topic.name, topic.topic_id, old + added, topic.overrides)
    return TopicResult(ask.name, topic=grown, topic_id=topic.topic_id)


def growth_fault(image: Image, topic: Topic, ask: CreatePartitionsTopic) -> Fault | None:
    had = len(topic.partitions)
    if ask.count == had:
        return errors.INVALID_PARTITIONS, f"Topic '{topic.name}' has {had} partitions already"
    if ask.count < had:
        return (
            errors.INVALID_PARTITIONS,
            f"Topic '{topic.name}' has {had} partitions; they cannot become fewer",
        )
    if ask.assignments is None:
        return None
    if len(ask.assignments) != ask.count - had:
        return (
            errors.INVALID_REPLICA_ASSIGNMENT,
            f"{ask.count - had} partitions are to be added, but {len(ask.assignments)} are assigned",
        )
    assignments = [assigned.broker_ids for assigned in ask.assignments]
    return replicas_fault(image, assignments, len(topic.partitions[0].replicas))


NAMED_TWICE: Final[Fault] = (errors.INVALID_REQUEST, "The topic is named twice in one request")
TOO_MANY: Final[Fault] = (
    errors.POLICY_VIOLATION,
    f"One request may make at most {PARTITIONS_PER_REQUEST_MAX} partitions",
)


# -- nodes -----------------------------------------------------------------------------------------


def readable_uuid(uuid: bytes) -> bytes:
    """The same id, or its twin when its text would begin with '-', which command lines take for an option."""
    return bytes([uuid[0] ^ 0x80]) + uuid[1:] if uuid_text(uuid).startswith("-") else uuid


def uuid_text(uuid: bytes) -> str:
    """Kafka's 22 characters: base64 for URLs, without padding."""
    return urlsafe_b64encode(uuid).rstrip(b"=").decode()


def start_node(image: Image, broker: BrokerImage, entropy: Entropy) -> Decision[int]:
    """Name the cluster if it has no name yet, take a reign above all before, register this broker with it.

    The reply is the reign: the leader epoch of what this node opens until its next start (decision 16).
    """
    reign = next_reign(image)
    facts: list[Fact] = [ReignTaken(reign)]
    facts += name_cluster(image, entropy).facts
    facts.append(BrokerRegistered(replace(broker, reign=reign)))
    return Decision(reign, facts)


def name_cluster(image: Image, entropy: Entropy) -> Decision[None]:
    """A cluster that has no name yet gets one."""
    if image.cluster_id:
        return Decision(None)
    return Decision(None, [ClusterNamed(uuid_text(readable_uuid(entropy.uuid())))])


def register_broker(image: Image, broker: BrokerImage) -> Decision[None]:
    """What clients are told of this broker changed: a listener got its port. broker has the reign of its start."""
    return Decision(None, [] if image.brokers.get(broker.node_id) == broker else [BrokerRegistered(broker)])


def take_producer_ids(image: Image) -> Decision[int]:
    """A block of PRODUCER_ID_BLOCK producer ids that nobody else gets; the reply is its first."""
    first = image.producer_id_next
    return Decision(first, [ProducerIdsTaken(first + PRODUCER_ID_BLOCK)])
