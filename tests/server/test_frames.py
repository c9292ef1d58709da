"""What a peer may send that is no request: which frames close their connection, and which are answered all the same.

The list was observed on Apache Kafka 4.3; the fixture `sentinel` asks, after each test, whether others noticed.
"""

import struct

import pytest
from librt.strings import BytesWriter
from rawclient import RawClient, batch_of, frame_of, header_of, produce_request

import barnabas
import barnabas.wire.messages.describe_cluster
from barnabas import errors
from barnabas.server.handlers import SERVED, describe_cluster
from barnabas.server.handlers import produce as produce_handler
from barnabas.wire import apis, messages
from barnabas.wire.messages import api_versions, metadata, produce

API_VERSIONS = 18
METADATA = 3
REQUEST_BYTES_MAX = 104_857_600
METADATA_BODY_V0 = b"\0\0\0\0"
METADATA_BODY_V12 = b"\x01\0\0\0"

CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\x20" + bytes(160)


@pytest.mark.parametrize("size", [0, -1, -2, -(2**31), REQUEST_BYTES_MAX + 1, 2**31 - 1])
def test_a_frame_size_that_cannot_be_closes(client: RawClient, size: int) -> None:
    client.send(struct.pack(">i", size) + b"\0\x12\0\0")
    assert client.is_closed_by_peer()


def test_the_largest_size_is_no_error_and_reserves_nothing(
    client: RawClient, broker: barnabas.Broker
) -> None:
    client.send(struct.pack(">i", REQUEST_BYTES_MAX) + b"\0\x12")
    with RawClient(broker.bootstrap) as other:
        assert other.call(metadata, metadata.MetadataRequest(topics=[]), 12).brokers
    client.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.is_closed_by_peer()


@pytest.mark.parametrize("size", range(1, 9))
def test_a_header_cut_short_closes(client: RawClient, size: int) -> None:
    client.send(frame_of(header_of(METADATA, 0, client_id=None)[:size]))
    assert client.is_closed_by_peer()


def test_a_client_id_longer_than_its_frame_closes(client: RawClient) -> None:
    client.send(frame_of(struct.pack(">hhih", METADATA, 0, 1, 100) + b"short"))
    assert client.is_closed_by_peer()


@pytest.mark.parametrize(
    "tags", [b"\x01\x00\x7f", b"\x05", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff", b""]
)
def test_header_tags_that_do_not_fit_close(client: RawClient, tags: bytes) -> None:
    client.send(frame_of(header_of(METADATA, 12) + tags))
    assert client.is_closed_by_peer()


@pytest.mark.parametrize(
    "client_id",
    [None, b"", b"\xff\xfe\x80 not UTF-8", b"c" * 32_767],
    ids=["null", "empty", "not-utf8", "longest"],
)
def test_odd_client_ids_are_answered(client: RawClient, client_id: bytes | None) -> None:
    client.send(frame_of(header_of(METADATA, 0, 5, client_id) + METADATA_BODY_V0))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\x05"
    assert metadata.decode_response(frame, 4, 0).brokers


def test_a_client_id_of_length_minus_two_is_null(client: RawClient) -> None:
    client.send(frame_of(struct.pack(">hhih", METADATA, 0, 9, -2) + METADATA_BODY_V0))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\x09"


def test_unknown_tags_in_a_header_are_skipped(client: RawClient) -> None:
    client.send(frame_of(header_of(METADATA, 12, 6) + b"\x02\x63\x03abc\x64\x00" + METADATA_BODY_V12))
    frame = client.read_frame()
    assert frame is not None
    assert metadata.decode_response(frame, 5, 12).brokers


@pytest.mark.parametrize("key", [-1, 4, 5, 6, 7, 93, 1000, 32_767, -32_768])
def test_an_unknown_key_closes(client: RawClient, key: int) -> None:
    client.send(frame_of(header_of(key, 0) + b"\0\0\0\0"))
    assert client.is_closed_by_peer()


@pytest.mark.parametrize("key", sorted(set(apis.BY_KEY) - set(SERVED)))
def test_a_key_that_is_not_served_closes(client: RawClient, key: int) -> None:
    api = apis.BY_KEY[key]
    tags = b"\0" if api.version_max >= api.flexible_from else b""
    client.send(frame_of(header_of(key, api.version_max) + tags + bytes(8)))
    assert client.is_closed_by_peer()


@pytest.mark.parametrize("key", sorted(set(SERVED) - {API_VERSIONS}))
@pytest.mark.parametrize("step", ["above", "below"])
def test_a_version_that_is_not_served_closes(client: RawClient, key: int, step: str) -> None:
    api = apis.BY_KEY[key]
    version = api.version_max + 1 if step == "above" else api.version_min - 1
    client.send(frame_of(header_of(key, version) + bytes(16)))
    assert client.is_closed_by_peer()


@pytest.mark.parametrize("version", [5, 99, 32_767, -1])
def test_api_versions_alone_steps_down(client: RawClient, version: int) -> None:
    client.send(frame_of(header_of(API_VERSIONS, version, 77) + b"\0\x02x\x02y\0"))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\x4d"
    answer = api_versions.decode_response(frame, 4, 0)
    assert len(frame) == 4 + len(api_versions.encode_response(answer, 0))
    assert answer.error_code == 35
    assert [row.api_key for row in answer.api_keys] == [API_VERSIONS]
    assert (answer.api_keys[0].min_version, answer.api_keys[0].max_version) == (0, 4)
    ask = api_versions.ApiVersionsRequest(client_software_name="raw", client_software_version="1")
    assert client.call(api_versions, ask, 4).error_code == 0


@pytest.mark.parametrize("name", ["", " raw", "raw ", "-raw", "r aw", "ra/w", "räw"])
def test_a_bad_software_name_is_an_invalid_request(client: RawClient, name: str) -> None:
    ask = api_versions.ApiVersionsRequest(client_software_name=name, client_software_version="1")
    assert client.call(api_versions, ask, 3).error_code == 42
    ask = api_versions.ApiVersionsRequest(client_software_name="raw", client_software_version=name)
    assert client.call(api_versions, ask, 3).error_code == 42


def test_a_tls_hello_on_a_plain_port_closes(client: RawClient) -> None:
    client.send(CLIENT_HELLO)
    assert client.is_closed_by_peer()


def test_an_http_request_closes(client: RawClient) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.is_closed_by_peer()


@pytest.mark.parametrize("key", sorted(SERVED))
def test_a_body_cut_short_closes_or_is_answered(client: RawClient, key: int) -> None:
    """Never mute, and never another's trouble. Only a body that can be empty is answered."""
    api = apis.BY_KEY[key]
    tags = b"\0" if api.version_max >= api.flexible_from else b""
    client.send(frame_of(header_of(key, api.version_max, 3) + tags))
    frame = client.read_frame()
    assert frame is None or frame[:4] == b"\0\0\0\x03"


def test_what_came_before_a_bad_frame_is_answered(client: RawClient) -> None:
    good = frame_of(header_of(METADATA, 0, 21) + METADATA_BODY_V0)
    client.send(good + struct.pack(">i", -5))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\x15"
    assert client.is_closed_by_peer()


@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_cut_frame_behind_a_produce_waits_for_its_answer(client: RawClient, size: int) -> None:
    body = produce.encode_request(produce_request("plain", batch_of([b"v"])), 8)
    client.send(frame_of(header_of(0, 8, 31) + body) + frame_of(bytes(size)))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\x1f"
    assert client.is_closed_by_peer()


def test_a_request_byte_by_byte_is_answered_once(client: RawClient) -> None:
    for byte in frame_of(header_of(METADATA, 0, 22) + METADATA_BODY_V0):
        client.send(bytes((byte,)))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\x16"
    client.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.is_closed_by_peer()


def test_replies_keep_the_order_of_a_thousand_pipelined_requests(client: RawClient) -> None:
    client.send(b"".join(frame_of(header_of(METADATA, 0, n) + METADATA_BODY_V0) for n in range(1000)))
    for number in range(1000):
        frame = client.read_frame()
        assert frame is not None
        assert int.from_bytes(frame[:4], "big") == number


def test_bytes_behind_the_last_field_are_no_reason_to_stay_mute(client: RawClient) -> None:
    client.send(frame_of(header_of(METADATA, 0, 8) + METADATA_BODY_V0 + b"surplus"))
    frame = client.read_frame()
    assert frame is None or frame[:4] == b"\0\0\0\x08"


@pytest.mark.parametrize("version", [10, 11, 12, 13])
def test_a_topic_id_nobody_knows_is_answered_in_every_version(client: RawClient, version: int) -> None:
    """Before v12 topics do not go by ids, and the answer's name may not be null."""
    named = bytes(b"\x02" + bytes(range(1, 17)) + b"\x00\x00")
    flags = b"\0\0\0" if version == 10 else b"\0\0"
    client.send(frame_of(header_of(METADATA, version, 4) + b"\0" + named + flags + b"\0"))
    frame = client.read_frame()
    assert frame is not None
    (topic,) = metadata.decode_response(frame, 5, version).topics
    code = errors.UNKNOWN_TOPIC_ID if version >= 12 else errors.INVALID_REQUEST
    assert (topic.error_code, topic.topic_id, topic.name or "") == (code, bytes(range(1, 17)), "")


def test_an_unacknowledged_produce_that_fails_closes(client: RawClient) -> None:
    client.post(produce, produce_request("absent", b"", acks=0), 9)
    assert client.is_closed_by_peer()


def test_an_answer_that_cannot_be_written_ends_its_connection_behind_those_before(
    client: RawClient, broker: barnabas.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Produce waits for its commit, and is written when it is sent."""
    wrote = 0

    def write(out: BytesWriter, response: produce.ProduceResponse, version: int) -> None:
        nonlocal wrote
        wrote += 1
        produce.write_response(out, response, version)
        if wrote == 2:
            raise RuntimeError("a bug of ours")

    monkeypatch.setattr(produce_handler.API, "_write", write)
    body = produce.encode_request(produce_request("plain", batch_of([b"v"])), 8)
    client.send(b"".join([frame_of(header_of(0, 8, number) + body) for number in range(3)]))
    frame = client.read_frame()
    assert frame is not None
    assert frame[:4] == b"\0\0\0\0"
    assert produce.decode_response(frame, 4, 8).responses[0].partition_responses[0].error_code == 0
    assert client.is_closed_by_peer()
    with RawClient(broker.bootstrap) as other:
        assert other.call(produce, produce_request("plain", batch_of([b"v"])), 8).responses


def test_an_error_of_a_handlers_own_costs_one_connection(
    client: RawClient, broker: barnabas.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(describe_cluster.API, "_handle", fails)
    client.post(messages.describe_cluster, messages.describe_cluster.DescribeClusterRequest(), 0)
    assert client.is_closed_by_peer()
    monkeypatch.undo()
    with RawClient(broker.bootstrap) as other:
        ask = messages.describe_cluster.DescribeClusterRequest()
        assert other.call(messages.describe_cluster, ask, 0).error_code == 0
