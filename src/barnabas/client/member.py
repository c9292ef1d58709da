"""A member of a consumer group, by the classic protocol.

It leads only a group in which it is alone or whose members all name the `range` assignor; then it assigns for all of them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from barnabas import errors
from barnabas.client.cluster import TRIES_MAX, Cluster, Refused
from barnabas.client.fetch import Place
from barnabas.client.groups import PROTOCOL_TYPE, commit, places_of
from barnabas.wire.internal import consumer_protocol_assignment as assignments
from barnabas.wire.internal import consumer_protocol_subscription as subscriptions
from barnabas.wire.messages import heartbeat, join_group, leave_group, sync_group

SESSION_TIMEOUT_MS: Final = 45_000
REBALANCE_TIMEOUT_MS: Final = 60_000
ASSIGNOR: Final = "range"
REJOIN: Final = frozenset(
    {
        errors.REBALANCE_IN_PROGRESS,
        errors.ILLEGAL_GENERATION,
        errors.UNKNOWN_MEMBER_ID,
        errors.MEMBER_ID_REQUIRED,
    }
)
"""The group goes on without what we knew of it: join again."""


def assign_range(
    wanted: Mapping[str, Iterable[str]], counts: Mapping[str, int]
) -> dict[str, dict[str, list[int]]]:
    """Member → topic → partitions: per topic, members in order of their ids take runs that differ by one at most."""
    plan: dict[str, dict[str, list[int]]] = {member: {} for member in wanted}
    for topic, count in counts.items():
        takers = sorted(member for member, topics in wanted.items() if topic in topics)
        at = 0
        for place, member in enumerate(takers):
            size = count // len(takers) + (1 if place < count % len(takers) else 0)
            if size:
                plan[member][topic] = list(range(at, at + size))
            at += size
    return plan


class Member:
    """One member of a group."""

    def __init__(self, cluster: Cluster, group: str, topics: list[str]) -> None:
        self._cluster = cluster
        self._group = group
        self._topics = sorted(set(topics))
        self._member_id = ""
        self._generation_id = -1

    def join(self) -> list[Place]:
        """Join, or join again; the places that are ours until the next rebalance."""
        for _ in range(TRIES_MAX):
            reply = self._cluster.ask(11, self._join_request(), self._cluster.coordinator(self._group))
            self._member_id = reply.member_id or self._member_id
            code = reply.error_code
            if code == errors.NONE:
                self._generation_id = reply.generation_id
                synced = self._sync(reply)
                code = synced.error_code
                if code == errors.NONE:
                    return places_of(synced.assignment)
            if code == errors.UNKNOWN_MEMBER_ID:
                self._member_id = ""
            elif code not in REJOIN:
                if code not in errors.RETRIABLE:
                    raise Refused(code, f"group {self._group}")
                self._cluster.pause()
        raise Refused(errors.REBALANCE_IN_PROGRESS, f"group {self._group} did not come to rest")

    def _join_request(self) -> join_group.JoinGroupRequest:
        subscription = subscriptions.ConsumerProtocolSubscription(topics=self._topics, user_data=None)
        metadata = b"\x00\x00" + subscriptions.encode(subscription, 0)
        return join_group.JoinGroupRequest(
            group_id=self._group,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            member_id=self._member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[join_group.JoinGroupRequestProtocol(name=ASSIGNOR, metadata=metadata)],
        )

    def _sync(self, joined: Any) -> Any:
        plan = self._plan(joined.members) if joined.leader == self._member_id else []
        ask = sync_group.SyncGroupRequest(
            group_id=self._group,
            generation_id=self._generation_id,
            member_id=self._member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=ASSIGNOR,
            assignments=plan,
        )
        return self._cluster.ask(14, ask, self._cluster.coordinator(self._group))

    def _plan(self, members: list[Any]) -> list[sync_group.SyncGroupRequestAssignment]:
        wanted = {}
        for member in members:
            version = min(int.from_bytes(member.metadata[:2], "big"), subscriptions.VERSION_MAX)
            wanted[member.member_id] = subscriptions.decode(member.metadata, 2, version).topics
        counts = {}
        for topic in sorted({topic for topics in wanted.values() for topic in topics}):
            counts[topic] = self._cluster.partitions(topic)
        plan = []
        for member_id, topics in assign_range(wanted, counts).items():
            rows = [
                assignments.TopicPartition(topic=name, partitions=places) for name, places in topics.items()
            ]
            content = assignments.ConsumerProtocolAssignment(assigned_partitions=rows, user_data=None)
            encoded = b"\x00\x00" + assignments.encode(content, 0)
            plan.append(sync_group.SyncGroupRequestAssignment(member_id=member_id, assignment=encoded))
        return plan

    def beat(self) -> bool:
        """Tell that we live; False when the group rebalances and join() is due."""
        ask = heartbeat.HeartbeatRequest(
            group_id=self._group, generation_id=self._generation_id, member_id=self._member_id
        )
        code = self._cluster.ask(12, ask, self._cluster.coordinator(self._group)).error_code
        if code in REJOIN:
            return False
        if code and code not in errors.RETRIABLE:
            raise Refused(code, f"group {self._group}")
        return True

    def commit(self, offsets: Mapping[Place, int]) -> bool:
        """False when the group has gone on without us: whoever reads those places now reads the records again."""
        try:
            commit(
                self._cluster,
                self._group,
                offsets,
                member_id=self._member_id,
                generation_id=self._generation_id,
            )
        except Refused as error:
            if error.code not in REJOIN:
                raise
            return False
        return True

    def leave(self) -> None:
        ask = leave_group.LeaveGroupRequest(group_id=self._group, member_id=self._member_id)
        self._cluster.ask(13, ask, self._cluster.coordinator(self._group))
