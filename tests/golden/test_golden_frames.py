"""Frames that real clients and Apache Kafka exchanged are read, and written back as the same bytes."""

from typing import Any

import pytest
from frame_files import FOLDER, Frame, advertised_pairs, read_frames

from barnabas.server import handlers
from barnabas.wire import apis
from barnabas.wire.frame import RequestHeader, request_head, response_body_at, response_head

FRAMES = read_frames()
KEYS = {row.module: row.key for row in apis.BY_KEY.values()}
FRAME_BYTES_MAX = 4096
FOLDER_BYTES_MAX = 300_000
WITHOUT_CODEC = {(0, 0), (0, 1), (0, 2)}
"""Produce v0-2 are advertised for old librdkafka's sake; Kafka itself can neither read nor write them."""

BETWEEN_BROKERS = {
    27: "WriteTxnMarkers",
    83: "InitializeShareGroupState",
    84: "ReadShareGroupState",
    85: "WriteShareGroupState",
    86: "DeleteShareGroupState",
    87: "ReadShareGroupStateSummary",
}
"""No client asks these in its work; the tap sees them because the broker speaks to itself through it."""

TO_CONTROLLERS = {
    "allocate_producer_ids",
    "assign_replicas_to_dirs",
    "broker_heartbeat",
    "broker_registration",
    "controller_registration",
    "envelope",
}
NEVER_SEEN = {
    "alter_partition": "needs a second replica",
    "begin_quorum_epoch": "needs a second controller",
    "end_quorum_epoch": "needs a second controller",
    "fetch_snapshot": "needs a second controller",
    "update_raft_voter": "needs a second controller",
    "vote": "needs a second controller",
}
"""These are not advertised to clients, and one node does not use them."""


@pytest.mark.parametrize("api", sorted({frame.api for frame in FRAMES}))
def test_the_captured_frames_of_an_api_are_read_and_written_back(api: str) -> None:
    for frame in FRAMES:
        if frame.api == api:
            is_read_and_written_back(frame)


def is_read_and_written_back(frame: Frame) -> None:
    key, version, content = KEYS[frame.api], frame.version, frame.content
    module: Any = apis.load(key)
    if frame.direction == "request":
        header = RequestHeader(content)
        assert (header.key, header.version) == (key, version)
        body_at = header.body_at
        assert header.client_id is not None
        head = request_head(key, version, header.correlation_id, header.client_id, len(content) - body_at)
        written = module.encode_request(module.decode_request(content, body_at, version), version)
    else:
        body_at = response_body_at(key, version, content)
        correlation_id = int.from_bytes(content[:4], "big", signed=True)
        head = response_head(correlation_id, key, version, len(content) - body_at)
        written = module.encode_response(module.decode_response(content, body_at, version), version)
    assert len(content).to_bytes(4, "big") + content[:body_at] == head
    assert content[body_at:] == written


def test_there_are_frames_of_every_client_in_both_directions() -> None:
    seen = {(frame.client, frame.direction, frame.api) for frame in FRAMES}
    for client in ("librdkafka", "kafka_python", "aiokafka", "java"):
        for direction in ("request", "response"):
            for api in ("metadata", "produce", "fetch", "join_group", "offset_commit", "api_versions"):
                assert (client, direction, api) in seen


@pytest.mark.parametrize("direction", ["request", "response"])
def test_every_version_that_kafka_advertises_has_a_frame(direction: str) -> None:
    seen = {(KEYS[frame.api], frame.version) for frame in FRAMES if frame.direction == direction}
    advertised = set(advertised_pairs(FRAMES))
    assert len(advertised) == 280
    assert advertised - seen == WITHOUT_CODEC
    assert {apis.BY_KEY[key].module for key, _ in seen - advertised} == TO_CONTROLLERS


def test_every_version_that_we_serve_has_a_frame_of_a_client() -> None:
    seen = {(KEYS[frame.api], frame.version) for frame in FRAMES if frame.client != "broker"}
    served = {
        (key, version)
        for key in handlers.SERVED
        for version in range(apis.BY_KEY[key].version_min, apis.BY_KEY[key].version_max + 1)
    }
    assert served - seen == {(22, 6)}, "InitProducerId v6 is unstable in Kafka 4.3 and not advertised"


def test_what_has_no_frame_is_listed_with_its_reason() -> None:
    assert {row.module for row in apis.BY_KEY.values()} - {frame.api for frame in FRAMES} == set(NEVER_SEEN)
    assert {apis.BY_KEY[key].name for key in BETWEEN_BROKERS} == set(BETWEEN_BROKERS.values())
    assert BETWEEN_BROKERS.keys() <= {KEYS[frame.api] for frame in FRAMES if frame.client == "broker"}


def test_the_frames_stay_small() -> None:
    assert [str(frame) for frame in FRAMES if len(frame.content) > FRAME_BYTES_MAX] == []
    assert sum(path.stat().st_size for path in FOLDER.glob("*.txt")) < FOLDER_BYTES_MAX
