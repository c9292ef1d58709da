"""`python -m bench.turns [WORD …]`: the longest turn of the loop under each kind of work that could hold it.

A whole node on real files, its own loop and pools; requests are fed to it whole and replies thrown away, so what is timed
is the broker's own: each callback that the loop runs, by name. A clock that is set forward makes upkeep due. Other
processes on the machine make the figures worse: a callback that took long and little CPU waited for the disk or for a core.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.entropy import SystemEntropy
from barnabas.adapters.files import OsFiles
from barnabas.adapters.loop import AsyncLoop, new_event_loop
from barnabas.adapters.meta.sqlite import SqliteMetaStore
from barnabas.config.effective import BrokerOptions
from barnabas.node import Node
from barnabas.partitions.data_folder import DATABASE, DataFolder
from barnabas.ports import Connection, Done, Piece, Pool, Receiver, RingFile, World
from barnabas.process import settle_memory
from barnabas.telemetry import Log, Telemetry, silent
from barnabas.wire.frame import request_head
from barnabas.wire.messages import create_topics, delete_records, delete_topics, describe_configs, metadata

from .groups import Member, are_one_generation
from .inprocess import HandNetwork, Mute
from .requests import commit_request, encode, produce_message

PARTITIONS = 10_000
TOPIC_PARTITIONS = 100
MEMBERS = 1_000
BATCH_BYTES = 1024
LIMIT_S = 60.0
SHOWN = 3


class MovedClock(SystemClock):
    """The system's clock, set forward by whoever will not wait."""

    ahead_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms

    def mono_ms(self) -> int:
        return super().mono_ms() + self.ahead_ms

    def mono_us(self) -> int:
        return super().mono_us() + self.ahead_ms * 1000


class TimedLoop:
    """The Loop of the node: each callback is timed, by its name."""

    def __init__(self, inner: AsyncLoop, clock: MovedClock) -> None:
        self._inner = inner
        self._clock = clock
        self._armed: tuple[int | None, Callable[[], None]] = (None, lambda: None)
        self.longest: dict[str, tuple[float, float]] = {}
        """By name: the most seconds, and the most seconds of CPU, of one callback."""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        begun, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            took, used = time.perf_counter() - begun, time.thread_time() - cpu
            longest, most = self.longest.get(name, (0.0, 0.0))
            self.longest[name] = max(took, longest), max(used, most)

    def run(self, callback: Callable[[], None]) -> None:
        with self.timed(getattr(callback, "__qualname__", repr(callback))):
            callback()

    def soon(self, callback: Callable[[], None]) -> None:
        self._inner.soon(lambda: self.run(callback))

    def from_thread(self, callback: Callable[[], None]) -> None:
        self._inner.from_thread(lambda: self.run(callback))

    def wake_at(self, mono_ms: int | None, callback: Callable[[], None]) -> None:
        self._armed = mono_ms, callback
        due_ms = None if mono_ms is None else mono_ms - self._clock.ahead_ms
        self._inner.wake_at(due_ms, lambda: self.run(callback))

    def run_in(self, pool: Pool, work: Callable[[], object], done: Done) -> None:
        self._inner.run_in(pool, work, self._timed_answer(done))

    def write_ring(
        self, ring: RingFile, position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        self._inner.write_ring(ring, position, chunks, self._timed_answer(done))

    def _timed_answer(self, done: Done) -> Done:
        return lambda result, error: self.run(Named(done, lambda: done(result, error)))

    def skip(self, ms: int) -> None:
        """Set the clock forward; what is due by then runs soon."""
        self._clock.ahead_ms += ms
        self.wake_at(*self._armed)


class Named:
    """A callback under another one's name."""

    def __init__(self, like: Callable[..., None], callback: Callable[[], None]) -> None:
        self.__qualname__ = getattr(like, "__qualname__", type(like).__name__)  # compiled ones have none
        self._callback = callback

    def __call__(self) -> None:
        self._callback()


class Keeping(Mute):
    """A peer that takes whole answers, of requests that it sends one by one. None of them has ranges of files."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, pieces: Sequence[Piece]) -> None:
        self.frames.append(b"".join(piece for piece in pieces if isinstance(piece, bytes))[4:])


class Stage:
    """One node, and what is asked of it."""

    def __init__(self, folder: Path, options: dict[str, str]) -> None:
        self._asyncio = new_event_loop()
        self._inner = AsyncLoop(self._asyncio)
        clock = MovedClock()
        self.loop = TimedLoop(self._inner, clock)
        self.clock = clock
        files = OsFiles()
        lines = Log(silent, clock.mono_ms)
        data = DataFolder(files, str(folder), lines)
        data.open()
        self._network = network = HandNetwork()
        self._store = SqliteMetaStore(str(folder / DATABASE), self.loop, clock)
        static = {"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1", **options}
        world = World(clock, self.loop, files, network, self._store, SystemEntropy())
        self.node = Node(world, data, BrokerOptions(static), Telemetry(), lines, durable=True)
        self._told = False
        self.node.start(lambda error: self._tell())
        self.until(lambda: self._told)
        self.peer = network.connect_in()

    def _tell(self) -> None:
        self._told = True

    def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S

        async def wait() -> None:
            while not reached():
                assert time.monotonic() < end, "it never comes"
                await asyncio.sleep(0.01)

        self._asyncio.run_until_complete(wait())

    def settle(self, seconds: float = 1.5) -> None:
        self._asyncio.run_until_complete(asyncio.sleep(seconds))

    def connect(self, peer: Connection) -> Receiver:
        return self._network.connect_in(peer)

    def feed(self, content: bytes, to: Receiver | None = None) -> None:
        """In a callback of the loop, as a socket would do it."""
        self._asyncio.call_soon(lambda: self._take(content, to or self.peer))

    def _take(self, content: bytes, to: Receiver) -> None:
        with self.loop.timed("received"):
            to.received(memoryview(content))

    def committed(self) -> bool:
        return not any(each.is_committing for each in self.node.partitions.all())

    def serve_groups(self) -> None:
        done: list[int] = []
        self.node.topics.ensure_offsets_topic(done.append)
        self.until(lambda: bool(done))
        self.settle(0.5)
        self.loop.longest.clear()

    def create(self, topics: int, partitions: int, name: str = "t", **configs: str) -> None:
        asked = [
            create_topics.CreatableTopic(
                f"{name}{number}",
                partitions,
                1,
                configs=[
                    create_topics.CreatableTopicConfig(key.replace("_", "."), value)
                    for key, value in configs.items()
                ],
            )
            for number in range(topics)
        ]
        count = self.node.partitions.count() + topics * partitions
        body = create_topics.encode_request(create_topics.CreateTopicsRequest(asked, 60_000, False), 5)
        self.feed(request_head(19, 5, 1, "bench", len(body)) + body)
        self.until(lambda: self.node.partitions.count() == count)

    def produce(self, topics: int, partitions: int, batches: int = 1, size: int = BATCH_BYTES) -> None:
        """To each partition of each topic, a request a topic, and wait until all is committed."""
        for _ in range(batches):
            for number in range(topics):
                message = produce_message(f"t{number}", range(partitions), size, self.clock.wall_ms())
                self.feed(encode(0, message))
                self.settle(0.0)
        self.settle(0.05)
        self.until(self.committed)

    def stop(self) -> None:
        self._told = False
        self.node.stop(lambda clean: self._tell())
        self.until(lambda: self._told)
        self._inner.close()
        self._store.close()
        self._asyncio.close()


def first_append(stage: Stage) -> None:
    """To partitions that have no folder yet, ten at a time."""
    stage.create(1, 100)
    for first in range(0, 100, 10):
        message = produce_message("t0", range(first, first + 10), BATCH_BYTES, stage.clock.wall_ms())
        stage.feed(encode(0, message))
        stage.until(stage.committed)


def next_append(stage: Stage) -> None:
    """To a hundred partitions that have theirs: for comparison."""
    stage.create(1, 100)
    stage.produce(1, 100)
    stage.loop.longest.clear()
    stage.produce(1, 100, batches=20)


def roll(stage: Stage) -> None:
    """Segments that are full after a few batches."""
    stage.create(1, 4, segment_bytes="1048576")
    stage.produce(1, 4)
    stage.loop.longest.clear()
    stage.produce(1, 4, batches=80, size=60_000)


def many_created(stage: Stage) -> None:
    stage.create(PARTITIONS // TOPIC_PARTITIONS, TOPIC_PARTITIONS)


def one_large_topic(stage: Stage) -> None:
    stage.create(1, PARTITIONS)


def upkeep_of_many(stage: Stage) -> None:
    """Recovery points, checkpoints and retention of 10,000 partitions, a thousand of them written to."""
    stage.create(PARTITIONS // TOPIC_PARTITIONS, TOPIC_PARTITIONS)
    stage.produce(10, TOPIC_PARTITIONS)
    stage.settle()
    stage.loop.longest.clear()
    stage.loop.skip(61_000)
    stage.settle(6.0)


def idle_of_many(stage: Stage) -> None:
    """What ten thousand partitions cost each second that nobody writes."""
    stage.create(PARTITIONS // TOPIC_PARTITIONS, TOPIC_PARTITIONS)
    stage.settle()
    stage.loop.longest.clear()
    stage.settle(4.0)


def retention(stage: Stage) -> None:
    """Five segments of each of 200 partitions go at once, and their files a minute later."""
    stage.create(2, 100, segment_ms="60000", retention_ms="3600000")
    for _ in range(6):
        stage.produce(2, 100)
        stage.loop.skip(61_000)
        stage.settle(2.0)
    stage.loop.longest.clear()
    stage.loop.skip(3_700_000)
    stage.settle(3.0)
    stage.loop.skip(300_000)
    stage.settle(3.0)
    stage.loop.skip(61_000)
    stage.settle(3.0)


def deleted_records(stage: Stage) -> None:
    """DeleteRecords of 100 partitions in one request."""
    stage.create(1, 100)
    stage.produce(1, 100, batches=3)
    stage.loop.longest.clear()
    asked = [delete_records.DeleteRecordsPartition(number, 2) for number in range(100)]
    ask = delete_records.DeleteRecordsRequest([delete_records.DeleteRecordsTopic("t0", asked)], 30_000)
    body = delete_records.encode_request(ask, 2)
    stage.feed(request_head(21, 2, 1, "bench", len(body)) + body)
    stage.settle(3.0)


def deleted_topics(stage: Stage) -> None:
    """A hundred partitions with files and 9,900 without go; the files a minute later."""
    stage.create(PARTITIONS // TOPIC_PARTITIONS, TOPIC_PARTITIONS)
    stage.produce(1, TOPIC_PARTITIONS)
    stage.loop.longest.clear()
    names = [f"t{number}" for number in range(PARTITIONS // TOPIC_PARTITIONS)]
    ask = delete_topics.DeleteTopicsRequest(topic_names=names, timeout_ms=30_000)
    body = delete_topics.encode_request(ask, 5)
    stage.feed(request_head(20, 5, 1, "bench", len(body)) + body)
    stage.until(lambda: stage.node.partitions.count() == 0)
    stage.loop.skip(61_000)
    stage.settle(3.0)


def many_configs(stage: Stage) -> None:
    """DescribeConfigs of a thousand copies of one broker."""
    asked = [describe_configs.DescribeConfigsResource(4, "1", None) for _ in range(1000)]
    body = describe_configs.encode_request(describe_configs.DescribeConfigsRequest(asked, True, True), 4)
    stage.feed(request_head(32, 4, 1, "bench", len(body)) + body)
    stage.settle(3.0)


def many_names(stage: Stage) -> None:
    """Metadata of 300,000 names that do not exist."""
    asked = [metadata.MetadataRequestTopic(name=f"nobody-{number}") for number in range(300_000)]
    body = metadata.encode_request(metadata.MetadataRequest(asked, False), 9)
    stage.feed(request_head(3, 9, 1, "bench", len(body)) + body)
    stage.settle(3.0)


def all_topics(stage: Stage) -> None:
    """Metadata of 10,000 partitions."""
    stage.create(PARTITIONS // TOPIC_PARTITIONS, TOPIC_PARTITIONS)
    stage.loop.longest.clear()
    body = metadata.encode_request(metadata.MetadataRequest(None, False), 9)
    stage.feed(request_head(3, 9, 1, "bench", len(body)) + body)
    stage.settle(1.0)


def commits(stage: Stage) -> None:
    """Offset commits of many groups, compaction of what they wrote."""
    stage.create(1, 10)
    stage.serve_groups()
    for number in range(60_000):
        stage.feed(commit_request(f"group-{number % 500}", "t0", number % 10))
        if number % 100 == 99:
            stage.settle(0.0)
    stage.settle(2.0)
    for _ in range(3):
        stage.loop.skip(61_000)
        stage.settle(3.0)


def joins(stage: Stage) -> None:
    """A thousand members join one group, get their assignments, and leave with their connections."""
    stage.serve_groups()
    peers = [Keeping() for _ in range(MEMBERS)]
    ends = [stage.connect(peer) for peer in peers]
    members = [Member("many", partial(stage.feed, to=end)) for end in ends]
    for member in members:
        member.join()

    def are_together() -> bool:
        for peer, member in zip(peers, members, strict=True):
            frames, peer.frames = peer.frames, []
            for frame in frames:
                member.take(frame)
        return are_one_generation(members)

    stage.until(are_together)
    for end in ends:
        end.closed("the bench is over")


LOADS: dict[str, tuple[Callable[[Stage], None], dict[str, str]]] = {
    "first append": (first_append, {}),
    "next append": (next_append, {}),
    "roll": (roll, {}),
    "create 100 x 100": (many_created, {}),
    "create 1 x 10,000": (one_large_topic, {}),
    "idle, 10,000": (idle_of_many, {}),
    "upkeep, 10,000": (upkeep_of_many, {}),
    "retention": (retention, {}),
    "delete records": (deleted_records, {}),
    "delete topics": (deleted_topics, {}),
    "1,000 configs": (many_configs, {}),
    "300,000 names": (many_names, {}),
    "metadata, 10,000": (all_topics, {}),
    "commits": (commits, {"offsets.topic.num.partitions": "1", "offsets.topic.segment.bytes": "1048576"}),
    "1,000 members": (joins, {"group.initial.rebalance.delay.ms": "0"}),
}
BOTH = "cache", "sync"


def measure(name: str, durability: str) -> dict[str, tuple[float, float]]:
    """By the name of a callback: the most seconds that one took, and the most seconds of CPU."""
    load, options = LOADS[name]
    with tempfile.TemporaryDirectory() as folder:
        settle_memory()
        stage = Stage(Path(folder), {"barnabas.durability": durability, **options})
        longest = stage.loop.longest
        longest.clear()
        load(stage)
        found = dict(longest)
        stage.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="loads whose name holds one of them")
    parser.add_argument("--durability", choices=BOTH, default="sync")
    given = parser.parse_args()
    for name in LOADS:
        if given.words and not any(word in name for word in given.words):
            continue
        found = sorted(measure(name, given.durability).items(), key=lambda entry: entry[1], reverse=True)
        told = "  ".join(
            f"{what} {wall * 1000:,.1f} ({cpu * 1000:,.1f} CPU)" for what, (wall, cpu) in found[:SHOWN]
        )
        print(f"{name:20} ms: {told}", flush=True)


if __name__ == "__main__":
    main()
