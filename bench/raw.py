"""Lines over raw sockets: Produce, Fetch and OffsetCommit in many shapes, by the load generator."""

import time
from collections.abc import Callable
from pathlib import Path

from barnabas.wire.messages.find_coordinator import FindCoordinatorRequest
from barnabas.wire.messages.heartbeat import HeartbeatRequest

from . import requests
from .drive import drive
from .lag import lag_of
from .load import Limits, Load
from .processes import idle_cores
from .site import Figures, Measure, Site

PARTITIONS = 4
WIDE = 100
FRESH_MB = 64
FRESH_FROM = 16 * 1024
KB = 1024
IDEMPOTENT_REQUESTS = 20_000
SESSION_REQUESTS = 4_000
READ_BATCHES = 4096
WIDE_BATCHES = 4
RETRY_S = 0.1
UNKNOWN_MEMBER_ID = 25


def now_ms() -> int:
    return int(time.time() * 1000)


def under_load(site: Site, kind: str, load: Callable[[], Load], most_warm: int = 0) -> Figures:
    """most_warm: requests that may go before those that count; of a load that is sent once most must be left."""
    site.warm_up(kind, lambda left: drive(site.broker, load(), Limits(seconds=left)))
    warm = Limits(requests=most_warm, seconds=site.scale.warm_seconds)
    with lag_of(site.broker) as lag, idle_cores() as idle:
        taken = drive(site.broker, load(), site.scale.counted, warm)
    return {
        "requests_s": taken.rate,
        "cpu_us": taken.cpu_us,
        "p50_us": taken.p50_us,
        "p99_us": taken.p99_us,
        "p999_us": taken.p999_us,
        "client_us": taken.client_us / taken.requests,
        "answer_bytes": taken.answer_bytes / taken.requests,
        "idle_cores": idle.cores,
        **lag.figures(),
    }


def fresh_mb_us(folder: Path) -> float:
    """What the kernel takes for a megabyte of a new file in the page cache. On a virtual machine whose host takes freed
    pages back, it is most of what a large request costs."""
    path, content = folder / "fresh-pages", bytes(1 << 20)
    try:
        with path.open("wb", buffering=0) as file:
            begun = time.perf_counter()
            for _ in range(FRESH_MB):
                file.write(content)
            return (time.perf_counter() - begun) / FRESH_MB * 1e6
    finally:
        path.unlink(missing_ok=True)


def with_topic(site: Site, partitions: int, body: Callable[[str], Figures]) -> Figures:
    """A topic of its own that goes afterwards, so that no line pays for the files of another."""
    name = site.fresh_name("line")
    site.broker.create([name], partitions)
    try:
        return body(name)
    finally:
        site.broker.delete([name])


def produce(
    connections: int,
    in_flight: int,
    size: int,
    *,
    partitions: int = 1,
    rate: float = 0.0,
    dealt: int = PARTITIONS,
) -> Measure:
    """partitions: of one request. With one, connections are dealt over that many partitions and go to the leaders of theirs;
    with more, each half of the connections writes to a half of a topic twice as large, and two leaders have a half each.
    """
    kind = f"produce, {size}"

    def load(topic: str, leaders: list[int]) -> Load:
        if partitions == 1:
            asked = [[number % dealt] for number in range(connections)]
        else:
            by_leader = sorted(range(2 * partitions), key=lambda index: leaders[index])
            halves = by_leader[:partitions], by_leader[partitions:]
            asked = [halves[number % 2] for number in range(connections)]
        contents = [
            requests.encode(requests.PRODUCE, requests.produce_message(topic, each, size, now_ms()))
            for each in asked
        ]
        ports = [leaders[each[0]] for each in asked]
        return Load(contents, in_flight, requests.produce_codes(topic, partitions), rate=rate, ports=ports)

    def body(site: Site, topic: str) -> Figures:
        leaders = site.broker.ports_of(topic)
        figures = under_load(site, kind, lambda: load(topic, leaders))
        if size >= FRESH_FROM:
            figures["fresh_mb_us"] = fresh_mb_us(site.folder)
        return figures

    def run(site: Site) -> Figures:
        return with_topic(site, dealt if partitions == 1 else 2 * partitions, lambda topic: body(site, topic))

    return Measure(run, kind)


def idempotent(connections: int, in_flight: int, size: int) -> Measure:
    """Each connection is a producer of its own, whose sequences go on."""

    def load(site: Site, topic: str) -> Load:
        number = int(site.fresh_name("id").split("-")[1])
        first_id = 1_000_000 + number * connections
        contents = [
            b"".join(
                requests.produce_request(
                    topic,
                    each % PARTITIONS,
                    size,
                    now_ms(),
                    producer_id=first_id + each,
                    producer_epoch=0,
                    base_sequence=at,
                )
                for at in range(IDEMPOTENT_REQUESTS)
            )
            for each in range(connections)
        ]
        leaders = site.broker.ports_of(topic)
        ports = [leaders[each % PARTITIONS] for each in range(connections)]
        return Load(contents, in_flight, requests.produce_codes(topic), once=True, ports=ports)

    def run(site: Site) -> Figures:
        def body(topic: str) -> Figures:
            return under_load(
                site,
                "idempotent",
                lambda: load(site, topic),
                most_warm=IDEMPOTENT_REQUESTS * connections // 8,
            )

        return with_topic(site, PARTITIONS, body)

    return Measure(run, "idempotent", seconds=6.0, kafka_seconds=6.0)


def something_to_read(site: Site) -> str:
    """A topic with some thousand batches of 1 KB in each of four partitions."""
    topic = site.topic("to-read", PARTITIONS)
    if site.once("filled to-read"):
        contents = [
            requests.produce_request(topic, number, KB, now_ms()) * READ_BATCHES
            for number in range(PARTITIONS)
        ]
        ports = site.broker.ports_of(topic)
        filling = Load(contents, 8, requests.produce_codes(topic), once=True, ports=ports)
        drive(site.broker, filling, Limits(requests=READ_BATCHES * PARTITIONS))
    return topic


def fetches(site: Site, connections: int, size: int) -> Load:
    """One partition a request, at offsets all over the log; each connection goes to the leader of its partition."""
    topic = something_to_read(site)
    step = max(size // KB, 1)
    offsets = range(0, READ_BATCHES - step + 1, max(step, 8))
    contents = [
        b"".join(requests.fetch_request(topic, number % PARTITIONS, size, offset) for offset in offsets)
        for number in range(connections)
    ]
    leaders = site.broker.ports_of(topic)
    ports = [leaders[number % PARTITIONS] for number in range(connections)]
    return Load(contents, 1, requests.fetch_codes(topic), ports=ports)


def fetch(connections: int, size: int) -> Measure:
    kind = f"fetch, {size}"

    def run(site: Site) -> Figures:
        load = fetches(site, connections, size)
        return under_load(site, kind, lambda: load)

    return Measure(run, kind)


def fetch_with_sessions(connections: int) -> Measure:
    """1 KB from each of 100 partitions a request; the request itself names none of them, for the session knows them."""

    def load(site: Site, topic: str) -> Load:
        contents = []
        for _ in range(connections):
            first = requests.fetch_message(topic, range(WIDE), KB + 100, session=(0, 0))
            session = requests.ask(site.broker.port, requests.FETCH, first).session_id
            assert session, "the broker gave no session"
            contents.append(
                b"".join(
                    requests.encode(
                        requests.FETCH, requests.fetch_message(topic, [], 0, session=(session, epoch))
                    )
                    for epoch in range(1, SESSION_REQUESTS + 1)
                )
            )
        return Load(contents, 1, requests.fetch_codes(topic)[:1], once=True)

    def run(site: Site) -> Figures:
        topic = site.topic("to-read-wide", WIDE)
        if site.once("filled to-read-wide"):
            content = requests.encode(
                requests.PRODUCE, requests.produce_message(topic, range(WIDE), KB, now_ms())
            )
            filling = Load([content * WIDE_BATCHES], 1, requests.produce_codes(topic, WIDE), once=True)
            drive(site.broker, filling, Limits(requests=WIDE_BATCHES))
        return under_load(
            site, "sessions", lambda: load(site, topic), most_warm=SESSION_REQUESTS * connections // 8
        )

    return Measure(run, "sessions", seconds=5.0, kafka_seconds=5.0)


def commit_offsets(connections: int, in_flight: int) -> Measure:
    def run(site: Site) -> Figures:
        topic = site.topic("committed", PARTITIONS)
        groups = [f"commits-{number}" for number in range(connections)]
        for group in groups:
            wait_for_coordinator(site.broker.port, group)
        contents = [requests.commit_request(group, topic, 0) for group in groups]
        load = Load(contents, in_flight, requests.commit_codes(topic))
        return under_load(site, "commits", lambda: load)

    return Measure(run, "commits")


def wait_for_coordinator(port: int, group: str) -> None:
    """A heartbeat of nobody is answered with "unknown member" once the group's coordinator serves."""
    while True:
        found = requests.ask(port, requests.FIND_COORDINATOR, FindCoordinatorRequest(group))
        if not found.error_code:
            answer = requests.ask(port, requests.HEARTBEAT, HeartbeatRequest(group, 0, "nobody"))
            if answer.error_code == UNKNOWN_MEMBER_ID:
                return
        time.sleep(RETRY_S)
