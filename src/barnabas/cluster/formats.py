"""How the image lies in the MetaStore. Keys begin with `cluster/`; values are text or compact JSON in UTF-8.

    cluster/image                    the schema number; the key's own version is the version of the image
    cluster/id                       the cluster id, 22 characters
    cluster/reign                    the last reign taken, decimal
    cluster/producer-ids             the first producer id nobody has, decimal
    cluster/broker/<node id>         {"endpoints": [[listener, host, port, protocol], …], "rack": text or null, "reign": number}
    cluster/topic/<name>             {"id": hex, "overrides": {…}, "partitions": [[count, leader, epoch, replicas, isr], …]}
    cluster/overrides/<scope>/<name> {key: value, …}; the name may be empty or hold any character

F1  partitions is a list of runs: count neighbours that are alike, so a topic of 10,000 partitions is one short value. A broker
    without "reign" was registered before there was one: 0.
F2  every commit with facts puts cluster/image anew and compares it: commits are in one order, whoever makes them.
F3  another schema than SCHEMA is refused: an older program must not guess. Within one schema, keys and fields are only added.
Crash   a transaction is whole or absent (the store's promise), so there is nothing to repair here.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, Final, cast

from barnabas.cluster.image import (
    BrokerImage,
    BrokerRegistered,
    BrokerRemoved,
    ClusterNamed,
    Endpoint,
    Fact,
    Image,
    OverridesSet,
    PartitionImage,
    ProducerIdsTaken,
    ReignTaken,
    Scope,
    Topic,
    TopicDeleted,
    TopicSet,
    apply,
    is_news,
)
from barnabas.ports import MetaChanges, Versioned, WorldError

SCHEMA: Final = 1
PREFIX: Final = "cluster/"
IMAGE_KEY: Final = "cluster/image"


def encode(facts: Iterable[Fact]) -> dict[str, bytes | None]:
    """Key → value to put, or None to delete. The last fact about a key counts."""
    return dict(map(encode_fact, facts))


def encode_fact(fact: Fact) -> tuple[str, bytes | None]:
    match fact:
        case ClusterNamed(cluster_id):
            return "cluster/id", cluster_id.encode()
        case ReignTaken(reign):
            return "cluster/reign", str(reign).encode()
        case ProducerIdsTaken(producer_id_next):
            return "cluster/producer-ids", str(producer_id_next).encode()
        case BrokerRegistered(broker):
            return f"cluster/broker/{broker.node_id}", encode_broker(broker)
        case BrokerRemoved(node_id):
            return f"cluster/broker/{node_id}", None
        case TopicSet(topic):
            return f"cluster/topic/{topic.name}", encode_topic(topic)
        case TopicDeleted(name):
            return f"cluster/topic/{name}", None
        case OverridesSet(scope, name, overrides):
            return f"cluster/overrides/{scope}/{name}", compact(dict(overrides)) if overrides else None


def encode_broker(broker: BrokerImage) -> bytes:
    endpoints = [[known.listener, known.host, known.port, known.protocol] for known in broker.endpoints]
    return compact({"endpoints": endpoints, "rack": broker.rack, "reign": broker.reign})


def encode_topic(topic: Topic) -> bytes:
    runs = [[len(list(alike)), *facts] for facts, alike in groupby(topic.partitions, PartitionImage.facts)]
    return compact({"id": topic.topic_id.hex(), "overrides": dict(topic.overrides), "partitions": runs})


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def decode(found: Mapping[str, Versioned]) -> Image:
    """The image that these keys hold. WorldError when a newer program wrote them or one is damaged."""
    head = found.get(IMAGE_KEY)
    if head is None:
        return Image()
    check_schema(head)
    facts = [decode_key(key, versioned.value) for key, versioned in found.items() if key != IMAGE_KEY]
    image = apply(Image(), facts)
    image.version = head.version
    return image


def decode_changes(before: Image, changes: MetaChanges) -> tuple[int, list[Fact]] | None:
    """The version that these changes make of the image, and the facts that lead there; None when before is as new.

    Of several commits at once there are the facts of all: deletions first, and a topic that was deleted and made again
    is deleted here too. What before says already is no fact. WorldError as with decode.
    """
    head = next((now for key, now in changes if key == IMAGE_KEY), None)
    if head is None or head.version <= before.version:
        return None
    check_schema(head)
    gone = [decode_deletion(key) for key, now in changes if now is None]
    put = [decode_key(key, now.value) for key, now in changes if now is not None and key != IMAGE_KEY]
    for fact in put:
        if isinstance(fact, TopicSet):
            known = before.topics.get(fact.topic.name)
            if known is not None and known.topic_id != fact.topic.topic_id:
                gone.append(TopicDeleted(known.name))
    return head.version, [fact for fact in gone + put if is_news(before, fact)]


def check_schema(head: Versioned) -> None:
    if head.value != str(SCHEMA).encode():
        raise WorldError(
            f"the metadata is of schema {head.value!r}, this Barnabas knows {SCHEMA}: "
            "upgrade the package, or restore a backup made by this version"
        )


def decode_key(key: str, value: bytes) -> Fact:
    kind, _, name = key.removeprefix(PREFIX).partition("/")
    try:
        return READERS[kind](name, value)
    except (ValueError, LookupError, TypeError) as error:
        raise WorldError(f"the metadata store is damaged at key {key}: {error}") from error


def decode_deletion(key: str) -> Fact:
    kind, _, name = key.removeprefix(PREFIX).partition("/")
    try:
        return DELETIONS[kind](name)
    except (ValueError, LookupError) as error:
        raise WorldError(f"the metadata store is damaged: key {key} was deleted") from error


def decode_broker(name: str, value: bytes) -> Fact:
    fields: Any = json.loads(value)
    endpoints = tuple(Endpoint(*endpoint) for endpoint in fields["endpoints"])
    return BrokerRegistered(BrokerImage(int(name), endpoints, fields["rack"], int(fields.get("reign", 0))))


def decode_topic(name: str, value: bytes) -> Fact:
    fields: Any = json.loads(value)
    partitions: list[PartitionImage] = []
    for count, leader, epoch, replicas, isr in fields["partitions"]:
        partitions += [PartitionImage(leader, epoch, tuple(replicas), tuple(isr))] * count
    return TopicSet(Topic(name, bytes.fromhex(fields["id"]), tuple(partitions), fields["overrides"]))


def decode_overrides(name: str, value: bytes = b"{}") -> Fact:
    """Without a value: they were deleted."""
    scope, _, resource = name.partition("/")
    if scope not in SCOPES:
        raise ValueError(f"no scope {scope!r}")
    return OverridesSet(cast(Scope, scope), resource, json.loads(value))


SCOPES: Final = frozenset({"broker", "group", "client-metrics"})

READERS: Final[Mapping[str, Callable[[str, bytes], Fact]]] = {
    "id": lambda name, value: ClusterNamed(value.decode()),
    "reign": lambda name, value: ReignTaken(int(value)),
    "producer-ids": lambda name, value: ProducerIdsTaken(int(value)),
    "broker": decode_broker,
    "topic": decode_topic,
    "overrides": decode_overrides,
}

DELETIONS: Final[Mapping[str, Callable[[str], Fact]]] = {
    "broker": lambda name: BrokerRemoved(int(name)),
    "topic": TopicDeleted,
    "overrides": decode_overrides,
}
