"""Where each option acts and what for, in our words; options that are not here are inert: known, accepted, without effect.

Also the options of our own, which all begin with `barnabas.`.
"""

from typing import Final

FIRST_VERSION: Final = "0.1.0"
SINCE: Final[dict[str, str]] = {}
"""The version in which an option began to act, for those that did nothing in the first one."""

BROKER: Final[dict[str, tuple[str, str]]] = {
    "node.id": ("node.py", "This broker's id, a number that no other broker of the cluster has."),
    "broker.id": ("node.py", "Older name of node.id."),
    "broker.heartbeat.interval.ms": (
        "supervisor.py",
        "How often a worker tells its parent that it lives; 100 at least.",
    ),
    "broker.session.timeout.ms": (
        "supervisor.py",
        "A worker of which its parent hears nothing for so long, three heartbeats at least, is killed and started again.",
    ),
    "broker.rack": ("node.py", "Where this broker stands; shown in Metadata."),
    "listeners": ("config/load.py", "Addresses to listen on: NAME://host:port, several by comma."),
    "advertised.listeners": (
        "config/load.py",
        "Addresses that clients are told, when they differ from listeners.",
    ),
    "listener.security.protocol.map": ("config/load.py", "Security protocol of each listener name."),
    "controller.listener.names": (
        "config/load.py",
        "Listeners that are not opened: there is no controller to reach.",
    ),
    "log.dir": ("cli/serve.py", "Data folder, when log.dirs is not set."),
    "log.dirs": ("cli/serve.py", "Data folder; one."),
    "socket.request.max.bytes": (
        "server/listener.py",
        "Largest request frame; a larger one closes its connection.",
    ),
    "socket.send.buffer.bytes": (
        "running.py",
        "Send buffer of a client's connection, 262144 when it is not set; -1: the system's own, which grows.",
    ),
    "connections.max.idle.ms": (
        "server/listener.py",
        "A connection without requests for this long is closed.",
    ),
    "max.connections": (
        "server/listener.py",
        "Connections of this broker at once; further ones are closed at accept.",
    ),
    "max.connections.per.ip": ("server/listener.py", "Connections from one address at once."),
    "auto.create.topics.enable": (
        "server/handlers/metadata.py",
        "Whether asking for an unknown topic makes it.",
    ),
    "num.partitions": ("server/topics.py", "Partitions of a topic that is made without a number."),
    "default.replication.factor": (
        "server/topics.py",
        "Replication factor of a topic that is made without one.",
    ),
    "delete.topic.enable": ("server/topics.py", "Whether DeleteTopics is allowed."),
    "fetch.max.bytes": (
        "server/handlers/fetch.py",
        "Most bytes of one Fetch answer, but for a first large batch.",
    ),
    "max.incremental.fetch.session.cache.slots": ("node.py", "Fetch sessions kept at once."),
    "max.request.partition.size.limit": (
        "server/handlers/describe_topic_partitions.py",
        "Most partitions in one DescribeTopicPartitions answer.",
    ),
    "log.initial.task.delay.ms": (
        "partitions/upkeep.py",
        "How long after a start retention and compaction begin to look.",
    ),
    "log.retention.check.interval.ms": ("partitions/upkeep.py", "How often retention looks for what may go."),
    "producer.id.expiration.ms": (
        "partitions/upkeep.py",
        "An idempotent producer silent for this long is forgotten.",
    ),
    "log.cleaner.backoff.ms": (
        "partitions/upkeep.py",
        "How often internal topics are looked at for compaction.",
    ),
    "offsets.topic.num.partitions": (
        "server/topics.py",
        "Partitions of __consumer_offsets; fixed when it is made.",
    ),
    "offsets.topic.segment.bytes": ("server/topics.py", "Segment size of __consumer_offsets."),
    "offsets.topic.compression.codec": (
        "coordinators/group/shard.py",
        "Codec of batches in __consumer_offsets.",
    ),
    "offsets.retention.minutes": (
        "coordinators/group/offsets.py",
        "How long offsets of an empty group are kept.",
    ),
    "offsets.retention.check.interval.ms": (
        "coordinators/group/coordinator.py",
        "How often expired offsets are looked for.",
    ),
    "offset.metadata.max.bytes": (
        "coordinators/group/coordinator.py",
        "Longest text kept with a committed offset.",
    ),
    "group.initial.rebalance.delay.ms": (
        "coordinators/group/classic.py",
        "How long a new group waits for more members before its first assignment.",
    ),
    "group.min.session.timeout.ms": (
        "coordinators/group/coordinator.py",
        "Shortest session timeout a member may ask.",
    ),
    "group.max.session.timeout.ms": (
        "coordinators/group/coordinator.py",
        "Longest session timeout a member may ask.",
    ),
    "group.max.size": ("coordinators/group/classic.py", "Most members of a group."),
    "message.max.bytes": ("config/effective.py", "Largest batch, where a topic does not say otherwise."),
    "min.insync.replicas": (
        "config/effective.py",
        "Counts as the smaller of itself and the replicas there are.",
    ),
}
"""Broker options. Those that are a topic option's default act where the topic option acts (synonyms.py)."""

TOPIC: Final[dict[str, tuple[str, str]]] = {
    "cleanup.policy": (
        "log/retention.py",
        "delete: old segments go; compact: the last record of each key stays.",
    ),
    "compression.gzip.level": ("config/effective.py", "Level where compression.type is gzip; -1: 6."),
    "compression.lz4.level": ("config/effective.py", "Level where compression.type is lz4; above 12 as 12."),
    "compression.type": (
        "records/recompress.py",
        "producer: batches stay as they came; else those of another codec are compressed anew, or opened.",
    ),
    "compression.zstd.level": ("config/effective.py", "Level where compression.type is zstd."),
    "file.delete.delay.ms": ("partitions/upkeep.py", "Time between a segment's renaming and its removal."),
    "flush.messages": (
        "partitions/open.py",
        "Below its default, batches are synced before they are answered, as with barnabas.durability=sync.",
    ),
    "flush.ms": ("partitions/upkeep.py", "Below its default, files are synced about every second."),
    "index.interval.bytes": ("log/log.py", "Bytes of log between two index entries."),
    "max.message.bytes": ("records/validate.py", "Largest batch a producer may send, after compression."),
    "message.timestamp.after.max.ms": (
        "records/validate.py",
        "How far ahead of our clock a timestamp may be.",
    ),
    "message.timestamp.before.max.ms": (
        "records/validate.py",
        "How far behind our clock a timestamp may be.",
    ),
    "message.timestamp.type": (
        "partitions/partition.py",
        "CreateTime keeps the producer's; LogAppendTime is ours.",
    ),
    "min.insync.replicas": (
        "config/effective.py",
        "Counts as the smaller of itself and the replicas there are.",
    ),
    "retention.bytes": ("log/retention.py", "Size above which the oldest segments go; -1: no limit."),
    "retention.ms": ("log/retention.py", "Age after which a closed segment may go; -1 keeps for ever."),
    "segment.bytes": ("log/log.py", "Size at which a new segment begins."),
    "segment.index.bytes": ("log/log.py", "Index size at which a new segment begins."),
    "segment.jitter.ms": (
        "partitions/open.py",
        "Random part taken off segment.ms, so that not all roll at once.",
    ),
    "segment.ms": ("log/log.py", "Age at which a new segment begins, counted from its first record's time."),
    "barnabas.durability": (
        "partitions/open.py",
        "sync: an answer means synced to disk; cache: it means given to the page cache, as in Kafka.",
    ),
    "barnabas.validate": ("records/validate.py", "records: compressed batches are opened and checked, too."),
}

OWN_TOPIC: Final = (
    ("barnabas.durability", "string", "sync", "[sync, cache]", "medium", "dynamic", False),
    ("barnabas.validate", "string", "none", "[none, records]", "low", "dynamic", False),
)
OWN_BROKER: Final = (
    ("barnabas.durability", "string", "sync", "[sync, cache]", "high", "cluster-wide", False),
    ("barnabas.replication", "string", "any", "[any, exact]", "medium", "read-only", False),
    ("barnabas.journal.bytes", "long", "134217728", "[0,...]", "low", "read-only", False),
    ("barnabas.memory.max.bytes", "long", "268435456", "[1048576,...]", "low", "read-only", False),
    ("barnabas.metrics.port", "int", "9644", "[-1,...,65535]", "medium", "read-only", False),
    ("barnabas.metrics.host", "string", "127.0.0.1", "", "low", "read-only", False),
    ("barnabas.workers", "int", "1", "[1,...,128]", "high", "read-only", False),
    ("barnabas.workers.port", "int", "19092", "[0,...,65535]", "medium", "read-only", False),
    ("barnabas.workers.restart.ms", "int", "3000", "[0,...]", "low", "read-only", False),
    ("barnabas.bootstrap.listeners", "list", "", "", "low", "read-only", False),
    ("barnabas.log.format", "string", "text", "[text, json]", "low", "read-only", False),
)
OWN_USES: Final[dict[str, tuple[str, str]]] = {
    "barnabas.journal.bytes": (
        "partitions/open.py",
        "Size of the journal that makes small batches of many partitions durable by one write; 0: none.",
    ),
    "barnabas.memory.max.bytes": (
        "node.py",
        "Most bytes a broker in memory keeps; then its oldest segments go.",
    ),
    "barnabas.durability": ("config/effective.py", "Default of the topic option of this name."),
    "barnabas.replication": (
        "server/topics.py",
        "any: every replication factor is taken; exact: as many brokers.",
    ),
    "barnabas.metrics.port": ("node.py", "Port of /metrics, /live and /ready; -1: none, 0: any free one."),
    "barnabas.metrics.host": ("node.py", "Address of the metrics page."),
    "barnabas.workers": (
        "config/workers.py",
        "Broker processes on the data folder, each with a node id, a port and a share of the partitions; 1: this process alone.",
    ),
    "barnabas.workers.port": (
        "config/workers.py",
        "Port of the first worker's own listener, the next worker's is one more; 0: any free ones. All share listeners.",
    ),
    "barnabas.workers.restart.ms": (
        "supervisor.py",
        "A worker that died and is not back in this time is taken over by the others; 0: at once.",
    ),
    "barnabas.bootstrap.listeners": (
        "config/load.py",
        "Addresses that the workers of one parent share, for a client's first question; set by the parent.",
    ),
    "barnabas.log.format": ("cli/serve.py", "Shape of log lines: text or json."),
}

SYNONYMS: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "cleanup.policy": (("log.cleanup.policy", 1),),
    "compression.gzip.level": (("compression.gzip.level", 1),),
    "compression.lz4.level": (("compression.lz4.level", 1),),
    "compression.type": (("compression.type", 1),),
    "compression.zstd.level": (("compression.zstd.level", 1),),
    "delete.retention.ms": (("log.cleaner.delete.retention.ms", 1),),
    "file.delete.delay.ms": (("log.segment.delete.delay.ms", 1),),
    "flush.messages": (("log.flush.interval.messages", 1),),
    "flush.ms": (("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)),
    "index.interval.bytes": (("log.index.interval.bytes", 1),),
    "local.retention.bytes": (("log.local.retention.bytes", 1),),
    "local.retention.ms": (("log.local.retention.ms", 1),),
    "max.compaction.lag.ms": (("log.cleaner.max.compaction.lag.ms", 1),),
    "max.message.bytes": (("message.max.bytes", 1),),
    "message.timestamp.after.max.ms": (("log.message.timestamp.after.max.ms", 1),),
    "message.timestamp.before.max.ms": (("log.message.timestamp.before.max.ms", 1),),
    "message.timestamp.type": (("log.message.timestamp.type", 1),),
    "min.cleanable.dirty.ratio": (("log.cleaner.min.cleanable.ratio", 1),),
    "min.compaction.lag.ms": (("log.cleaner.min.compaction.lag.ms", 1),),
    "min.insync.replicas": (("min.insync.replicas", 1),),
    "preallocate": (("log.preallocate", 1),),
    "retention.bytes": (("log.retention.bytes", 1),),
    "retention.ms": (
        ("log.retention.ms", 1),
        ("log.retention.minutes", 60_000),
        ("log.retention.hours", 3_600_000),
    ),
    "segment.bytes": (("log.segment.bytes", 1),),
    "segment.index.bytes": (("log.index.size.max.bytes", 1),),
    "segment.jitter.ms": (("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)),
    "segment.ms": (("log.roll.ms", 1), ("log.roll.hours", 3_600_000)),
    "unclean.leader.election.enable": (("unclean.leader.election.enable", 1),),
    "barnabas.durability": (("barnabas.durability", 1),),
}
"""Broker options that are a topic option's default: the first that is set counts, times its unit."""
