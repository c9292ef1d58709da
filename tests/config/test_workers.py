"""From the options of the whole to those of each worker."""

from itertools import count

import pytest

from barnabas.config.effective import BrokerOptions
from barnabas.config.load import ConfigRefused, Listener, listeners_of, load
from barnabas.config.workers import own_listeners, worker_options


def refused(**values: str) -> str:
    with pytest.raises(ConfigRefused) as raised:
        load(settings={name.replace("_", "."): value for name, value in values.items()})
    return str(raised.value)


def with_ports(options: BrokerOptions, free: int = 0) -> dict[int, dict[str, str]]:
    """free: the port that is given for the first 0; the others follow."""
    ports = count(free)

    def bound(listeners: list[Listener]) -> list[Listener]:
        return [Listener(each.name, each.host, each.port or next(ports), each.protocol) for each in listeners]

    shared = bound(listeners_of(options.static))
    own = {node_id: bound(listeners) for node_id, listeners in own_listeners(options).items()}
    return worker_options(options, shared, own)


def test_each_worker_has_an_id_and_ports_of_its_own_and_shares_the_listeners() -> None:
    values = load(
        "node.id=5\nlisteners=PLAINTEXT://:9092,IN://10.0.0.1:9093\n"
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,IN:PLAINTEXT\n"
        "barnabas.workers=3\nadvertised.listeners=PLAINTEXT://broker.example:9092\nlog.dirs=/d\n"
    ).values
    found = with_ports(BrokerOptions(values))
    assert list(found) == [5, 6, 7]
    for place, (node_id, options) in enumerate(found.items()):
        assert options["node.id"] == str(node_id) and options["log.dirs"] == "/d"
        assert "barnabas.workers" not in options and "broker.id" not in options
        assert options["listeners"] == f"PLAINTEXT://:{19092 + place},IN://10.0.0.1:{19095 + place}"
        assert options["barnabas.bootstrap.listeners"] == "PLAINTEXT://:9092,IN://10.0.0.1:9093"
        assert options["advertised.listeners"] == f"PLAINTEXT://broker.example:{19092 + place}"
        assert options["barnabas.metrics.port"] == str(9644 + place)
        assert not load(settings=options).warnings


def test_with_port_0_any_free_ones_are_taken_and_told() -> None:
    values = load(
        settings={
            "broker.id": "0",
            "barnabas.workers": "2",
            "barnabas.workers.port": "0",
            "listeners": "PLAINTEXT://[::1]:0",
            "advertised.listeners": "PLAINTEXT://broker.example:9092",
        }
    ).values
    found = with_ports(BrokerOptions(values, {"barnabas.metrics.port": "-1"}), free=4711)
    assert list(found) == [0, 1]
    assert found[1]["barnabas.bootstrap.listeners"] == "PLAINTEXT://[::1]:4711"
    assert found[1]["listeners"] == "PLAINTEXT://[::1]:4713"
    assert found[1]["barnabas.metrics.port"] == "-1"
    assert found[1]["advertised.listeners"] == "PLAINTEXT://broker.example:4713"


def test_ports_that_cannot_be_are_refused_with_the_remedy() -> None:
    assert "leaves no room for 3 workers" in refused(barnabas_workers="3", barnabas_workers_port="65534")
    told = refused(barnabas_workers="2", listeners="PLAINTEXT://:19093")
    assert "ports 19092 to 19093 include 19093" in told and "choose another" in told
    load(settings={"listeners": "PLAINTEXT://:19092"})
    assert "at least 1" in refused(barnabas_workers="0")
