"""Apache Kafka 4.3 answers the transcripts as we do: every field of every response, and who has to wait.

Played to one node after the other, all transcripts at once, each with a group of its own; after them random walks. Not compared
are the order in lists (Kafka's is that of its hash maps), what says `ours`, and what needs a world of our making: crashes, held
disks, days.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from socket_stage import SocketStage
from test_group_transcripts import FOLDER
from transcript import MADE_ID, Answer, Stage, commands_of, duration_ms, is_ours, options_of
from virtual_stage import VirtualStage
from walks import Walk

from kafka_node import is_there, kafka_node

TICKS_MS_MAX = 25_000
SMALL = {"group.max.size": "3", "offset.metadata.max.bytes": "15"}
NODES = [SMALL, {"group.initial.rebalance.delay.ms": "3000"}]
WALKS = range(32)
STEPS = 40
Pair = tuple[VirtualStage, SocketStage]

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(not is_there(), reason="BARNABAS_KAFKA_LIB names no folder of Apache Kafka's jars"),
]


def fits(path: Path, node: dict[str, str]) -> bool:
    """Whether a node with these options can play the transcript."""
    verbs = {command.split()[0] for command, _ in commands_of(path)}
    ticks_ms = sum(
        duration_ms(command.split()[1]) for command, _ in commands_of(path) if command.startswith("tick ")
    )
    options = options_of(path)
    return (
        not is_ours(path)
        and all(hasattr(SocketStage, f"do_{verb.replace('-', '_')}") for verb in verbs)
        and ticks_ms <= TICKS_MS_MAX
        and bool(options.items() <= node.items())
        and ("group.initial.rebalance.delay.ms" in node) == ("group.initial.rebalance.delay.ms" in options)
    )


def played(node: dict[str, str]) -> list[Path]:
    return [path for path in sorted(FOLDER.glob("*.txt")) if fits(path, node)]


@pytest.mark.parametrize("node", NODES, ids=["small", "delayed"])
def test_every_response_is_that_of_apache_kafka(node: dict[str, str], tmp_path: Path) -> None:
    paths = played(node)
    assert paths, "no transcript is played to this node"
    with kafka_node(tmp_path, node) as address, ThreadPoolExecutor(len(paths)) as pool:
        found = list(pool.map(lambda path: differences(path, address), paths))
        if node == SMALL:
            found += pool.map(lambda seed: strayed(seed, address), WALKS)
    told = [line for lines in found for line in lines]
    assert not told, "\n" + "\n".join(told)


@contextmanager
def both(options: dict[str, str], address: tuple[str, int], name: str) -> Iterator[Pair]:
    kafkas = SocketStage(address, name)
    try:
        kafkas.prepare()
        yield VirtualStage(options), kafkas
    finally:
        kafkas.close()


def differences(path: Path, address: tuple[str, int]) -> list[str]:
    """What the node answers otherwise than the virtual stage, in lines to read."""
    told: list[str] = []
    with both(options_of(path), address, path.stem) as pair:
        for command, _ in commands_of(path):
            lines = compared(pair, command)
            told += [f"{path.stem} > {command}", *lines] if lines else []
    return told


def strayed(seed: int, address: tuple[str, int]) -> list[str]:
    """The walk up to the first difference, or nothing. Who leads when the leader left is up to Kafka's hash map: there it ends."""
    walk, commands = Walk(seed), list[str]()
    with both(SMALL, address, f"walk-{seed}") as pair:
        for _ in range(STEPS):
            commands.append(walk.step(pair[1].waiting("join_group"), pair[1].waiting("sync_group")))
            lines = compared(pair, commands[-1])
            if leaders(pair[0]) != leaders(pair[1]):
                return []
            if lines:
                return [f"walk {seed}", *(f"  > {each}" for each in commands), *lines]
    return []


def compared(pair: Pair, command: str) -> list[str]:
    ours, kafkas = pair
    kafkas.expected = ours.run(command)
    kafkas.run(command)
    mine, theirs = gist(ours), gist(kafkas)
    return [
        *(f"  ours   {line}" for line in mine if line not in theirs),
        *(f"  Kafka  {line}" for line in theirs if line not in mine),
    ]


def leaders(stage: Stage) -> set[str]:
    """As the answers to those who joined name them; each is shown by the name of its client's first id."""
    joined = [each.fields for each in stage.answers if each.api == "join_group"]
    return {
        MADE_ID.sub("", each["leader"]).rstrip("0123456789") for each in joined if each["error_code"] == 0
    }


def gist(stage: Stage) -> list[str]:
    waits = [line for line in stage.lines if line.endswith(" waits")]
    return sorted([*waits, *(told(each) for each in stage.answers)])


def told(answer: Answer) -> str:
    return f"{answer.client} {answer.api} v{answer.version} {unordered(answer.fields)}"


def unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unordered(each) for name, each in value.items()}
    if isinstance(value, list):
        return sorted((unordered(each) for each in value), key=repr)
    return value
