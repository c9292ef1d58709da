"""Runs transcripts of the group coordinator: commands and what came of them, in text that needs no Python to read.

    > COMMAND arguments            one request, or a move of the world
    what happened, a line each     answers given at once, and parked answers that this command completed

Names (alice, bob) stand for clients; a member id is shown as the name of the client that got it, with a number when it got
several. `pytest --rewrite-transcripts` writes what happens now; review the diff.

A line `covers API FIELD… CODE…` claims, as the mark of that name does (tests/server/covers.py), what the transcript tests.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from covers import TRAFFIC, Claim, claims_of

from barnabas.cluster.image import Image, PartitionImage, Topic, TopicSet, apply
from barnabas.config.effective import BrokerOptions
from barnabas.coordinators.group.coordinator import GroupCoordinator
from barnabas.errors import name_of
from barnabas.partitions.waits import Parked, Waits
from barnabas.records.record import batches
from barnabas.testing.entropy import SeededEntropy
from barnabas.testing.virtual import VirtualLoop, VirtualTime
from barnabas.wire import apis
from barnabas.wire.internal import consumer_protocol_subscription
from barnabas.wire.internal.consumer_protocol_subscription import ConsumerProtocolSubscription
from barnabas.wire.messages.delete_groups import DeleteGroupsRequest
from barnabas.wire.messages.describe_groups import DescribeGroupsRequest
from barnabas.wire.messages.heartbeat import HeartbeatRequest
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from barnabas.wire.messages.leave_group import LeaveGroupRequest, MemberIdentity
from barnabas.wire.messages.list_groups import ListGroupsRequest
from barnabas.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from barnabas.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from barnabas.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup
from barnabas.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

GROUP = "g"
KEYS = {row.module: row.key for row in apis.BY_KEY.values()}
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class RecordedPartition:
    """A partition of __consumer_offsets that keeps its batches; `hold` delays commits, `fail` refuses appends."""

    log_start_offset = 0

    def __init__(self) -> None:
        self.content: list[bytes] = []
        self.end_offset = 0
        self.high_watermark = 0
        self.held = False
        self.refuses = 0
        self._waiting: list[tuple[int, Callable[[int], None]]] = []

    def append_own(self, batch: bytes, now_ms: int) -> int:
        if self.refuses:
            return -self.refuses
        (header, _), *_more = batches(batch)
        moved = self.end_offset.to_bytes(8, "big") + batch[8:]
        self.content.append(moved)
        self.end_offset += header.last_offset_delta + 1
        if not self.held:
            self.high_watermark = self.end_offset
        return self.end_offset

    def when_committed(self, end_offset: int, callback: Callable[[int], None]) -> None:
        if end_offset <= self.high_watermark:
            callback(0)
        else:
            self._waiting.append((end_offset, callback))

    def release(self, code: int = 0) -> None:
        self.held = False
        self.high_watermark = self.end_offset
        waiting, self._waiting = self._waiting, []
        for _, callback in waiting:
            callback(code)

    def read_bytes(self, offset: int, max_bytes: int) -> bytes:
        return b"".join(self.content) if offset == 0 else b""


class Caller:
    def __init__(self, name: str) -> None:
        self.client_id = name
        self.host = "/127.0.0.1"


class Watched:
    """The coordinator as its handlers call it; requests and responses go to TRAFFIC."""

    def __init__(self, coordinator: GroupCoordinator) -> None:
        self._coordinator = coordinator

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._coordinator, name)
        key = KEYS.get(name)
        return method if key is None else lambda *asked: self._watch(key, method, *asked)

    def _watch(self, key: int, method: Any, ask: Any, version: int, caller: "Caller") -> Any:
        TRAFFIC.sent(key, version, ask)
        answer = method(ask, version, caller)
        if not isinstance(answer, Parked):
            TRAFFIC.received(key, version, answer)
            return answer
        passed_on = Parked()

        def completed(response: object) -> None:
            TRAFFIC.received(key, version, response)
            passed_on.complete(response)

        answer.then(completed)
        return passed_on


class Stage:
    """The world of one transcript."""

    def __init__(self, options: dict[str, str]) -> None:
        self.time = VirtualTime(1)
        self.options = {"group.initial.rebalance.delay.ms": "0", **options}
        self.partition = RecordedPartition()
        self.entropy = SeededEntropy(1)
        topics = [
            TopicSet(Topic(name, name.encode().ljust(16, b"\0"), (PartitionImage(1, 0, (1,), (1,)),) * 3))
            for name in ("t", "u")
        ]
        self.image = apply(Image(), topics)
        self.member_ids: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.generations: dict[str, int] = {}
        self.lines: list[str] = []
        self.boot()

    def boot(self) -> None:
        self.loop = VirtualLoop(self.time)
        coordinator = GroupCoordinator(
            self.time,
            Waits(self.time, self.loop),
            self.loop,
            self.entropy,
            lambda: self.image,
            BrokerOptions(self.options),
            lambda: 1,
        )
        coordinator.start()
        coordinator.on_partition_opened(0, self.partition)
        self.coordinator = Watched(coordinator)
        self.time.settle()

    def run(self, line: str) -> list[str]:
        """One command; returns what happened."""
        self.lines = []
        verb, *words = line.split()
        names = [word for word in words if "=" not in word]
        given = dict(word.split("=", 1) for word in words if "=" in word)
        getattr(self, f"do_{verb.replace('-', '_')}")(*names, **given)
        self.time.settle()
        return self.lines or ["-"]

    def show(self, name: str, member_id: str) -> str:
        if not member_id:
            return "nobody"
        if member_id not in self.shown:
            number = 1 + sum(1 for shown in self.shown.values() if shown.rstrip("0123456789") == name)
            self.shown[member_id] = name if number == 1 else f"{name}{number}"
        return self.shown[member_id]

    def answer(self, name: str, answer: Any, tell: Callable[[str, Any], None]) -> None:
        if isinstance(answer, Parked):
            if answer.reply is None:
                self.lines.append(f"{name} waits")
            answer.then(lambda response: tell(name, response))
        else:
            tell(name, answer)

    # -- requests

    def do_join(
        self,
        name: str,
        *,
        v: str = "9",
        topics: str = "t",
        protocols: str = "range",
        type: str = "consumer",
        session: str = "10s",
        rebalance: str = "60s",
        instance: str | None = None,
        member: str | None = None,
    ) -> None:
        metadata = (0).to_bytes(2, "big") + consumer_protocol_subscription.encode(
            ConsumerProtocolSubscription(topics=topics.split(",")), 0
        )
        ask = JoinGroupRequest(
            group_id=GROUP,
            session_timeout_ms=duration_ms(session),
            rebalance_timeout_ms=duration_ms(rebalance),
            member_id=self.member_ids.get(name, "") if member is None else member,
            group_instance_id=instance,
            protocol_type=type,
            protocols=[JoinGroupRequestProtocol(each, metadata) for each in protocols.split(",") if each],
        )
        self.answer(name, self.coordinator.join_group(ask, int(v), Caller(name)), self.tell_join)

    def tell_join(self, name: str, response: Any) -> None:
        if response.member_id and response.error_code in (0, 79):
            self.member_ids[name] = response.member_id
        member = self.show(name, response.member_id) if response.member_id else "nobody"
        if response.error_code:
            self.lines.append(f"{name} join: {name_of(response.error_code)} member={member}")
            return
        self.generations[name] = response.generation_id
        members = ",".join(self.shown.get(each.member_id, "?") for each in response.members)
        skip = " skip-assignment" if response.skip_assignment else ""
        self.lines.append(
            f"{name} joined: member={member} generation={response.generation_id} protocol={response.protocol_name} "
            f"leader={self.shown.get(response.leader, '?')} members=[{members}]{skip}"
        )

    def do_sync(
        self,
        name: str,
        *,
        v: str = "4",
        generation: str | None = None,
        instance: str | None = None,
        type: str | None = None,
        protocol: str | None = None,
        **assigned: str,
    ) -> None:
        ask = SyncGroupRequest(
            group_id=GROUP,
            generation_id=self.generations.get(name, -1) if generation is None else int(generation),
            member_id=self.member_ids.get(name, "unknown"),
            group_instance_id=instance,
            protocol_type=type,
            protocol_name=protocol,
            assignments=[
                SyncGroupRequestAssignment(self.member_ids[other], content.encode())
                for other, content in assigned.items()
            ],
        )
        self.answer(name, self.coordinator.sync_group(ask, int(v), Caller(name)), self.tell_sync)

    def tell_sync(self, name: str, response: Any) -> None:
        text = (
            name_of(response.error_code)
            if response.error_code
            else f"assigned {response.assignment.decode() or '-'}"
        )
        self.lines.append(f"{name} sync: {text}")

    def do_heartbeat(self, name: str, *, generation: str | None = None, instance: str | None = None) -> None:
        ask = HeartbeatRequest(
            GROUP,
            self.generations.get(name, -1) if generation is None else int(generation),
            self.member_ids.get(name, "unknown"),
            instance,
        )
        self.lines.append(
            f"{name} heartbeat: {name_of(self.coordinator.heartbeat(ask, 4, Caller(name)).error_code)}"
        )

    def do_leave(self, *names: str, v: str = "5", instance: str | None = None) -> None:
        if int(v) < 3:
            ask = LeaveGroupRequest(GROUP, self.member_ids.get(names[0], "unknown"))
        else:
            identities = [MemberIdentity(self.member_ids.get(name, "unknown"), None) for name in names]
            if instance is not None:
                identities = [MemberIdentity("", instance)]
            ask = LeaveGroupRequest(GROUP, members=identities)
        self.answer("admin", self.coordinator.leave_group(ask, int(v), Caller("admin")), self.tell_left)

    def tell_left(self, name: str, response: Any) -> None:
        self.lines.append(f"left: {name_of(response.error_code)}")
        self.lines += [
            f"  {self.shown.get(each.member_id, each.group_instance_id or '?')}: {name_of(each.error_code)}"
            for each in response.members
        ]

    def do_commit(
        self,
        name: str = "",
        *,
        v: str = "9",
        generation: str | None = None,
        instance: str | None = None,
        metadata: str = "",
        retention: str | None = None,
        **offsets: str,
    ) -> None:
        topics: dict[str, list[OffsetCommitRequestPartition]] = {}
        for where, offset in offsets.items():
            topic, index = where.rsplit("_", 1)
            topics.setdefault(topic, []).append(
                OffsetCommitRequestPartition(int(index), int(offset), -1, metadata)
            )
        by_id = int(v) >= 10
        ask = OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=self.generations.get(name, -1)
            if generation is None
            else int(generation),
            member_id=self.member_ids.get(name, "") if name else "",
            group_instance_id=instance,
            retention_time_ms=-1 if retention is None else duration_ms(retention),
            topics=[
                OffsetCommitRequestTopic("" if by_id else topic, topic.encode().ljust(16, b"\0"), parts)
                for topic, parts in topics.items()
            ],
        )
        self.answer(
            name or "admin", self.coordinator.offset_commit(ask, int(v), Caller(name)), self.tell_commit
        )

    def tell_commit(self, name: str, response: Any) -> None:
        told = [
            f"{topic.name or topic.topic_id.rstrip(bytes(1)).decode()}[{part.partition_index}] {name_of(part.error_code)}"
            for topic in response.topics
            for part in topic.partitions
        ]
        self.lines.append(f"{name} committed: {', '.join(told)}")

    def do_fetch(self) -> None:
        ask = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=GROUP, topics=None)])
        self.answer("admin", self.coordinator.offset_fetch(ask, 8, Caller("admin")), self.tell_offsets)

    def tell_offsets(self, name: str, response: Any) -> None:
        group = response.groups[0]
        told = [
            f"{topic.name}[{part.partition_index}]={part.committed_offset}"
            for topic in group.topics
            for part in topic.partitions
        ]
        self.lines.append(
            f"offsets: {name_of(group.error_code) if group.error_code else ', '.join(told) or 'none'}"
        )

    def do_forget_offsets(self, topic: str, *indexes: str) -> None:
        parts = [OffsetDeleteRequestPartition(int(index)) for index in indexes]
        ask = OffsetDeleteRequest(GROUP, [OffsetDeleteRequestTopic(topic, parts)])
        self.answer("admin", self.coordinator.offset_delete(ask, 0, Caller("admin")), self.tell_forgotten)

    def tell_forgotten(self, name: str, response: Any) -> None:
        told = [name_of(part.error_code) for topic in response.topics for part in topic.partitions]
        self.lines.append(f"forgot: {name_of(response.error_code)} {', '.join(told)}".rstrip())

    def do_describe(self, *, v: str = "6") -> None:
        (group,) = self.coordinator.describe_groups(
            DescribeGroupsRequest([GROUP]), int(v), Caller("admin")
        ).groups
        members = ",".join(
            f"{self.shown.get(each.member_id, '?')}:{each.member_assignment.decode() or '-'}"
            for each in group.members
        )
        error = f" {name_of(group.error_code)}" if group.error_code else ""
        self.lines.append(
            f"{group.group_state or 'no state'}{error} type={group.protocol_type or '-'} protocol={group.protocol_data or '-'} "
            f"members=[{members}]"
        )

    def do_list(self, *, states: str = "", types: str = "") -> None:
        ask = ListGroupsRequest(
            [each for each in states.split(",") if each], [each for each in types.split(",") if each]
        )
        response = self.coordinator.list_groups(ask, 5, Caller("admin"))
        told = [f"{each.group_id}:{each.group_state}:{each.group_type}" for each in response.groups]
        self.lines.append(f"groups: {', '.join(told) or 'none'}")

    def do_delete(self, group: str = GROUP) -> None:
        def tell(_: str, response: Any) -> None:
            self.lines.append(f"deleted: {name_of(response.results[0].error_code)}")

        ask = DeleteGroupsRequest(["" if group == '""' else group])
        self.answer("admin", self.coordinator.delete_groups(ask, 2, Caller("admin")), tell)

    # -- moves of the world

    def do_tick(self, duration: str) -> None:
        self.time.run_for(duration_ms(duration))

    def do_crash(self) -> None:
        self.loop.kill()
        self.boot()

    def do_restart(self, **options: str) -> None:
        """As a crash, with other options. Written as name=value."""
        self.options.update(options)
        self.do_crash()

    def do_recreate_topic(self, topic: str) -> None:
        """Under another topic id, and nobody told the coordinator."""
        partitions = self.image.topics[topic].partitions
        self.image = apply(self.image, [TopicSet(Topic(topic, bytes(15) + b"n", partitions))])

    def do_hold(self) -> None:
        self.partition.held = True

    def do_release(self) -> None:
        self.partition.release()

    def do_fail_commits(self) -> None:
        self.partition.release(56)

    def do_refuse(self, code: str = "56") -> None:
        self.partition.refuses = int(code)

    def do_drop_topic(self, topic: str) -> None:
        self.coordinator.on_topic_deleted(topic)


def duration_ms(text: str) -> int:
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * UNITS[unit]


def replay(path: Path) -> Iterator[str]:
    """The transcript as it happens now: its comments and commands, with the lines that follow from them."""
    lines = path.read_text().splitlines()
    options = dict(line.removeprefix("option ").split("=", 1) for line in lines if line.startswith("option "))
    stage = Stage(options)
    for line in lines:
        if line.startswith(">"):
            yield line
            yield from stage.run(line[1:].strip())
        elif not line or line.startswith(("#", "option ", "covers ")):
            yield line


def claims_in(path: Path) -> list[Claim]:
    """What the transcript says it covers."""
    lines = [line.split() for line in path.read_text().splitlines() if line.startswith("covers ")]
    return [claim for _, api, *names in lines for claim in claims_of(api, names)]
