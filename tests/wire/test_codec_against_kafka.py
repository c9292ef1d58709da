"""Apache Kafka's own codec reads what we write, sees the same values, and writes the same bytes.

Needs Java and Kafka's jars: the folder of them stands in BARNABAS_KAFKA_LIB.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from wire_samples import KINDS, ROOT, Field, Kind, Sampler, attribute, within

from barnabas.wire.primitives import Records

JARS = os.environ.get("BARNABAS_KAFKA_LIB", "")
SEEDS = range(8)
UNKNOWN_TAG = b"\x01\xe4\x01\x03abc"

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(not JARS, reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
    pytest.mark.skipif(shutil.which("javac") is None, reason="no javac on PATH"),
]


class Verdict(NamedTuple):
    """What Kafka said about one message."""

    unread_bytes: int
    again: bytes
    json: Any


def ask_kafka(questions: list[tuple[Kind, bytes]]) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        source = ROOT / "tests" / "compat" / "java" / "MessageOracle.java"
        jars = str(Path(JARS) / "*")
        subprocess.run(["javac", "-cp", jars, "-d", folder, str(source)], check=True)
        lines = [f"{kind.message.name} {kind.version} {content.hex()}\n" for kind, content in questions]
        answers = subprocess.run(
            ["java", "-cp", f"{folder}:{jars}", "MessageOracle"],
            input="".join(lines),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    assert len(answers) == len(questions)
    return [verdict(kind, answer) for (kind, _), answer in zip(questions, answers)]


def verdict(kind: Kind, answer: str) -> Verdict:
    words = answer.split("\t")
    assert words[0] != "error", (str(kind), answer)
    return Verdict(int(words[0]), bytes.fromhex(words[1]), json.loads(words[2]))


def as_kafka(kind: Kind, value: Any, each: Field) -> Any:
    """A field as Kafka's JSON form has it."""
    if value is None:
        return None
    if each.is_array and isinstance(value, list):
        return [as_kafka(kind, item, each) for item in value]
    if kind.shapes.shape(kind.message, each) is not None:
        return struct_as_kafka(kind, value, each.item)
    if isinstance(value, Records):
        return ""  # their bytes are compared, the JSON form has them as nothing
    if each.item == "uuid":
        return base64.urlsafe_b64encode(value).decode().rstrip("=")
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def struct_as_kafka(kind: Kind, value: Any, name: str) -> dict[str, Any]:
    """Tagged fields that hold their defaults are not sent, and are not in Kafka's form either."""
    shape = kind.shapes.by_type[kind.message.name, name]
    default = type(value)()
    return {
        each.name.replace("_", ""): as_kafka(kind, getattr(value, attribute(each)), each)
        for each in kind.shapes.fields(kind.message, shape)
        if within(each.versions, kind.version)
        and not (
            within(each.tagged, kind.version)
            and getattr(value, attribute(each)) == getattr(default, attribute(each))
        )
    }


def folded(value: Any) -> Any:
    """Names without case: Kafka's are in camel case."""
    if isinstance(value, dict):
        return {name.lower().replace("_", ""): folded(item) for name, item in value.items()}
    return [folded(item) for item in value] if isinstance(value, list) else value


def samples() -> Iterator[tuple[Kind, Any]]:
    for kind in KINDS:
        for seed in SEEDS:
            yield kind, Sampler(seed).message(kind)


def test_kafka_reads_the_same_and_writes_the_same_bytes() -> None:
    asked = list(samples())
    questions = [(kind, kind.encode(message)) for kind, message in asked]
    for (kind, message), (_, encoded), seen in zip(asked, questions, ask_kafka(questions)):
        assert seen.unread_bytes == 0, str(kind)
        assert seen.again == encoded, str(kind)
        assert folded(seen.json) == folded(struct_as_kafka(kind, message, kind.message.name)), str(kind)


def test_what_kafka_writes_with_unknown_tags_is_read() -> None:
    flexible = [kind for kind in KINDS if kind.is_flexible]
    questions = [(kind, kind.encode(kind.default())[:-1] + UNKNOWN_TAG) for kind in flexible]
    for (kind, asked), seen in zip(questions, ask_kafka(questions)):
        assert seen.unread_bytes == 0
        assert seen.again == asked, "Kafka keeps unknown tags"
        assert kind.decode(seen.again) == kind.decode(kind.encode(kind.default()))
