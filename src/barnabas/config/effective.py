"""What holds: which of several places an option's value comes from, for brokers and for topics.

Topic     its own override > broker's synonyms (dynamic, of this broker; dynamic, of all; static) > default
Broker    dynamic of this broker > dynamic of all brokers > static (file, environment, flags) > default
TopicOptions is the result in the form that the log and the partitions read: one typed attribute each.
"""

from collections.abc import Mapping
from typing import Final

from barnabas.config import uses
from barnabas.config.option import Option, split_list
from barnabas.config.tables import BROKER, GROUP, TOPIC, options

SOURCE_TOPIC: Final = 1
SOURCE_DYNAMIC_BROKER: Final = 2
SOURCE_DYNAMIC_DEFAULT: Final = 3
SOURCE_STATIC: Final = 4
SOURCE_DEFAULT: Final = 5
SOURCE_CLIENT_METRICS: Final = 7
SOURCE_GROUP: Final = 8

LONG_MAX: Final = (1 << 63) - 1
"""What options of Kafka have that set no limit."""

CODECS: Final = ("uncompressed", "gzip", "snappy", "lz4", "zstd")
"""Values of compression.type by the number of their codec in a batch."""
AS_SENT: Final = -1
"""The codec of compression.type=producer."""
LEVELS: Final = {
    "gzip": "compression.gzip.level",
    "lz4": "compression.lz4.level",
    "zstd": "compression.zstd.level",
}
"""Of the values of compression.type that have levels, the option that says which."""

FAMILIES: Final = tuple(
    tuple(name for name, _ in names) for names in uses.SYNONYMS.values() if len(names) > 1
)
"""Broker options that say the same in different units."""

Synonym = tuple[str, str | None, int]
"""Name, value, source: as DescribeConfigs lists them, the one that counts first."""


class BrokerOptions:
    """All layers of the broker's own options."""

    def __init__(self, static: Mapping[str, str], ours: Mapping[str, str] | None = None) -> None:
        self.static = dict(static)
        self._defaults = dict(ours or {})
        self.dynamic: Mapping[str, str] = {}
        self.dynamic_default: Mapping[str, str] = {}
        self._cache: dict[str, str | None] = {}
        self._numbers: dict[str, int] = {}
        self._listed: dict[str, list[Synonym]] = {}

    def set_dynamic(self, own: Mapping[str, str], default: Mapping[str, str]) -> None:
        """The overrides kept in the metadata store changed."""
        self.dynamic, self.dynamic_default = own, default
        self._forget()

    def _forget(self) -> None:
        """What was found in the layers as they were."""
        self._cache.clear()
        self._numbers.clear()
        self._listed.clear()

    def default(self, name: str) -> str | None:
        """Kafka's default, or the one this way of running has."""
        return self._defaults.get(name, options(BROKER)[name].default)

    def learn(self, name: str, value: str) -> None:
        """A default that only the running node knows."""
        self._defaults[name] = value
        self._forget()

    def synonyms(self, name: str) -> list[Synonym]:
        """All places that give a value, strongest first; the default is last."""
        found: list[Synonym] = []
        for layer, source in (
            (self.dynamic, SOURCE_DYNAMIC_BROKER),
            (self.dynamic_default, SOURCE_DYNAMIC_DEFAULT),
            (self.static, SOURCE_STATIC),
        ):
            if name in layer:
                found.append((name, layer[name], source))
        default = self.default(name)
        if default is not None or not found:
            found.append((name, default, SOURCE_DEFAULT))
        return found

    def listed(self, name: str) -> list[Synonym]:
        """As broker_synonyms() has them; found once."""
        known = self._listed.get(name)
        if known is None:
            known = self._listed[name] = _list_synonyms(name, self)
        return known

    def get(self, name: str) -> str | None:
        if name not in self._cache:
            self._cache[name] = self.synonyms(name)[0][1]
        return self._cache[name]

    def is_set(self, name: str) -> bool:
        return name in self.dynamic or name in self.dynamic_default or name in self.static

    def get_str(self, name: str) -> str:
        return self.get(name) or ""

    def get_int(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            text = self.get(name)
            assert text is not None, f"{name} has no value"
            number = self._numbers[name] = int(text)
        return number

    def get_bool(self, name: str) -> bool:
        return self.get_str(name).strip().lower() == "true"


def broker_synonyms(name: str, broker: BrokerOptions) -> list[Synonym]:
    """A broker option's values as DescribeConfigs lists them, by layer; options that share a meaning count as one.

    As Kafka does, those before the first of this name are left out: log.retention.ms without a value lists
    nothing, although log.retention.hours has one.
    """
    return list(broker.listed(name))


def _list_synonyms(name: str, broker: BrokerOptions) -> list[Synonym]:
    names = next((family for family in FAMILIES if name in family), (name,))
    found = [
        (one, layer[one], source)
        for layer, source in (
            (broker.dynamic, SOURCE_DYNAMIC_BROKER),
            (broker.dynamic_default, SOURCE_DYNAMIC_DEFAULT),
            (broker.static, SOURCE_STATIC),
        )
        for one in names
        if one in layer
    ]
    defaults = [(one, broker.default(one), SOURCE_DEFAULT) for one in names]
    listed = [*found, *(entry for entry in defaults if entry[1] is not None)]
    first = next((at for at, entry in enumerate(listed) if entry[0] == name), len(listed))
    return listed[first:]


def topic_synonyms(name: str, overrides: Mapping[str, str], broker: BrokerOptions) -> list[Synonym]:
    """A topic option's values by strength, as DescribeConfigs lists them."""
    own: list[Synonym] = [(name, overrides[name], SOURCE_TOPIC)] if name in overrides else []
    names = uses.SYNONYMS.get(name)
    return own + broker_synonyms(names[0][0], broker) if names else own


def group_default(name: str, broker: BrokerOptions) -> list[Synonym]:
    """Where a group option's value comes from when the group has none of its own: most have one of the broker's."""
    by_broker = f"group.{name}"
    if by_broker in options(BROKER):
        return broker_synonyms(by_broker, broker)
    return [(name, options(GROUP)[name].default, SOURCE_DEFAULT)]


def topic_value(name: str, overrides: Mapping[str, str], broker: BrokerOptions) -> tuple[str | None, int]:
    """(value, source) of a topic option."""
    if name in overrides:
        return overrides[name], SOURCE_TOPIC
    default: tuple[str | None, int] = (options(TOPIC)[name].default, SOURCE_DEFAULT)
    for synonym, unit in uses.SYNONYMS.get(name, ()):
        if broker.is_set(synonym):
            _, value, source = broker.synonyms(synonym)[0]
            return _in_unit(value, unit), source
    for synonym, unit in uses.SYNONYMS.get(name, ()):
        value = broker.default(synonym)
        if value is not None:
            return _in_unit(value, unit), SOURCE_DEFAULT
    return default


def _in_unit(value: str | None, unit: int) -> str | None:
    """Hours or minutes as milliseconds; below zero means "no limit" and stays -1."""
    if value is None or unit == 1:
        return value
    return str(max(int(value) * unit, -1))


class TopicOptions:
    """A topic's options as its partitions use them: milliseconds, bytes, truths."""

    __slots__ = (
        "cleanup_compact",
        "cleanup_delete",
        "compression_codec",
        "compression_level",
        "delete_retention_ms",
        "durability_sync",
        "file_delete_delay_ms",
        "flush_messages",
        "flush_ms",
        "index_interval_bytes",
        "max_message_bytes",
        "min_cleanable_dirty_ratio",
        "min_compaction_lag_ms",
        "min_insync_replicas",
        "opens_batches",
        "opens_compressed",
        "retention_bytes",
        "retention_ms",
        "segment_bytes",
        "segment_index_bytes",
        "segment_jitter_ms",
        "segment_ms",
        "timestamp_after_max_ms",
        "timestamp_before_max_ms",
        "timestamp_before_unlimited",
        "timestamp_type_log_append",
    )

    def __init__(self, overrides: Mapping[str, str], broker: BrokerOptions) -> None:
        def text(name: str) -> str:
            return topic_value(name, overrides, broker)[0] or ""

        policies = split_list(text("cleanup.policy"))
        self.cleanup_compact = "compact" in policies
        self.cleanup_delete = "delete" in policies
        codec = text("compression.type")
        self.compression_codec = CODECS.index(codec) if codec in CODECS else AS_SENT
        self.compression_level = int(text(LEVELS[codec])) if codec in LEVELS else None
        self.delete_retention_ms = int(text("delete.retention.ms"))
        self.durability_sync = text("barnabas.durability") == "sync"
        self.file_delete_delay_ms = int(text("file.delete.delay.ms"))
        self.flush_messages = int(text("flush.messages"))
        self.flush_ms = int(text("flush.ms"))
        self.index_interval_bytes = int(text("index.interval.bytes"))
        self.max_message_bytes = int(text("max.message.bytes"))
        self.min_cleanable_dirty_ratio = float(text("min.cleanable.dirty.ratio"))
        self.min_compaction_lag_ms = int(text("min.compaction.lag.ms"))
        self.min_insync_replicas = int(text("min.insync.replicas"))
        self.retention_bytes = int(text("retention.bytes"))
        self.retention_ms = int(text("retention.ms"))
        self.segment_bytes = int(text("internal.segment.bytes") or text("segment.bytes"))
        self.segment_index_bytes = int(text("segment.index.bytes"))
        self.segment_jitter_ms = int(text("segment.jitter.ms"))
        self.segment_ms = int(text("segment.ms"))
        self.timestamp_after_max_ms = int(text("message.timestamp.after.max.ms"))
        self.timestamp_before_max_ms = int(text("message.timestamp.before.max.ms"))
        self.timestamp_before_unlimited = self.timestamp_before_max_ms == LONG_MAX
        self.timestamp_type_log_append = text("message.timestamp.type") == "LogAppendTime"
        self.opens_compressed = self.cleanup_compact or text("barnabas.validate") == "records"
        """Compressed batches are opened to check their records."""
        self.opens_batches = self.opens_compressed or self.compression_codec != AS_SENT
        """For whatever reason."""


def topic_options(overrides: Mapping[str, str], broker: BrokerOptions) -> TopicOptions:
    """Built once per change of a topic or a broker option."""
    return TopicOptions(overrides, broker)


# -- what may be set -------------------------------------------------------------------------------


def overrides_fault(scope: str, overrides: Mapping[str, str]) -> str | None:
    """The first thing wrong with a set of overrides of a topic, group or client-metrics resource; None: nothing."""
    known = options(scope)
    for name, value in overrides.items():
        option = known.get(name)
        if option is None:
            return f"Unknown {scope} config name: {name}"
        fault = option.fault(value)
        if fault is not None:
            return fault
    return _between(overrides) if scope == TOPIC else None


def normalised(scope: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Values as they are kept and shown; those of options nobody knows stay as they are."""
    known = options(scope)
    return {name: known[name].normal(value) if name in known else value for name, value in overrides.items()}


def topic_fault(overrides: Mapping[str, str]) -> str | None:
    return overrides_fault(TOPIC, overrides)


def _between(overrides: Mapping[str, str]) -> str | None:
    """Rules that tie two options."""
    low = overrides.get("min.compaction.lag.ms")
    high = overrides.get("max.compaction.lag.ms")
    if low is not None and high is not None and int(low) > int(high):
        return f"min.compaction.lag.ms ({low}) may not be greater than max.compaction.lag.ms ({high})."
    return None


def broker_fault(name: str, value: str | None, for_one: bool) -> str | None:
    """Why a broker option may not be set at run time to value (None: removed); None when it may."""
    option = options(BROKER).get(name)
    if option is None:
        return f"Unknown broker config name: {name}"
    if option.dynamic == "read-only":
        return (
            f"{name} may not be changed while the broker runs: set it in the configuration file and restart."
        )
    if option.dynamic == "per-broker" and not for_one:
        return f"{name} may be set for a single broker only."
    return option.fault(value) if value is not None else None


def described(option: Option, value: str | None) -> str | None:
    """A value as it may be shown: secrets are null."""
    return None if option.is_sensitive else value
