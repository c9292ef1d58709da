"""Who leads which partition, decided: when one is made, when the set of brokers is another one, when a broker is gone.

P1  Partitions of one topic are spread evenly over the brokers: their counts differ by at most one. Where one more has to go
    somewhere, the broker with the fewest partitions in all gets it. So a topic's traffic is shared, and so are small topics.
P2  What need not move stays: clients find it where it was, and its leader has its files open.
P3  A partition that moves while the brokers run gets a reign above all before it as its leader epoch (decision 16), so a
    client that knows the old leader's epoch can tell the new one is newer.
Pure, as changes.py is. Load is counted in partitions: bytes and requests are not known to the image.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerRemoved,
    Fact,
    Image,
    PartitionImage,
    ReignTaken,
    Topic,
    TopicSet,
)

REIGN_MAX: Final = 2**31 - 1


def next_reign(image: Image) -> int:
    assert image.reign < REIGN_MAX, "a start a second would take 68 years"
    return image.reign + 1


def epoch_of(image: Image, partition: PartitionImage) -> int:
    """Its leader epoch, as its leader has it: the reign under which it was opened last. 0: its leader is not there."""
    leader = image.brokers.get(partition.leader)
    return 0 if leader is None else max(partition.leader_epoch, leader.reign)


def leaders(topics: Iterable[Topic]) -> Counter[int]:
    """How many partitions each broker leads."""
    counts: Counter[int] = Counter()
    for topic in topics:
        counts.update(partition.leader for partition in topic.partitions)
    return counts


class Placing:
    """Homes for the new partitions of one request: what it has placed counts for what it places next. P1."""

    def __init__(self, image: Image) -> None:
        assert image.brokers, "a node registers before it serves"
        # Neighbours in a topic share one object where they share a home.
        self._homes = {node_id: _alone(node_id) for node_id in image.brokers}
        self._load = leaders(image.topics.values()) if len(self._homes) > 1 else Counter()

    def place(self, count: int, beside: Sequence[PartitionImage] = ()) -> tuple[PartitionImage, ...]:
        """Of one true replica each, for a topic that has those beside."""
        homes, load = self._homes, self._load
        if len(homes) == 1:
            return tuple(homes.values()) * count
        own = Counter(partition.leader for partition in beside)
        placed = []
        for _ in range(count):
            node_id = min(homes, key=lambda each: (own[each], load[each], each))
            own[node_id] += 1
            load[node_id] += 1
            placed.append(homes[node_id])
        return tuple(placed)


def _alone(node_id: int) -> PartitionImage:
    return PartitionImage(node_id, 0, (node_id,), (node_id,))


def led_by(partition: PartitionImage, node_id: int, there: Iterable[int], epoch: int) -> PartitionImage:
    """The partition with another leader; of its replicas those stay that are there, and the leader is one of them."""
    replicas = tuple(each for each in partition.replicas if each in there)
    if node_id not in replicas:
        replicas = (node_id,)
    isr = tuple(each for each in partition.isr if each in replicas and each != node_id)
    return PartitionImage(node_id, epoch, replicas, (node_id, *isr))


def spread(image: Image, node_ids: Sequence[int], *, afresh: bool = False) -> Decision[int]:
    """Before any of them runs: these are the brokers, and no others. The reply is how many partitions move.

    afresh: all of them register anew, so until then nobody is sent where they were at their last run.
    """
    facts: list[Fact] = [
        BrokerRemoved(node_id) for node_id in image.brokers if afresh or node_id not in node_ids
    ]
    total: Counter[int] = Counter()
    share = -(-sum(len(topic.partitions) for topic in image.topics.values()) // len(node_ids))
    moved = 0
    for topic in image.topics.values():
        wanted = _shares(topic, node_ids, total, share)
        total.update(wanted)
        partitions = tuple(_moved(topic.partitions, wanted, node_ids))
        changed = sum(old is not new for old, new in zip(topic.partitions, partitions, strict=True))
        if changed:
            moved += changed
            facts.append(TopicSet(Topic(topic.name, topic.topic_id, partitions, topic.overrides)))
    return Decision(moved, facts)


def _shares(topic: Topic, node_ids: Sequence[int], total: Counter[int], share: int) -> Counter[int]:
    """How many of the topic's partitions each broker is to lead. P1; P2 while a broker has less than its share in all."""
    each, more = divmod(len(topic.partitions), len(node_ids))
    has = Counter(partition.leader for partition in topic.partitions)
    first = sorted(
        node_ids,
        key=lambda node_id: (
            has[node_id] <= each or total[node_id] + each >= share,
            total[node_id],
            node_id,
        ),
    )
    wanted = Counter(dict.fromkeys(node_ids, each))
    wanted.update(first[:more])
    return wanted


def _moved(
    partitions: Sequence[PartitionImage], wanted: Counter[int], there: Sequence[int]
) -> Iterator[PartitionImage]:
    left = Counter(wanted)
    stays = []
    for partition in partitions:
        stays.append(left[partition.leader] > 0)
        left[partition.leader] -= stays[-1]
    free = iter([node_id for node_id in there for _ in range(left[node_id])])
    for partition, stay in zip(partitions, stays, strict=True):
        yield partition if stay else led_by(partition, next(free), there, partition.leader_epoch)


def take_over(image: Image, dead: int) -> Decision[int]:
    """A broker is gone and what it led is whole on disk: the others share that. The reply is the reign they open it under.

    With nobody left to take it, its partitions stay with it: they are served when it comes back. It may have been done
    before: nobody was told, and the broker has not come back since.
    """
    reign = next_reign(image)
    facts: list[Fact] = [ReignTaken(reign)]
    if dead in image.brokers:
        facts.append(BrokerRemoved(dead))
    survivors = [node_id for node_id in image.brokers if node_id != dead]
    if not survivors:
        return Decision(reign, facts)
    total = leaders(image.topics.values())
    for topic in image.topics.values():
        if all(partition.leader != dead for partition in topic.partitions):
            continue
        own = Counter(partition.leader for partition in topic.partitions)
        partitions = []
        for partition in topic.partitions:
            if partition.leader == dead:
                heir = min(survivors, key=lambda each: (own[each], total[each], each))
                own[heir] += 1
                total[heir] += 1
                partition = led_by(partition, heir, survivors, reign)
            elif dead in partition.replicas:
                partition = led_by(partition, partition.leader, survivors, partition.leader_epoch)
            partitions.append(partition)
        facts.append(TopicSet(Topic(topic.name, topic.topic_id, tuple(partitions), topic.overrides)))
    return Decision(reign, facts)


def under_reign(image: Image, name: str, index: int) -> Decision[int]:
    """A new reign for one partition that its leader opens anew after a failed write (decision 6), told to all."""
    reign = next_reign(image)
    facts: list[Fact] = [ReignTaken(reign)]
    topic = image.topics.get(name)
    if topic is not None and index < len(topic.partitions):
        old = topic.partitions[index]
        new = PartitionImage(old.leader, reign, old.replicas, old.isr)
        partitions = (*topic.partitions[:index], new, *topic.partitions[index + 1 :])
        facts.append(TopicSet(Topic(topic.name, topic.topic_id, partitions, topic.overrides)))
    return Decision(reign, facts)
