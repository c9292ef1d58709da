"""Groups over sockets: the fields that the transcripts of tests/transcripts/group do not show, as Apache Kafka 4.3 answers them."""

from typing import Any

import pytest
from administering import NOT_ASKED
from covers import covers
from rawclient import RawClient

from barnabas import errors
from barnabas.server.rights import GROUP_OPERATIONS
from barnabas.wire.messages import (
    delete_groups,
    describe_groups,
    find_coordinator,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
)

METADATA = b"what a member says of itself"


@pytest.fixture
def group(client: RawClient, request: pytest.FixtureRequest) -> str:
    """A group of its own, whose coordinator serves."""
    name = str(request.node.name)
    ask = find_coordinator.FindCoordinatorRequest(coordinator_keys=[name])
    assert client.call(find_coordinator, ask, 4).coordinators[0].error_code == 0
    return name


def join_request(group: str, **fields: Any) -> join_group.JoinGroupRequest:
    protocols = [join_group.JoinGroupRequestProtocol("range", METADATA)]
    given = {"protocol_type": "consumer", "protocols": protocols, **fields}
    return join_group.JoinGroupRequest(
        group_id=group, session_timeout_ms=30_000, rebalance_timeout_ms=30_000, **given
    )


def led(client: RawClient, group: str, instance: str | None = "one", **fields: Any) -> Any:
    """The answer to the only member of the group."""
    return client.call(join_group, join_request(group, group_instance_id=instance, **fields), 9)


def stable(client: RawClient, group: str) -> Any:
    """The same, after it got its part."""
    joined = led(client, group)
    ask = sync_request(group, joined, b"part")
    assert client.call(sync_group, ask, 5).error_code == 0
    return joined


def sync_request(group: str, joined: Any, part: bytes) -> sync_group.SyncGroupRequest:
    return sync_group.SyncGroupRequest(
        group_id=group,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[sync_group.SyncGroupRequestAssignment(joined.member_id, part)],
    )


@covers(
    "JoinGroup",
    "request.protocols.metadata",
    "response.throttle_time_ms=default",
    "response.protocol_type",
    "response.members.group_instance_id",
    "response.members.metadata",
)
def test_the_leader_is_told_what_members_say_of_themselves(client: RawClient, group: str) -> None:
    joined = led(client, group)
    assert (joined.throttle_time_ms, joined.protocol_type, joined.protocol_name) == (0, "consumer", "range")
    (member,) = joined.members
    assert (member.member_id, member.group_instance_id) == (joined.member_id, "one")
    assert member.metadata == METADATA


@covers("JoinGroup", "request.reason")
def test_the_reason_of_a_join_is_for_reading_only(client: RawClient, group: str) -> None:
    """A member that gives another one, or none, has changed nothing."""
    joined = led(client, group, reason="the first time")
    for reason in (None, "", "to see"):
        assert led(client, group, reason=reason, member_id=joined.member_id) == joined


@pytest.mark.parametrize("version", [6, 7])
@covers("JoinGroup", "response.protocol_name")
def test_a_refused_join_names_no_protocol(client: RawClient, group: str, version: int) -> None:
    """Before v7 there was no null for it."""
    led(client, group)
    refused = client.call(join_group, join_request(group, member_id="stranger"), version)
    assert refused.error_code == errors.UNKNOWN_MEMBER_ID
    assert (refused.protocol_type, refused.protocol_name) == (None, None if version >= 7 else "")


@covers("SyncGroup", "response.throttle_time_ms=default", "response.protocol_type", "response.protocol_name")
def test_a_sync_says_what_was_agreed_on(client: RawClient, group: str) -> None:
    answer = client.call(sync_group, sync_request(group, led(client, group), b"part"), 5)
    assert (answer.throttle_time_ms, answer.error_code, answer.assignment) == (0, 0, b"part")
    assert (answer.protocol_type, answer.protocol_name) == ("consumer", "range")


@covers("Heartbeat", "response.throttle_time_ms=default")
def test_a_beat_is_heard(client: RawClient, group: str) -> None:
    joined = stable(client, group)
    answer = client.call(
        heartbeat, heartbeat.HeartbeatRequest(group, joined.generation_id, joined.member_id), 4
    )
    assert (answer.throttle_time_ms, answer.error_code) == (0, 0)


@covers("LeaveGroup", "request.members.reason", "response.throttle_time_ms=default")
def test_the_reason_of_a_leave_is_for_reading_only(client: RawClient, group: str) -> None:
    for reason in ("tired", None):
        joined = led(client, group)
        ask = leave_group.LeaveGroupRequest(
            group, members=[leave_group.MemberIdentity(joined.member_id, None, reason)]
        )
        answer = client.call(leave_group, ask, 5)
        assert (answer.throttle_time_ms, answer.error_code) == (0, 0)
        assert [(each.member_id, each.error_code) for each in answer.members] == [(joined.member_id, 0)]


@covers(
    "DescribeGroups",
    "request.include_authorized_operations",
    "request.include_authorized_operations=default",
    "response.throttle_time_ms=default",
    "response.groups.error_message",
    "response.groups.members.group_instance_id",
    "response.groups.members.client_id",
    "response.groups.members.client_host",
    "response.groups.members.member_metadata",
    "response.groups.authorized_operations",
)
def test_a_description_names_members_and_what_one_may_do(client: RawClient, group: str) -> None:
    joined = stable(client, group)
    ask = describe_groups.DescribeGroupsRequest([group, "absent"], True)
    answer = client.call(describe_groups, ask, 6)
    found, absent = answer.groups
    assert answer.throttle_time_ms == 0
    (member,) = found.members
    assert (member.member_id, member.group_instance_id) == (joined.member_id, "one")
    assert (member.client_id, member.client_host) == ("raw", "/127.0.0.1")
    assert (member.member_metadata, member.member_assignment) == (METADATA, b"part")
    assert (found.error_message, found.authorized_operations) == (None, GROUP_OPERATIONS)
    assert (absent.error_message, absent.authorized_operations) == ("Group absent not found.", NOT_ASKED)
    not_asked = client.call(describe_groups, describe_groups.DescribeGroupsRequest([group]), 6)
    assert not_asked.groups[0].authorized_operations == NOT_ASKED


@covers("ListGroups", "response.throttle_time_ms=default", "response.groups.protocol_type")
def test_a_list_tells_kinds_of_groups_apart(client: RawClient, group: str) -> None:
    """A group of Kafka Connect, and one that only commits: it has no protocol type."""
    assert led(client, group, protocol_type="connect").error_code == 0
    assert codes_of(client.call(offset_commit, commit_request(f"{group}-offsets", committed(0, 1)), 9)) == [0]
    answer = client.call(list_groups, list_groups.ListGroupsRequest(), 5)
    kinds = {each.group_id: each.protocol_type for each in answer.groups}
    assert (answer.throttle_time_ms, kinds[group], kinds[f"{group}-offsets"]) == (0, "connect", "")


@covers("DeleteGroups", "response.throttle_time_ms=default")
def test_a_deleted_group_is_gone(client: RawClient, group: str) -> None:
    client.call(offset_commit, commit_request(group, committed(0, 1)), 9)
    deleted = client.call(delete_groups, delete_groups.DeleteGroupsRequest([group]), 2)
    assert (deleted.throttle_time_ms, deleted.results[0].error_code) == (0, 0)
    again = client.call(delete_groups, delete_groups.DeleteGroupsRequest([group]), 2)
    assert again.results[0].error_code == errors.GROUP_ID_NOT_FOUND


# -- offsets


def committed(
    index: int, offset: int, epoch: int = -1, text: str | None = ""
) -> offset_commit.OffsetCommitRequestPartition:
    return offset_commit.OffsetCommitRequestPartition(index, offset, epoch, text)


def commit_request(
    group: str, *parts: offset_commit.OffsetCommitRequestPartition
) -> offset_commit.OffsetCommitRequest:
    topic = offset_commit.OffsetCommitRequestTopic(name="plain", partitions=list(parts))
    return offset_commit.OffsetCommitRequest(group_id=group, topics=[topic])


def codes_of(answer: Any) -> list[int]:
    return [part.error_code for topic in answer.topics for part in topic.partitions]


def fetched(client: RawClient, group: str, version: int, require_stable: bool = False) -> list[Any]:
    """(partition, offset, leader epoch, text) of all that is committed."""
    if version < 8:
        ask = offset_fetch.OffsetFetchRequest(group_id=group, topics=None, require_stable=require_stable)
        answer = found = client.call(offset_fetch, ask, version)
    else:
        wanted = offset_fetch.OffsetFetchRequestGroup(group_id=group, topics=None)
        ask = offset_fetch.OffsetFetchRequest(groups=[wanted], require_stable=require_stable)
        answer = client.call(offset_fetch, ask, version)
        (found,) = answer.groups
    assert answer.throttle_time_ms == 0
    return [
        (part.partition_index, part.committed_offset, part.committed_leader_epoch, part.metadata)
        for topic in found.topics
        for part in topic.partitions
    ]


@covers(
    "OffsetCommit",
    "request.topics.partitions.committed_leader_epoch",
    "request.topics.partitions.committed_metadata",
    "request.topics.partitions.committed_metadata=null",
    "response.throttle_time_ms=default",
)
@covers(
    "OffsetFetch",
    "request.require_stable",
    "response.throttle_time_ms=default",
    "response.topics.partitions.committed_leader_epoch",
    "response.topics.partitions.metadata",
    "response.groups.topics.partitions.committed_leader_epoch",
    "response.groups.topics.partitions.metadata",
)
def test_what_was_committed_is_fetched(client: RawClient, group: str) -> None:
    """No text and an empty one are the same. require_stable waits for transactions, and there are none."""
    answer = client.call(offset_commit, commit_request(group, committed(0, 7, 3, "up to here")), 9)
    assert (answer.throttle_time_ms, codes_of(answer)) == (0, [0])
    assert codes_of(client.call(offset_commit, commit_request(group, committed(1, 8, -1, None)), 9)) == [0]
    for version in (5, 7, 8, 9):
        expected = [(0, 7, 3, "up to here"), (1, 8, -1, "")]
        assert sorted(fetched(client, group, version)) == expected, version
    assert sorted(fetched(client, group, 7, require_stable=True)) == expected
    assert sorted(fetched(client, group, 9, require_stable=True)) == expected


@pytest.mark.parametrize("retention_ms", [2**63 - 1, 2**62])
def test_a_retention_without_end_is_kept_for_ever(client: RawClient, group: str, retention_ms: int) -> None:
    ask = commit_request(group, committed(0, 7))
    ask.retention_time_ms = retention_ms
    assert codes_of(client.call(offset_commit, ask, 2)) == [0]
    assert [offset for _, offset, _, _ in fetched(client, group, 5)] == [7]


def test_of_a_partition_named_twice_the_last_offset_counts(client: RawClient, group: str) -> None:
    assert codes_of(
        client.call(offset_commit, commit_request(group, committed(0, 1), committed(0, 2)), 9)
    ) == [0, 0]
    assert fetched(client, group, 9) == [(0, 2, -1, "")]


@covers("OffsetFetch", "request.groups.group_id", "response.groups.group_id")
def test_several_groups_are_fetched_at_once(client: RawClient, group: str) -> None:
    """In their order; one that nobody has is empty."""
    client.call(offset_commit, commit_request(group, committed(0, 5)), 9)
    names = [f"{group}-nobody", group, group]
    wanted = [offset_fetch.OffsetFetchRequestGroup(group_id=name, topics=None) for name in names]
    answer = client.call(offset_fetch, offset_fetch.OffsetFetchRequest(groups=wanted), 8)
    assert [(each.group_id, len(each.topics)) for each in answer.groups] == [
        (f"{group}-nobody", 0),
        (group, 1),
        (group, 1),
    ]


@covers("OffsetDelete", "response.throttle_time_ms=default")
def test_a_forgotten_offset_is_not_fetched(client: RawClient, group: str) -> None:
    client.call(offset_commit, commit_request(group, committed(0, 5), committed(1, 6)), 9)
    topic = offset_delete.OffsetDeleteRequestTopic("plain", [offset_delete.OffsetDeleteRequestPartition(0)])
    answer = client.call(offset_delete, offset_delete.OffsetDeleteRequest(group, [topic]), 0)
    assert (answer.throttle_time_ms, answer.error_code, codes_of(answer)) == (0, 0, [0])
    assert fetched(client, group, 9) == [(1, 6, -1, "")]


@covers("JoinGroup", "UNKNOWN_SERVER_ERROR")
def test_a_member_whose_id_no_answer_could_say_is_refused(client: RawClient, group: str) -> None:
    """It would close the connection of whoever describes the group. Kafka was seen to answer this code to a client id as long."""
    refused = led(client, group, instance="i" * 32_767)
    assert (refused.error_code, refused.member_id) == (errors.UNKNOWN_SERVER_ERROR, "")
    ask = describe_groups.DescribeGroupsRequest(groups=[group])
    (described,) = client.call(describe_groups, ask, 5).groups
    assert described.members == []
