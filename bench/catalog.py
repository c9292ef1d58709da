"""Every line of the bench: what it measures, how its figures are shown, and the goal it has beside Apache Kafka."""

from dataclasses import dataclass

from . import clients, cold, groups, raw, scale
from .site import BARNABAS, KAFKA, WORKERS, Measure

KB = 1024
CACHE, SYNC = "cache", "sync"
BOTH = (CACHE, SYNC)
UNFLUSHED = "kafka unflushed"
ONE_PARTITION = "produce-64-one"
ALL = (KAFKA, BARNABAS, WORKERS)


@dataclass(frozen=True)
class Metric:
    """digits: behind the point. more: more is better. own: Kafka has no such figure, or it is not the broker's."""

    label: str
    digits: int = 0
    more: bool = False
    own: bool = False


METRICS = {
    "requests_s": Metric("requests/s", more=True),
    "messages_s": Metric("messages/s", more=True),
    "cpu_us": Metric("broker CPU µs", 1),
    "client_us": Metric("client CPU µs", 1, own=True),
    "p50_us": Metric("p50 µs"),
    "p99_us": Metric("p99 µs"),
    "p999_us": Metric("p99.9 µs"),
    "client_cores": Metric("cores of the client", 2, own=True),
    "lag_p99_us": Metric("loop lag p99 µs", own=True),
    "fresh_mb_us": Metric("fresh MB µs", own=True),
    "alone_p99_us": Metric("p99 µs alone"),
    "read_mb_s": Metric("cold read MB/s", more=True),
    "read_gb": Metric("cold GB read", 1, own=True),
    "join_s": Metric("seconds", 2),
    "start_ms": Metric("start ms"),
    "stop_ms": Metric("stop ms"),
    "resident_mib": Metric("idle RSS MiB", 1),
    "create_s": Metric("create s", 2),
    "bytes_each": Metric("bytes each"),
    "restart_ms": Metric("restart ms"),
    "restart_killed_ms": Metric("restart after SIGKILL ms"),
    "idle_1000_bytes": Metric("bytes each of 1,000"),
    "idle_10000_bytes": Metric("bytes each of 10,000"),
    "idle_200_bytes": Metric("bytes each of 200"),
}


@dataclass(frozen=True)
class Goal:
    """ratio: of Barnabas to Kafka in that metric, at least (more is better) or at most. most: a bound of the figure
    itself. beside: KAFKA in the same mode; UNFLUSHED: Kafka that does not flush, though Barnabas syncs; BARNABAS: two
    workers beside one; ONE_PARTITION: Barnabas itself on that line."""

    metric: str
    ratio: float
    mode: str = CACHE
    most: float | None = None
    beside: str = KAFKA

    @property
    def who(self) -> str:
        """Whose goal it is."""
        return WORKERS if self.beside == BARNABAS else BARNABAS


@dataclass(frozen=True)
class Line:
    """alone: it starts brokers of its own while no other runs. contenders: who is measured in turn."""

    key: str
    group: str
    name: str
    measure: Measure
    shown: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    modes: tuple[str, ...] = BOTH
    alone: bool = False
    contenders: tuple[str, ...] = (KAFKA, BARNABAS)

    @property
    def rate(self) -> str:
        """The metric that says how much it serves; empty without one."""
        return next((key for key in ("requests_s", "messages_s") if key in self.shown), "")


PRODUCE, WIDE, FETCH, GROUPS = "Produce", "Produce of many partitions", "Fetch", "Groups"
LIBRDKAFKA, LATENCY = "librdkafka, flat out", "librdkafka, latency"
ALONE, MANY, CONNECTIONS, COLD = "Start, stop, memory", "Many partitions", "Idle connections", "Cold reads"
GROUPS_IN_ORDER = (
    PRODUCE,
    WIDE,
    FETCH,
    LIBRDKAFKA,
    LATENCY,
    GROUPS,
    COLD,
    ALONE,
    CONNECTIONS,
    MANY,
)
RAW = ("requests_s", "cpu_us", "p50_us", "p99_us", "p999_us", "lag_p99_us")
LARGE = (*RAW, "fresh_mb_us")
CLIENT = ("messages_s", "cpu_us", "client_us", "client_cores", "lag_p99_us")
WAITED = ("p50_us", "p99_us", "p999_us", "lag_p99_us")
REPORTED = ("cpu_us", *WAITED)
TWICE = tuple(Goal("requests_s", 1.8, mode, beside=BARNABAS) for mode in BOTH)
PARTITIONS = ("create_s", "bytes_each", "restart_ms", "restart_killed_ms", "lag_p99_us")

LINES = (
    Line(
        "start",
        ALONE,
        "start, stop, idle",
        scale.start_and_stop,
        ("start_ms", "stop_ms", "resident_mib"),
        (Goal("start_ms", 1 / 10), Goal("resident_mib", 1 / 8)),
        (CACHE,),
        alone=True,
    ),
    Line(
        "connections",
        CONNECTIONS,
        "idle connections",
        scale.idle_connections,
        ("idle_1000_bytes", "idle_10000_bytes", "idle_200_bytes"),
        (),
        (CACHE,),
        alone=True,
    ),
    Line(
        "partitions",
        MANY,
        "100 topics of 100 partitions",
        scale.many_partitions(100, seconds=8.0, kafka_seconds=90.0),
        PARTITIONS,
        (
            Goal("create_s", 1 / 8),
            Goal("bytes_each", 1 / 15),
            Goal("restart_ms", 1 / 10),
            Goal("restart_killed_ms", 1 / 8),
        ),
        (CACHE,),
        alone=True,
    ),
    Line(
        "partitions-50k",
        MANY,
        "500 topics of 100 partitions",
        scale.many_partitions(500, seconds=25.0),
        PARTITIONS,
        (),
        (CACHE,),
        alone=True,
        contenders=(BARNABAS,),
    ),
    Line(
        "produce-1k-4x8",
        PRODUCE,
        "1 KB, 4 × 8",
        raw.produce(4, 8, KB),
        RAW,
        (
            Goal("requests_s", 7),
            Goal("cpu_us", 1 / 8, most=9),
            Goal("requests_s", 6, SYNC),
            Goal("requests_s", 1, SYNC, beside=UNFLUSHED),
            *TWICE,
        ),
        contenders=ALL,
    ),
    Line(
        "produce-1k-32x1",
        PRODUCE,
        "1 KB, 32 × 1",
        raw.produce(32, 1, KB),
        RAW,
        (Goal("requests_s", 2.5), Goal("requests_s", 8, SYNC), *TWICE),
        contenders=ALL,
    ),
    Line(
        "produce-1k-1x1",
        PRODUCE,
        "1 KB, 1 × 1",
        raw.produce(1, 1, KB),
        RAW,
        (Goal("requests_s", 1.5), Goal("requests_s", 1.3, SYNC)),
    ),
    Line(
        "idempotent",
        PRODUCE,
        "1 KB idempotent, 4 × 5",
        raw.idempotent(4, 5, KB),
        RAW,
        (Goal("requests_s", 6), Goal("cpu_us", 1 / 8, most=9)),
        contenders=ALL,
    ),
    Line(
        "produce-16k",
        PRODUCE,
        "16 KB, 4 × 5",
        raw.produce(4, 5, 16 * KB),
        LARGE,
        (Goal("requests_s", 3), Goal("cpu_us", 1 / 3)),
        contenders=ALL,
    ),
    Line(
        "produce-100k",
        PRODUCE,
        "100 KB, 4 × 5",
        raw.produce(4, 5, 100 * KB),
        LARGE,
        (Goal("requests_s", 1.5), Goal("cpu_us", 1 / 2)),
    ),
    Line(
        "produce-1m",
        PRODUCE,
        "1 MB, 2 × 2",
        raw.produce(2, 2, 1_048_000),
        LARGE,
        (Goal("requests_s", 1.2), Goal("cpu_us", 0.8)),
    ),
    Line("produce-rate", PRODUCE, "1 KB at 1,000/s, 4 connections", raw.produce(4, 64, KB, rate=1000), RAW),
    Line("produce-10", WIDE, "10 partitions of 1 KB, 4 × 5", raw.produce(4, 5, KB, partitions=10), RAW),
    Line(
        "produce-100",
        WIDE,
        "100 partitions of 1 KB, 4 × 2",
        raw.produce(4, 2, KB, partitions=100),
        RAW,
        TWICE,
        contenders=ALL,
    ),
    Line(ONE_PARTITION, WIDE, "64 × 1 on one partition", raw.produce(64, 1, KB, dealt=1), RAW, (), (SYNC,)),
    Line(
        "produce-64-each",
        WIDE,
        "64 × 1 on 64 partitions",
        raw.produce(64, 1, KB, dealt=64),
        RAW,
        (Goal("requests_s", 0.8, SYNC, beside=ONE_PARTITION),),
        (SYNC,),
    ),
    Line(
        "fetch-1k",
        FETCH,
        "1 KB, 4 × 1",
        raw.fetch(4, KB + 76),
        RAW,
        (Goal("requests_s", 5),),
        (CACHE,),
        contenders=ALL,
    ),
    Line(
        "fetch-64k",
        FETCH,
        "64 KB, 4 × 1",
        raw.fetch(4, 64 * KB),
        RAW,
        (Goal("requests_s", 3), TWICE[0]),
        (CACHE,),
        contenders=ALL,
    ),
    Line("fetch-1m", FETCH, "1 MB, 2 × 1", raw.fetch(2, KB * KB), RAW, (Goal("requests_s", 1.5),), (CACHE,)),
    Line(
        "fetch-100",
        FETCH,
        "100 partitions of 1 KB, with sessions, 4 × 1",
        raw.fetch_with_sessions(4),
        RAW,
        (),
        (CACHE,),
    ),
    Line("commits", GROUPS, "OffsetCommit, 4 × 8", raw.commit_offsets(4, 8), RAW),
    Line("join", GROUPS, "1,000 members join one group", groups.join_together, ("join_s", *RAW[1:])),
    Line(
        "client-produce-100",
        LIBRDKAFKA,
        "produce 100 B",
        clients.produce(100, 1_000_000),
        CLIENT,
        (Goal("messages_s", 1.5), Goal("cpu_us", 1 / 4)),
    ),
    Line(
        "client-consume-100",
        LIBRDKAFKA,
        "consume 100 B",
        clients.consume(100, 1_000_000),
        CLIENT,
        (Goal("messages_s", 1.5), Goal("cpu_us", 1 / 4)),
        (CACHE,),
    ),
    Line(
        "client-produce-1k",
        LIBRDKAFKA,
        "produce 1 KB",
        clients.produce(KB, 400_000),
        CLIENT,
        (Goal("messages_s", 1.5), Goal("cpu_us", 1 / 4)),
        contenders=ALL,
    ),
    Line(
        "client-consume-1k",
        LIBRDKAFKA,
        "consume 1 KB",
        clients.consume(KB, 400_000),
        CLIENT,
        (Goal("cpu_us", 1),),
        (CACHE,),
        contenders=ALL,
    ),
    Line("report-100", LATENCY, "produce to report, 100/s", clients.until_report(100), REPORTED),
    Line(
        "report-1000",
        LATENCY,
        "produce to report, 1,000/s",
        clients.until_report(1000),
        REPORTED,
        (Goal("p50_us", 0.9), Goal("p99_us", 0.4), Goal("p50_us", 0.9, SYNC), Goal("p99_us", 0.4, SYNC)),
    ),
    Line("report-5000", LATENCY, "produce to report, 5,000/s", clients.until_report(5000), REPORTED),
    Line("round-trip", LATENCY, "produce to consumer, 100/s", clients.round_trip, WAITED),
    Line(
        "cold",
        COLD,
        "produce 1 KB at 1,000/s beside a cold read",
        cold.produce_beside_cold_reads,
        (*WAITED, "alone_p99_us", "read_gb", "read_mb_s"),
    ),
)


def chosen(word: str | None) -> list[Line]:
    """Lines whose key, group or name holds the word."""
    if word is None:
        return list(LINES)
    wanted = word.lower()
    return [line for line in LINES if wanted in f"{line.key} {line.group} {line.name}".lower()]
