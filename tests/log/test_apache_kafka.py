"""Both ways with Apache Kafka 4.3: we open a folder it wrote, and its DumpLogSegments reads ours."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from written_log import NOW_MS, TOPIC_ID, Disk, append, everything

from barnabas.adapters.files import OsFiles
from barnabas.config.effective import BrokerOptions, topic_options
from barnabas.log.examine import examine
from barnabas.log.folder import read_topic_id
from barnabas.log.log import Log
from barnabas.log.mend import mend
from barnabas.log.producer_state import Duplicate, ProducerState
from barnabas.log.segment import OpenFiles
from barnabas.records.record import all_records, batches

FOLDER = Path(__file__).parent / "kafka_folder"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
KAFKA_LIB = os.environ.get("BARNABAS_KAFKA_LIB", "")


@pytest.fixture
def kafka_log(tmp_path: Path) -> Iterator[Log]:
    """Apache Kafka's topic written-by-kafka: 20 records in each codec, then three after segment.ms=1."""
    shutil.copytree(FOLDER, tmp_path / "written-by-kafka-0")
    log = Log(
        OpenFiles(OsFiles(), 4),
        str(tmp_path / "written-by-kafka-0"),
        "written-by-kafka",
        0,
        TOPIC_ID,
        topic_options({}, BrokerOptions({})),
    )
    yield log
    log.close(clean=False)


@pytest.mark.parametrize("recovery_point", [0, 101])
def test_a_folder_that_apache_kafka_wrote_opens(kafka_log: Log, recovery_point: int) -> None:
    kafka_log.load(NOW_MS, clean=False, recovery_point=recovery_point, log_start_offset=0)
    records = list(all_records(everything(kafka_log)))
    expected = [f"{codec} {n} ".encode() + b"x" * 40 for codec in CODECS for n in range(20)]
    assert [record.value for record in records] == [*expected, b"rolled 0", b"rolled 1", b"rolled 2"]
    assert [record.offset for record in records] == list(range(103))
    assert len(kafka_log.segments) > 1
    assert kafka_log.epoch_end_offset(0) == (0, 103)
    assert read_topic_id(OsFiles(), kafka_log.folder) is not None


def test_its_producer_snapshots_read_as_its_log_does(kafka_log: Log) -> None:
    kafka_log.load(NOW_MS, clean=False, recovery_point=0, log_start_offset=0)
    for path in sorted(FOLDER.glob("*.snapshot")):
        snapshot = ProducerState.load(path.read_bytes(), NOW_MS)
        assert snapshot is not None
        replayed = ProducerState()
        for segment in kafka_log.segments:
            for header, _ in segment.scan(0):
                if header.producer_id >= 0 and header.base_offset < int(path.stem):
                    replayed.update(header, header.base_offset, NOW_MS)
        assert {
            (p.producer_id, p.epoch, p.last_sequence, p.batches[-1].last_offset, p.last_timestamp)
            for p in snapshot.by_id.values()
        } == {
            (p.producer_id, p.epoch, p.last_sequence, p.batches[-1].last_offset, p.last_timestamp)
            for p in replayed.by_id.values()
        }
        assert snapshot.to_bytes() == path.read_bytes() or len(snapshot.by_id) > 1, "one order, one text"


def test_a_retry_of_its_last_batch_is_known(kafka_log: Log) -> None:
    kafka_log.load(NOW_MS, clean=False, recovery_point=0, log_start_offset=0)
    (header, _) = list(kafka_log.segments[-1].scan(0))[-1]
    duplicate = kafka_log.producers.check(header)
    assert isinstance(duplicate, Duplicate)
    assert (duplicate.base_offset, duplicate.end_offset) == (102, 103)


def dumped(folder: str, *holes: str) -> str:
    """What DumpLogSegments prints of all files, having found no fault but these jumps over lost offsets."""
    if not KAFKA_LIB:
        pytest.skip("BARNABAS_KAFKA_LIB does not name a folder of Apache Kafka's jars")
    names = [
        name for name in os.listdir(folder) if name.endswith((".log", ".index", ".timeindex", ".snapshot"))
    ]
    result = subprocess.run(
        [
            "java", "-cp", f"{KAFKA_LIB}/*", "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log",
            "--verify-index-only", "--files", ",".join(f"{folder}/{name}" for name in sorted(names)),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    # Every file that does not begin at offset 0 is said to follow -1: that is the tool's own start value.
    problems = [
        line
        for line in result.stderr.splitlines()
        if line and not line.startswith(("Non-consecutive offsets in", "  -1 is followed by"))
    ]
    assert problems == list(holes)
    return result.stdout


@pytest.mark.java
def test_apache_kafkas_dump_reads_our_files(os_disk: Disk) -> None:
    log = os_disk.log(internal_segment_bytes=3000, index_interval_bytes=200)
    number = 0
    for round_ in range(4):
        for codec in CODECS:
            append(
                log,
                [b"%s %d" % (codec.encode(), each) for each in range(3)],
                codec=codec,
                timestamp=NOW_MS + number,
                producer_id=7,
                producer_epoch=1,
                base_sequence=number * 3,
            )
            number += 1
        append(log, [b"x" * 900], timestamp=NOW_MS + round_)
    log.close(clean=True)
    report = dumped(log.folder)
    assert report.count("producerId: 7 ") >= number
    for codec in CODECS:
        assert f"{codec} 2" in report
    assert "lastSequence: 59" in report or "lastSeq: 59" in report, report
    assert "producerEpoch: 1" in report


@pytest.mark.java
def test_apache_kafkas_dump_reads_what_was_repaired(os_disk: Disk) -> None:
    log = os_disk.log()
    for number in range(5):
        append(log, [b"v%d" % number, b"w"], producer_id=7, producer_epoch=1, base_sequence=number * 2)
    log.close(clean=True)
    content = bytearray(os_disk.content())
    content[-1] ^= 1  # the last batch
    content[list(batches(os_disk.content()))[2][1] + 20] ^= 1  # a checksum
    os_disk.overwrite(bytes(content))
    mend(os_disk.files, examine(os_disk.files, log.folder, clean=True, recovery_point=10))
    os_disk.log(clean=True, recovery_point=10).close(clean=True)
    report = dumped(log.folder, "  3 is followed by 6")
    assert [value for value in ("v0", "v1", "v2", "v3", "v4") if f"payload: {value}" in report] == [
        "v0",
        "v1",
        "v3",
    ]
    for first in (4, 8):
        assert f"baseOffset: {first} lastOffset: {first + 1} count: 0" in report
