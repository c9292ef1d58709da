"""Batches that other clients made: librdkafka, kafka-python and aiokafka as they lie in a segment of Apache Kafka 4.3,
and Kafka's own builder. Each holds the same three records."""

from pathlib import Path

import pytest

from barnabas.config.effective import BrokerOptions, topic_options
from barnabas.records.batch import CODECS, check_crc
from barnabas.records.record import Record, batches, build_batch, records_of
from barnabas.records.validate import validate_produced

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(path for path in GOLDEN.glob("*.bin") if not path.name.startswith("marker"))
FIRST_MS = 1_700_000_000_000
LAST_MS = FIRST_MS + 7


def records_expected(client: str) -> list[Record]:
    """kafka-python knows no header without a value and sends an empty one."""
    nothing = b"" if client == "kafka-python" else None
    return [
        Record(b"k0", b"value 0", FIRST_MS, (("h", b"x"), ("none", nothing)), 0),
        Record(None, b"v" * 3000, FIRST_MS + 5, (), 1),
        Record(b"k2", None, LAST_MS, (), 2),
    ]


def test_the_files_are_there() -> None:
    clients = {path.stem.rpartition("-")[0] for path in FILES}
    assert clients == {"aiokafka", "java", "kafka-python", "librdkafka"}
    assert {path.stem.rpartition("-")[2] for path in FILES} == set(CODECS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_batches_of_others_are_read(path: Path) -> None:
    client, _, codec = path.stem.rpartition("-")
    content = path.read_bytes()
    ((header, at),) = batches(content)
    assert (at, header.size, header.record_count) == (0, len(content), 3)
    assert CODECS[header.codec] == codec
    assert header.max_timestamp == LAST_MS
    assert check_crc(content, at, header.size, header.crc)
    assert list(records_of(content, header, at)) == records_expected(client)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_batches_of_others_are_taken_where_they_are_opened(path: Path) -> None:
    content = path.read_bytes()
    options = topic_options({"barnabas.validate": "records"}, BrokerOptions({}))
    assert not isinstance(validate_produced(content, 0, len(content), options, 12, LAST_MS), int)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_our_builder_writes_the_same_records(path: Path) -> None:
    """Byte for byte where nothing is compressed; a codec's output is its library's affair."""
    content = path.read_bytes()
    ((header, at),) = batches(content)
    ours = build_batch(
        list(records_of(content, header, at)),
        codec=header.codec,
        leader_epoch=header.leader_epoch,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
    )
    if header.codec == 0:
        assert ours == content
    ((again, _),) = batches(ours)
    assert list(records_of(ours, again, 0)) == list(records_of(content, header, at))


@pytest.mark.parametrize(("name", "kind"), [("abort", 0), ("commit", 1)])
def test_markers_are_javas_byte_for_byte(name: str, kind: int) -> None:
    """Versions 0, then the kind, and the coordinator's epoch."""
    content = (GOLDEN / f"marker-java-{name}.bin").read_bytes()
    marker = Record(bytes([0, 0, 0, kind]), bytes([0, 0, 0, 0, 0, 9]), FIRST_MS)
    assert content == build_batch([marker], producer_id=7, producer_epoch=3, transactional=True, control=True)
    ((header, at),) = batches(content)
    assert header.is_control
    assert header.is_transactional
    (record,) = records_of(content, header, at)
    assert (record.key, record.value, record.timestamp) == (marker.key, marker.value, FIRST_MS)
