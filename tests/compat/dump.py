"""Apache Kafka's DumpLogSegments over files of ours: every record is opened, every CRC is checked."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from java_programs import run

BATCH = re.compile(
    r"baseOffset: (\d+) lastOffset: (\d+) count: (\d+) .*compresscodec: (\w+) .*isvalid: (\w+)"
)
RECORD = re.compile(r"^\| offset: (\d+) .*?(?: payload: (.*))?$", re.DOTALL)
FIRST_OF_A_FILE = ("Non-consecutive offsets in", "  -1 is followed by")
"""Every file that does not begin at offset 0 is said to follow -1: that is the tool's own start value."""


class Dumped(NamedTuple):
    """What Kafka's tool read in a file: batches as (codec, count, is valid), records as (offset, value)."""

    batches: list[tuple[str, int, bool]]
    records: list[tuple[int, str | None]]


def dump(files: Sequence[Path], *options: str) -> dict[Path, Dumped]:
    """By file. Fails when the tool complains."""
    names = ",".join(str(path) for path in files)
    ran = run(
        "org.apache.kafka.tools.DumpLogSegments",
        ["--deep-iteration", "--print-data-log", *options, "--files", names],
        timeout_s=120,
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stderr.splitlines()
    assert [line for line in lines if line and not line.startswith(FIRST_OF_A_FILE)] == []
    _, *parts = re.split(r"^Dumping ", ran.stdout, flags=re.MULTILINE)
    return {Path(part.partition("\n")[0]): read_part(part) for part in parts}


def read_part(printed: str) -> Dumped:
    batches = [(found[4], int(found[3]), found[5] == "true") for found in BATCH.finditer(printed)]
    lines = printed.split("\n")
    records = [(int(found[1]), found[2]) for line in lines if (found := RECORD.match(line))]
    return Dumped(batches, records)
