"""A classic group: members, generation, state. State only; the rules are in classic.py.

    EMPTY → PREPARING_REBALANCE → COMPLETING_REBALANCE → STABLE → PREPARING_REBALANCE …
Any state with members goes back to PREPARING_REBALANCE when membership or a subscription changes, and to EMPTY when the
last member leaves. A group that is EMPTY and has no offsets is forgotten.
"""

from collections import Counter
from enum import Enum
from typing import Final

from barnabas.partitions.waits import Parked, Timer
from barnabas.wire.internal import consumer_protocol_subscription
from barnabas.wire.internal.group_metadata_value import GroupMetadataValue, MemberMetadata
from barnabas.wire.internal.offset_commit_value import OffsetCommitValue
from barnabas.wire.primitives import Malformed

CONSUMER: Final = "consumer"
NO_GENERATION: Final = 0


class State(Enum):
    """Names as DescribeGroups and ListGroups show them."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Member:
    """One member. Everything but what a GroupMetadataValue holds is session state: lost at fail-over."""

    def __init__(
        self,
        member_id: str,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: list[tuple[str, bytes]],
    ) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = b""
        self.join: Parked | None = None
        self.join_version = 0
        self.is_new = False
        self.sync: Parked | None = None
        self.has_synced = False
        self.timer: Timer | None = None
        self.heard_until_ms = 0
        """When its session ends, of Clock.mono_ms; its timer may go off earlier and is set again then."""

    def metadata(self, protocol: str | None) -> bytes:
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Group:
    """One group of one shard."""

    def __init__(self, group_id: str, now_ms: int) -> None:
        self.group_id = group_id
        self.state = State.EMPTY
        self.generation = NO_GENERATION
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self._supporting: dict[str, int] = {}
        """Of each protocol, how many members speak it."""
        self.joined = 0
        """Members whose join waits for the next generation."""
        self.static: dict[str, str] = {}
        self.pending: dict[str, Timer] = {}
        self.subscribed: set[str] | None = (
            None  # topics of a consumer group's members; None: they are not known
        )
        self.offsets: dict[tuple[str, int], OffsetCommitValue] = {}
        self.state_since_ms = now_ms
        self.join_timer: Timer | None = None
        self.sync_timer: Timer | None = None
        self.new_member_joined = False
        self.is_delayed = False
        self.assigned_generation = NO_GENERATION

    def become(self, state: State, now_ms: int) -> None:
        self.state = state
        self.state_since_ms = now_ms

    # -- members

    def add(self, member: Member) -> None:
        if not self.members:
            self.leader = None
        if self.leader is None:
            self.leader = member.member_id
        self._keep(member)

    def _keep(self, member: Member) -> None:
        self.members[member.member_id] = member
        self._count_protocols(member, 1)
        if member.instance_id is not None:
            self.static[member.instance_id] = member.member_id

    def remove(self, member: Member) -> None:
        member.stop()
        self.take_join(member)
        if self.members.pop(member.member_id, None) is not None:
            self._count_protocols(member, -1)
        if member.instance_id is not None and self.static.get(member.instance_id) == member.member_id:
            del self.static[member.instance_id]
        if self.leader == member.member_id:
            self.leader = next(iter(self.members), None)

    def rename(self, member: Member, member_id: str) -> None:
        """The same member under another id, in its old place."""
        old_id, member.member_id = member.member_id, member_id
        self.members = {each.member_id: each for each in self.members.values()}
        if member.instance_id is not None:
            self.static[member.instance_id] = member_id
        if self.leader == old_id:
            self.leader = member_id

    def forget_pending(self, member_id: str) -> bool:
        timer = self.pending.pop(member_id, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    @property
    def rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    # -- joins that wait

    def await_join(self, member: Member, parked: Parked, version: int) -> None:
        self.take_join(member)
        member.join = parked
        member.join_version = version
        self.joined += 1

    def take_join(self, member: Member) -> Parked | None:
        """The member's join waits no more: whoever takes it completes it."""
        parked, member.join = member.join, None
        if parked is not None:
            self.joined -= 1
        return parked

    @property
    def has_all_joined(self) -> bool:
        return not self.pending and self.joined == len(self.members)

    # -- protocols

    def _count_protocols(self, member: Member, step: int) -> None:
        """Counted as members come and go: asked of all of them at each join, a thousand joins took a million looks."""
        for name in {name for name, _ in member.protocols}:
            count = self._supporting.get(name, 0) + step
            if count:
                self._supporting[name] = count
            else:
                del self._supporting[name]

    def change_protocols(self, member: Member, protocols: list[tuple[str, bytes]]) -> None:
        self._count_protocols(member, -1)
        member.protocols = protocols
        self._count_protocols(member, 1)

    def common_protocols(self) -> set[str]:
        """Those that every member speaks; none when there is no member."""
        return {name for name, count in self._supporting.items() if count == len(self.members)}

    def supports(self, protocol_type: str, protocols: list[tuple[str, bytes]]) -> bool:
        """Whether a member with these protocols may be in the group."""
        if self.state is State.EMPTY:
            return bool(protocol_type) and bool(protocols)
        if protocol_type != self.protocol_type:
            return False
        members = len(self.members)
        return not members or any(self._supporting.get(name, 0) == members for name, _ in protocols)

    def select_protocol(self) -> str | None:
        """Each member votes for the first of its protocols that all have; the most votes win, then the first vote."""
        common = self.common_protocols()
        votes = Counter(
            next(name for name, _ in member.protocols if name in common) for member in self.members.values()
        )
        return votes.most_common(1)[0][0] if votes else None

    def note_subscriptions(self) -> None:
        """At the beginning of a generation: what members say later counts from the next one on."""
        self.subscribed = self._subscriptions() if self.protocol_type == CONSUMER else None

    def _subscriptions(self) -> set[str] | None:
        topics: set[str] = set()
        for member in self.members.values():
            metadata = member.metadata(self.protocol)
            version = min(int.from_bytes(metadata[:2], "big"), consumer_protocol_subscription.VERSION_MAX)
            try:
                topics.update(consumer_protocol_subscription.decode(metadata, 2, version).topics)
            except Malformed:
                return None
        return topics

    # -- facts

    def to_value(self) -> GroupMetadataValue:
        """What is kept of the group: with its assignments when it is stable."""
        return GroupMetadataValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            current_state_timestamp=self.state_since_ms,
            members=[
                MemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_timeout_ms,
                    session_timeout=member.session_timeout_ms,
                    subscription=member.metadata(self.protocol),
                    assignment=member.assignment,
                )
                for member in self.members.values()
            ],
        )

    def take_value(self, value: GroupMetadataValue, now_ms: int) -> None:
        """The group as its fact says: members return with the sessions they had, which begin anew."""
        self.generation = value.generation
        self.protocol_type = value.protocol_type or None
        self.protocol = value.protocol
        self.leader = value.leader
        self.members.clear()
        self._supporting.clear()
        self.joined = 0
        self.static.clear()
        for kept in value.members:
            rebalance_ms = kept.rebalance_timeout if kept.rebalance_timeout >= 0 else kept.session_timeout
            member = Member(
                kept.member_id,
                kept.group_instance_id,
                kept.client_id,
                kept.client_host,
                rebalance_ms,
                kept.session_timeout,
                [(value.protocol or "", kept.subscription)],
            )
            member.assignment = kept.assignment
            member.has_synced = True
            self._keep(member)
        self.note_subscriptions()
        self.state = State.STABLE if self.members else State.EMPTY
        self.state_since_ms = value.current_state_timestamp if value.current_state_timestamp >= 0 else now_ms
