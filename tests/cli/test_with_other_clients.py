"""A group that the command line shares with members of another client."""

import json
import subprocess

import confluent_kafka
import pytest
from terminal import HASTY, environment, invoked

import barnabas

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_partitions_are_shared_whoever_leads(first: str) -> None:
    with barnabas.Broker(topics={"shared": 4}) as broker:
        theirs = confluent_kafka.Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": "mixed",
                "client.id": "theirs",
                "partition.assignment.strategy": "range",
                "heartbeat.interval.ms": 100,
                "session.timeout.ms": 10_000,
                "auto.offset.reset": "earliest",
            }
        )

        def reads() -> dict[str, list[str]]:
            theirs.poll(0.05)
            ended = invoked(broker.bootstrap, ["group", "describe", "mixed"])
            rows = [json.loads(line) for line in ended.stdout.splitlines()]
            return {row["client"]: row["reads"] for row in rows}

        command = [*HASTY, "consume", "shared", "-g", "mixed", "-o", "start", "-f", r"%v\n"]
        process = None
        try:
            for name in (first, "theirs" if first == "ours" else "ours"):
                if name == "theirs":
                    theirs.subscribe(["shared"])
                else:
                    process = subprocess.Popen(
                        command, stdout=subprocess.PIPE, text=True, env=environment(broker.bootstrap)
                    )
                while not reads().get("theirs" if name == "theirs" else "barnabas-cli"):
                    pass
            found = reads()
            while len(theirs.assignment()) != 2:
                found = reads()
            assert sorted(map(len, found.values())) == [2, 2]
            assert process is not None and process.stdout is not None
            for place in found["barnabas-cli"]:
                broker.produce("shared", place, partition=int(place[-2]))
                assert process.stdout.readline() == f"{place}\n"
        finally:
            if process is not None:
                process.send_signal(2)
                process.wait(30)
            theirs.close()
