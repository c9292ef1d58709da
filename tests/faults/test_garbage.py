"""Scoreboard R5: garbage of every API key, known and unknown, and requests that are nearly right, cost a connection at most.

BARNABAS_SEED repeats a run; BARNABAS_FUZZ_ROUNDS=500 makes the second test one of about ten minutes.
"""

import os
import random
import socket
import struct
from pathlib import Path

import pytest
from mutations import MAY_WAIT, REQUESTS, TOPIC, Mutator, damaged_batch, pieces
from process import BrokerProcess
from rawclient import RawClient, batch_of, frame_of, header_of, is_flexible

from barnabas.server.handlers import SERVED
from barnabas.wire import apis
from barnabas.wire.messages import metadata

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FRAMES = 200
KEYS = range(93)
ROUNDS = int(os.environ.get("BARNABAS_FUZZ_ROUNDS") or 12)
GROWTH_BYTES_MAX = 256 << 20
API_VERSIONS = 18
PROBE = 0x5EED
PATIENCE_S = 20.0
GLANCE_S = 0.05
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


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


def seeded() -> random.Random:
    seed = int(os.environ.get("BARNABAS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"BARNABAS_SEED={seed}")
    return random.Random(seed)


def test_garbage_of_every_key_hurts_nobody(tmp_path: Path) -> None:
    chance = seeded()
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


class Thrower:
    """Connections that take requests of one API until the broker closes them, each request behind the other's answer."""

    def __init__(self, bootstrap: str, chance: random.Random) -> None:
        self._bootstrap = bootstrap
        self._chance = chance
        self._mutator = Mutator(chance)
        self._client: RawClient | None = None

    def throw(self, key: int, version: int) -> None:
        """Up to five frames, cut anywhere. AssertionError when the connection is neither answered nor closed."""
        sent = b"".join(
            self._mutator.frame(key, version, at) for at in range(self._chance.choice((1, 1, 2, 5)))
        )
        may_wait = key in MAY_WAIT or self._mutator.wrong_sizes > 0
        self._mutator.wrong_sizes = 0
        client = self._client = self._client or RawClient(self._bootstrap)
        client.socket.settimeout(GLANCE_S if may_wait else PATIENCE_S)
        try:
            for piece in pieces(self._chance, sent):
                client.send(piece)
            if self._chance.random() < 0.05:
                self.drop()
                return
            client.send(frame_of(header_of(API_VERSIONS, 0, PROBE)))
            while (frame := client.read_frame()) is not None:
                if int.from_bytes(frame[:4], "big") == PROBE:
                    return
        except TimeoutError:
            assert may_wait, f"API {key} v{version} is not answered: {sent.hex()}"
        except (ConnectionResetError, BrokenPipeError):
            pass
        self.drop()

    def drop(self) -> None:
        """With a reset, for the ports of many thousand connections must be free again at once."""
        if self._client is not None:
            self._client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            self._client.close()
            self._client = None


@pytest.mark.timeout(3_000)
def test_requests_that_are_nearly_right_hurt_nobody(tmp_path: Path) -> None:
    chance = seeded()
    settings = ("connections.max.idle.ms=600000", "auto.create.topics.enable=false")
    with BrokerProcess(tmp_path, *settings, "group.min.session.timeout.ms=1") as broker:
        with RawClient(broker.bootstrap) as sentinel:
            sentinel.create_topic("sentinel")
            sentinel.create_topic(TOPIC, 2)
            thrower = Thrower(broker.bootstrap, chance)
            for key, version in REQUESTS:
                thrower.throw(key, version)
            before = broker.peak_rss_bytes()
            for number in range(ROUNDS):
                for key, version in REQUESTS:
                    thrower.throw(key, version)
                answer = sentinel.produce("sentinel", batch_of([b"v"]))
                assert (answer.error_code, answer.base_offset) == (0, number)
                sentinel.produce(TOPIC, damaged_batch(chance))
                assert is_alive(sentinel) and broker.lives()
            thrower.drop()
            growth = broker.peak_rss_bytes() - before
        faults = [line for line in broker.lines if "Traceback" in line or "failed" in line]
    assert growth < GROWTH_BYTES_MAX, f"{growth >> 20} MiB"
    assert not faults, faults[:5]


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
