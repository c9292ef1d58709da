"""Where keys go, what is tried again, and what is not: canned answers instead of a broker."""

import pytest
from canned import CannedTransport
from kafka.partitioner.default import murmur2 as theirs

from barnabas import errors
from barnabas.client.cluster import Address, Cluster, Refused, Unreachable
from barnabas.client.member import assign_range
from barnabas.client.produce import Producer, murmur2
from barnabas.records.batch import read_header
from barnabas.records.record import Record
from barnabas.wire.messages import init_producer_id, metadata, produce


class Canned(CannedTransport):
    """A broker with one topic of one partition that answers Produce with the given codes, in order; None: no answer."""

    def __init__(self, codes: list[int | None], records_max: int = 0) -> None:
        """records_max: batches of more are too large."""
        super().__init__()
        self.codes = codes
        self.records_max = records_max
        self.sequences: list[int] = []
        self.counts: list[int] = []

    def answer(self, key: int, ask: object, address: Address) -> object:
        if key == 22:
            return init_producer_id.InitProducerIdResponse(producer_id=7, producer_epoch=0)
        if key == 3:
            part = metadata.MetadataResponsePartition(partition_index=0, leader_id=1)
            topic = metadata.MetadataResponseTopic(name="t", partitions=[part])
            broker = metadata.MetadataResponseBroker(node_id=1, host="b", port=1)
            return metadata.MetadataResponse(brokers=[broker], topics=[topic])
        assert isinstance(ask, produce.ProduceRequest)
        records = ask.topic_data[0].partition_data[0].records
        assert records is not None
        batch = read_header(records.to_bytes(), 0)
        self.sequences.append(batch.base_sequence)
        self.counts.append(batch.record_count)
        code = self.codes.pop(0) if self.codes else errors.NONE
        if self.records_max and batch.record_count > self.records_max:
            code = errors.MESSAGE_TOO_LARGE
        if code is None:
            raise Unreachable(address, "cut")
        row = produce.PartitionProduceResponse(index=0, error_code=code)
        return produce.ProduceResponse(
            responses=[produce.TopicProduceResponse(name="t", partition_responses=[row])]
        )


def send_twice(codes: list[int | None], acks: int = -1) -> Canned:
    canned = Canned(codes)
    producer = Producer(Cluster(canned, [("b", 1)]), "t", acks=acks)
    for value in (b"1", b"2"):
        producer.add(Record(None, value, 0))
        producer.flush()
    return canned


@pytest.mark.parametrize("key", [b"", b"a", b"ab", b"abc", b"abcd", b"\xff\xfe\xfd", b"flights of 2013"])
def test_keys_go_where_other_clients_put_them(key: bytes) -> None:
    assert murmur2(key) & 0x7FFFFFFF == theirs(key) & 0x7FFFFFFF


def test_a_batch_tried_again_keeps_its_sequence() -> None:
    passing = [errors.NOT_LEADER_OR_FOLLOWER, None, errors.NONE, errors.DUPLICATE_SEQUENCE_NUMBER]
    canned = send_twice(passing)
    assert (canned.sequences, canned.codes) == ([0, 0, 0, 1], [])
    assert canned.slept > 0


def test_a_final_code_ends_it_at_once() -> None:
    with pytest.raises(Refused) as told:
        send_twice([errors.MESSAGE_TOO_LARGE])
    assert told.value.code == errors.MESSAGE_TOO_LARGE


def test_without_idempotence_a_lost_answer_is_not_tried_again() -> None:
    with pytest.raises(Unreachable):
        send_twice([None, errors.NONE], acks=1)


def test_what_is_too_large_together_goes_in_halves_without_a_gap() -> None:
    canned = Canned([], records_max=2)
    producer = Producer(Cluster(canned, [("b", 1)]), "t")
    for number in range(7):
        producer.add(Record(None, str(number).encode(), 0))
    producer.flush()
    assert (canned.counts, canned.sequences) == ([7, 4, 2, 2, 2, 1], [0, 0, 0, 2, 4, 6])
    assert producer.sent_records == 7


def test_a_record_too_large_by_itself_ends_it_and_keeps_the_count_true() -> None:
    canned = Canned([], records_max=1)
    producer = Producer(Cluster(canned, [("b", 1)]), "t")
    producer.add(Record(None, b"1", 0))
    producer.add(Record(None, b"2", 0))
    canned.codes = [errors.MESSAGE_TOO_LARGE, errors.NONE, errors.MESSAGE_TOO_LARGE]
    with pytest.raises(Refused):
        producer.flush()
    assert (producer.sent_records, producer.unanswered_records) == (1, 0)


class Interrupted(Canned):
    """Ctrl-C comes while the first answer is waited for."""

    def answer(self, key: int, ask: object, address: Address) -> object:
        answer = super().answer(key, ask, address)
        if key == 0 and len(self.counts) == 1:
            raise KeyboardInterrupt
        return answer


@pytest.mark.parametrize(("acks", "counts", "sent", "unanswered"), [(-1, [1, 1], 1, 0), (1, [1], 0, 1)])
def test_what_was_interrupted_is_sent_again_only_if_it_cannot_be_stored_twice(
    acks: int, counts: list[int], sent: int, unanswered: int
) -> None:
    canned = Interrupted([])
    producer = Producer(Cluster(canned, [("b", 1)]), "t", acks=acks)
    producer.add(Record(None, b"1", 0))
    with pytest.raises(KeyboardInterrupt):
        producer.flush()
    assert producer.unanswered_records == 1
    producer.flush()
    assert (canned.counts, producer.sent_records) == (counts, sent)
    assert producer.unanswered_records == unanswered
    assert set(canned.sequences) == {0 if acks == -1 else -1}


def test_batches_that_are_not_full_are_sent_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barnabas.client.produce.HELD_BYTES_MAX", 1000)
    canned = Canned([])
    producer = Producer(Cluster(canned, [("b", 1)]), "t")
    for _ in range(10):
        producer.add(Record(None, b"x" * 400, 0))
    assert canned.counts == [2, 2, 2, 2]


def test_range_gives_runs_that_differ_by_one_at_most() -> None:
    plan = assign_range({"b": ["t"], "a": ["t", "u"], "c": ["t"]}, {"t": 7, "u": 2})
    assert plan == {"a": {"t": [0, 1, 2], "u": [0, 1]}, "b": {"t": [3, 4]}, "c": {"t": [5, 6]}}
