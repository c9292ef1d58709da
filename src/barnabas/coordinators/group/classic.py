"""The classic group protocol: join, sync, heartbeat, leave (KIP-62, 134, 345, 394, 559, 735, 800, 814).

J1  A generation begins when all members have joined, or when the rebalance timeout has passed without the late ones.
J2  The leader's assignment is durable before any member of the generation gets its part.
J3  Liveness is session state: after a fail-over members of a stable group have a whole session timeout to be heard again.
J4  Answers to a whole group leave in slices, a slice a turn. They were made at one moment and no more than their delivery takes
    time: to the rules all are answered at once.
"""

from collections.abc import Callable
from typing import Final

from barnabas import errors
from barnabas.config.effective import BrokerOptions
from barnabas.coordinators.group.facts import group_fact
from barnabas.coordinators.group.group import Group, Member, State
from barnabas.coordinators.runtime import Shard
from barnabas.partitions.waits import Parked, Waits
from barnabas.ports import Clock, Loop
from barnabas.wire.messages.heartbeat import HeartbeatRequest
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember
from barnabas.wire.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from barnabas.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from barnabas.wire.primitives import STRING_BYTES_MAX

MEMBER_ID_REQUIRED_SINCE: Final = 4
NO_PROTOCOL_SINCE: Final = 7
SKIP_ASSIGNMENT_SINCE: Final = 9
NEW_MEMBER_JOIN_MS: Final = 300_000
"""A new member cannot beat before it knows its id: a join that waits longer is that of a client which went away."""
ANSWERS_A_TURN: Final = 32
"""Each is encoded and sent by a system call of its own."""
Answer = tuple[Parked, JoinGroupResponse | SyncGroupResponse]


class Joining:
    """A JoinGroup request, and who sent it."""

    __slots__ = ("ask", "client_host", "client_id", "protocols", "version")

    def __init__(self, ask: JoinGroupRequest, version: int, client_id: str, client_host: str) -> None:
        self.ask = ask
        self.version = version
        self.client_id = client_id
        self.client_host = client_host
        self.protocols = [(each.name, each.metadata) for each in ask.protocols]

    @property
    def rebalance_timeout_ms(self) -> int:
        """Before v1 it was the session timeout."""
        given_ms = self.ask.rebalance_timeout_ms
        return given_ms if given_ms >= 0 else self.ask.session_timeout_ms


class Classic:
    """The rules, for groups of one shard."""

    def __init__(
        self,
        shard: Shard,
        clock: Clock,
        loop: Loop,
        waits: Waits,
        options: BrokerOptions,
        new_id: Callable[[], str],
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._loop = loop
        self._waits = waits
        self._options = options
        self._new_id = new_id

    # -- join

    def join(self, group: Group, joining: Joining) -> JoinGroupResponse | Parked:
        ask = joining.ask
        if not self._has_room(group, ask.member_id):
            group.forget_pending(ask.member_id)
            if ask.member_id in group.members:
                group.remove(group.members[ask.member_id])
            return refuse_join(errors.GROUP_MAX_SIZE_REACHED, "", joining.version)
        if not group.supports(ask.protocol_type, joining.protocols):
            return refuse_join(errors.INCONSISTENT_GROUP_PROTOCOL, ask.member_id, joining.version)
        if not ask.member_id:
            return self._join_unknown(group, joining)
        if group.forget_pending(ask.member_id):
            if ask.group_instance_id is not None:
                return refuse_join(errors.UNKNOWN_MEMBER_ID, ask.member_id, joining.version)
            return self._add(group, ask.member_id, joining)
        code = member_fault(group, ask.member_id, ask.group_instance_id)
        if code:
            return refuse_join(code, ask.member_id, joining.version)
        return self._rejoin(group, group.members[ask.member_id], joining)

    def _has_room(self, group: Group, member_id: str) -> bool:
        """During a rebalance those count who have joined, so that the last to rejoin are the ones to go."""
        members_max = self._options.get_int("group.max.size")
        member = group.members.get(member_id)
        if group.state is State.PREPARING:
            return (member is not None and member.join is not None) or group.joined < members_max
        return group.state is State.EMPTY or member is not None or len(group.members) < members_max

    def _join_unknown(self, group: Group, joining: Joining) -> JoinGroupResponse | Parked:
        instance = joining.ask.group_instance_id
        member_id = f"{instance if instance is not None else joining.client_id}-{self._new_id()}"
        if len(member_id.encode()) > STRING_BYTES_MAX:
            # No answer could name such a member, neither to it nor, in DescribeGroups, to others.
            return refuse_join(errors.UNKNOWN_SERVER_ERROR, joining.ask.member_id, joining.version)
        if instance is not None and instance in group.static:
            return self._replace_static(group, group.members[group.static[instance]], member_id, joining)
        if instance is None and joining.version >= MEMBER_ID_REQUIRED_SINCE:
            group.pending[member_id] = self._waits.call_after(
                joining.ask.session_timeout_ms, lambda: self._pending_expired(group, member_id)
            )
            return refuse_join(errors.MEMBER_ID_REQUIRED, member_id, joining.version)
        return self._add(group, member_id, joining)

    def _pending_expired(self, group: Group, member_id: str) -> None:
        if group.pending.pop(member_id, None) is not None and group.state is State.PREPARING:
            self._complete_join_if_all_are_here(group)

    def _add(self, group: Group, member_id: str, joining: Joining) -> Parked:
        ask = joining.ask
        member = Member(
            member_id,
            ask.group_instance_id,
            joining.client_id,
            joining.client_host,
            joining.rebalance_timeout_ms,
            ask.session_timeout_ms,
            joining.protocols,
        )
        if not group.members:
            group.protocol_type = ask.protocol_type
        group.add(member)
        group.new_member_joined = True
        member.is_new = True
        return self._await_join(group, member, joining.version)

    def _replace_static(
        self, group: Group, member: Member, member_id: str, joining: Joining
    ) -> JoinGroupResponse | Parked:
        """A static member came back without its id: it gets a new one, and the old one is fenced (KIP-345)."""
        old_id = member.member_id
        was_leader = group.leader == old_id
        self._end_waits(group, member, errors.FENCED_INSTANCE_ID)
        group.rename(member, member_id)
        self._take_terms(group, member, joining)
        if group.state is not State.STABLE or group.select_protocol() != group.protocol:
            return self._await_join(group, member, joining.version)
        self.keep_alive(group, member)
        code = self._shard.append([group_fact(group.group_id, group.to_value())])
        if code:
            return refuse_join(code, member_id, joining.version)
        skips = was_leader and joining.version >= SKIP_ASSIGNMENT_SINCE
        parked = Parked()
        response = self._join_response(group, member, skip=skips)
        if was_leader and not skips:
            response.leader, response.members = old_id, []  # an older leader must not assign anew
        self._shard.when_durable(
            lambda code: parked.complete(refuse_join(code, member_id, joining.version) if code else response)
        )
        return parked

    def _rejoin(self, group: Group, member: Member, joining: Joining) -> JoinGroupResponse | Parked:
        knows_all = group.state is State.COMPLETING or (
            group.state is State.STABLE and group.leader != member.member_id
        )
        if knows_all and member.protocols == joining.protocols:
            self.keep_alive(group, member)
            return self._join_response(group, member)
        self._take_terms(group, member, joining)
        return self._await_join(group, member, joining.version)

    def _take_terms(self, group: Group, member: Member, joining: Joining) -> None:
        """A member that joins again may change this; its client id and host stay those of its first join."""
        group.change_protocols(member, joining.protocols)
        member.session_timeout_ms = joining.ask.session_timeout_ms
        member.rebalance_timeout_ms = joining.rebalance_timeout_ms

    def _await_join(self, group: Group, member: Member, version: int) -> Parked:
        older = group.take_join(member)
        if older is not None:
            older.complete(refuse_join(errors.UNKNOWN_MEMBER_ID, member.member_id, member.join_version))
        parked = Parked()
        group.await_join(member, parked, version)
        self.keep_alive(group, member)
        was_empty = group.state is State.EMPTY
        if group.state is not State.PREPARING:
            self._prepare_rebalance(group)
        if was_empty and not group.is_delayed:
            self._complete_join(group)  # without those who were only given an id, as in Kafka
        else:
            self._complete_join_if_all_are_here(group)
        return parked

    # -- rebalance

    def _prepare_rebalance(self, group: Group) -> None:
        delay_ms = (
            self._options.get_int("group.initial.rebalance.delay.ms") if group.state is State.EMPTY else 0
        )
        if group.state is State.COMPLETING:
            self._end_syncs(group, errors.REBALANCE_IN_PROGRESS)
        group.become(State.PREPARING, self._clock.wall_ms())
        if group.join_timer is not None:
            group.join_timer.cancel()
        timeout_ms = group.rebalance_timeout_ms
        group.is_delayed = delay_ms > 0
        if group.is_delayed:
            left_ms = max(timeout_ms - delay_ms, 0)
            group.join_timer = self._waits.call_after(
                delay_ms, lambda: self._initial_delay_over(group, delay_ms, left_ms)
            )
        else:
            group.join_timer = self._waits.call_after(timeout_ms, lambda: self._complete_join(group))
        group.new_member_joined = False

    def _initial_delay_over(self, group: Group, delay_ms: int, left_ms: int) -> None:
        """While members keep coming the first assignment waits on, up to the rebalance timeout."""
        if group.new_member_joined and left_ms > 0:
            group.new_member_joined = False
            next_ms = min(delay_ms, left_ms)
            group.join_timer = self._waits.call_after(
                next_ms, lambda: self._initial_delay_over(group, delay_ms, left_ms - next_ms)
            )
            return
        self._complete_join(group)

    def _complete_join_if_all_are_here(self, group: Group) -> None:
        """But for the initial delay, which waits for more than are here."""
        if group.state is State.PREPARING and group.has_all_joined and not group.is_delayed:
            self._complete_join(group)

    def _complete_join(self, group: Group) -> None:
        """J1."""
        if group.state is not State.PREPARING:
            return
        if group.join_timer is not None:
            group.join_timer.cancel()
            group.join_timer = None
        for member in [each for each in group.members.values() if each.join is None]:
            if member.instance_id is None:  # static members stay, late or not
                group.remove(member)
        if group.leader is not None and group.members and group.members[group.leader].join is None:
            joined = next((each.member_id for each in group.members.values() if each.join is not None), None)
            if joined is None:
                group.join_timer = self._waits.call_after(
                    group.rebalance_timeout_ms, lambda: self._complete_join(group)
                )
                return
            group.leader = joined
        group.generation += 1
        if not group.members:
            self._become_empty(group)
            return
        group.protocol = group.select_protocol()
        group.note_subscriptions()
        group.become(State.COMPLETING, self._clock.wall_ms())
        for member in group.members.values():
            member.has_synced = False
        answers: list[Answer] = []
        for member in group.members.values():
            parked = group.take_join(member)
            member.is_new = False
            self.keep_alive(group, member)
            if parked is not None:
                answers.append((parked, self._join_response(group, member)))
        self._expect_syncs(group)
        self._answer(answers)

    def _answer(self, answers: list[Answer]) -> None:
        """J4."""
        for parked, response in answers[:ANSWERS_A_TURN]:
            parked.complete(response)
        left = answers[ANSWERS_A_TURN:]
        if left:
            self._loop.soon(lambda: self._answer(left))

    def _expect_syncs(self, group: Group) -> None:
        if group.sync_timer is not None:
            group.sync_timer.cancel()
        generation = group.generation

        def late() -> None:
            if group.generation != generation or group.state not in (State.COMPLETING, State.STABLE):
                return
            late_ones = [each for each in group.members.values() if not each.has_synced]
            for member in late_ones:
                self._end_waits(group, member, errors.UNKNOWN_MEMBER_ID)
                group.remove(member)
            if late_ones:
                self._membership_changed(group)

        group.sync_timer = self._waits.call_after(group.rebalance_timeout_ms, late)

    def _become_empty(self, group: Group) -> None:
        group.protocol = None
        group.leader = None
        group.note_subscriptions()
        group.become(State.EMPTY, self._clock.wall_ms())
        self._shard.append([group_fact(group.group_id, group.to_value())])

    def _membership_changed(self, group: Group) -> None:
        if group.state in (State.STABLE, State.COMPLETING):
            self._prepare_rebalance(group)
        self._complete_join_if_all_are_here(group)

    def _join_response(self, group: Group, member: Member, skip: bool = False) -> JoinGroupResponse:
        members: list[JoinGroupResponseMember] = []
        if (
            group.leader == member.member_id
        ):  # made for each member they would take the square of the group's size
            members = [
                JoinGroupResponseMember(
                    member_id=each.member_id,
                    group_instance_id=each.instance_id,
                    metadata=each.metadata(group.protocol),
                )
                for each in group.members.values()
            ]
        return JoinGroupResponse(
            generation_id=group.generation,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol if group.protocol is not None else "",
            leader=group.leader or "",
            skip_assignment=skip,
            member_id=member.member_id,
            members=members,
        )

    # -- sync

    def sync(self, group: Group, ask: SyncGroupRequest) -> SyncGroupResponse | Parked:
        code = member_fault(group, ask.member_id, ask.group_instance_id)
        if code:
            return SyncGroupResponse(error_code=code)
        if ask.generation_id != group.generation:
            return SyncGroupResponse(error_code=errors.ILLEGAL_GENERATION)
        if (ask.protocol_type is not None and ask.protocol_type != group.protocol_type) or (
            ask.protocol_name is not None and ask.protocol_name != group.protocol
        ):
            return SyncGroupResponse(error_code=errors.INCONSISTENT_GROUP_PROTOCOL)
        member = group.members[ask.member_id]
        if group.state is State.PREPARING:
            return SyncGroupResponse(error_code=errors.REBALANCE_IN_PROGRESS)
        member.has_synced = True
        self.keep_alive(group, member)
        if group.state is State.STABLE:
            return self._sync_response(group, member)
        if member.sync is not None:
            member.sync.complete(SyncGroupResponse(error_code=errors.UNKNOWN_MEMBER_ID))
        parked = member.sync = Parked()
        if group.leader == member.member_id and group.assigned_generation != group.generation:
            self._assign(group, ask)
        return parked

    def _assign(self, group: Group, ask: SyncGroupRequest) -> None:
        """J2. The first assignment of a generation holds: another might be told before it is durable."""
        assignments = {each.member_id: each.assignment for each in ask.assignments}
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        generation = group.assigned_generation = group.generation
        code = self._shard.append([group_fact(group.group_id, group.to_value())])

        def durable(code: int) -> None:
            if group.generation != generation or group.state is not State.COMPLETING:
                return
            if code:
                self._end_syncs(group, code)
                self._prepare_rebalance(group)
                return
            group.become(State.STABLE, self._clock.wall_ms())
            answers: list[Answer] = []
            for member in group.members.values():
                parked, member.sync = member.sync, None
                if parked is not None:
                    self.keep_alive(group, member)
                    answers.append((parked, self._sync_response(group, member)))
            self._answer(answers)

        if code:
            durable(code)
        else:
            self._shard.when_durable(durable)

    def _sync_response(self, group: Group, member: Member) -> SyncGroupResponse:
        return SyncGroupResponse(
            protocol_type=group.protocol_type, protocol_name=group.protocol, assignment=member.assignment
        )

    def _end_syncs(self, group: Group, code: int) -> None:
        answers: list[Answer] = []
        for member in group.members.values():
            member.assignment = b""
            member.has_synced = False
            parked, member.sync = member.sync, None
            if parked is not None:
                answers.append((parked, SyncGroupResponse(error_code=code)))
        self._answer(answers)

    def _end_waits(self, group: Group, member: Member, code: int) -> None:
        join = group.take_join(member)
        if join is not None:
            # One whose id is unknown from now on is given none to try again with.
            member_id = "" if code == errors.UNKNOWN_MEMBER_ID else member.member_id
            join.complete(refuse_join(code, member_id, member.join_version))
        sync, member.sync = member.sync, None
        if sync is not None:
            sync.complete(SyncGroupResponse(error_code=code))

    # -- heartbeat and sessions

    def heartbeat(self, group: Group, ask: HeartbeatRequest) -> int:
        """An error code."""
        code = member_fault(group, ask.member_id, ask.group_instance_id)
        if code:
            return code
        if ask.generation_id != group.generation:
            return errors.ILLEGAL_GENERATION
        self.keep_alive(group, group.members[ask.member_id])
        return errors.REBALANCE_IN_PROGRESS if group.state is State.PREPARING else 0

    def keep_alive(self, group: Group, member: Member) -> None:
        """The member was heard of. A timer that goes off too early is set again then: most are never looked at."""
        wait_ms = NEW_MEMBER_JOIN_MS if member.is_new else member.session_timeout_ms
        end_ms = member.heard_until_ms = self._clock.mono_ms() + wait_ms
        if member.timer is None or member.timer.deadline_ms > end_ms:
            self._watch(group, member)

    def _watch(self, group: Group, member: Member) -> None:
        member.stop()
        member.timer = self._waits.call_at(member.heard_until_ms, lambda: self._session_over(group, member))

    def _session_over(self, group: Group, member: Member) -> None:
        member.timer = None
        if group.members.get(member.member_id) is not member:
            return
        if self._clock.mono_ms() < member.heard_until_ms:
            self._watch(group, member)
            return
        if not member.is_new and (member.join is not None or member.sync is not None):
            self.keep_alive(group, member)  # it waits for us, not we for it
            return
        self._end_waits(group, member, errors.UNKNOWN_MEMBER_ID)
        group.remove(member)
        self._membership_changed(group)

    def resume(self, group: Group) -> None:
        """J3. After loading."""
        for member in group.members.values():
            self.keep_alive(group, member)
        if len(group.members) > self._options.get_int("group.max.size"):
            self._prepare_rebalance(group)

    # -- leave

    def leave(self, group: Group | None, ask: LeaveGroupRequest, version: int) -> LeaveGroupResponse:
        identities = ask.members if version >= 3 else [MemberIdentity(member_id=ask.member_id)]
        answers = [
            MemberResponse(
                member_id=identity.member_id,
                group_instance_id=identity.group_instance_id,
                error_code=self._leave(group, identity),
            )
            for identity in identities
        ]
        if group is not None and any(answer.error_code == 0 for answer in answers):
            self._membership_changed(group)
        if version >= 3:
            return LeaveGroupResponse(members=answers)
        return LeaveGroupResponse(error_code=answers[0].error_code)

    def _leave(self, group: Group | None, identity: MemberIdentity) -> int:
        if group is None:
            return errors.UNKNOWN_MEMBER_ID
        member_id = identity.member_id
        instance = identity.group_instance_id
        if instance is not None:
            if instance not in group.static:
                return errors.UNKNOWN_MEMBER_ID
            if member_id and group.static[instance] != member_id:
                return errors.FENCED_INSTANCE_ID
            member_id = group.static[instance]
        if group.forget_pending(member_id):
            return 0
        member = group.members.get(member_id)
        if member is None:
            return errors.UNKNOWN_MEMBER_ID
        self._end_waits(group, member, errors.UNKNOWN_MEMBER_ID)
        group.remove(member)
        return 0

    def end(self, group: Group, code: int) -> None:
        """The shard goes away, or the group is deleted: whoever waits is told, no timer is left."""
        for timer in (group.join_timer, group.sync_timer, *group.pending.values()):
            if timer is not None:
                timer.cancel()
        group.state = State.DEAD
        for member in list(group.members.values()):
            self._end_waits(group, member, code)
            member.stop()


def member_fault(group: Group, member_id: str, instance_id: str | None) -> int:
    """UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when a static member's id belongs to another one by now."""
    if instance_id is not None:
        owner = group.static.get(instance_id)
        if owner is None:
            return errors.UNKNOWN_MEMBER_ID
        if owner != member_id:
            return errors.FENCED_INSTANCE_ID
    return 0 if member_id in group.members else errors.UNKNOWN_MEMBER_ID


def refuse_join(code: int, member_id: str, version: int) -> JoinGroupResponse:
    name = None if version >= NO_PROTOCOL_SINCE else ""
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=name)
