"""`compression.type` of a topic: what is told and kept of batches of another codec (recoding.py has the scripts)."""

import pytest
import recoding
from rawclient import RawClient, produce_request
from recoding import FIRST_MS, LARGE, RECORDS, TARGETS, Kept, Told
from trouble import on_loop, partition_of

import barnabas
from barnabas import errors
from barnabas.records.batch import CODECS
from barnabas.records.record import Record, build_batch
from barnabas.wire.messages import produce


def values(records: list[Record], first: int) -> list[tuple[object, ...]]:
    return [
        (each.key, each.value, each.timestamp, each.headers, first + number)
        for number, each in enumerate(records)
    ]


def test_every_codec_becomes_the_topics(client: RawClient) -> None:
    found = dict(recoding.every_codec_to_every_other(client, "all"))
    for target in TARGETS:
        kept: list[Kept] = found.pop(f"kept as {target}")  # type: ignore[assignment]
        sent = [(records, name) for records in (RECORDS, LARGE) for name in CODECS]
        assert [each.codec for each in kept] == [
            {"producer": name, "uncompressed": "none"}.get(target, target) for _, name in sent
        ]
        first = 0
        for each, (records, _) in zip(kept, sent, strict=True):
            assert each.values == values(records, first), (target, each.codec)
            assert (each.base_offset, each.count) == (first, len(records))
            assert each.max_ms == max(record.timestamp for record in records)
            first += len(records)
    assert all(told == Told(0, told.base_offset, False) for told in found.values() if isinstance(told, Told))


def test_sequences_are_checked_of_what_was_compressed_anew(client: RawClient) -> None:
    *told, (_, kept) = recoding.sequences(client, "ours")
    assert [answer for _, answer in told] == [
        Told(0, 0, False),
        Told(0, 40, False),
        Told(0, 0, True),
        Told(errors.OUT_OF_ORDER_SEQUENCE_NUMBER, -1, False),
        Told(0, 80, False),
        Told(0, 120, False),
        Told(errors.INVALID_PRODUCER_EPOCH, -1, False),
    ]
    assert isinstance(kept, list)
    assert [each.codec for each in kept] == ["zstd"] * 4
    assert [each.producer for each in kept] == [(4000, 0, 0), (4000, 0, 40), (4000, 0, 80), (4000, 1, 0)]


def test_the_brokers_time_and_the_topics_codec_go_together(client: RawClient) -> None:
    *told, (_, kept) = recoding.append_time(client, "ours")
    assert [answer for _, answer in told] == [Told(0, 3 * number, True) for number in range(5)]
    assert isinstance(kept, list)
    assert [(each.codec, each.attributes, each.max_ms) for each in kept] == [("gzip", 0b1001, 1)] * 5


def test_the_largest_batch_counts_before_and_after(client: RawClient) -> None:
    found = dict(recoding.sizes(client, "ours"))
    for target, code, offsets in (
        ("uncompressed", errors.MESSAGE_TOO_LARGE, [0]),
        ("lz4", 0, [0, 40]),
    ):
        assert found[f"large as sent, to {target}"] == Told(errors.MESSAGE_TOO_LARGE, -1, False)
        assert found[f"small as sent, to {target}"] == Told(code, -1 if code else 0, False)
        assert found[f"kept as {target}"] == offsets


def test_records_of_a_compacted_topic_need_keys(client: RawClient) -> None:
    (_, keyless), (_, keyed), (_, kept) = recoding.compacted(client, "ours")
    assert keyless == Told(errors.INVALID_RECORD, -1, False)
    assert (keyed, kept) == (Told(0, 0, False), [("snappy", 0)])


def test_the_max_timestamp_is_the_records_own(client: RawClient) -> None:
    (_, told), (_, kept) = recoding.a_wrong_max_timestamp(client, "ours")
    assert (told, kept) == (Told(0, 0, False), [FIRST_MS + 7])


@pytest.mark.parametrize("size", [512, 50_000], ids=["on the loop", "in the thread"])
@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5])
def test_what_does_not_open_is_refused_and_the_next_batch_is_taken(
    client: RawClient, codec: int, size: int
) -> None:
    topic = f"garbage-{codec}-{size}"
    client.create_topic(topic, compression_type="gzip" if codec != 1 else "zstd")
    assert recoding.send(client, topic, recoding.garbage(codec, size)).code == errors.INVALID_RECORD
    assert recoding.send(client, topic, build_batch(RECORDS)) == Told(0, 0, False)


@pytest.mark.parametrize("size", [10, 50_000], ids=["on the loop", "in the thread"])
def test_the_records_at_fault_are_named_whoever_opened_the_batch(client: RawClient, size: int) -> None:
    topic = f"keyless-{size}"
    client.create_topic(topic, compression_type="gzip", cleanup_policy="compact")
    records = [Record(key, b"v" * size, FIRST_MS) for key in (b"k", None, b"k", None)]
    answer = client.produce(topic, build_batch(records, codec=4))
    assert answer.error_code == errors.INVALID_RECORD
    assert [each.batch_index for each in answer.record_errors] == [1, 3]


def test_one_without_an_answer_closes_its_connection_when_it_is_refused(
    client: RawClient, sentinel: RawClient
) -> None:
    client.create_topic("silent-refusal", compression_type="gzip")
    client.post(produce, produce_request("silent-refusal", recoding.garbage(3, 50_000), acks=0), 12)
    assert client.is_closed_by_peer()
    with_answer = recoding.send(sentinel, "silent-refusal", build_batch(LARGE))
    assert with_answer == Told(0, 0, False)


def test_a_broker_in_this_process_compresses_what_it_produces(broker: barnabas.Broker) -> None:
    broker.create_topic("own", config={"compression.type": "zstd"})
    large = "x" * 100_000
    assert [broker.produce("own", large), broker.produce("own", "small")] == [0, 1]
    assert [message.value for message in broker.records("own")] == [large, "small"]
    partition = partition_of(broker, "own")
    assert partition.log.size_bytes < 1_000
    on_loop(broker, lambda: None)
    assert broker._node.partitions.uncommitted.bytes == 0


def test_the_brokers_option_counts_where_a_topic_has_none() -> None:
    with barnabas.Broker(config={"compression.type": "lz4", "compression.lz4.level": 1}) as broker:
        broker.create_topic("t")
        options = partition_of(broker, "t").options
        assert (options.compression_codec, options.compression_level) == (3, 1)
        broker.create_topic("u", config={"compression.type": "producer"})
        assert partition_of(broker, "u").options.compression_codec == -1
