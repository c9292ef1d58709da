"""Scoreboard R5: garbage behind the header of every API key, known and unknown, costs a connection and no memory."""

import os
import random
import struct
from pathlib import Path

import pytest
from process import BrokerProcess
from rawclient import RawClient, batch_of, frame_of, header_of, is_flexible

from barnabas.server.handlers import SERVED
from barnabas.wire import apis
from barnabas.wire.messages import metadata

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FRAMES = 200
KEYS = range(93)
GROWTH_BYTES_MAX = 256 << 20


def garbage(chance: random.Random, key: int) -> bytes:
    """A frame with a good header most of the time: behind it noise, huge counts, or runs of one byte."""
    api = apis.BY_KEY.get(key)
    version = chance.randint(api.version_min, api.version_max) if api else chance.randrange(4)
    head = header_of(key, version, chance.randrange(2**31))
    if api is not None and is_flexible(key, version):
        head += b"\0"
    size = chance.choice([0, 1, 3, 8, 40, 200, 3000])
    kind = chance.randrange(4)
    if kind == 0:
        body = chance.randbytes(size)
    elif kind == 1:
        body = bytes([chance.choice([0, 1, 2, 0x7F, 0x80, 0xFF])]) * size
    elif kind == 2:
        body = struct.pack(">i", chance.choice([2**31 - 1, -1, 2**24, 65_536])) * (size // 4 + 1)
    else:
        body = (b"\xff\xff\xff\xff\x0f" + chance.randbytes(3)) * (size // 8 + 1)
    frame = head + body
    if chance.random() < 0.1:
        at = chance.randrange(len(frame))
        frame = frame[:at] + bytes((frame[at] ^ 1 << chance.randrange(8),)) + frame[at + 1 :]
    return frame_of(frame)


def is_alive(client: RawClient) -> bool:
    return bool(client.call(metadata, metadata.MetadataRequest(topics=[]), 12).brokers)


def test_garbage_of_every_key_hurts_nobody(tmp_path: Path) -> None:
    seed = int(os.environ.get("BARNABAS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"BARNABAS_SEED={seed}")
    chance = random.Random(seed)
    settings = ("connections.max.idle.ms=600000", "auto.create.topics.enable=false")
    with BrokerProcess(tmp_path, *settings) as broker:
        with RawClient(broker.bootstrap) as sentinel:
            sentinel.create_topic("sentinel")
            for key in SERVED:
                assert is_alive(sentinel), key
            before = broker.peak_rss_bytes()
            for key in KEYS:
                thrown(broker, chance, key)
                assert broker.lives(), f"the broker died of key {key}"
                assert is_alive(sentinel)
                assert sentinel.produce("sentinel", batch_of([b"v"])).error_code == 0
            growth = broker.peak_rss_bytes() - before
        faults = [line for line in broker.lines if "Traceback" in line or "failed" in line]
    assert growth < GROWTH_BYTES_MAX, f"{growth >> 20} MiB"
    assert not faults, faults[:5]


def thrown(broker: BrokerProcess, chance: random.Random, key: int) -> None:
    """A connection takes frames until the broker closes it."""
    client = RawClient(broker.bootstrap)
    try:
        for _ in range(FRAMES):
            try:
                client.send(garbage(chance, key))
            except (ConnectionResetError, BrokenPipeError):
                client.close()
                client = RawClient(broker.bootstrap)
            if chance.random() < 0.3:
                client.close()
                client = RawClient(broker.bootstrap)
    finally:
        client.close()


def test_a_burst_of_big_unfinished_frames_reserves_nothing(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path) as broker, RawClient(broker.bootstrap) as sentinel:
        assert is_alive(sentinel)
        before = broker.peak_rss_bytes()
        clients = [RawClient(broker.bootstrap) for _ in range(100)]
        try:
            for client in clients:
                client.send(struct.pack(">i", 104_857_600) + b"\0\0\0\x0c")
            assert is_alive(sentinel)
            assert broker.peak_rss_bytes() - before < GROWTH_BYTES_MAX
        finally:
            for client in clients:
                client.close()
