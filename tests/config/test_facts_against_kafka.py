"""The tables of options and of verdicts are what the jars of Apache Kafka say: its own ConfigDef prints them anew.

Needs Java and Kafka's jars: the folder of them stands in BARNABAS_KAFKA_LIB.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JARS = os.environ.get("BARNABAS_KAFKA_LIB", "")

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(not JARS, reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
]


@pytest.mark.parametrize(
    ("program", "table"),
    [
        ("OptionFacts", "codegen/kafka_options.tsv"),
        ("OptionVerdicts", "tests/config/kafka_verdicts.tsv"),
    ],
)
def test_the_table_is_what_kafka_says(program: str, table: str) -> None:
    source = ROOT / "codegen" / f"{program}.java"
    printed = subprocess.run(
        ["java", "-cp", f"{JARS}/*", str(source)], capture_output=True, text=True, check=True, timeout=90
    ).stdout
    assert printed == (ROOT / table).read_text()
