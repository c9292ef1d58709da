"""A TCP proxy between Kafka clients and a broker that keeps one small frame of each API, version, direction and client.

The broker advertises the tap's address, so that clients stay on it. To see old versions in use, a tap can tell clients
that the broker knows none newer: it lowers what the answers to ApiVersions say. Run by capture.py.
"""

import asyncio

from frame_files import Frame

from barnabas.wire import apis
from barnabas.wire.frame import FrameReader, RequestHeader, response_body_at

FRAME_BYTES_MAX = 100 << 20
KEPT_BYTES_MAX = 1200
RECEIVED_BYTES = 1 << 16
API_VERSIONS = 18
UNSUPPORTED_VERSION = b"\x00\x23"
OLDEST_IN_USE = {10: 2, 17: 1}
"""Versions of FindCoordinator and SaslHandshake that no client of today goes below."""


class Kept:
    """The best frame so far of each kind."""

    def __init__(self) -> None:
        self.by_kind: dict[tuple[str, int, str, str], bytes] = {}

    def frames(self) -> list[Frame]:
        return [Frame(*kind, content) for kind, content in self.by_kind.items()]

    def add(self, key: int, version: int, direction: str, client: str, frame: bytes) -> None:
        """The largest of the small ones says the most; a large one is kept until a smaller one comes."""
        kind = apis.BY_KEY[key].module, version, direction, client
        known = self.by_kind.get(kind)
        if (
            known is None
            or len(known) < len(frame) <= KEPT_BYTES_MAX
            or (len(known) > KEPT_BYTES_MAX and len(frame) < len(known))
        ):
            self.by_kind[kind] = frame


class Tap:
    """One listener of a broker behind one listening port."""

    def __init__(self, port: int, kafka_port: int, kept: Kept, client: str) -> None:
        self.port = port
        self.kafka_port = kafka_port
        self.kept = kept
        self.client = client
        self.versions_back = 0
        """How many versions of each API the broker seems not to have; the oldest is always left."""

    async def listen(self) -> None:
        await asyncio.start_server(self.connected, "127.0.0.1", self.port)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self.kafka_port)
        except OSError:
            writer.close()  # as a broker that is not up: clients try again
            return
        asked: dict[int, tuple[int, int, str]] = {}
        ends = (
            self.requests(reader, broker_writer, asked),
            self.responses(broker_reader, writer, asked),
        )
        try:
            await asyncio.gather(*ends)
        except OSError:
            pass  # an end went away in the middle of a frame: what is kept stays
        finally:
            for each in (broker_writer, writer):
                each.close()

    async def requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: dict[int, tuple[int, int, str]],
    ) -> None:
        frames = FrameReader(FRAME_BYTES_MAX)
        while received := await reader.read(RECEIVED_BYTES):
            for frame in frames.feed(memoryview(received)):
                header = RequestHeader(frame)
                asked[header.correlation_id] = header.key, header.version, self.client
                self.kept.add(header.key, header.version, "request", self.client, frame)
            writer.write(received)
            await writer.drain()
        writer.close()

    async def responses(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: dict[int, tuple[int, int, str]],
    ) -> None:
        frames = FrameReader(FRAME_BYTES_MAX)
        while received := await reader.read(RECEIVED_BYTES):
            for frame in frames.feed(memoryview(received)):
                key, version, client = asked.pop(int.from_bytes(frame[:4], "big", signed=True))
                sent = frame
                if key == API_VERSIONS:
                    version = 0 if frame[4:6] == UNSUPPORTED_VERSION else version
                    sent = self.lowered(version, frame)
                self.kept.add(key, version, "response", client, frame)
                writer.write(len(sent).to_bytes(4, "big") + sent)
            await writer.drain()
        writer.close()

    def lowered(self, version: int, frame: bytes) -> bytes:
        if not self.versions_back:
            return frame
        at = response_body_at(API_VERSIONS, version, frame)
        module = apis.load(API_VERSIONS)
        message = module.decode_response(frame, at, version)
        message.finalized_features = []  # transactions of today need the versions of today
        message.finalized_features_epoch = -1
        for row in message.api_keys:
            oldest = OLDEST_IN_USE.get(row.api_key, row.min_version)
            row.max_version = max(oldest, row.max_version - self.versions_back)
        return frame[:at] + bytes(module.encode_response(message, version))
