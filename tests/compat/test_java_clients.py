"""Apache Kafka's own Java clients, with their default settings, against a broker on disk; then Kafka's code reads its files.

The checks are Java: tests/compat/java/*Checks.java. They are held against Apache Kafka too, so none asks for what is ours alone.
"""

from pathlib import Path

import pytest
from dump import dump
from java_programs import compiled, needs_java, run

import barnabas
from kafka_node import kafka_node

pytestmark = [*needs_java, pytest.mark.timeout(400)]

PROGRAM = (
    "JavaChecks",
    "Clients",
    "ProducerChecks",
    "ConsumerChecks",
    "GroupChecks",
    "AdminChecks",
    "AdminGroupChecks",
)
COUNTS = {"producer": 14, "consumer": 11, "group": 10, "admin": 16}


class Outcome:
    """What each check came to, and the data folder that is left of all of them."""

    def __init__(self, by_check: dict[str, str], data: Path) -> None:
        self.by_check = by_check
        self.data = data


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("classes"), *PROGRAM)


def checked(classes: Path, address: str, folder: Path) -> dict[str, str]:
    """All checks in one Java machine, once: what each came to."""
    ran = run("JavaChecks", [address, str(folder / "outcomes")], classes, timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t", 1) for line in (folder / "outcomes").read_text().splitlines())


@pytest.fixture(scope="module")
def outcome(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("java")
    with barnabas.Broker(data=folder / "data") as broker:
        return Outcome(checked(classes, broker.bootstrap, folder), folder / "data")


@pytest.mark.parametrize("area", COUNTS)
def test_the_java_clients_get_what_they_expect(outcome: Outcome, area: str) -> None:
    found = {name: told for name, told in outcome.by_check.items() if name.startswith(f"{area}: ")}
    assert {name: told for name, told in found.items() if told != "ok"} == {}
    assert len(found) == COUNTS[area]


def test_apache_kafka_passes_the_same_checks(classes: Path, tmp_path: Path) -> None:
    with kafka_node(tmp_path, {}) as (host, port):
        found = checked(classes, f"{host}:{port}", tmp_path)
    assert {name: told for name, told in found.items() if told != "ok"} == {}
    assert len(found) == sum(COUNTS.values())


def segments_of(data: Path, topics: str) -> list[Path]:
    return [path for path in data.glob(f"{topics}/*.log") if path.stat().st_size > 0]


def test_kafkas_code_reads_every_segment_that_is_left(outcome: Outcome) -> None:
    segments = segments_of(outcome.data, "*")
    found = dump(segments)
    assert found.keys() == set(segments)
    assert len(segments) > 40
    for path, dumped in found.items():
        assert dumped.batches, path
        assert all(is_valid for _, _, is_valid in dumped.batches), path
        assert len(dumped.records) == sum(count for _, count, _ in dumped.batches), path


def test_kafkas_code_understands_what_groups_have_written(outcome: Outcome) -> None:
    found = dump(segments_of(outcome.data, "__consumer_offsets-*"), "--offsets-decoder")
    facts = [value for dumped in found.values() for _, value in dumped.records if value is not None]
    assert any('"offset":6' in fact and '"metadata":"further"' in fact for fact in facts)
    assert any(
        '"protocolType":"consumer"' in fact and '"protocol":"cooperative-sticky"' in fact for fact in facts
    )
