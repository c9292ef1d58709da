"""Java programs of this folder, and tools of Apache Kafka, run with the jars that BARNABAS_KAFKA_LIB names."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "java"
JARS = os.environ.get("BARNABAS_KAFKA_LIB", "")

needs_java = [
    pytest.mark.java,
    pytest.mark.skipif(not JARS, reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
    pytest.mark.skipif(shutil.which("javac") is None, reason="no javac on PATH"),
]


def compiled(folder: Path, *names: str) -> Path:
    """The folder of the classes of these programs."""
    sources = [str(SOURCES / f"{name}.java") for name in names]
    subprocess.run(["javac", "-cp", f"{JARS}/*", "-d", str(folder), *sources], check=True)
    return folder


def run(
    program: str, words: Sequence[str], classes: Path | None = None, *, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Runs to its end; a program that fails is for the caller to judge."""
    path = f"{classes}:{JARS}/*" if classes else f"{JARS}/*"
    return subprocess.run(
        ["java", "-Xmx512m", "-cp", path, program, *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
