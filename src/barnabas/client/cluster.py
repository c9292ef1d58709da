"""One cluster as a client sees it: which broker leads what, and one request at a time to the right one.

Nothing here opens a socket: a Transport is given, so the whole client also runs against canned answers.
Versions are negotiated per connection (ApiVersions); those that would need topic ids or lists of groups are not used.
"""

from itertools import chain
from typing import Any, Final, Protocol

from barnabas import errors
from barnabas.wire import apis
from barnabas.wire.frame import request_head, response_body_at
from barnabas.wire.messages import api_versions
from barnabas.wire.primitives import Malformed

CLIENT_ID: Final = "barnabas-cli"
TRIES_MAX: Final = 150
RETRY_WAIT_MS: Final = 100
VERSION_CAPS: Final[dict[int, int]] = {0: 12, 1: 12, 8: 9, 9: 7, 10: 3, 13: 2, 20: 5}
"""API → the newest version that still names topics and asks for one group."""

Address = tuple[str, int]


class Transport(Protocol):
    """Frames to and from brokers, and the time between."""

    def exchange(self, address: Address, frame: bytes, answered: bool) -> bytes:
        """Send a whole frame; its reply without the size, or b"" when none is owed. Raises Unreachable."""

    def forget(self, address: Address) -> None:
        """Close the connection to a broker, if there is one."""

    def sleep_ms(self, wait_ms: int) -> None: ...
    def wall_ms(self) -> int: ...


class Unreachable(Exception):
    """No broker answered at an address. sent: the request may have reached it all the same."""

    def __init__(self, address: Address, reason: str, *, sent: bool = True) -> None:
        host, port = address
        super().__init__(f"no answer from {f'[{host}]' if ':' in host else host}:{port}: {reason}")
        self.address = address
        self.sent = sent
        self.was_there = sent
        """Somebody took the connection."""


class Refused(Exception):
    """A broker answered with an error code that trying again does not cure."""

    def __init__(self, code: int, what: str, message: str | None = None) -> None:
        name = errors.name_of(code)
        super().__init__(f"{what}: {message} ({name})" if message else f"{what}: {name}")
        self.code = code
        self.what = what


class Cluster:
    """Routes requests. Every method raises Unreachable or Refused."""

    def __init__(self, transport: Transport, seeds: list[Address]) -> None:
        self.transport = transport
        self._seeds = seeds
        self._versions: dict[Address, dict[int, tuple[int, int]]] = {}
        self._brokers: dict[int, Address] = {}
        self._leaders: dict[str, list[int]] = {}
        self._correlation_id = 0
        self.has_answered = False
        """Some broker has: one that does not answer now is away, and another leads in its place soon."""

    # -- one request

    def ask(self, key: int, request: object, address: Address | None = None, *, answered: bool = True) -> Any:
        """Send a request to a broker (default: any) and return its decoded response, None when none is owed."""
        targets = [address] if address else self._candidates()
        mute: list[Address] = []
        for target in chain(targets, mute):
            try:
                version = self._version(target, key)
                return self._exchange(target, key, version, request, answered)
            except Unreachable as error:
                self._versions.pop(target, None)
                if target in mute:
                    continue  # what was there at first tells more
                unreachable = error
                if address is None and error.was_there:
                    mute.append(target)  # several brokers may listen there, of which one hangs or dies
        raise unreachable

    def _candidates(self) -> list[Address]:
        known = list(self._brokers.values())
        return known + [seed for seed in self._seeds if seed not in known]

    def _exchange(self, address: Address, key: int, version: int, request: object, answered: bool) -> Any:
        module = apis.load(key)
        self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        body = module.encode_request(request, version)
        head = request_head(key, version, self._correlation_id, CLIENT_ID, len(body))
        reply = self.transport.exchange(address, head + body, answered)
        if not answered:
            return None
        self.has_answered = True
        if len(reply) < 4 or int.from_bytes(reply[:4], "big") != self._correlation_id:
            self.transport.forget(address)
            raise Unreachable(address, "its answer belongs to another request")
        try:
            return module.decode_response(reply, response_body_at(key, version, reply), version)
        except (Malformed, IndexError):
            self.transport.forget(address)
            raise Unreachable(address, "its answer cannot be read; is it a Kafka broker?") from None

    def _version(self, address: Address, key: int) -> int:
        if address not in self._versions:
            try:
                reply = self._exchange(address, 18, 0, api_versions.ApiVersionsRequest(), True)
            except Unreachable as error:
                error.sent = False  # not the request that the caller has in mind
                raise
            self._versions[address] = {
                row.api_key: (row.min_version, row.max_version) for row in reply.api_keys
            }
        ours = apis.BY_KEY[key]
        low, high = self._versions[address].get(key, (0, -1))
        version = min(high, ours.version_max, VERSION_CAPS.get(key, ours.version_max))
        if version < max(low, ours.version_min):
            raise Refused(errors.UNSUPPORTED_VERSION, f"{address[0]}:{address[1]} does not serve {ours.name}")
        return version

    # -- who leads what

    def metadata(self, topics: list[str] | None = None, *, create: bool = False) -> Any:
        """A MetadataResponse for these topics, or for all; remembers brokers and leaders."""
        from barnabas.wire.messages import metadata

        rows = None if topics is None else [metadata.MetadataRequestTopic(name=name) for name in topics]
        reply = self.ask(3, metadata.MetadataRequest(topics=rows, allow_auto_topic_creation=create))
        self._brokers = {broker.node_id: (broker.host, broker.port) for broker in reply.brokers}
        for topic in reply.topics:
            if topic.error_code == errors.NONE:
                ordered = sorted(topic.partitions, key=lambda row: int(row.partition_index))
                self._leaders[topic.name] = [row.leader_id for row in ordered]
        reply.topics.sort(key=lambda topic: topic.name)
        return reply

    def partitions(self, topic: str, *, create: bool = False) -> int:
        """How many partitions a topic has. Raises Refused(UNKNOWN_TOPIC_OR_PARTITION) when it does not exist."""
        if topic not in self._leaders:
            self._learn(topic, create)
        return len(self._leaders[topic])

    def leader(self, topic: str, partition: int) -> Address:
        """The broker that leads a partition; waits for an election."""
        for _ in range(TRIES_MAX):
            count = self.partitions(topic)
            if not 0 <= partition < count:
                raise Refused(
                    errors.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has {count} partitions, no {partition}"
                )
            address = self._brokers.get(self._leaders[topic][partition])
            if address is not None:
                return address
            self.pause()
            self.stale(topic)
        raise Refused(errors.LEADER_NOT_AVAILABLE, f"{topic}[{partition}]")

    def stale(self, topic: str) -> None:
        """What is known of a topic is no longer true."""
        self._leaders.pop(topic, None)

    def pause(self) -> None:
        self.transport.sleep_ms(RETRY_WAIT_MS)

    def _learn(self, topic: str, create: bool) -> None:
        code = errors.NONE
        for _ in range(TRIES_MAX):
            code = self.metadata([topic], create=create).topics[0].error_code
            if code == errors.NONE:
                return
            if code not in errors.RETRIABLE or (code == errors.UNKNOWN_TOPIC_OR_PARTITION and not create):
                break
            self.pause()
        raise Refused(code, f"topic {topic}")

    def controller(self) -> Address:
        reply = self.metadata([])
        return self._brokers.get(reply.controller_id) or self._candidates()[0]

    def coordinator(self, group: str) -> Address:
        """The broker that keeps a group; waits until there is one."""
        from barnabas.wire.messages import find_coordinator

        code = errors.NONE
        for _ in range(TRIES_MAX):
            reply = self.ask(10, find_coordinator.FindCoordinatorRequest(key=group))
            code = reply.error_code
            if code == errors.NONE:
                return reply.host, reply.port
            if code not in errors.RETRIABLE:
                break
            self.pause()
        raise Refused(code, f"group {group}")


class Patience:
    """For one question: how long it is asked again while a broker of a cluster that has answered does not."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tries_left = TRIES_MAX
        self._until_ms = cluster.transport.wall_ms() + TRIES_MAX * RETRY_WAIT_MS

    def take(self, error: Unreachable) -> None:
        """Waits before the next try. Raises error when it is over, or no broker has ever answered."""
        self._tries_left -= 1
        is_over = self._tries_left == 0 or self._cluster.transport.wall_ms() > self._until_ms
        if is_over or not self._cluster.has_answered:
            raise error
        self._cluster.pause()
