"""Consumer groups seen from outside: list and describe them, read and move what they have committed."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from barnabas import errors
from barnabas.client.admin import settled
from barnabas.client.cluster import Cluster, Refused
from barnabas.client.fetch import Place
from barnabas.wire.internal import consumer_protocol_assignment as assignments
from barnabas.wire.messages import offset_commit, offset_fetch

PROTOCOL_TYPE: Final = "consumer"


class Described:
    """A group, whichever protocol it speaks."""

    def __init__(self, state: str, protocol: str, assignor: str, members: list["DescribedMember"]) -> None:
        """protocol: classic or consumer (KIP-848)."""
        self.state = state
        self.protocol = protocol
        self.assignor = assignor
        self.members = members


class Outcome(NamedTuple):
    """What became of a request of many parts: the code that counts most."""

    error_code: int


class DescribedMember(NamedTuple):
    """A member and what it reads."""

    member_id: str
    client_id: str
    client_host: str
    places: list[Place]


def list_groups(cluster: Cluster) -> list[Any]:
    """ListedGroup rows of all brokers, by name."""
    from barnabas.wire.messages.list_groups import ListGroupsRequest

    found: dict[str, Any] = {}

    def ask_all() -> Any:
        """The first refusal, or else the last reply. Each time of those that there are by now."""
        for broker in cluster.metadata([]).brokers:
            reply = cluster.ask(16, ListGroupsRequest(), (broker.host, broker.port))
            if reply.error_code:
                break
            found.update({row.group_id: row for row in reply.groups})
        return reply

    settled(cluster, "groups", ask_all)
    return [found[name] for name in sorted(found)]


def describe_group(cluster: Cluster, group: str) -> Described:
    """Raises Refused(GROUP_ID_NOT_FOUND) for a group that does not exist."""
    try:
        found = _describe_classic(cluster, group)
    except Refused as error:
        if error.code != errors.GROUP_ID_NOT_FOUND:
            raise
        return _describe_consumer(cluster, group, error)
    return found


def _describe_classic(cluster: Cluster, group: str) -> Described:
    from barnabas.wire.messages.describe_groups import DescribeGroupsRequest

    ask = DescribeGroupsRequest(groups=[group])
    found = settled(
        cluster, f"group {group}", lambda: cluster.ask(15, ask, cluster.coordinator(group)).groups[0]
    )
    if found.group_state == "Dead":
        raise Refused(errors.GROUP_ID_NOT_FOUND, f"group {group}")
    members = [
        DescribedMember(row.member_id, row.client_id, row.client_host, places_of(row.member_assignment))
        for row in found.members
    ]
    return Described(found.group_state, "classic", found.protocol_data, members)


def _describe_consumer(cluster: Cluster, group: str, otherwise: Refused) -> Described:
    """A group of the protocol that DescribeGroups does not see. Raises otherwise when it is not one either."""
    from barnabas.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest

    ask = ConsumerGroupDescribeRequest(group_ids=[group])
    try:
        found = settled(
            cluster, f"group {group}", lambda: cluster.ask(69, ask, cluster.coordinator(group)).groups[0]
        )
    except Refused as error:
        if error.code in (errors.UNSUPPORTED_VERSION, errors.GROUP_ID_NOT_FOUND):
            raise otherwise from None
        raise
    members = [
        DescribedMember(
            row.member_id,
            row.client_id,
            row.client_host,
            sorted(
                (part.topic_name, index)
                for part in row.assignment.topic_partitions
                for index in part.partitions
            ),
        )
        for row in found.members
    ]
    return Described(found.group_state, "consumer", found.assignor_name, members)


def delete_group(cluster: Cluster, group: str) -> None:
    from barnabas.wire.messages.delete_groups import DeleteGroupsRequest

    ask = DeleteGroupsRequest(groups_names=[group])
    settled(cluster, f"group {group}", lambda: cluster.ask(42, ask, cluster.coordinator(group)).results[0])


def committed(cluster: Cluster, group: str) -> dict[Place, int]:
    """Every offset that a group has committed."""
    ask = offset_fetch.OffsetFetchRequest(group_id=group, topics=None)
    reply = settled(cluster, f"group {group}", lambda: cluster.ask(9, ask, cluster.coordinator(group)))
    return {
        (topic.name, part.partition_index): part.committed_offset
        for topic in reply.topics
        for part in topic.partitions
        if part.error_code == errors.NONE and part.committed_offset >= 0
    }


def commit(
    cluster: Cluster,
    group: str,
    offsets: Mapping[Place, int],
    *,
    member_id: str = "",
    generation_id: int = -1,
) -> None:
    """Commit offsets for a group: as a member, or from outside while it has none. Raises Refused."""
    topics: dict[str, list[offset_commit.OffsetCommitRequestPartition]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        row = offset_commit.OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
        topics.setdefault(topic, []).append(row)
    ask = offset_commit.OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        topics=[
            offset_commit.OffsetCommitRequestTopic(name=name, partitions=rows)
            for name, rows in topics.items()
        ],
    )

    def attempt() -> Outcome:
        reply = cluster.ask(8, ask, cluster.coordinator(group))
        codes = {part.error_code for topic in reply.topics for part in topic.partitions} - {errors.NONE}
        return Outcome(min(codes - errors.RETRIABLE, default=min(codes, default=errors.NONE)))

    settled(cluster, f"group {group}", attempt)


def places_of(content: bytes) -> list[Place]:
    """What a ConsumerProtocolAssignment assigns."""
    if len(content) < 2:
        return []
    version = min(int.from_bytes(content[:2], "big"), assignments.VERSION_MAX)
    rows = assignments.decode(content, 2, version).assigned_partitions
    return sorted((row.topic, partition) for row in rows for partition in row.partitions)
