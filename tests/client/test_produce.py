"""Where keys go, what is tried again, and what is not: canned answers instead of a broker."""

import pytest
from kafka.partitioner.default import murmur2 as theirs

from barnabas import errors
from barnabas.client.cluster import Address, Cluster, Refused, Unreachable
from barnabas.client.groups import assign_range
from barnabas.client.produce import Producer, murmur2
from barnabas.records.batch import read_header
from barnabas.records.record import Record
from barnabas.wire import apis
from barnabas.wire.frame import RequestHeader
from barnabas.wire.messages import api_versions, init_producer_id, metadata, produce


class Canned:
    """A broker with one topic of one partition that answers Produce with the given codes, in order; None: no answer."""

    def __init__(self, codes: list[int | None]) -> None:
        self.codes = codes
        self.sequences: list[int] = []
        self.slept = 0

    def exchange(self, address: Address, frame: bytes, answered: bool) -> bytes:
        header = RequestHeader(frame[4:])
        module = apis.load(header.key)
        ask = module.decode_request(frame[4:], header.body_at, header.version)
        reply = self._answer(header.key, ask, address)
        head = header.correlation_id.to_bytes(4, "big")
        if header.key != 18 and header.version >= apis.BY_KEY[header.key].flexible_from:
            head += b"\x00"
        return head + module.encode_response(reply, header.version)

    def _answer(self, key: int, ask: object, address: Address) -> object:
        if key == 18:
            rows = [
                api_versions.ApiVersion(
                    api_key=row.key, min_version=row.version_min, max_version=row.version_max
                )
                for row in apis.BY_KEY.values()
            ]
            return api_versions.ApiVersionsResponse(api_keys=rows)
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
        self.sequences.append(read_header(records.to_bytes(), 0).base_sequence)
        code = self.codes.pop(0)
        if code is None:
            raise Unreachable(address, "cut")
        row = produce.PartitionProduceResponse(index=0, error_code=code)
        return produce.ProduceResponse(
            responses=[produce.TopicProduceResponse(name="t", partition_responses=[row])]
        )

    def forget(self, address: Address) -> None:
        pass

    def sleep_ms(self, wait_ms: int) -> None:
        self.slept += wait_ms

    def wall_ms(self) -> int:
        return 0


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


def test_range_gives_runs_that_differ_by_one_at_most() -> None:
    plan = assign_range({"b": ["t"], "a": ["t", "u"], "c": ["t"]}, {"t": 7, "u": 2})
    assert plan == {"a": {"t": [0, 1, 2], "u": [0, 1]}, "b": {"t": [3, 4]}, "c": {"t": [5, 6]}}
