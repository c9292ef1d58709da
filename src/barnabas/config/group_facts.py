"""Kafka 4.3's group options as facts: name, type, default, bounds, importance, how it may change, internal or not.

Taken from Kafka's own ConfigDef by codegen/OptionFacts.java. What we do with each stands in uses.py.
"""

from typing import Final

Row = tuple[str, str, str | None, str, str, str, bool]

ROWS: Final[tuple[Row, ...]] = (
    ("consumer.assignment.interval.ms", "int", "1000", "[0,...]", "medium", "dynamic", False),
    ("consumer.heartbeat.interval.ms", "int", "5000", "[1,...]", "medium", "dynamic", False),
    ("consumer.session.timeout.ms", "int", "45000", "[1,...]", "medium", "dynamic", False),
    ("share.assignment.interval.ms", "int", "1000", "[0,...]", "medium", "dynamic", False),
    (
        "share.auto.offset.reset",
        "string",
        "latest",
        "[latest, earliest, by_duration:PnDTnHnMn.nS]",
        "medium",
        "dynamic",
        False,
    ),
    ("share.delivery.count.limit", "int", "5", "[2,...]", "medium", "dynamic", False),
    ("share.heartbeat.interval.ms", "int", "5000", "[1,...]", "medium", "dynamic", False),
    (
        "share.isolation.level",
        "string",
        "read_uncommitted",
        "[read_committed, read_uncommitted]",
        "medium",
        "dynamic",
        False,
    ),
    ("share.partition.max.record.locks", "int", "2000", "[100,...]", "medium", "dynamic", False),
    ("share.record.lock.duration.ms", "int", "30000", "[1000,...]", "medium", "dynamic", False),
    ("share.renew.acknowledge.enable", "boolean", "true", "", "medium", "dynamic", False),
    ("share.session.timeout.ms", "int", "45000", "[1,...]", "medium", "dynamic", False),
    ("streams.assignment.interval.ms", "int", "1000", "[0,...]", "medium", "dynamic", False),
    ("streams.heartbeat.interval.ms", "int", "5000", "[1,...]", "medium", "dynamic", False),
    ("streams.initial.rebalance.delay.ms", "int", "3000", "[0,...]", "medium", "dynamic", False),
    ("streams.num.standby.replicas", "int", "0", "[0,...]", "medium", "dynamic", False),
    ("streams.session.timeout.ms", "int", "45000", "[1,...]", "medium", "dynamic", False),
)
