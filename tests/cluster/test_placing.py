"""Who leads what: P1–P3 of cluster/placing.py, for any image."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from barnabas.cluster import placing
from barnabas.cluster.image import (
    BrokerImage,
    BrokerRegistered,
    BrokerRemoved,
    Endpoint,
    Image,
    PartitionImage,
    ReignTaken,
    Topic,
    TopicSet,
    apply,
)


def broker(node_id: int, reign: int = 1) -> BrokerImage:
    return BrokerImage(node_id, (Endpoint("PLAINTEXT", "localhost", 9092 + node_id),), reign=reign)


def partition(leader: int, epoch: int = 0, *others: int) -> PartitionImage:
    return PartitionImage(leader, epoch, (leader, *others), (leader, *others))


def topic(name: str, *leaders: int) -> Topic:
    return Topic(name, name.encode().ljust(16, b"."), tuple(partition(leader) for leader in leaders))


def image_of(brokers: int, topics: list[Topic]) -> Image:
    facts = [BrokerRegistered(broker(node_id)) for node_id in range(1, brokers + 1)]
    return apply(Image(), [ReignTaken(1), *facts, *(TopicSet(each) for each in topics)])


def led(image: Image) -> Counter[int]:
    return placing.leaders(image.topics.values())


images = st.integers(1, 5).flatmap(
    lambda brokers: st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=9), max_size=12).map(
        lambda topics: image_of(brokers, [topic(f"t{at}", *leaders) for at, leaders in enumerate(topics)])
    )
)


@given(images, st.integers(1, 20))
def test_a_new_topic_is_spread_evenly_and_what_is_over_goes_to_those_with_least(image: Image, count: int):
    before = led(image)
    placed = Counter(each.leader for each in placing.Placing(image).place(count))
    shares = [placed[node_id] for node_id in image.brokers]
    assert max(shares) - min(shares) <= 1 and sum(shares) == count
    over = [before[node_id] for node_id in image.brokers if placed[node_id] == max(shares)]
    rest = [before[node_id] for node_id in image.brokers if placed[node_id] < max(shares)]
    assert not rest or max(over) <= min(rest)


def test_topics_of_one_partition_are_shared_among_the_brokers():
    image = image_of(3, [])
    for at in range(9):
        made = Topic(f"t{at}", bytes([at]) * 16, placing.Placing(image).place(1))
        image = apply(image, [TopicSet(made)])
    assert led(image) == {1: 3, 2: 3, 3: 3}


def test_a_topic_that_grows_stays_even():
    image = image_of(2, [topic("t", 1, 1, 1)])
    assert [each.leader for each in placing.Placing(image).place(4, image.topics["t"].partitions)] == [
        2,
        2,
        2,
        1,
    ]


@given(images, st.integers(1, 4))
def test_a_start_with_other_brokers_spreads_each_topic_evenly(image: Image, brokers: int):
    node_ids = list(range(1, brokers + 1))
    decision = placing.spread(image, node_ids)
    after = apply(image, decision.facts)
    assert set(after.brokers) == set(image.brokers) & set(node_ids)
    moved = 0
    for name, was in image.topics.items():
        now = after.topics[name]
        assert (now.topic_id, len(now.partitions)) == (was.topic_id, len(was.partitions))
        counts = Counter(each.leader for each in now.partitions)
        assert max(counts[node] for node in node_ids) - min(counts[node] for node in node_ids) <= 1
        for old, new in zip(was.partitions, now.partitions, strict=True):
            moved += old.leader != new.leader
            assert new.leader in node_ids and new.leader == new.isr[0] and set(new.isr) <= set(new.replicas)
        # P2: a partition moves only because its leader is not there or has too many of the topic.
        for node_id in node_ids:
            had = sum(each.leader == node_id for each in was.partitions)
            gained = sum(
                new.leader == node_id != old.leader
                for old, new in zip(was.partitions, now.partitions, strict=True)
            )
            assert gained == max(counts[node_id] - had, 0)
    assert moved == decision.reply
    shares = [led(after)[node_id] for node_id in node_ids]
    assert max(shares) - min(shares) <= max(len(image.topics), 1)


def test_many_small_topics_of_a_single_broker_are_shared_with_the_second():
    image = image_of(1, [topic(f"t{at:02d}", 1) for at in range(10)])
    after = apply(image, placing.spread(image, [1, 2]).facts)
    assert led(after) == {1: 5, 2: 5}


@given(images, st.integers(1, 4))
def test_what_is_spread_stays_where_it_is(image: Image, brokers: int):
    node_ids = list(range(1, brokers + 1))
    after = apply(image, placing.spread(image, node_ids).facts)
    again = placing.spread(after, node_ids)
    assert again.reply == 0 and again.facts == []


def test_all_brokers_register_anew_when_a_start_asks_for_it():
    image = image_of(2, [topic("t", 1, 2)])
    assert placing.spread(image, [1, 2], afresh=True).facts == [BrokerRemoved(1), BrokerRemoved(2)]


@given(images, st.integers(1, 5))
def test_survivors_share_what_the_dead_broker_led_under_a_new_reign(image: Image, dead: int):
    if dead not in image.brokers:
        return
    decision = placing.take_over(image, dead)
    after = apply(image, decision.facts)
    assert decision.reply == image.reign + 1 == after.reign
    assert decision.facts[:2] == [ReignTaken(decision.reply), BrokerRemoved(dead)]
    survivors = sorted(after.brokers)
    for name, was in image.topics.items():
        for old, new in zip(was.partitions, after.topics[name].partitions, strict=True):
            if old.leader != dead or not survivors:
                assert (new.leader, new.leader_epoch) == (old.leader, old.leader_epoch)
                continue
            assert new.leader in survivors and new.leader_epoch == decision.reply
            assert placing.epoch_of(after, new) > placing.epoch_of(image, old)


def test_a_dead_brokers_partitions_are_shared_evenly():
    image = image_of(3, [topic("a", 1, 2, 3), topic("b", 1, 1, 2), topic("c", 1)])
    after = apply(image, placing.take_over(image, 1).facts)
    assert led(after) == {2: 4, 3: 3}


def test_a_broker_is_taken_over_again_when_nobody_was_told_of_the_first_time():
    after = apply(
        image_of(2, [topic("t", 1, 2)]), placing.take_over(image_of(2, [topic("t", 1, 2)]), 1).facts
    )
    again = apply(after, placing.take_over(after, 1).facts)
    assert again.topics == after.topics and again.brokers == after.brokers


def test_a_replica_that_is_gone_is_no_longer_named():
    image = image_of(3, [Topic("t", b"t" * 16, (partition(1, 0, 2, 3), partition(2, 0, 1)))])
    after = apply(image, placing.take_over(image, 1).facts).topics["t"].partitions
    assert after[0].replicas == (2, 3) and after[0].leader in (2, 3)
    assert after[1] == PartitionImage(2, 0, (2,), (2,))


def test_a_partition_opened_anew_has_the_reign_as_its_epoch():
    image = image_of(1, [topic("t", 1, 1, 1)])
    decision = placing.under_reign(image, "t", 1)
    after = apply(image, decision.facts)
    assert [each.leader_epoch for each in after.topics["t"].partitions] == [0, decision.reply, 0]
    assert placing.epoch_of(after, after.topics["t"].partitions[1]) == decision.reply == after.reign


def test_a_partition_that_went_meanwhile_costs_a_reign_and_nothing_else():
    image = image_of(1, [topic("t", 1)])
    for name, index in (("t", 1), ("gone", 0)):
        assert placing.under_reign(image, name, index).facts == [ReignTaken(2)]


def test_the_epoch_is_the_later_of_the_partitions_and_its_leaders():
    image = apply(image_of(1, []), [BrokerRegistered(broker(1, reign=5))])
    assert placing.epoch_of(image, partition(1)) == 5
    assert placing.epoch_of(image, partition(1, 7)) == 7
    assert placing.epoch_of(image, partition(2, 7)) == 0
