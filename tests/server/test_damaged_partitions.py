"""A partition whose log lost bytes that were synced: KAFKA_STORAGE_ERROR from every API that needs it, its neighbours serve."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from covers import covers
from rawclient import RawClient, batch_of
from reading import epoch_one, fetch_one, fill, list_one
from trouble import cut_log

import barnabas
from barnabas import errors
from barnabas.wire.messages import delete_records

DAMAGED, WHOLE = "damaged", "whole"
STORAGE_ERROR = errors.KAFKA_STORAGE_ERROR


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[barnabas.Broker]:
    folder: Path = tmp_path_factory.mktemp("damaged")
    topics = {DAMAGED: 1, WHOLE: 1}
    with barnabas.Broker(folder, topics=topics) as broker, RawClient(broker.bootstrap) as client:
        for topic in topics:
            fill(client, topic, b"a", b"b")
    cut_log(folder, DAMAGED)
    with barnabas.Broker(folder) as broker:
        yield broker


@covers("Produce", "KAFKA_STORAGE_ERROR", "responses.partition_responses.base_offset")
def test_nothing_is_appended(client: RawClient) -> None:
    answers = [client.produce(topic, batch_of([b"c"])) for topic in (DAMAGED, WHOLE)]
    assert [answer.error_code for answer in answers] == [STORAGE_ERROR, 0]
    assert [answer.base_offset for answer in answers] == [-1, 2]


@covers("Fetch", "KAFKA_STORAGE_ERROR")
def test_nothing_is_read_and_nobody_waits(client: RawClient) -> None:
    part = fetch_one(client, DAMAGED, max_wait_ms=60_000, min_bytes=1)
    assert (part.error_code, part.records.size, part.high_watermark) == (STORAGE_ERROR, 0, -1)
    assert fetch_one(client, WHOLE).records.size > 0


@covers("ListOffsets", "KAFKA_STORAGE_ERROR")
@pytest.mark.parametrize("timestamp", [-1, -2, -3, 0])
def test_no_offset_is_listed(client: RawClient, timestamp: int) -> None:
    assert list_one(client, DAMAGED, timestamp).error_code == STORAGE_ERROR
    assert list_one(client, WHOLE, timestamp).error_code == 0


@covers("OffsetForLeaderEpoch", "KAFKA_STORAGE_ERROR")
def test_no_end_of_an_epoch_is_known(client: RawClient) -> None:
    assert epoch_one(client, DAMAGED, leader_epoch=1).error_code == STORAGE_ERROR
    assert epoch_one(client, WHOLE, leader_epoch=1).error_code == 0


@covers("DeleteRecords", "KAFKA_STORAGE_ERROR")
def test_nothing_is_deleted(client: RawClient) -> None:
    ask = delete_records.DeleteRecordsRequest(
        topics=[
            delete_records.DeleteRecordsTopic(
                name=topic, partitions=[delete_records.DeleteRecordsPartition(partition_index=0, offset=1)]
            )
            for topic in (DAMAGED, WHOLE)
        ],
        timeout_ms=5000,
    )
    damaged, whole = (topic.partitions[0] for topic in client.call(delete_records, ask, 2).topics)
    assert (damaged.error_code, damaged.low_watermark) == (STORAGE_ERROR, -1)
    assert (whole.error_code, whole.low_watermark) == (0, 1)
