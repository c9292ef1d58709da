"""The tables against what Kafka 4.3's own ConfigDef says (codegen/OptionFacts.java) and takes (codegen/OptionVerdicts.java)."""

import json
from pathlib import Path

import pytest

from barnabas.config import uses
from barnabas.config.docs import page
from barnabas.config.tables import options

HERE = Path(__file__).parent
TABLE = Path(__file__).parents[2] / "codegen" / "kafka_options.tsv"
LINES = [line.split("\t") for line in TABLE.read_text().splitlines()]
FACTS = [line for line in LINES if line[0] != "synonym"]
VERDICTS = [line.split("\t") for line in (HERE / "kafka_verdicts.tsv").read_text().splitlines()]
PROBES = {line[1]: json.loads(line[2]) for line in VERDICTS if line[0] == "probes"}
LENIENT = {"controller.quorum.voters", "controller.quorum.bootstrap.servers"}
"""Inert here, so that their form is nobody's concern."""


@pytest.mark.parametrize("scope", ["broker", "topic", "group", "client-metrics"])
def test_every_kafka_option_has_kafkas_facts(scope):
    facts = {line[1]: line for line in FACTS if line[0] == scope}
    known = options(scope)
    assert {name for name in known if not name.startswith("barnabas.")} == set(facts)
    for name, (_, _, kind, default, _, importance, dynamic, internal) in facts.items():
        option = known[name]
        assert option.kind == kind.lower(), name
        assert option.default == (None if default in ("\\N", "\\R") else default), name
        assert option.importance == importance.lower(), name
        assert option.internal == (internal == "true"), name
        assert option.dynamic == (dynamic if scope == "broker" else "dynamic"), name


@pytest.mark.parametrize("scope", ["broker", "topic", "group"])
def test_values_are_taken_and_refused_as_kafka_does(scope):
    count = 0
    for _, name, taken in (line for line in VERDICTS if line[0] == scope):
        option = options(scope)[name]
        if name in LENIENT:
            continue
        for probe, sign in zip(PROBES.get(option.kind, PROBES["number"]), taken, strict=True):
            assert (option.fault(probe) is None) == (sign == "+"), (name, probe)
            count += 1
    assert count > 100


def test_synonyms_are_kafkas():
    kafkas = {line[1]: line[2].split(",") for line in LINES if line[0] == "synonym"}
    ours = {topic: [name for name, _ in names] for topic, names in uses.SYNONYMS.items()}
    assert {topic: names for topic, names in ours.items() if not topic.startswith("barnabas.")} == kafkas


def test_every_default_is_a_value_of_its_option():
    bad = [
        option.fault(option.default)
        for scope in ("broker", "topic", "group", "client-metrics")
        for option in options(scope).values()
        if option.default and option.fault(option.default)
    ]
    assert bad == []


def test_uses_name_only_options_there_are():
    assert set(uses.BROKER) | set(uses.OWN_USES) <= set(options("broker"))
    assert set(uses.TOPIC) | set(uses.SYNONYMS) <= set(options("topic"))
    assert {name for names in uses.SYNONYMS.values() for name, _ in names} <= set(options("broker"))


def test_the_reference_page_is_the_generated_one():
    stored = Path(__file__).parents[2] / "docs" / "config" / "reference.md"
    assert stored.read_text() == page()


@pytest.mark.parametrize(
    ("name", "value"),
    [("min.cleanable.dirty.ratio", "nan"), ("min.cleanable.dirty.ratio", "0.50001x"), ("retention.ms", "-2")],
)
def test_refusals_name_the_option_and_the_value(name, value):
    fault = options("topic")[name].fault(value)
    assert fault is not None
    assert name in fault
    assert repr(value) in fault
