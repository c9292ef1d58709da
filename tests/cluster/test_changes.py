"""Topic changes against tables of what Apache Kafka 4.3 answered to the same requests: code, and null message or not."""

import pytest

from barnabas.cluster import changes
from barnabas.cluster.changes import PARTITIONS_PER_REQUEST_MAX, TopicRules
from barnabas.cluster.image import (
    BrokerImage,
    BrokerRegistered,
    ClusterNamed,
    Endpoint,
    Image,
    ReignTaken,
    TopicDeleted,
    TopicSet,
    apply,
)
from barnabas.config.effective import topic_fault
from barnabas.ids import ZERO_UUID
from barnabas.wire.messages.create_partitions import CreatePartitionsAssignment, CreatePartitionsTopic
from barnabas.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
)
from barnabas.wire.messages.delete_topics import DeleteTopicState


def rules(**given):
    return TopicRules(topic_fault, **given)


def new(name, partitions=1, factor=1, assigned=(), configs=()):
    return CreatableTopic(
        name,
        partitions,
        factor,
        [CreatableReplicaAssignment(index, brokers) for index, brokers in assigned],
        [CreatableTopicConfig(key, value) for key, value in configs],
    )


def manual(*assigned, partitions=-1, factor=-1):
    return [new("new", partitions, factor, assigned)]


def grow(name, count, assigned=None):
    wanted = None if assigned is None else [CreatePartitionsAssignment(brokers) for brokers in assigned]
    return CreatePartitionsTopic(name, count, wanted)


def by_name(name):
    return DeleteTopicState(name, ZERO_UUID)


def by_id(topic_id):
    return DeleteTopicState(None, topic_id)


NO_SUCH_ID = b"\1" * 16

CREATE = [
    ("one", [new("new", 2)], {"new": (0, True)}),
    ("defaults", [new("new", -1, -1)], {"new": (0, True)}),
    ("exists", [new("have")], {"have": (36, False)}),
    ("exists, and bad partitions", [new("have", 0, 0)], {"have": (36, False)}),
    ("collides", [new("have_dot")], {"have_dot": (17, False)}),
    ("collide with each other", [new("x.y"), new("x_y")], {"x.y": (0, True), "x_y": (0, True)}),
    ("empty name", [new("")], {"": (17, False)}),
    ("dot", [new(".")], {".": (17, False)}),
    ("two dots", [new("..")], {"..": (17, False)}),
    ("longest name", [new("a" * 249)], {"a" * 249: (0, True)}),
    ("too long name", [new("a" * 250)], {"a" * 250: (17, False)}),
    ("blank", [new("a b")], {"a b": (17, False)}),
    ("not ASCII", [new("é")], {"é": (17, False)}),
    ("slash", [new("a/b")], {"a/b": (17, False)}),
    ("NUL", [new("a\0")], {"a\0": (17, False)}),
    ("bad name and partitions", [new("a b", 0, 0)], {"a b": (17, False)}),
    ("metadata topic", [new("__cluster_metadata")], {"__cluster_metadata": (42, False)}),
    ("twice", [new("new"), new("new", 2), new("other")], {"new": (42, False), "other": (0, True)}),
    ("twice and exists", [new("have"), new("have")], {"have": (42, False)}),
    ("no partitions", [new("new", 0)], {"new": (37, False)}),
    ("-2 partitions", [new("new", -2)], {"new": (37, False)}),
    ("factor 0", [new("new", 1, 0)], {"new": (38, False)}),
    ("factor -2", [new("new", 1, -2)], {"new": (38, False)}),
    ("factor 2", [new("new", 1, 2)], {"new": (38, False)}),
    ("factor before partitions", [new("new", 0, 0)], {"new": (38, False)}),
    ("too many", [new("new", 10_001)], {"new": (44, False)}),
    ("far too many", [new("new", 2**31 - 1)], {"new": (44, False)}),
    ("too many in all", [new("a", 6000), new("b", 6000)], {"a": (44, False), "b": (44, False)}),
    ("assigned", manual((0, [1]), (1, [1])), {"new": (0, True)}),
    ("assigned in another order", manual((1, [1]), (0, [1])), {"new": (0, True)}),
    ("assigned and counted", manual((0, [1]), partitions=1), {"new": (42, False)}),
    ("assigned and factor", manual((0, [1]), factor=1), {"new": (42, False)}),
    ("gap", manual((0, [1]), (2, [1])), {"new": (39, False)}),
    ("not from 0", manual((1, [1])), {"new": (39, False)}),
    ("index twice", manual((0, [1]), (0, [1])), {"new": (39, False)}),
    ("negative index", manual((-1, [1])), {"new": (39, False)}),
    ("no replicas", manual((0, [])), {"new": (39, False)}),
    ("replica twice", manual((0, [1, 1])), {"new": (39, False)}),
    ("unknown broker", manual((0, [5])), {"new": (39, False)}),
    ("negative broker", manual((0, [-1])), {"new": (39, False)}),
    ("unequal", manual((0, [1]), (1, [1, 2])), {"new": (39, False)}),
    ("config", [new("new", configs=[("retention.ms", "1")])], {"new": (0, True)}),
    ("unknown config", [new("new", configs=[("no.such", "1")])], {"new": (40, False)}),
    ("config of no name", [new("new", configs=[("", "1")])], {"new": (40, False)}),
    ("bad config", [new("new", configs=[("retention.ms", "x")])], {"new": (40, False)}),
    ("config too small", [new("new", configs=[("segment.bytes", "1")])], {"new": (40, False)}),
    ("null config", [new("new", configs=[("retention.ms", None)])], {"new": (40, False)}),
    (
        "config twice",
        [new("new", configs=[("retention.ms", "1"), ("retention.ms", "2")])],
        {"new": (0, True)},
    ),
    ("config and shape", [new("new", 0, 1, configs=[("retention.ms", "x")])], {"new": (40, False)}),
    ("config and exists", [new("have", configs=[("retention.ms", "x")])], {"have": (36, False)}),
    ("none", [], {}),
]

GROW = [
    ("more", [grow("have", 5)], {"have": (0, True)}),
    ("same", [grow("have", 3)], {"have": (37, False)}),
    ("fewer", [grow("have", 1)], {"have": (37, False)}),
    ("none", [grow("have", 0)], {"have": (37, False)}),
    ("-1", [grow("have", -1)], {"have": (37, False)}),
    ("unknown", [grow("none", 3)], {"none": (3, True)}),
    ("bad name", [grow("a b", 3)], {"a b": (3, True)}),
    ("no name", [grow("", 3)], {"": (3, True)}),
    ("twice", [grow("have", 4), grow("have", 5)], {"have": (42, False)}),
    ("assigned", [grow("have", 4, [[1]])], {"have": (0, True)}),
    ("too few assigned", [grow("have", 5, [[1]])], {"have": (39, False)}),
    ("too many assigned", [grow("have", 4, [[1], [1]])], {"have": (39, False)}),
    ("none assigned", [grow("have", 4, [])], {"have": (39, False)}),
    ("no replicas", [grow("have", 4, [[]])], {"have": (39, False)}),
    ("unknown broker", [grow("have", 4, [[7]])], {"have": (39, False)}),
    ("replica twice", [grow("have", 4, [[1, 1]])], {"have": (39, False)}),
    ("another factor", [grow("have", 4, [[1, 2]])], {"have": (39, False)}),
]

DELETE = [
    ("by name", [by_name("have")], [("have", 0, True)]),
    ("unknown name", [by_name("none")], [("none", 3, False)]),
    ("no name", [by_name("")], [("", 3, False)]),
    ("bad name", [by_name("a b")], [("a b", 3, False)]),
    ("metadata topic", [by_name("__cluster_metadata")], [("__cluster_metadata", 3, False)]),
    ("name twice", [by_name("have"), by_name("have")], [("have", 42, False)]),
    ("unknown id", [by_id(NO_SUCH_ID)], [(None, 100, False)]),
    ("unknown id twice", [by_id(NO_SUCH_ID), by_id(NO_SUCH_ID)], [(None, 42, False)]),
    ("neither", [by_id(ZERO_UUID)], [(None, 42, False)]),
    ("both", [DeleteTopicState("have", NO_SUCH_ID)], [("have", 42, False)]),
    ("some", [by_name("have"), by_name("none")], [("have", 0, True), ("none", 3, False)]),
    ("none", [], []),
]


@pytest.fixture
def image(entropy) -> Image:
    """One broker; topics have (3 partitions) and have.dot."""
    start = apply(Image(), [BrokerRegistered(broker(1))])
    made = changes.create_topics(start, [new("have", 3), new("have.dot")], rules(), entropy)
    return apply(start, made.facts)


def broker(node_id: int) -> BrokerImage:
    return BrokerImage(node_id, (Endpoint("PLAINTEXT", "localhost", 9092),))


def told(results) -> dict:
    return {result.name: (result.code, result.message is None) for result in results}


EXACT = rules(replication_exact=True)


@pytest.mark.parametrize(("label", "asks", "expected"), CREATE, ids=[case[0] for case in CREATE])
def test_create_answers_as_kafka(image, entropy, label, asks, expected):
    decision = changes.create_topics(image, asks, EXACT, entropy)
    assert told(decision.reply) == expected
    assert [result.name for result in decision.reply] == list(dict.fromkeys(ask.name for ask in asks))
    made = [result.topic for result in decision.reply if result.code == 0]
    assert decision.facts == [TopicSet(topic) for topic in made]


@pytest.mark.parametrize(("label", "asks", "expected"), GROW, ids=[case[0] for case in GROW])
def test_create_partitions_answers_as_kafka(image, label, asks, expected):
    decision = changes.create_partitions(image, asks)
    assert told(decision.reply) == expected
    assert len(decision.facts) == sum(code == 0 for code, _ in expected.values())


@pytest.mark.parametrize(("label", "asks", "expected"), DELETE, ids=[case[0] for case in DELETE])
def test_delete_answers_as_kafka(image, label, asks, expected):
    decision = changes.delete_topics(image, asks, rules(), 6)
    got = [(result.name, result.code, result.message is None) for result in decision.reply]
    assert sorted(got, key=str) == sorted(expected, key=str)
    assert decision.facts == [TopicDeleted(name) for name, code, _ in expected if code == 0]


def test_a_created_topic_is_what_was_asked(image, entropy):
    ask = new("new", -1, -1, configs=[("retention.ms", "1"), ("segment.bytes", "1048576")])
    decision = changes.create_topics(image, [ask], rules(partitions_default=4), entropy)
    [result] = decision.reply
    topic = result.topic
    assert (topic.name, topic.topic_id, len(topic.partitions)) == ("new", result.topic_id, 4)
    assert topic.overrides == {"retention.ms": "1", "segment.bytes": "1048576"}
    assert {partition.facts() for partition in topic.partitions} == {(1, 0, (1,), (1,))}
    after = apply(image, decision.facts)
    assert after.topics["new"] is after.topics_by_id[topic.topic_id] is topic
    assert after.version == image.version + 1 and "new" not in image.topics


def test_validate_only_answers_without_a_fact(image, entropy):
    asks = [new("new", 2), new("have")]
    decision = changes.create_topics(image, asks, rules(), entropy, validate_only=True)
    assert told(decision.reply) == {"new": (0, True), "have": (36, False)}
    assert len(decision.reply[0].topic.partitions) == 2
    assert decision.facts == []
    assert changes.create_partitions(image, [grow("have", 4)], validate_only=True).facts == []


@pytest.mark.parametrize("factor", [2, 3, 32_767])
def test_any_replication_factor_is_taken_and_shows_the_true_replica(image, entropy, factor):
    decision = changes.create_topics(image, [new("new", 1, factor)], rules(), entropy)
    assert decision.reply[0].topic.partitions[0].replicas == (1,)


def test_exact_replication_counts_the_default_factor_too(image, entropy):
    exact = rules(replication_exact=True, replication_default=3)
    decision = changes.create_topics(image, [new("new", 1, -1)], exact, entropy)
    assert told(decision.reply) == {"new": (38, False)}


def test_assigned_partitions_take_their_own_place(image, entropy):
    two = apply(image, [BrokerRegistered(broker(2))])
    decision = changes.create_topics(two, manual((1, [2]), (0, [1])), rules(), entropy)
    assert [partition.leader for partition in decision.reply[0].topic.partitions] == [1, 2]
    unequal = changes.create_topics(two, manual((0, [1]), (1, [1, 2])), rules(), entropy)
    assert told(unequal.reply) == {"new": (39, False)}


def test_partitions_are_spread_over_brokers_and_growth_goes_on_in_turn(image, entropy):
    two = apply(image, [BrokerRegistered(broker(2))])
    decision = changes.create_topics(two, [new("new", 3)], rules(), entropy)
    assert [partition.leader for partition in decision.reply[0].topic.partitions] == [2, 1, 2]
    grown = changes.create_partitions(apply(two, decision.facts), [grow("new", 5)])
    assert [partition.leader for partition in grown.reply[0].topic.partitions] == [2, 1, 2, 1, 2]


def test_what_a_request_has_placed_counts_for_what_it_places_next(image, entropy):
    two = apply(image, [BrokerRegistered(broker(2))])
    asks = [new(f"new{at}", 1) for at in range(5)]
    made = changes.create_topics(two, asks, rules(), entropy).reply
    assert [result.topic.partitions[0].leader for result in made] == [2, 2, 2, 2, 1]


def test_growing_keeps_id_and_overrides(image, entropy):
    made = changes.create_topics(image, [new("new", configs=[("retention.ms", "1")])], rules(), entropy)
    before = made.reply[0].topic
    grown = changes.create_partitions(apply(image, made.facts), [grow("new", 2)]).reply[0].topic
    assert (grown.topic_id, grown.overrides) == (before.topic_id, before.overrides)
    assert len(grown.partitions) == 2


def test_growing_by_too_many_is_refused(image):
    decision = changes.create_partitions(image, [grow("have", 4 + PARTITIONS_PER_REQUEST_MAX)])
    assert told(decision.reply) == {"have": (44, False)}
    at_most = changes.create_partitions(image, [grow("have", 3 + PARTITIONS_PER_REQUEST_MAX)])
    assert told(at_most.reply) == {"have": (0, True)}


def test_growth_is_limited_by_request_not_by_topic(image):
    other = len(image.topics["have.dot"].partitions)
    half = PARTITIONS_PER_REQUEST_MAX // 2
    useless = [grow("have_not", 2**31 - 1), grow("twice", 2**31 - 1), grow("twice", 2**31 - 1)]
    at_most = changes.create_partitions(
        image, [grow("have", 3 + half), grow("have.dot", other + half), *useless]
    )
    assert told(at_most.reply) == {
        "have": (0, True),
        "have.dot": (0, True),
        "have_not": (3, True),
        "twice": (42, False),
    }
    beyond = [grow("have", 3 + half), grow("have.dot", other + half + 1), grow("have_not", 1)]
    decision = changes.create_partitions(image, beyond)
    assert told(decision.reply) == dict.fromkeys(["have", "have.dot", "have_not"], (44, False))
    assert not decision.facts


def test_a_topic_is_deleted_by_its_id_and_its_name_is_free_again(image, entropy):
    topic_id = image.topics["have.dot"].topic_id
    decision = changes.delete_topics(image, [by_id(topic_id)], rules(), 6)
    [result] = decision.reply
    assert (result.name, result.topic_id, result.code) == ("have.dot", topic_id, 0)
    after = apply(image, decision.facts)
    assert "have.dot" not in after.topics and topic_id not in after.topics_by_id
    again = changes.create_topics(after, [new("have_dot")], rules(), entropy)
    assert told(again.reply) == {"have_dot": (0, True)}


def test_a_topic_named_by_name_and_by_its_id_is_kept(image):
    topic_id = image.topics["have"].topic_id
    decision = changes.delete_topics(image, [by_name("have"), by_id(topic_id)], rules(), 6)
    [result] = decision.reply
    assert (result.name, result.topic_id, result.code) == ("have", topic_id, 42)
    assert decision.facts == []


@pytest.mark.parametrize(("version", "code"), [(1, 42), (2, 42), (3, 73), (6, 73)])
def test_deletion_may_be_disabled(image, version, code):
    decision = changes.delete_topics(image, [by_name("have")], rules(delete_enabled=False), version)
    assert told(decision.reply) == {"have": (code, True)}
    assert not decision.facts


# -- nodes -----------------------------------------------------------------------------------------


def test_a_first_start_names_the_cluster_and_registers(entropy):
    decision = changes.start_node(Image(), broker(1), entropy)
    assert decision.reply == 1
    assert decision.facts == [
        ReignTaken(1),
        ClusterNamed("AAAAAAAAAAAAAAAAAAAAAQ"),
        BrokerRegistered(reigning(1)),
    ]
    later = changes.start_node(apply(Image(), decision.facts), broker(1), entropy)
    assert later.facts == [ReignTaken(2), BrokerRegistered(reigning(2))]


def reigning(reign: int) -> BrokerImage:
    return BrokerImage(1, broker(1).endpoints, reign=reign)


def test_a_broker_keeps_the_reign_of_its_start_when_its_port_becomes_known(entropy):
    started = apply(Image(), changes.start_node(Image(), broker(1), entropy).facts)
    moved = BrokerImage(1, (Endpoint("PLAINTEXT", "localhost", 19092),), reign=1)
    assert changes.register_broker(started, moved).facts == [BrokerRegistered(moved)]
    assert changes.register_broker(started, reigning(1)).facts == []


def test_a_port_that_became_known_is_registered_and_a_known_one_is_not(image):
    moved = BrokerImage(1, (Endpoint("PLAINTEXT", "localhost", 19092),))
    assert changes.register_broker(image, moved).facts == [BrokerRegistered(moved)]
    assert changes.register_broker(image, broker(1)).facts == []


def test_blocks_of_producer_ids_follow_each_other():
    image = Image()
    for first in (0, 1000, 2000):
        decision = changes.take_producer_ids(image)
        assert decision.reply == first
        image = apply(image, decision.facts)


@pytest.mark.parametrize("first", [0xF8, 0xFB])
def test_an_id_never_reads_like_an_option(first):
    unlucky = bytes([first]) + bytes(15)
    assert changes.uuid_text(unlucky).startswith("-")
    assert changes.uuid_text(changes.readable_uuid(unlucky))[0] == "e"
    assert changes.readable_uuid(b"\1" * 16) == b"\1" * 16


def test_an_endpoint_is_found_by_its_listener():
    endpoints = (Endpoint("IN", "a", 1), Endpoint("OUT", "b", 2))
    registered = BrokerImage(1, endpoints)
    assert registered.endpoint("OUT") == endpoints[1]
    assert registered.endpoint("NONE") == endpoints[0]
    assert (registered.host, registered.port) == ("a", 1)
