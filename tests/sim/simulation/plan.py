"""What a seed decides before the first millisecond: topic, clients, options, and which faults come."""

import random
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from simulation.process import OLD_VERSIONS, VERSIONS

MACHINE_FAULTS: Final = (
    "power",
    "power",
    "kill",
    "kill",
    "restart",
    "cut",
    "disk",
    "sync",
    "ring",
    "calm",
    "thaw",
    "slow syncs",
    "stall",
    "clock",
)
CLIENT_FAULTS: Final = ("pause", "pause", "die", "leave", "enter", "replace", "delete")
FAULTS_MAX: Final = 8
LONG_MS: Final = 2_500
"""Longer than a session or a rebalance may take."""


WORKER_FAULTS: Final = (
    "power",
    "kill parent",
    "restart",
    "kill",
    "kill",
    "kill some",
    "crash loop",
    "crash all",
    "slow",
    "freeze",
    "freeze",
    "cut",
    "disk",
    "sync",
    "ring",
    "calm",
    "thaw",
    "stall",
    "clock",
    "metadata fails",
    "metadata is slow",
    "make",
    "make",
    "change",
    "change",
    "freeze parent",
    "suspend",
    "full",
    "return",
)
"""With workers: of one process, of several, or of all."""


class Plan(NamedTuple):
    partitions: int
    producers: int
    batches: int
    window: int
    pace_ms: int
    """Between two batches of a producer, at most."""
    readers: int
    session_readers: int
    members: int
    instances: int
    """So many of the members are static."""
    solo_commits: int
    options: Mapping[str, str]
    has_retention: bool
    versions: Mapping[int, int]
    faults: tuple[str, ...]
    cut_one_in: int


def plan_of(
    chance: random.Random, focus: tuple[str, ...] = (), faults: tuple[str, ...] = MACHINE_FAULTS
) -> Plan:
    """Most histories are small: what goes wrong needs two or three things to meet. focus: the only faults that come."""
    draw: Callable[..., int] = chance.choice  # type: ignore[assignment]
    members = draw((0, 1, 2, 2, 3, 4))
    is_old = chance.random() < 0.2
    kinds = focus or faults + (CLIENT_FAULTS if members else ("delete",))
    has_retention = chance.random() < 0.2
    options = {
        "barnabas.journal.bytes": str(draw((0, 20_480, 65_536, 1 << 20))),
        "listeners": "PLAINTEXT://127.0.0.1:9092",
        "barnabas.metrics.port": "-1",
        "offsets.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": str(draw((0, 0, 100))),
        "group.min.session.timeout.ms": "100",
        "log.segment.bytes": str(draw((300, 1_000, 1 << 20))),
        "log.roll.ms": str(draw((100, 1_000, 600_000))),
        "log.initial.task.delay.ms": "100",
        "log.cleaner.backoff.ms": "100",
        "log.cleaner.delete.retention.ms": str(draw((0, 86_400_000))),
        "log.flush.interval.ms": str(draw((100, 100, 1 << 62))),
        "log.retention.check.interval.ms": "300",
        "log.segment.delete.delay.ms": str(draw((0, 1_000))),
    }
    if has_retention:
        options["log.retention.bytes"] = str(draw((0, 500, 3_000)))
    return Plan(
        partitions=draw((1, 1, 2, 3)),
        producers=draw((1, 2, 3)),
        batches=draw((2, 6, 12)),
        window=draw((1, 1, 3, 5)),
        pace_ms=draw((10, 40, 300)),
        readers=draw((0, 1, 2)),
        session_readers=0,
        members=members,
        instances=0 if is_old else draw((0, 0, 1, 2)),
        solo_commits=draw((0, 2, 8)),
        options=options,
        has_retention=has_retention,
        versions=OLD_VERSIONS if is_old else VERSIONS,
        faults=tuple(chance.choice(kinds) for _ in range(draw((1, 2, 4, FAULTS_MAX)))),
        cut_one_in=draw((0, 200, 60)),
    )


def workers_plan_of(chance: random.Random, focus: tuple[str, ...] = ()) -> Plan:
    """Every broker has something to lead."""
    plan = plan_of(chance, focus, WORKER_FAULTS)
    options = {
        **plan.options,
        "offsets.topic.num.partitions": str(chance.choice((1, 2, 3))),
        "barnabas.workers.restart.ms": str(chance.choice((300, 3_000))),
        "broker.heartbeat.interval.ms": "300",
        "broker.session.timeout.ms": str(chance.choice((900, 9_000))),
    }
    return plan._replace(
        partitions=chance.choice((2, 3, 4)),
        producers=chance.choice((2, 3, 4)),
        session_readers=chance.choice((0, 1, 2)),
        options=options,
    )
