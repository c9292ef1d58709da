"""The group coordinator's face: requests in, replies out, each from the shard of its group.

A group belongs to the partition of __consumer_offsets that Java's hash of its id names, so every broker and tool agrees.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol, TypeVar

from mypy_extensions import i64

from barnabas import errors
from barnabas.cluster.image import Image
from barnabas.config.effective import BrokerOptions
from barnabas.coordinators.group import offset_fetch, offsets
from barnabas.coordinators.group.classic import Joining, refuse_join
from barnabas.coordinators.group.group import CONSUMER, State
from barnabas.coordinators.group.shard import GroupShard
from barnabas.coordinators.runtime import ShardPartition, TurnEnd
from barnabas.partitions.waits import Parked, Waits
from barnabas.ports import Clock, Entropy, Loop
from barnabas.telemetry import Log
from barnabas.wire.messages.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)
from barnabas.wire.messages.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)
from barnabas.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from barnabas.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from barnabas.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from barnabas.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from barnabas.wire.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from barnabas.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
)
from barnabas.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

NOT_FOUND_SINCE: Final = 6
PROTOCOL_NAMED_SINCE: Final = 5
CLASSIC: Final = "classic"
Reply = TypeVar("Reply")
Failures = dict[GroupShard | None, int]
"""The error of each shard whose commit failed: of its groups alone. None, of groups that no shard serves, is never in it."""


class Asking(Protocol):
    """Who asks, as the server knows them."""

    client_id: str
    host: str


def java_hash(text: str) -> int:
    """Java's String.hashCode: over UTF-16 units, as a signed 32-bit number."""
    value: i64 = 0
    if text.isascii():
        for byte in text.encode():
            value = (31 * value + byte) & 0xFFFFFFFF
    else:
        encoded = text.encode("utf-16-be", "surrogatepass")
        for at in range(0, len(encoded), 2):
            unit = (encoded[at] << 8) + encoded[at + 1]
            value = (31 * value + unit) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


class GroupCoordinator:
    """All shards that this node has."""

    def __init__(
        self,
        clock: Clock,
        waits: Waits,
        loop: Loop,
        turn: TurnEnd,
        entropy: Entropy,
        image: Callable[[], Image],
        options: BrokerOptions,
        count: Callable[[], int],
        lines: Log,
    ) -> None:
        self._clock = clock
        self._waits = waits
        self._loop = loop
        self._turn = turn
        self._entropy = entropy
        self._image = image
        self._options = options
        self._count = count
        self._lines = lines
        self._shards: dict[int, GroupShard] = {}
        self._stopped = False

    def start(self) -> None:
        self._waits.call_after(self._options.get_int("offsets.retention.check.interval.ms"), self._expire)

    def stop(self) -> None:
        self._stopped = True
        for shard in self._shards.values():
            shard.drop()
        self._shards.clear()

    def partition_for(self, group_id: str) -> int:
        """Kafka's Utils.abs: the sign bit is dropped."""
        return (java_hash(group_id) & 0x7FFFFFFF) % max(self._count(), 1)

    def on_partition_opened(self, index: int, partition: ShardPartition) -> None:
        shard = self._shards[index] = GroupShard(
            index,
            partition,
            self._clock,
            self._loop,
            self._turn,
            self._lines,
            self._waits,
            self._options,
            self._new_id,
        )
        shard.load()

    def on_partition_closed(self, index: int) -> None:
        shard = self._shards.pop(index, None)
        if shard is not None:
            shard.drop()

    def on_topic_deleted(self, topic: str) -> None:
        for shard in self._shards.values():
            if shard.loaded:
                shard.drop_topic(topic)

    def _new_id(self) -> str:
        text = self._entropy.uuid().hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _expire(self) -> None:
        if self._stopped:
            return
        for shard in list(self._shards.values()):
            if shard.loaded:
                shard.expire_offsets(self._clock.wall_ms())
        self._waits.call_after(self._options.get_int("offsets.retention.check.interval.ms"), self._expire)

    def _find(self, group_id: str) -> tuple[GroupShard | None, int]:
        """The shard that serves the group, or the error that says why there is none. What it gathered is seen."""
        shard, code = self._place(group_id)
        if shard is not None and shard.has_gathered:
            shard.append_gathered()
            return self._place(group_id)  # its partition may have failed
        return shard, code

    def _place(self, group_id: str) -> tuple[GroupShard | None, int]:
        """The same, for requests that ask for no offsets and append no group."""
        shard = self._shards.get(self.partition_for(group_id))
        if shard is None or shard.dropped:
            return None, errors.NOT_COORDINATOR
        return (shard, 0) if shard.loaded else (None, errors.COORDINATOR_LOAD_IN_PROGRESS)

    # -- membership

    def join_group(self, ask: JoinGroupRequest, version: int, caller: Asking) -> JoinGroupResponse | Parked:
        if not ask.group_id:
            return refuse_join(errors.INVALID_GROUP_ID, ask.member_id, version)
        low = self._options.get_int("group.min.session.timeout.ms")
        high = self._options.get_int("group.max.session.timeout.ms")
        shard, code = self._find(ask.group_id)
        if shard is None:
            return refuse_join(code, ask.member_id, version)
        if not low <= ask.session_timeout_ms <= high:
            return refuse_join(errors.INVALID_SESSION_TIMEOUT, ask.member_id, version)
        group = shard.groups.get(ask.group_id)
        if group is None:
            if ask.member_id:
                return refuse_join(errors.UNKNOWN_MEMBER_ID, ask.member_id, version)
            group, code = shard.make(ask.group_id)
            if code:
                return refuse_join(code, ask.member_id, version)
        return shard.classic.join(group, Joining(ask, version, caller.client_id, caller.host))

    def sync_group(self, ask: SyncGroupRequest, version: int, caller: Asking) -> SyncGroupResponse | Parked:
        if version >= PROTOCOL_NAMED_SINCE and (ask.protocol_type is None or ask.protocol_name is None):
            return SyncGroupResponse(error_code=errors.INCONSISTENT_GROUP_PROTOCOL)
        if not ask.group_id:
            return SyncGroupResponse(error_code=errors.INVALID_GROUP_ID)
        shard, code = self._find(ask.group_id)
        if shard is None:
            # A sync while loading starts the rebalance over: the generation it speaks of may be older than what loads.
            code = errors.REBALANCE_IN_PROGRESS if code == errors.COORDINATOR_LOAD_IN_PROGRESS else code
            return SyncGroupResponse(error_code=code)
        group = shard.groups.get(ask.group_id)
        if group is None:
            return SyncGroupResponse(error_code=errors.UNKNOWN_MEMBER_ID)
        return shard.classic.sync(group, ask)

    def heartbeat(self, ask: HeartbeatRequest, version: int, caller: Asking) -> HeartbeatResponse:
        if not ask.group_id:
            return HeartbeatResponse(error_code=errors.INVALID_GROUP_ID)
        shard, code = self._place(ask.group_id)
        if shard is None:
            # While loading a beat is taken as heard, as in Kafka: the member is surely alive.
            return HeartbeatResponse(error_code=0 if code == errors.COORDINATOR_LOAD_IN_PROGRESS else code)
        group = shard.groups.get(ask.group_id)
        return HeartbeatResponse(
            error_code=errors.UNKNOWN_MEMBER_ID if group is None else shard.classic.heartbeat(group, ask)
        )

    def leave_group(
        self, ask: LeaveGroupRequest, version: int, caller: Asking
    ) -> LeaveGroupResponse | Parked:
        if not ask.group_id:
            return LeaveGroupResponse(error_code=errors.INVALID_GROUP_ID)
        shard, code = self._find(ask.group_id)
        if shard is None:
            return LeaveGroupResponse(error_code=code)
        response = shard.classic.leave(shard.groups.get(ask.group_id), ask, version)
        return durable(shard, response, lambda code: LeaveGroupResponse(error_code=code))

    # -- offsets

    def offset_commit(
        self, ask: OffsetCommitRequest, version: int, caller: Asking
    ) -> OffsetCommitResponse | Parked:
        shard, code = self._place(ask.group_id)
        if shard is not None and ask.group_id not in shard.groups:
            shard, code = self._find(ask.group_id)  # what is gathered may make the group
        if shard is None:
            return offsets.refuse_commit(ask, version, self._image(), code)
        group = shard.groups.get(ask.group_id)
        code = offsets.commit_fault(group, ask, version)
        if code:
            return offsets.refuse_commit(ask, version, self._image(), code)
        facts, response = offsets.commit_facts(
            ask,
            version,
            self._image(),
            self._clock.wall_ms(),
            self._options.get_int("offset.metadata.max.bytes"),
        )
        if group is not None and ask.member_id in group.members:
            shard.classic.keep_alive(group, group.members[ask.member_id])
        if not facts:
            return response
        parked = Parked()
        shard.gather(
            facts,
            lambda code: parked.complete(offsets.fail_accepted(response, code) if code else response),
        )
        return parked

    def offset_fetch(
        self, ask: OffsetFetchRequest, version: int, caller: Asking
    ) -> OffsetFetchResponse | Parked:
        """K1. An offset that was shown must not go back: what a fetch saw, it waits for."""
        groups = offset_fetch.asked(ask, version)
        shards = [self._find(each.group_id)[0] for each in groups]
        answers = [self._fetch(each, version) for each in groups]

        def settled(failed: Failures) -> OffsetFetchResponse:
            for at, shard in enumerate(shards):
                if shard in failed:
                    answers[at] = offset_fetch.refused(groups[at], failed[shard], version)
            return offset_fetch.answered(answers, version)

        return all_durable(shards, settled)

    def _fetch(self, ask: OffsetFetchRequestGroup, version: int) -> OffsetFetchResponseGroup:
        shard, code = self._find(ask.group_id)
        if shard is None:
            return offset_fetch.refused(ask, code, version)
        return offset_fetch.shown(shard.groups.get(ask.group_id), ask, version, self._image())

    def offset_delete(
        self, ask: OffsetDeleteRequest, version: int, caller: Asking
    ) -> OffsetDeleteResponse | Parked:
        if not ask.group_id:
            return OffsetDeleteResponse(error_code=errors.INVALID_GROUP_ID)
        shard, code = self._find(ask.group_id)
        if shard is None:
            return OffsetDeleteResponse(error_code=code)
        group = shard.groups.get(ask.group_id)
        if group is None:
            return OffsetDeleteResponse(error_code=errors.GROUP_ID_NOT_FOUND)
        if group.state is not State.EMPTY and group.protocol_type != CONSUMER:
            return OffsetDeleteResponse(error_code=errors.NON_EMPTY_GROUP)
        facts, response = offsets.delete_facts(group, ask, self._image())
        code = shard.append(facts)
        if code:
            return OffsetDeleteResponse(error_code=code)
        return durable(shard, response, lambda code: OffsetDeleteResponse(error_code=code))

    # -- administration

    def describe_groups(
        self, ask: DescribeGroupsRequest, version: int, caller: Asking
    ) -> DescribeGroupsResponse:
        return DescribeGroupsResponse(groups=[self._describe(group_id, version) for group_id in ask.groups])

    def _describe(self, group_id: str, version: int) -> DescribedGroup:
        shard, code = self._find(group_id)
        if shard is None:
            return DescribedGroup(group_id=group_id, error_code=code)
        group = shard.groups.get(group_id)
        if group is None:
            described = DescribedGroup(group_id=group_id, group_state=State.DEAD.value)
            if version >= NOT_FOUND_SINCE:
                described.error_code = errors.GROUP_ID_NOT_FOUND
                described.error_message = f"Group {group_id} not found."
            return described
        is_stable = group.state is State.STABLE
        return DescribedGroup(
            group_id=group_id,
            group_state=group.state.value,
            protocol_type=group.protocol_type or "",
            protocol_data=(group.protocol or "") if is_stable else "",
            members=[
                DescribedGroupMember(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    member_metadata=member.metadata(group.protocol) if is_stable else b"",
                    member_assignment=member.assignment,
                )
                for member in group.members.values()
            ],
        )

    def list_groups(self, ask: ListGroupsRequest, version: int, caller: Asking) -> ListGroupsResponse:
        if not all(shard.loaded or shard.dropped for shard in self._shards.values()):
            return ListGroupsResponse(error_code=errors.COORDINATOR_LOAD_IN_PROGRESS)
        states = {state.lower() for state in ask.states_filter}
        types = {kind.lower() for kind in ask.types_filter}
        if types and CLASSIC not in types:
            return ListGroupsResponse()
        return ListGroupsResponse(
            groups=[
                ListedGroup(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type or "",
                    group_state=group.state.value,
                    group_type=CLASSIC,
                )
                for shard in self._shards.values()
                for group in shard.groups.values()
                if not states or group.state.value.lower() in states
            ]
        )

    def delete_groups(
        self, ask: DeleteGroupsRequest, version: int, caller: Asking
    ) -> DeleteGroupsResponse | Parked:
        response = DeleteGroupsResponse()
        deleted: list[tuple[GroupShard | None, DeletableGroupResult]] = []
        for group_id in dict.fromkeys(ask.groups_names):
            code, shard = self._delete(group_id)
            result = DeletableGroupResult(group_id=group_id, error_code=code)
            response.results.append(result)
            if code == 0:
                deleted.append((shard, result))

        def settled(failed: Failures) -> DeleteGroupsResponse:
            for shard, result in deleted:
                result.error_code = failed.get(shard, 0)
            return response

        return all_durable([shard for shard, _ in deleted], settled)

    def _delete(self, group_id: str) -> tuple[int, GroupShard | None]:
        shard, code = self._find(group_id)
        if shard is None:
            return code, None
        group = shard.groups.get(group_id)
        if group is None:
            return errors.GROUP_ID_NOT_FOUND, shard
        if group.state is not State.EMPTY:
            return errors.NON_EMPTY_GROUP, shard
        return shard.delete(group), shard


def durable(shard: GroupShard, response: Reply, failed: Callable[[int], Reply]) -> Reply | Parked:
    """K1: the response once all that the shard has applied is committed."""
    return all_durable([shard], lambda codes: failed(codes[shard]) if codes else response)


def all_durable(shards: Iterable[GroupShard | None], settled: Callable[[Failures], Reply]) -> Reply | Parked:
    """K1: settled(the shards whose commit failed) once every shard is where it was seen; at once when all are."""
    waiting = [shard for shard in dict.fromkeys(shards) if shard is not None and shard.has_uncommitted]
    failed: Failures = {}
    if not waiting:
        return settled(failed)
    parked = Parked()
    left = len(waiting)

    def one(shard: GroupShard, code: int) -> None:
        nonlocal left
        left -= 1
        if code:
            failed[shard] = code
        if left == 0:
            parked.complete(settled(failed))

    for shard in waiting:
        shard.when_durable(partial(one, shard))
    return parked
