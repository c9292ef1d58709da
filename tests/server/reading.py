"""What tests of the reading APIs ask again and again: one partition, and what is answered for it."""

from typing import Any

from administering import topic_of
from rawclient import RawClient, batch_of

from barnabas.records.record import batches as batches_in
from barnabas.records.record import records_of
from barnabas.wire.messages import fetch, list_offsets, offset_for_leader_epoch
from barnabas.wire.primitives import field_names

MEBIBYTE = 1 << 20
BY_ID_SINCE = 13


def wanted(**fields: Any) -> fetch.FetchPartition:
    return fetch.FetchPartition(**{"partition_max_bytes": MEBIBYTE, **fields})


def fetch_request(topic: str, *partitions: fetch.FetchPartition, **fields: Any) -> fetch.FetchRequest:
    """Without a session, and no longer than what is there."""
    return fetch.FetchRequest(
        topics=[fetch.FetchTopic(topic=topic, partitions=list(partitions or (wanted(),)))],
        **{"max_bytes": MEBIBYTE, "session_epoch": -1, **fields},
    )


def fetch_all(
    client: RawClient, topic: str, *partitions: fetch.FetchPartition, version: int = 12, **fields: Any
) -> Any:
    """The whole response; from v13 on the topic is asked for by its id."""
    ask = fetch_request(topic, *partitions, **fields)
    if version >= BY_ID_SINCE:
        ask.topics[0].topic_id = topic_of(client, topic).topic_id
    return client.call(fetch, ask, version)


def fetch_one(client: RawClient, topic: str, version: int = 12, **fields: Any) -> Any:
    """The answer for the one partition; fields of the partition and of the request by their names."""
    own = {name: fields.pop(name) for name in list(fields) if name in field_names(fetch.FetchPartition)}
    response = fetch_all(client, topic, wanted(**own), version=version, **fields)
    assert response.error_code == 0
    return response.responses[0].partitions[0]


def values_of(part: Any) -> list[bytes | None]:
    """Of the records that a partition's answer holds."""
    content = part.records.content[part.records.start : part.records.start + part.records.size]
    return [record.value for header, at in batches_in(content) for record in records_of(content, header, at)]


def list_one(
    client: RawClient, topic: str, timestamp: int, version: int = 11, isolation: int = 0, **fields: Any
) -> Any:
    part = list_offsets.ListOffsetsPartition(timestamp=timestamp, **fields)
    ask = list_offsets.ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation,
        topics=[list_offsets.ListOffsetsTopic(name=topic, partitions=[part])],
    )
    return client.call(list_offsets, ask, version).topics[0].partitions[0]


def epoch_one(client: RawClient, topic: str, version: int = 4, replica_id: int = -1, **fields: Any) -> Any:
    part = offset_for_leader_epoch.OffsetForLeaderPartition(**fields)
    ask = offset_for_leader_epoch.OffsetForLeaderEpochRequest(
        replica_id=replica_id,
        topics=[offset_for_leader_epoch.OffsetForLeaderTopic(topic=topic, partitions=[part])],
    )
    return client.call(offset_for_leader_epoch, ask, version).topics[0].partitions[0]


def fill(client: RawClient, topic: str, *values: bytes, **fields: Any) -> None:
    """Each value in a batch of its own."""
    for value in values:
        answer = client.produce(topic, batch_of([value]), **fields)
        assert answer.error_code == 0, answer
