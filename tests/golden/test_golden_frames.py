"""Frames that real clients and Apache Kafka exchanged are read, and written back as the same bytes."""

import re
from pathlib import Path
from typing import Any

import pytest

from barnabas.wire import apis
from barnabas.wire.frame import RequestHeader, request_head, response_body_at, response_head

FRAMES = sorted((Path(__file__).parent / "frames").glob("*.bin"))
KEYS = {row.module: row.key for row in apis.BY_KEY.values()}
FRAMES_BYTES_MAX = 1_500_000


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_a_captured_frame_is_read_and_written_back(path: Path) -> None:
    match = re.fullmatch(r"(\w+)-v(\d+)-(request|response)-(\w+)\.bin", path.name)
    assert match
    key, version, frame = KEYS[match[1]], int(match[2]), path.read_bytes()
    module: Any = apis.load(key)
    if match[3] == "request":
        header = RequestHeader(frame)
        assert (header.key, header.version) == (key, version)
        body_at = header.body_at
        assert header.client_id is not None
        head = request_head(key, version, header.correlation_id, header.client_id, len(frame) - body_at)
        written = module.encode_request(module.decode_request(frame, body_at, version), version)
    else:
        body_at = response_body_at(key, version, frame)
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        head = response_head(correlation_id, key, version, len(frame) - body_at)
        written = module.encode_response(module.decode_response(frame, body_at, version), version)
    assert len(frame).to_bytes(4, "big") + frame[:body_at] == head
    assert frame[body_at:] == written


def test_there_are_frames_of_every_client_in_both_directions() -> None:
    for client in ("librdkafka", "kafka_python", "aiokafka", "java"):
        for direction in ("request", "response"):
            for api in ("metadata", "produce", "fetch", "join_group", "offset_commit", "api_versions"):
                assert any(
                    path.name.startswith(f"{api}-v") and path.name.endswith(f"-{direction}-{client}.bin")
                    for path in FRAMES
                ), (client, direction, api)
    assert sum(path.stat().st_size for path in FRAMES) < FRAMES_BYTES_MAX
