"""Transcripts of group requests: commands and what came of them, in text that needs no Python to read.

    > COMMAND arguments            one request, or a move of the world
    what happened, a line each     answers given at once, and parked answers that this command completed

Names (alice, bob) stand for clients; a member id is shown as the name of the client that got it, with a number when it got
several. alice@one is alice with the instance id one, @one the instance id alone, v= the version of the request, group= a
group other than g. A Stage knows the requests; what answers them is its subclass's affair: the coordinator on virtual time,
or a broker over sockets. `pytest --rewrite-transcripts` writes what happens now; review the diff.

A line `ours …` says what Apache Kafka does otherwise by our choice; `covers API FIELD… CODE…` claims, as the mark of that name
does (tests/server/covers.py), what the transcript tests.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from covers import Claim, claims_of

from barnabas.errors import name_of
from barnabas.wire.internal import consumer_protocol_subscription
from barnabas.wire.internal.consumer_protocol_subscription import ConsumerProtocolSubscription
from barnabas.wire.messages import (
    delete_groups,
    describe_groups,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
)
from barnabas.wire.primitives import Message, field_names

GROUP = "g"
MEMBER_ID_REQUIRED = 79
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SETTINGS = ("#", "option ", "covers ", "ours ")
MADE_ID = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
Tell = Callable[[str, Any], None]


class Answer(NamedTuple):
    """A response with all its fields; ids are replaced by the names they are shown with."""

    client: str
    api: str
    version: int
    fields: Any


class Stage:
    """One transcript's clients: their member ids, generations, and what they were told."""

    def __init__(self) -> None:
        self.group = self.group_id(GROUP)
        self.member_ids: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.generations: dict[str, int] = {}
        self.lines: list[str] = []
        self.answers: list[Answer] = []

    # -- what a subclass says

    def ask(
        self, name: str, api: ModuleType, request: Any, version: int, tell: Tell, client: str | None = None
    ) -> None:
        """Send the request as the client `name`; deliver() the response when it comes."""
        raise NotImplementedError

    def settle(self) -> None:
        """All that the command leads to happens."""
        raise NotImplementedError

    def group_id(self, name: str) -> str:
        """The true id of the group that a transcript calls `name`."""
        return name

    def topic_id(self, name: str) -> bytes:
        return name.encode().ljust(16, b"\0")

    def topic_of(self, topic_id: bytes) -> str:
        return topic_id.rstrip(b"\0").decode()

    # -- commands

    def run(self, line: str) -> list[str]:
        """One command; returns what happened."""
        self.lines, self.answers = [], []
        verb, *words = line.split()
        names = [word for word in words if "=" not in word]
        given = dict(word.split("=", 1) for word in words if "=" in word)
        self.group = self.group_id(given.pop("group", GROUP))
        getattr(self, f"do_{verb.replace('-', '_')}")(*names, **given)
        self.settle()
        return self.lines or ["-"]

    def deliver(self, name: str, api: ModuleType, version: int, tell: Tell, content: bytes) -> None:
        response = api.decode_response(content, 0, version)
        tell(name, response)
        self.answers.append(Answer(name, api.__name__.rpartition(".")[2], version, self.plain(response)))

    def plain(self, value: Any) -> Any:
        """The value as dicts and lists, with names for ids."""
        if isinstance(value, Message):
            return {
                name: self.topic_of(value.topic_id)
                if name == "topic_id"
                else self.plain(getattr(value, name))
                for name in field_names(type(value))
            }
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, str):
            return self.shown.get(value) or MADE_ID.sub("-?", value.replace(self.group_id(GROUP), GROUP))
        return value

    def show(self, name: str, member_id: str) -> str:
        if not member_id:
            return "nobody"
        if member_id not in self.shown:
            number = 1 + sum(1 for shown in self.shown.values() if shown.rstrip("0123456789") == name)
            self.shown[member_id] = name if number == 1 else f"{name}{number}"
        return self.shown[member_id]

    def who(self, word: str) -> tuple[str, str, str | None]:
        """alice, alice@one, @one: the client's name, its member id, its instance id."""
        name, at, instance = word.partition("@")
        member_id = self.member_ids.get(name, "unknown") if name else ""
        return name, member_id, instance if at else None

    def generation_of(self, name: str, given: str | None) -> int:
        return self.generations.get(name, -1) if given is None else int(given)

    # -- members

    def do_join(
        self,
        who: str,
        *,
        v: str = "9",
        topics: str = "t",
        protocols: str = "range",
        type: str = "consumer",
        session: str = "10s",
        rebalance: str = "60s",
        member: str | None = None,
        client: str | None = None,
    ) -> None:
        name, _, instance = self.who(who)
        metadata = (0).to_bytes(2, "big") + consumer_protocol_subscription.encode(
            ConsumerProtocolSubscription(topics=topics.split(",")), 0
        )
        ask = join_group.JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=duration_ms(session),
            rebalance_timeout_ms=duration_ms(rebalance),
            member_id=self.member_ids.get(name, "") if member is None else member,
            group_instance_id=instance,
            protocol_type=type,
            protocols=[
                join_group.JoinGroupRequestProtocol(each, metadata) for each in protocols.split(",") if each
            ],
        )
        self.ask(name, join_group, ask, int(v), self.tell_join, client)

    def tell_join(self, name: str, response: Any) -> None:
        if response.member_id and response.error_code in (0, MEMBER_ID_REQUIRED):
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
        who: str,
        *,
        v: str = "4",
        generation: str | None = None,
        type: str | None = None,
        protocol: str | None = None,
        **assigned: str,
    ) -> None:
        name, member_id, instance = self.who(who)
        ask = sync_group.SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation_of(name, generation),
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=type,
            protocol_name=protocol,
            assignments=[
                sync_group.SyncGroupRequestAssignment(self.member_ids.get(other, other), content.encode())
                for other, content in assigned.items()
            ],
        )
        self.ask(name, sync_group, ask, int(v), self.tell_sync)

    def tell_sync(self, name: str, response: Any) -> None:
        text = (
            name_of(response.error_code)
            if response.error_code
            else f"assigned {response.assignment.decode() or '-'}"
        )
        self.lines.append(f"{name} sync: {text}")

    def do_heartbeat(
        self, who: str, *, v: str = "4", generation: str | None = None, member: str | None = None
    ) -> None:
        name, member_id, instance = self.who(who)
        member_id = member_id if member is None else member
        ask = heartbeat.HeartbeatRequest(
            self.group, self.generation_of(name, generation), member_id, instance
        )
        self.ask(name, heartbeat, ask, int(v), self.tell_heartbeat)

    def tell_heartbeat(self, name: str, response: Any) -> None:
        self.lines.append(f"{name} heartbeat: {name_of(response.error_code)}")

    def do_leave(self, *who: str, v: str = "5") -> None:
        members = [self.who(each) for each in who]
        ask = leave_group.LeaveGroupRequest(
            self.group,
            member_id=members[0][1] if int(v) < 3 else "",
            members=[
                leave_group.MemberIdentity(member_id, instance)
                for _, member_id, instance in members
                if int(v) >= 3
            ],
        )
        self.ask("admin", leave_group, ask, int(v), self.tell_left)

    def tell_left(self, name: str, response: Any) -> None:
        self.lines.append(f"left: {name_of(response.error_code)}")
        self.lines += [
            f"  {self.shown.get(each.member_id, each.group_instance_id or '?')}: {name_of(each.error_code)}"
            for each in response.members
        ]

    # -- offsets

    def do_commit(
        self,
        who: str = "",
        *,
        v: str = "9",
        generation: str | None = None,
        metadata: str = "",
        retention: str | None = None,
        **offsets: str,
    ) -> None:
        name, member_id, instance = self.who(who)
        topics: dict[str, list[offset_commit.OffsetCommitRequestPartition]] = {}
        for where, offset in offsets.items():
            topic, index = where.rsplit("_", 1)
            topics.setdefault(topic, []).append(
                offset_commit.OffsetCommitRequestPartition(int(index), int(offset), -1, metadata)
            )
        ask = offset_commit.OffsetCommitRequest(
            group_id=self.group,
            generation_id_or_member_epoch=self.generation_of(name, generation),
            member_id=self.member_ids.get(name, "") if name else member_id,
            group_instance_id=instance,
            retention_time_ms=-1 if retention is None else duration_ms(retention),
            topics=[
                offset_commit.OffsetCommitRequestTopic(topic, self.topic_id(topic), parts)
                for topic, parts in topics.items()
            ],
        )
        self.ask(name or "admin", offset_commit, ask, int(v), self.tell_commit)

    def tell_commit(self, name: str, response: Any) -> None:
        told = [
            f"{topic.name or self.topic_of(topic.topic_id)}[{part.partition_index}] {name_of(part.error_code)}"
            for topic in response.topics
            for part in topic.partitions
        ]
        self.lines.append(f"{name} committed: {', '.join(told)}")

    def do_fetch(self, *places: str, v: str = "8", member: str | None = None, epoch: str = "-1") -> None:
        """Of the partitions named as t_0, or of all."""
        topics: dict[str, list[int]] = {}
        for place in places:
            topic, index = place.rsplit("_", 1)
            topics.setdefault(topic, []).append(int(index))
        if int(v) < 8:
            named = [offset_fetch.OffsetFetchRequestTopic(*each) for each in topics.items()]
            ask = offset_fetch.OffsetFetchRequest(self.group, named if places or int(v) < 2 else None)
        else:
            of_group = [
                offset_fetch.OffsetFetchRequestTopics(
                    name="" if int(v) >= 10 else topic,
                    topic_id=self.topic_id(topic),
                    partition_indexes=indexes,
                )
                for topic, indexes in topics.items()
            ]
            ask = offset_fetch.OffsetFetchRequest(
                groups=[
                    offset_fetch.OffsetFetchRequestGroup(
                        group_id=self.group,
                        member_id=None if member is None else self.member_ids.get(member, member),
                        member_epoch=int(epoch),
                        topics=of_group if places else None,
                    )
                ]
            )
        self.ask("admin", offset_fetch, ask, int(v), self.tell_offsets)

    def tell_offsets(self, name: str, response: Any) -> None:
        group = response.groups[0] if response.groups else response
        told = [
            f"{topic.name or self.topic_of(topic.topic_id)}[{part.partition_index}]="
            f"{name_of(part.error_code) if part.error_code else part.committed_offset}"
            for topic in group.topics
            for part in topic.partitions
        ]
        self.lines.append(
            f"offsets: {name_of(group.error_code) if group.error_code else ', '.join(told) or 'none'}"
        )

    def do_forget_offsets(self, topic: str, *indexes: str) -> None:
        parts = [offset_delete.OffsetDeleteRequestPartition(int(index)) for index in indexes]
        ask = offset_delete.OffsetDeleteRequest(
            self.group, [offset_delete.OffsetDeleteRequestTopic(topic, parts)]
        )
        self.ask("admin", offset_delete, ask, 0, self.tell_forgotten)

    def tell_forgotten(self, name: str, response: Any) -> None:
        told = [name_of(part.error_code) for topic in response.topics for part in topic.partitions]
        self.lines.append(f"forgot: {name_of(response.error_code)} {', '.join(told)}".rstrip())

    # -- administration

    def do_describe(self, *groups: str, v: str = "6", operations: str = "no") -> None:
        asked = [self.group_id(each) for each in groups] or [self.group]
        ask = describe_groups.DescribeGroupsRequest(asked, operations == "yes")
        self.ask("admin", describe_groups, ask, int(v), self.tell_described)

    def tell_described(self, name: str, response: Any) -> None:
        for group in response.groups:
            members = ",".join(
                f"{self.shown.get(each.member_id, '?')}:{each.member_assignment.decode() or '-'}"
                for each in group.members
            )
            error = f" {name_of(group.error_code)}" if group.error_code else ""
            self.lines.append(
                f"{group.group_state or 'no state'}{error} type={group.protocol_type or '-'} "
                f"protocol={group.protocol_data or '-'} members=[{members}]"
            )

    def do_list(self, *, v: str = "5", states: str = "", types: str = "") -> None:
        ask = list_groups.ListGroupsRequest(
            [each for each in states.split(",") if each], [each for each in types.split(",") if each]
        )
        self.ask("admin", list_groups, ask, int(v), self.tell_listed)

    def tell_listed(self, name: str, response: Any) -> None:
        """Of the transcript's own group: a broker may have others."""
        response.groups = [each for each in response.groups if each.group_id == self.group_id(GROUP)]
        told = [
            f"{self.plain(each.group_id)}:{each.group_state or '-'}:{each.group_type or '-'}"
            for each in response.groups
        ]
        error = f"{name_of(response.error_code)} " if response.error_code else ""
        self.lines.append(f"groups: {error}{', '.join(told) or 'none'}")

    def do_delete(self, *groups: str, v: str = "2") -> None:
        ask = delete_groups.DeleteGroupsRequest([self.group_id(each) for each in groups] or [self.group])
        self.ask("admin", delete_groups, ask, int(v), self.tell_deleted)

    def tell_deleted(self, name: str, response: Any) -> None:
        told = [name_of(each.error_code) for each in response.results]
        self.lines.append(f"deleted: {', '.join(told) or 'none'}")


def duration_ms(text: str) -> int:
    unit = text.lstrip("-0123456789")
    return int(text.removesuffix(unit)) * UNITS[unit]


def options_of(path: Path) -> dict[str, str]:
    """The broker options that a transcript asks for."""
    lines = path.read_text().splitlines()
    return dict(line.removeprefix("option ").split("=", 1) for line in lines if line.startswith("option "))


def replay(path: Path, stage: Stage) -> Iterator[str]:
    """The transcript as it happens now: its comments and commands, with the lines that follow from them."""
    for line in path.read_text().splitlines():
        if line.startswith(">"):
            yield line
            yield from stage.run(line[1:].strip())
        elif not line or line.startswith(SETTINGS):
            yield line


def is_ours(path: Path) -> bool:
    """Whether Apache Kafka is known to answer otherwise; the line says how."""
    return any(line.startswith("ours ") for line in path.read_text().splitlines())


def claims_in(path: Path) -> list[Claim]:
    """What the transcript says it covers."""
    lines = [line.split() for line in path.read_text().splitlines() if line.startswith("covers ")]
    return [claim for _, api, *names in lines for claim in claims_of(api, names)]


def commands_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of a transcript, with what it is said to lead to."""
    command, expected = "", []
    for line in [*path.read_text().splitlines(), ">"]:
        if line.startswith(">"):
            if command:
                yield command, expected
            command, expected = line[1:].strip(), []
        elif line and not line.startswith(SETTINGS):
            expected.append(line)
