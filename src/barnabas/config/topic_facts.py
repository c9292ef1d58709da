"""Kafka 4.3's topic options as facts: name, type, default, bounds, importance, how it may change, internal or not.

Taken from Kafka's own ConfigDef by codegen/OptionFacts.java. What we do with each stands in uses.py.
"""

from typing import Final

Row = tuple[str, str, str | None, str, str, str, bool]

ROWS: Final[tuple[Row, ...]] = (
    ("cleanup.policy", "list", "delete", "[compact, delete]", "medium", "dynamic", False),
    ("compression.gzip.level", "int", "-1", "[1,...,9] or -1", "medium", "dynamic", False),
    ("compression.lz4.level", "int", "9", "[1,...,17]", "medium", "dynamic", False),
    (
        "compression.type",
        "string",
        "producer",
        "[uncompressed, zstd, lz4, snappy, gzip, producer]",
        "medium",
        "dynamic",
        False,
    ),
    ("compression.zstd.level", "int", "3", "[-131072,...,22]", "medium", "dynamic", False),
    ("delete.retention.ms", "long", "86400000", "[0,...]", "medium", "dynamic", False),
    ("file.delete.delay.ms", "long", "60000", "[0,...]", "medium", "dynamic", False),
    ("flush.messages", "long", "9223372036854775807", "[1,...]", "medium", "dynamic", False),
    ("flush.ms", "long", "9223372036854775807", "[0,...]", "medium", "dynamic", False),
    (
        "follower.replication.throttled.replicas",
        "list",
        "",
        "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
        "medium",
        "dynamic",
        False,
    ),
    ("index.interval.bytes", "int", "4096", "[0,...]", "medium", "dynamic", False),
    ("internal.segment.bytes", "int", None, "", "medium", "dynamic", True),
    (
        "leader.replication.throttled.replicas",
        "list",
        "",
        "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
        "medium",
        "dynamic",
        False,
    ),
    ("local.retention.bytes", "long", "-2", "[-2,...]", "medium", "dynamic", False),
    ("local.retention.ms", "long", "-2", "[-2,...]", "medium", "dynamic", False),
    ("max.compaction.lag.ms", "long", "9223372036854775807", "[1,...]", "medium", "dynamic", False),
    ("max.message.bytes", "int", "1048588", "[0,...]", "medium", "dynamic", False),
    ("message.timestamp.after.max.ms", "long", "3600000", "[0,...]", "medium", "dynamic", False),
    ("message.timestamp.before.max.ms", "long", "9223372036854775807", "[0,...]", "medium", "dynamic", False),
    (
        "message.timestamp.type",
        "string",
        "CreateTime",
        "[CreateTime, LogAppendTime]",
        "medium",
        "dynamic",
        False,
    ),
    ("min.cleanable.dirty.ratio", "double", "0.5", "[0,...,1]", "medium", "dynamic", False),
    ("min.compaction.lag.ms", "long", "0", "[0,...]", "medium", "dynamic", False),
    ("min.insync.replicas", "int", "1", "[1,...]", "medium", "dynamic", False),
    ("preallocate", "boolean", "false", "", "medium", "dynamic", False),
    ("remote.log.copy.disable", "boolean", "false", "", "medium", "dynamic", False),
    ("remote.log.delete.on.disable", "boolean", "false", "", "medium", "dynamic", False),
    ("remote.storage.enable", "boolean", "false", "", "medium", "dynamic", False),
    ("retention.bytes", "long", "-1", "", "medium", "dynamic", False),
    ("retention.ms", "long", "604800000", "[-1,...]", "medium", "dynamic", False),
    ("segment.bytes", "int", "1073741824", "[1048576,...]", "medium", "dynamic", False),
    ("segment.index.bytes", "int", "10485760", "[4,...]", "medium", "dynamic", False),
    ("segment.jitter.ms", "long", "0", "[0,...]", "medium", "dynamic", False),
    ("segment.ms", "long", "604800000", "[1,...]", "medium", "dynamic", False),
    ("unclean.leader.election.enable", "boolean", "false", "", "medium", "dynamic", False),
)
