"""Apache Kafka's own Java clients, with their default settings, against a broker on disk; then Kafka's code reads its files.

The checks are Java: tests/compat/java/*Checks.java. They pass against Apache Kafka too.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dump import dump
from java_programs import compiled, needs_java, run

import barnabas

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
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """All checks in one Java machine, once."""
    folder = tmp_path_factory.mktemp("java")
    classes = compiled(folder / "classes", *PROGRAM)
    with barnabas.Broker(data=folder / "data") as broker:
        ran = run("JavaChecks", [broker.bootstrap, str(folder / "outcomes")], classes, timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    lines = (folder / "outcomes").read_text().splitlines()
    yield Outcome(dict(line.split("\t", 1) for line in lines), folder / "data")


@pytest.mark.parametrize("area", COUNTS)
def test_the_java_clients_get_what_they_expect(outcome: Outcome, area: str) -> None:
    found = {name: told for name, told in outcome.by_check.items() if name.startswith(f"{area}: ")}
    assert {name: told for name, told in found.items() if told != "ok"} == {}
    assert len(found) == COUNTS[area]


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
