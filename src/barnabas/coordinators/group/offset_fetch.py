"""What OffsetFetch answers, one group at a time (KIP-709), in the shape that each version has for it.

K1 of offsets.py: what is shown here must not be taken back, so its answer waits until the shard's facts are committed.
"""

from collections.abc import Iterator
from typing import Final

from barnabas import errors
from barnabas.cluster.image import Image
from barnabas.coordinators.group import offsets
from barnabas.coordinators.group.group import Group
from barnabas.ids import ZERO_UUID
from barnabas.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

GROUPS_SINCE: Final = 8
ERROR_OF_GROUP_SINCE: Final = 2

Wanted = tuple[str, bytes, list[int], int]
"""Topic, its id, partitions, and the error that all of them have."""


def asked(ask: OffsetFetchRequest, version: int) -> list[OffsetFetchRequestGroup]:
    """The groups asked for; before v8 there is one."""
    if version >= GROUPS_SINCE:
        return ask.groups
    topics = None
    if ask.topics is not None:
        topics = [
            OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in ask.topics
        ]
    return [OffsetFetchRequestGroup(group_id=ask.group_id, topics=topics)]


def answered(answers: list[OffsetFetchResponseGroup], version: int) -> OffsetFetchResponse:
    if version >= GROUPS_SINCE:
        return OffsetFetchResponse(groups=answers)
    (one,) = answers
    return OffsetFetchResponse(
        error_code=one.error_code,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=part.partition_index,
                        committed_offset=part.committed_offset,
                        committed_leader_epoch=part.committed_leader_epoch,
                        metadata=part.metadata,
                        error_code=part.error_code,
                    )
                    for part in topic.partitions
                ],
            )
            for topic in one.topics
        ],
    )


def shown(
    group: Group | None, ask: OffsetFetchRequestGroup, version: int, image: Image
) -> OffsetFetchResponseGroup:
    """The offsets of a group that this shard has, or has not."""
    wanted = everything(group, version, image) if ask.topics is None else named(ask.topics, version, image)
    topics = [
        OffsetFetchResponseTopics(
            name=name,
            topic_id=topic_id,
            partitions=[committed(group, name, index, code, image) for index in indexes],
        )
        for name, topic_id, indexes, code in wanted
    ]
    return OffsetFetchResponseGroup(group_id=ask.group_id, topics=topics)


def refused(ask: OffsetFetchRequestGroup, code: int, version: int) -> OffsetFetchResponseGroup:
    """The group's error; v1 has room for it in partitions alone."""
    topics = [] if ask.topics is None or version >= ERROR_OF_GROUP_SINCE else ask.topics
    return OffsetFetchResponseGroup(
        group_id=ask.group_id,
        error_code=code,
        topics=[
            OffsetFetchResponseTopics(
                name=topic.name, partitions=[absent(index, code) for index in topic.partition_indexes]
            )
            for topic in topics
        ],
    )


def everything(group: Group | None, version: int, image: Image) -> Iterator[Wanted]:
    """All that is committed; of topics that are gone only where no id is asked for."""
    by_topic: dict[str, list[int]] = {}
    for topic, index in group.offsets if group is not None else ():
        by_topic.setdefault(topic, []).append(index)
    for name, indexes in by_topic.items():
        known = image.topics.get(name)
        if known is not None:
            yield name, known.topic_id, indexes, 0
        elif version < offsets.BY_ID_SINCE:
            yield name, ZERO_UUID, indexes, 0


def named(topics: list[OffsetFetchRequestTopics], version: int, image: Image) -> Iterator[Wanted]:
    for topic in topics:
        if version < offsets.BY_ID_SINCE:
            yield topic.name, topic.topic_id, topic.partition_indexes, 0
            continue
        known = image.topics_by_id.get(topic.topic_id)
        if known is None:
            yield "", topic.topic_id, topic.partition_indexes, errors.UNKNOWN_TOPIC_ID
        else:
            yield known.name, topic.topic_id, topic.partition_indexes, 0


def committed(
    group: Group | None, topic: str, index: int, code: int, image: Image
) -> OffsetFetchResponsePartitions:
    value = None if group is None else group.offsets.get((topic, index))
    if value is None or code or offsets.is_of_another(value, topic, image):
        return absent(index, code)
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=value.offset,
        committed_leader_epoch=value.leader_epoch,
        metadata=value.metadata,
    )


def absent(index: int, code: int) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=offsets.NO_OFFSET,
        committed_leader_epoch=-1,
        metadata="",
        error_code=code,
    )
