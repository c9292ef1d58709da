"""Properties syntax, the order of files, environment and flags, refusals with their place, listeners."""

import pytest

from barnabas.cluster.changes import PARTITIONS_PER_REQUEST_MAX
from barnabas.config.load import (
    OFFSETS_PARTITIONS_MAX,
    OFFSETS_SEGMENT_BYTES_MIN,
    ConfigRefused,
    Listener,
    advertised_of,
    listeners_of,
    load,
    parse_properties,
)
from barnabas.config.tables import TOPIC, options


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", [("a", "b", 1)]),
        ("a : b\na\tb\na b", [("a", "b", 1), ("a", "b", 2), ("a", "b", 3)]),
        ("# no\n  ! no\n\na=b # kept", [("a", "b # kept", 4)]),
        ("a=b,\\\n   c,\\\n   d\ne=f", [("a", "b,c,d", 1), ("e", "f", 4)]),
        ("a=b\\\\\nc=d", [("a", "b\\", 1), ("c", "d", 2)]),
        ("k\\=1\\:\\ x=v", [("k=1: x", "v", 1)]),
        ("a=\\u00e9\\t\\n\\q", [("a", "\u00e9\t\nq", 1)]),
        ("a\r\nb=\rc==d", [("a", "", 1), ("b", "", 2), ("c", "=d", 3)]),
        ("a=x\x0by\u2028z", [("a", "x\x0by\u2028z", 1)]),
        ("# a comment does not continue \\\na=b", [("a", "b", 2)]),
    ],
)
def test_properties_are_read_as_java_reads_them(text, found):
    assert parse_properties(text) == found


def test_flags_count_above_environment_above_file():
    text = "log.retention.ms=1\nnum.partitions=1\nfetch.max.bytes=2000\n"
    environment = {
        "BARNABAS_NUM_PARTITIONS": "2",
        "BARNABAS_FETCH_MAX_BYTES": "3000",
        "BARNABAS_DURABILITY": "cache",
    }
    loaded = load(text, "s.properties", {**environment, "HOME": "x"}, {"fetch.max.bytes": "4000"})
    assert loaded.values == {
        "log.retention.ms": "1",
        "num.partitions": "2",
        "fetch.max.bytes": "4000",
        "barnabas.durability": "cache",
    }
    assert loaded.warnings == []


def test_kafkas_own_shape_of_a_server_properties_is_accepted():
    text = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
num.network.threads=3
log.dirs=/var/lib/logs
log.segment.bytes=1073741824
"""
    loaded = load(text)
    assert loaded.warnings == []
    assert {"process.roles", "controller.quorum.bootstrap.servers", "num.network.threads"} <= set(
        loaded.inert
    )
    assert "log.segment.bytes" not in loaded.inert
    assert listeners_of(loaded.values) == [Listener("PLAINTEXT", "", 9092, "PLAINTEXT")]
    assert set(advertised_of(loaded.values, {})) == {"PLAINTEXT"}


def test_an_unknown_key_is_named_with_its_line_and_the_nearest():
    loaded = load("\nlog.retentoin.ms=1", "s.properties")
    assert loaded.warnings == ["s.properties:2: unknown key log.retentoin.ms; did you mean log.retention.ms?"]
    assert loaded.values == {}


def test_every_bad_value_is_named_with_its_place():
    with pytest.raises(ConfigRefused) as refused:
        load(
            "num.partitions=x\nlog.retention.ms=y",
            "s.properties",
            {"BARNABAS_NODE_ID": "z"},
            {"log.dirs": ""},
        )
    places = [fault.split(": ")[0] for fault in refused.value.faults]
    assert places == ["s.properties:1", "s.properties:2", "BARNABAS_NODE_ID", "flag log.dirs"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("log.dirs=/a,/b", "log.dirs names 2 folders"),
        ("listeners=SSL://:9092", "asks for SSL"),
        (
            "listeners=OUT://:9092\nlistener.security.protocol.map=OUT:SASL_PLAINTEXT",
            "asks for SASL_PLAINTEXT",
        ),
        ("listeners=OUT://:9092", "no security protocol for OUT"),
        ("listeners=PLAINTEXT://::1:9092", "IPv6 in brackets"),
        ("listeners=PLAINTEXT://a", "NAME://host:port"),
        ("listeners=PLAINTEXT://a:70000", "not between"),
        ("listeners=PLAINTEXT://a:1,PLAINTEXT://b:2", "named twice"),
        ("listeners=CONTROLLER://:1\ncontroller.listener.names=CONTROLLER", "only controller listeners"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "cannot be reached"),
        ("advertised.listeners=PLAINTEXT://[::]:9092", "cannot be reached"),
        ("offsets.topic.segment.bytes=1048575", "Use at least 1048576"),
        ("offsets.topic.num.partitions=10001", "Use at most 10000"),
    ],
)
def test_what_is_not_served_is_refused(text, part):
    with pytest.raises(ConfigRefused) as refused:
        load(text)
    assert part in str(refused.value)


def test_the_offsets_topic_takes_what_can_just_be_made():
    assert OFFSETS_PARTITIONS_MAX == PARTITIONS_PER_REQUEST_MAX
    assert options(TOPIC)["segment.bytes"].minimum == OFFSETS_SEGMENT_BYTES_MIN
    at_most = {
        "offsets.topic.segment.bytes": "1048576",
        "offsets.topic.num.partitions": str(OFFSETS_PARTITIONS_MAX),
    }
    assert load(settings=at_most).values == at_most


def test_hosts_of_listeners():
    values = {
        "listeners": "PLAINTEXT://[::1]:9092,IN://10.0.0.1:0,ANY://0.0.0.0:9094",
        "listener.security.protocol.map": "IN:PLAINTEXT,ANY:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "advertised.listeners": "PLAINTEXT://broker.example:19092",
    }
    first, second, third = listeners_of(values)
    assert (first.host, first.port, repr(first)) == ("::1", 9092, "PLAINTEXT://[::1]:9092")
    assert (second.name, third.host) == ("IN", "0.0.0.0")
    told = advertised_of(values, {"IN": ("10.0.0.1", 40123), "ANY": ("0.0.0.0", 9094)})
    assert [repr(told[name]) for name in ("PLAINTEXT", "IN", "ANY")] == [
        "PLAINTEXT://broker.example:19092",
        "IN://10.0.0.1:40123",
        "ANY://localhost:9094",
    ]
