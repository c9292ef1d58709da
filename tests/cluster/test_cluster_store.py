"""The image in the MetaStore: one order of commits, answers after them, and the same image after a reload."""

from dataclasses import replace

import pytest
from histories import HERE, Told, facts_of_any_kind, ids, possible
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnabas.cluster import changes, formats
from barnabas.cluster.decision import Decision
from barnabas.cluster.image import (
    BrokerRemoved,
    Fact,
    Image,
    PartitionImage,
    ProducerIdsTaken,
    Topic,
    TopicSet,
    apply,
    difference,
)
from barnabas.cluster.placing import Placing
from barnabas.cluster.store import CONFLICTS_MAX, ClusterStore
from barnabas.ports import Versioned, WorldError


def opened(meta, loop) -> ClusterStore:
    store = ClusterStore(meta)
    failures = []
    store.load(failures.append)
    loop.settle()
    assert failures == [None]
    return store


def reloaded(meta, loop) -> Image:
    return opened(meta, loop).image


def test_a_new_cluster_is_named_once_and_each_start_takes_a_higher_reign(meta, loop, entropy):
    told = Told()
    for start in range(3):
        store = opened(meta, loop)
        store.submit(lambda image: changes.start_node(image, HERE, entropy), told)
        loop.settle()
        assert store.image.reign == start + 1
        assert store.image.brokers == {1: replace(HERE, reign=start + 1)}
        assert store.image.cluster_id == "AAAAAAAAAAAAAAAAAAAAAQ"
    assert told.replies == [1, 2, 3]
    assert entropy.given == 1


def test_nothing_is_shown_or_told_before_the_commit(meta, loop):
    store, told = opened(meta, loop), Told()
    store.submit(ids, told)
    assert store.image.producer_id_next == 0 and told.replies == []
    loop.settle()
    assert store.image.producer_id_next == 1000 and told.replies == [0]


def test_what_waits_goes_into_one_transaction_and_is_answered_in_order(meta, loop):
    store, told = opened(meta, loop), Told()
    before = meta.commits
    for _ in range(5):
        store.submit(ids, told)
    loop.settle()
    assert told.replies == [0, 1000, 2000, 3000, 4000]
    assert meta.commits - before == 2, "the first alone, the four that came meanwhile together"
    assert reloaded(meta, loop) == store.image
    assert store.image.version == 2


def test_more_decisions_than_one_transaction_takes(meta, loop):
    store, told = opened(meta, loop), Told()
    for _ in range(600):
        store.submit(ids, told)
    loop.settle()
    assert told.replies == [number * 1000 for number in range(600)]


def test_a_decision_without_facts_leaves_the_version_alone(meta, loop):
    store, told = opened(meta, loop), Told()
    store.submit(ids, told)
    loop.settle()
    store.submit(lambda image: Decision(image.producer_id_next), told)
    loop.settle()
    assert told.replies == [0, 1000]
    assert store.image.version == 1


def test_two_nodes_on_one_store_never_get_the_same_ids(meta, loop):
    stores, told = [opened(meta, loop), opened(meta, loop)], Told()
    for _ in range(10):
        for store in stores:
            store.submit(ids, told)
    loop.settle()
    assert sorted(told.replies) == [number * 1000 for number in range(20)]
    assert told.errors == [None] * 20
    assert max(store.image.producer_id_next for store in stores) == 20_000


def test_a_node_hears_of_what_another_one_did(meta, loop):
    store, other, told = opened(meta, loop), opened(meta, loop), Told()
    heard: list[Fact] = []
    store.listen(lambda image, facts: heard.extend(facts))
    topic = Topic("t", b"1" * 16, (PartitionImage(1, 0, (1,), (1,)),), {})
    other.submit(lambda image: Decision(None, [TopicSet(topic)]), told)
    loop.settle()
    store.submit(ids, told)
    loop.settle()
    assert heard == [TopicSet(topic), ProducerIdsTaken(1000)]
    assert store.image.topics == {"t": topic}


def test_races_that_never_end_are_an_error(meta, loop):
    store, told = opened(meta, loop), Told()

    def overtaken(image: Image) -> Decision[int]:
        meta.put_behind(formats.IMAGE_KEY, str(formats.SCHEMA).encode())
        return ids(image)

    store.submit(overtaken, told)
    loop.settle()
    assert told.errors == [f"the metadata store was changed by others {CONFLICTS_MAX} times in a row"]
    store.submit(ids, told)
    loop.settle()
    assert told.replies == [None, 0], "and the store goes on"


@pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
def test_after_an_error_the_image_is_read_anew(meta, loop, moment):
    store, told = opened(meta, loop), Told()
    getattr(meta, moment).append(True)
    store.submit(ids, told)
    loop.settle()
    assert told.errors[0] in ("disk full", "gone") and told.replies == [None]
    store.submit(ids, told)
    loop.settle()
    assert told.replies[1] == (0 if moment == "fail_before" else 1000), (
        "ids that may be taken are not given again"
    )


def test_a_submission_from_within_an_answer_is_served(meta, loop):
    store, told = opened(meta, loop), Told()
    store.submit(ids, lambda reply, error: store.submit(ids, told))
    loop.settle()
    assert told.replies == [1000]


def test_listeners_hear_before_the_asker(meta, loop):
    store, order = opened(meta, loop), []
    store.listen(lambda image, facts: order.append("listener"))
    store.submit(ids, lambda reply, error: order.append("asker"))
    loop.settle()
    assert order == ["listener", "asker"]


def test_a_decision_that_breaks_is_heard_of_and_the_store_goes_on(meta, loop):
    store, told = opened(meta, loop), Told()

    def broken(image: Image) -> Decision[int]:
        raise AssertionError("our mistake")

    with pytest.raises(AssertionError, match="our mistake"):
        store.submit(broken, told)
    store.submit(ids, told)
    for decide in (ids, broken, ids):
        store.submit(decide, told)
    with pytest.raises(AssertionError, match="our mistake"):
        loop.settle()
    store.submit(ids, told)
    loop.settle()
    assert told.replies == [0, 1000, 2000, 3000]


def test_what_still_waits_can_be_withdrawn_and_is_never_decided(meta, loop):
    store, told = opened(meta, loop), Told()
    begun = store.submit(ids, told)
    waits = store.submit(ids, told)
    assert store.withdraw(waits)
    assert not store.withdraw(waits), "it is gone"
    assert not store.withdraw(begun), "its transaction is under way"
    store.submit(ids, told)
    loop.settle()
    assert told.replies == [0, 1000]


def test_all_may_be_withdrawn_while_the_image_is_read_anew(meta, loop):
    store, told = opened(meta, loop), Told()
    meta.fail_before.append(True)
    store.submit(ids, told)
    loop.settle()
    assert told.errors == ["disk full"]
    waits = store.submit(ids, told)
    commits = meta.commits
    assert store.withdraw(waits)
    loop.settle()
    assert meta.commits == commits
    store.submit(ids, told)
    loop.settle()
    assert told.replies == [None, 0], "and the store goes on"


def test_another_schema_is_refused_with_the_remedy(meta, loop):
    meta.put_behind(formats.IMAGE_KEY, b"2")
    failures: list[WorldError | None] = []
    ClusterStore(meta).load(failures.append)
    loop.settle()
    assert failures[0] is not None and "upgrade the package" in failures[0].what


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster/topic/t", b"{"),
        ("cluster/topic/t", b"[]"),
        ("cluster/topic/t", b'{"id":"00","partitions":[[1]],"overrides":{}}'),
        ("cluster/reign", b"x"),
        ("cluster/broker/x", b'{"endpoints":[],"rack":null}'),
        ("cluster/overrides/planet/x", b"{}"),
        ("cluster/unheard-of", b""),
    ],
)
def test_damage_names_its_key(key, value):
    with pytest.raises(WorldError, match=key):
        formats.decode({formats.IMAGE_KEY: Versioned(b"1", 1), key: Versioned(value, 1)})


def test_a_removed_broker_is_gone_for_others_and_after_a_reload(meta, loop, entropy):
    store, other, told = opened(meta, loop), opened(meta, loop), Told()
    for node_id in (1, 2):
        here = replace(HERE, node_id=node_id)
        store.submit(lambda image, here=here: changes.start_node(image, here, entropy), told)
    store.submit(lambda image: Decision(None, [BrokerRemoved(1)]), told)
    other.submit(ids, told)
    loop.settle()
    assert told.errors == [None] * 4
    assert list(reloaded(meta, loop).brokers) == [2]
    other.submit(ids, told)
    loop.settle()
    assert list(other.image.brokers) == [2]


def test_a_broker_registered_before_there_were_reigns_has_none():
    value = b'{"endpoints":[["PLAINTEXT","localhost",9092,"PLAINTEXT"]],"rack":"r"}'
    assert formats.decode_key("cluster/broker/1", value) == changes.BrokerRegistered(HERE)


def test_ten_thousand_partitions_are_one_short_value(entropy):
    image = Image(brokers={1: HERE})
    topic = Topic("t", b"1" * 16, Placing(image).place(10_000), {"retention.ms": "1"})
    value = formats.encode_topic(topic)
    assert value == (
        b'{"id":"31313131313131313131313131313131","overrides":{"retention.ms":"1"},'
        b'"partitions":[[10000,1,0,[1],[1]]]}'
    )
    assert formats.decode_topic("t", value) == TopicSet(topic)


# -- any history reloads to the same image -----------------------------------------------------------


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(facts_of_any_kind, max_size=4), max_size=8), st.integers(1, 3))
def test_a_reload_gives_the_image_that_was(new_meta, histories, together):
    meta = new_meta()
    loop = meta.loop
    store, told = opened(meta, loop), Told()
    for number, wanted in enumerate(histories):
        before = store.image
        snapshot = (
            dict(before.topics),
            dict(before.topics_by_id),
            dict(before.overrides),
            dict(before.collisions),
        )
        store.submit(lambda image, wanted=wanted: possible(image, wanted), told)
        if number % together == 0:
            loop.settle()
        assert snapshot == (before.topics, before.topics_by_id, before.overrides, before.collisions), "I1"
    loop.settle()
    assert told.errors == [None] * len(histories)
    assert reloaded(meta, loop) == store.image
    assert store.image.topics_by_id == {topic.topic_id: topic for topic in store.image.topics.values()}


@settings(max_examples=100, deadline=None)
@given(st.lists(facts_of_any_kind, max_size=6), st.lists(facts_of_any_kind, max_size=6))
def test_the_difference_of_two_images_leads_from_one_to_the_other(first, second):
    before = apply(Image(), possible(Image(), first).facts)
    after = apply(before, possible(before, second).facts)
    assert apply(before, difference(before, after)) == after
