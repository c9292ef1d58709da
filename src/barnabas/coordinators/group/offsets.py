"""Committed offsets: who may commit, what is answered, what expires (KIP-211, KIP-496, KIP-709, KIP-848's codes).

K1  A commit is answered when its records are committed; a fetch shows what has been applied, and waits for it, too.
K2  Offsets of a group with members are kept; those of an empty one go offsets.retention.minutes after it became empty,
    those of a group that never had members as long after their commit; so do those of topics that a stable consumer
    group no longer subscribes to. An expiry that the client set (v2-4) stands in the place of the retention.
"""

from collections.abc import Sequence
from typing import Final

from barnabas import errors
from barnabas.cluster.image import Image
from barnabas.coordinators.group.facts import offset_fact
from barnabas.coordinators.group.group import Group, State
from barnabas.ids import ZERO_UUID
from barnabas.records.record import Record
from barnabas.wire.internal.offset_commit_value import OffsetCommitValue
from barnabas.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from barnabas.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

NO_OFFSET: Final = -1
NO_EXPIRY: Final = -1
EXPIRY_MAX_MS: Final = 2**63 - 1
BY_ID_SINCE: Final = 10
NOT_FOUND_SINCE: Final = 9


def commit_fault(group: Group | None, ask: OffsetCommitRequest, version: int) -> int:
    """Who may commit: members of the current generation, and anybody while nobody is a member."""
    generation = ask.generation_id_or_member_epoch
    if group is None or group.state is State.EMPTY:
        if generation < 0:
            return 0
        if group is None:
            return errors.GROUP_ID_NOT_FOUND if version >= NOT_FOUND_SINCE else errors.ILLEGAL_GENERATION
    if generation < 0 and not ask.member_id and ask.group_instance_id is None:
        return errors.UNKNOWN_MEMBER_ID
    if ask.group_instance_id is not None:
        owner = group.static.get(ask.group_instance_id)
        if owner is None:
            return errors.UNKNOWN_MEMBER_ID
        if owner != ask.member_id:
            return errors.FENCED_INSTANCE_ID
    if ask.member_id not in group.members:
        return errors.UNKNOWN_MEMBER_ID
    if generation != group.generation:
        return errors.ILLEGAL_GENERATION
    return errors.REBALANCE_IN_PROGRESS if group.state is State.COMPLETING else 0


def commit_facts(
    ask: OffsetCommitRequest, version: int, image: Image, now_ms: int, metadata_length_max: int
) -> tuple[list[Record], OffsetCommitResponse]:
    """The facts of an allowed commit, and the answer when they are durable."""
    facts: list[Record] = []
    response = OffsetCommitResponse()
    expire_ms = NO_EXPIRY
    if ask.retention_time_ms >= 0:
        expire_ms = min(now_ms + ask.retention_time_ms, EXPIRY_MAX_MS)
    for topic in ask.topics:
        name = named(topic, version, image)
        answers = OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id)
        response.topics.append(answers)
        for asked in topic.partitions:
            code = place_fault(name, asked.partition_index, image)
            if code == 0 and utf16_length(asked.committed_metadata) > metadata_length_max:
                code = errors.OFFSET_METADATA_TOO_LARGE
            if code == 0 and name is not None:
                value = OffsetCommitValue(
                    offset=asked.committed_offset,
                    leader_epoch=asked.committed_leader_epoch,
                    metadata=asked.committed_metadata or "",
                    commit_timestamp=now_ms,
                    expire_timestamp=expire_ms,
                    topic_id=image.topics[name].topic_id if expire_ms == NO_EXPIRY else ZERO_UUID,
                )
                facts.append(offset_fact(ask.group_id, name, asked.partition_index, value))
            answers.partitions.append(
                OffsetCommitResponsePartition(partition_index=asked.partition_index, error_code=code)
            )
    return facts, response


def delete_facts(
    group: Group, ask: OffsetDeleteRequest, image: Image
) -> tuple[list[Record], OffsetDeleteResponse]:
    """Ends of the offsets that may go, and the answer when they are durable: those of topics that no member reads."""
    subscribed = group.subscribed if group.state is not State.EMPTY else set()
    if subscribed is None:
        subscribed = {topic.name for topic in ask.topics}
    response = OffsetDeleteResponse()
    gone: list[tuple[str, int]] = []
    for topic in ask.topics:
        answers = OffsetDeleteResponseTopic(name=topic.name)
        response.topics.append(answers)
        for asked in topic.partitions:
            key = topic.name, asked.partition_index
            code = errors.GROUP_SUBSCRIBED_TO_TOPIC if topic.name in subscribed else 0
            if not has_partition(image, *key):
                code = errors.UNKNOWN_TOPIC_OR_PARTITION
            if code == 0 and key in group.offsets:
                gone.append(key)
            answers.partitions.append(
                OffsetDeleteResponsePartition(partition_index=asked.partition_index, error_code=code)
            )
    return tombstones(group, gone), response


def is_of_another(value: OffsetCommitValue, topic: str, image: Image) -> bool:
    """Whether it was committed for a topic of this name that was deleted since, and another one made."""
    known = image.topics.get(topic)
    return known is not None and value.topic_id not in (ZERO_UUID, known.topic_id)


def has_partition(image: Image, topic: str, index: int) -> bool:
    known = image.topics.get(topic)
    return known is not None and 0 <= index < len(known.partitions)


def utf16_length(text: str | None) -> int:
    """The length as Java counts it, in which the limit is meant."""
    if text is None or text.isascii():
        return len(text or "")
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def named(topic: OffsetCommitRequestTopic, version: int, image: Image) -> str | None:
    """The topic's name; None when its id is unknown."""
    if version < BY_ID_SINCE:
        return topic.name
    known = image.topics_by_id.get(topic.topic_id)
    return None if known is None else known.name


def place_fault(name: str | None, index: int, image: Image) -> int:
    if name is None:
        return errors.UNKNOWN_TOPIC_ID
    return 0 if has_partition(image, name, index) else errors.UNKNOWN_TOPIC_OR_PARTITION


def refuse_commit(ask: OffsetCommitRequest, version: int, image: Image, code: int) -> OffsetCommitResponse:
    """The same code for each partition that there is."""
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponsePartition(
                        partition_index=asked.partition_index,
                        error_code=place_fault(named(topic, version, image), asked.partition_index, image)
                        or code,
                    )
                    for asked in topic.partitions
                ],
            )
            for topic in ask.topics
        ]
    )


def fail_accepted(response: OffsetCommitResponse, code: int) -> OffsetCommitResponse:
    """The append failed: partitions that had been accepted get its code."""
    for topic in response.topics:
        for part in topic.partitions:
            part.error_code = part.error_code or code
    return response


def expired(group: Group, now_ms: int, retention_ms: int) -> list[tuple[str, int]]:
    """K2."""
    if group.state not in (State.EMPTY, State.STABLE):
        return []
    since_empty = group.state is State.EMPTY and bool(group.protocol_type)
    subscribed = group.subscribed if group.state is State.STABLE else set()
    if subscribed is None:
        return []

    def end_ms(value: OffsetCommitValue) -> int:
        if value.expire_timestamp >= 0:
            return value.expire_timestamp
        return (group.state_since_ms if since_empty else value.commit_timestamp) + retention_ms

    return [
        key for key, value in group.offsets.items() if key[0] not in subscribed and now_ms >= end_ms(value)
    ]


def tombstones(group: Group, keys: Sequence[tuple[str, int]]) -> list[Record]:
    return [offset_fact(group.group_id, topic, index, None) for topic, index in keys]
