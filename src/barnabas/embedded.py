"""`with barnabas.Broker() as broker:` — the same node as in production, in a thread of this process.

Without `data` everything lies in memory: the port is any free one, a group's first assignment is not delayed, and beyond
the memory cap the oldest segments go. With `data` it is a broker on disk. Not fork-safe: fork before, or use a process of
its own (`barnabas serve`).
"""

import asyncio
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Self, TypeVar

from barnabas.adapters.loop import new_event_loop
from barnabas.client.produce import partition_of
from barnabas.cluster.changes import TopicResult
from barnabas.config.load import ConfigRefused, Loaded, load, number_of
from barnabas.node import Node
from barnabas.partitions.partition import Appended, Partition, Pending
from barnabas.records.record import Header, Record, all_records, build_batch
from barnabas.running import RunningNode
from barnabas.telemetry import silent
from barnabas.wire.messages.create_topics import CreatableTopic

DEFAULTS: Final[Mapping[str, str]] = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "barnabas.metrics.port": "-1",
}
IN_MEMORY: Final[Mapping[str, str]] = {**DEFAULTS, "log.segment.bytes": str(16 * 1024 * 1024)}
"""Small segments, so that the memory cap has something to let go."""
READ_BYTES: Final = 1 << 20
CALL_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.005
STOPPED: Final = "the broker was stopped"
Result = TypeVar("Result")
Payload = bytes | str | Mapping[str, object] | Sequence[object] | None


class BrokerError(Exception):
    """A call on the embedded broker failed; the text says why."""


class Message:
    """One record as a test wants to see it: value and key are text or parsed JSON where they are that, else bytes."""

    def __init__(self, topic: str, partition: int, record: Record) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = record.offset
        self.timestamp = record.timestamp
        self.raw_key = record.key
        self.raw_value = record.value
        self.headers = dict(record.headers)

    @property
    def key(self) -> object:
        return readable(self.raw_key, parse=False)

    @property
    def value(self) -> object:
        return readable(self.raw_value, parse=True)

    def __repr__(self) -> str:
        return (
            f"Message({self.topic}[{self.partition}]@{self.offset}, key={self.key!r}, value={self.value!r})"
        )


def readable(content: bytes | None, *, parse: bool) -> object:
    """Text where it is UTF-8, parsed where it is a JSON object or array."""
    if content is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    if parse and text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def payload(content: Payload) -> bytes | None:
    if content is None or isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    return json.dumps(content).encode()


class Broker:
    """A broker in this process. Use it in a `with` or an `async with`; it serves from entering to leaving.

    `async with` gives an AsyncBroker, whose calls are awaited.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        config: Mapping[str, object] | None = None,
        topics: Mapping[str, int] | None = None,
    ) -> None:
        """config: broker options by name. topics: name → partitions, made before entering returns unless they are there.

        Raises BrokerError on entering when an option has a value it does not take, the port is taken, the folder is in
        use or a topic cannot be made. An option that nobody knows gets a UserWarning.
        """
        self._folder = None if data is None else os.fspath(data)
        self._static = {"listeners": f"PLAINTEXT://{bracketed(host)}:{port}"}
        self._static.update({name: option_text(value) for name, value in (config or {}).items()})
        self._topics = dict(topics or {})
        self._running: RunningNode | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._unanswered: set[threading.Event] = set()

    # -- life

    def start(self) -> Self:
        if self._thread is not None:
            raise BrokerError("this broker runs already")
        loaded = checked(self._static)
        if number_of("barnabas.workers", loaded.values) > 1:
            raise BrokerError(
                "barnabas.workers: Broker() is one broker in this process; barnabas.Cluster(brokers=3) has several"
            )
        self._pid = os.getpid()
        ready: list[BaseException | None] = []
        started = threading.Event()
        self._loop = new_event_loop()

        def run() -> None:
            assert self._loop is not None
            asyncio.set_event_loop(self._loop)

            async def begin() -> None:
                assert self._loop is not None
                try:
                    self._running = RunningNode(
                        self._loop,
                        self._folder,
                        loaded.values,
                        DEFAULTS if self._folder else IN_MEMORY,
                        silent,
                    )
                    await self._running.started()
                    ready.append(None)
                except BaseException as error:  # whatever it is: who called start() must not wait for ever
                    ready.append(error)
                started.set()

            self._loop.run_until_complete(begin())
            if ready == [None]:
                self._loop.run_forever()
            self._loop.close()
            for answered in list(self._unanswered):
                answered.set()  # what was asked is not answered any more

        self._thread = threading.Thread(target=run, name="barnabas-broker", daemon=True)
        self._thread.start()
        started.wait()
        if ready[0] is not None:
            self._thread.join()
            self._thread = None
            raise BrokerError(str(ready[0])) from ready[0]
        try:
            for name, partitions in self._topics.items():
                if not self._partitions(name):
                    self.create_topic(name, partitions)
        except BrokerError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Serves no more when it returns; on disk everything is synced."""
        if self._thread is None or self._loop is None or os.getpid() != self._pid:
            return
        running, loop = self._running, self._loop
        assert running is not None

        async def end() -> None:
            await running.stopped()
            loop.stop()

        asyncio.run_coroutine_threadsafe(end(), loop)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> "AsyncBroker":
        await asyncio.to_thread(self.start)
        return AsyncBroker(self)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    # -- what a test wants

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port."""
        host, port = next(iter(self._node.bound.values()))
        return f"{bracketed(host)}:{port}"

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, object] | None = None
    ) -> None:
        """Made and serving when it returns. Raises BrokerError as CreateTopics would refuse."""
        ask = creatable(name, partitions, config)
        results: list[TopicResult] = self._call(lambda done: self._node.topics.create([ask], False, done))
        (result,) = results
        if result.code:
            raise BrokerError(result.message or f"error {result.code}")

    def produce(
        self,
        topic: str,
        value: Payload = None,
        *,
        key: Payload = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> int:
        """Append one record and return its offset once it is committed. The topic is made when it is absent.

        Without a partition the key chooses, as in Kafka's clients; without a key it is 0.
        """
        record = Record(
            payload(key),
            payload(value),
            time.time_ns() // 1_000_000 if timestamp is None else timestamp,
            tuple[Header, ...](headers),
        )
        found = self._partition(topic, partition, record.key)
        batch = build_batch([record])

        def append(done: Callable[[int], None]) -> None:
            def told(appended: Appended) -> None:
                if appended.code:
                    done(-appended.code)
                else:
                    found.when_committed(
                        appended.end_offset, lambda code: done(-code or appended.base_offset)
                    )

            appended = found.append(batch, 0, len(batch), 13, time.time_ns() // 1_000_000)
            if isinstance(appended, Pending):
                appended.then(told)
            else:
                told(appended)

        offset = self._call(append)
        if offset < 0:
            from barnabas.errors import name_of

            raise BrokerError(f"the record was refused: {name_of(-offset)}")
        return offset

    def records(self, topic: str, partition: int | None = None) -> list[Message]:
        """All records of a topic, oldest first within each partition."""
        found: list[Message] = []
        for each in self._partitions(topic):
            if partition is None or each.index == partition:
                found += [Message(topic, each.index, record) for record in self._read(each)]
        return found

    def wait_for(
        self, topic: str, matches: Callable[[Message], bool] = lambda _: True, timeout: float = 5.0
    ) -> Message:
        """The first record of the topic that matches, now or within timeout seconds. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        seen: dict[int, int] = {}
        while True:
            for each in self._partitions(topic):
                for record in self._read(each, seen.get(each.index, 0)):
                    seen[each.index] = record.offset + 1
                    message = Message(topic, each.index, record)
                    if matches(message):
                        return message
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"no record of {topic} matched within {timeout} s ({sum(seen.values())} seen)"
                )
            time.sleep(POLL_S)

    # -- inside

    @property
    def _node(self) -> Node:
        if self._running is None:
            raise BrokerError("the broker does not run: use it inside its with block")
        return self._running.node

    def _read(self, partition: Partition, offset: int = 0) -> list[Record]:
        def read(done: Callable[[bytes], None]) -> None:
            at = max(offset, partition.log_start_offset)
            parts = []
            while at < partition.high_watermark:
                content = partition.read_bytes(at, READ_BYTES)
                last = _end_of(content)
                if last <= at:
                    break
                parts.append(content)
                at = last
            done(b"".join(parts))

        return [record for record in all_records(self._call(read)) if record.offset >= offset]

    def _partitions(self, topic: str) -> list[Partition]:
        return self._call(lambda done: done(list(self._node.partitions.of_topic(topic))))

    def _partition(self, topic: str, index: int | None, key: bytes | None) -> Partition:
        """The topic is made when it is absent."""
        found = self._partitions(topic)
        if not found:
            self._create(topic)
            found = self._partitions(topic)
        if index is None:
            index = 0 if key is None or not found else partition_of(key, len(found))
        if not 0 <= index < len(found):
            raise BrokerError(f"there is no partition {index} of {topic}")
        return found[index]

    def _create(self, topic: str) -> dict[str, int]:
        return self._call(lambda done: self._node.topics.create_automatically([topic], done))

    def _call(self, ask: Callable[[Callable[[Result], None]], None]) -> Result:
        """ask(done) on the broker's thread; what done was given comes back here."""
        if self._thread is None or self._loop is None:
            raise BrokerError("the broker does not run: use it inside its with block")
        if os.getpid() != self._pid:
            raise BrokerError("the broker lives in the process that started it, not in a fork of that")
        answered = threading.Event()
        answer: list[Result] = []
        failure: list[BaseException] = []

        def done(result: Result) -> None:
            answer.append(result)
            answered.set()

        def run() -> None:
            try:
                ask(done)
            except BaseException as error:
                failure.append(error)
                answered.set()

        self._unanswered.add(answered)
        try:
            self._loop.call_soon_threadsafe(run)
            if not answered.wait(CALL_TIMEOUT_S):
                raise BrokerError(f"the broker did not answer within {CALL_TIMEOUT_S} s")
        except RuntimeError as closed:
            raise BrokerError(STOPPED) from closed
        finally:
            self._unanswered.discard(answered)
        if failure:
            raise failure[0]
        if not answer:
            raise BrokerError(STOPPED)
        return answer[0]


class AsyncBroker:
    """What `async with Broker() as broker` gives: the same calls, which leave the caller's loop free while they wait."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @property
    def bootstrap(self) -> str:
        """Where clients connect: host:port."""
        return self._broker.bootstrap

    async def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, object] | None = None
    ) -> None:
        await asyncio.to_thread(self._broker.create_topic, name, partitions, config)

    async def produce(
        self,
        topic: str,
        value: Payload = None,
        *,
        key: Payload = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> int:
        produce = partial(self._broker.produce, topic, value, key=key, headers=headers)
        return await asyncio.to_thread(produce, partition=partition, timestamp=timestamp)

    async def records(self, topic: str, partition: int | None = None) -> list[Message]:
        return await asyncio.to_thread(self._broker.records, topic, partition)

    async def wait_for(
        self, topic: str, matches: Callable[[Message], bool] = lambda _: True, timeout: float = 5.0
    ) -> Message:
        """matches is called in another thread."""
        return await asyncio.to_thread(self._broker.wait_for, topic, matches, timeout)


def _end_of(content: bytes) -> int:
    from barnabas.records.record import batches

    end = 0
    for header, _ in batches(content):
        end = header.next_offset
    return end


def checked(options: Mapping[str, str]) -> Loaded:
    """The options, under the rules of `serve`."""
    try:
        loaded = load(settings=options)
    except ConfigRefused as refusal:
        raise BrokerError(str(refusal)) from None
    for text in loaded.warnings:
        warnings.warn(text, stacklevel=3)
    return loaded


def creatable(name: str, partitions: int, config: Mapping[str, object] | None) -> CreatableTopic:
    from barnabas.wire.messages.create_topics import CreatableTopicConfig

    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=-1,
        configs=[
            CreatableTopicConfig(name=key, value=option_text(value)) for key, value in (config or {}).items()
        ],
    )


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def option_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
