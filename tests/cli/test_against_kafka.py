"""The command line works with Apache Kafka as with us: the same commands print the same data and end the same way."""

import json
import re
from collections.abc import Iterator, Sequence

import confluent_kafka
import pytest
from terminal import invoked

import barnabas
from kafka_node import is_there, kafka_node

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(not is_there(), reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
]
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
RECORDS = "".join(
    json.dumps({"key": f"k{number}", "value": {"n": number}, "headers": [["h", "1"]]}) + "\n"
    for number in range(200)
)
EVERYTHING = ("-o", "start", "-e")
SCRIPT: Sequence[tuple[tuple[str, ...], str | None]] = [
    (("topic", "ls"), None),
    (("topic", "create", "t", "-p", "3", "--set", "max.message.bytes=2000"), None),
    (("topic", "create", "t"), None),
    (("topic", "create", "t", "--if-absent"), None),
    (("topic", "create", "no spaces"), None),
    (("topic", "create", "u", "--set", "retention.ms=soon"), None),
    (("topic", "create", "u", "--dry-run"), None),
    (("topic", "describe", "u"), None),
    (("produce", "t"), RECORDS),
    (("topic", "alter", "t", "--set", "max.message.bytes=1000000", "--dry-run"), None),
    (("topic", "alter", "t", "--set", "max.message.bytes=1000000"), None),
    (("topic", "alter", "t", "--set", "max.message.bytes=x"), None),
    *[
        (("produce", "t", "--format", "raw", "-p", "0", "--compression", codec), f"{codec}\n")
        for codec in CODECS
    ],
    (("topic", "describe", "t"), None),
    (("consume", "t", *EVERYTHING), None),
    (("consume", "t", "-o", "-2", "-e"), None),
    (("consume", "t", "-o", "3:5", "--key", "k*", "--header", "h=1"), None),
    (("consume", "t", "-o", "1000", "-e"), None),
    (("consume", "t", "-g", "g", "-o", "start", "-n", "5"), None),
    (("group", "ls"), None),
    (("group", "describe", "g"), None),
    (("group", "lag", "g"), None),
    (("group", "seek", "g", "--to", "end", "--yes"), None),
    (("group", "seek", "g", "--shift", "-2", "--yes"), None),
    (("consume", "t", "-g", "g", "-e"), None),
    (("group", "offsets", "g"), None),
    (("group", "seek", "h", "--from-group", "g", "--yes"), None),
    (("group", "seek", "h", "--topic", "t", "--to", "@0", "--yes"), None),
    (("group", "lag", "h"), None),
    (("group", "rm", "g", "--yes"), None),
    (("group", "lag", "g"), None),
    (("group", "rm", "g", "--yes"), None),
    (("topic", "trim", "t", "--to", "10", "--yes"), None),
    (("topic", "trim", "t", "--to", "end", "--partition", "1", "--yes"), None),
    (("topic", "describe", "t"), None),
    (("topic", "add-partitions", "t", "--total", "4"), None),
    (("topic", "add-partitions", "t", "--total", "2"), None),
    (("topic", "create", "states", "-p", "1", "--set", "cleanup.policy=compact"), None),
    (("produce", "states", "--format", "raw"), "no key\n"),
    (("produce", "states", "--format", "raw", "--tombstone"), "k\n"),
    (("consume", "states", *EVERYTHING), None),
    (("produce", "made-by-writing", "--format", "raw", "--acks", "1"), "x\n"),
    (("consume", "made-by-writing", *EVERYTHING, "-f", r"%t %p %o %k %v\n"), None),
    (("topic", "rm", "t", "states", "--yes"), None),
    (("topic", "rm", "t", "--yes"), None),
    (("consume", "t", "-e"), None),
]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kafka_node(tmp_path_factory.mktemp("kafka"), {}) as (host, port):
        yield f"{host}:{port}"


def played(bootstrap: str) -> list[tuple[str, int, str]]:
    """Command, exit code, and stdout without the times."""
    found = []
    for args, stdin in SCRIPT:
        ended = invoked(bootstrap, args, stdin)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), (args, ended.exception)
        found.append((" ".join(args), ended.exit_code, re.sub(r'"timestamp": \d+', "", ended.stdout)))
    return found


def test_every_command_prints_the_same_and_ends_the_same_way(kafka: str) -> None:
    with barnabas.Broker() as broker:
        ours = played(broker.bootstrap)
    theirs = played(kafka)
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == []


def test_a_group_of_the_new_protocol_is_seen(kafka: str) -> None:
    invoked(kafka, ["produce", "read", "--format", "raw"], "x\n")
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "modern",
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "client.id": "reader",
        }
    )
    try:
        consumer.subscribe(["read"])
        message = consumer.poll(30)
        assert message is not None and message.value() == b"x"
        consumer.commit(asynchronous=False)
        described = invoked(kafka, ["group", "describe", "modern"])
        assert "Stable, consumer protocol" in described.stderr
        member = json.loads(described.stdout)
        assert (member["client"], member["reads"]) == ("reader", ["read[0]"])
        assert json.loads(invoked(kafka, ["group", "lag", "modern"]).stdout)["reader"] == "reader"
        assert invoked(kafka, ["group", "seek", "modern", "--to", "start", "--yes"]).exit_code == 1
    finally:
        consumer.close()
    assert (
        json.loads(invoked(kafka, ["group", "seek", "modern", "--to", "start", "--yes"]).stdout)["new"] == 0
    )
    assert invoked(kafka, ["group", "rm", "modern", "--yes"]).exit_code == 0
