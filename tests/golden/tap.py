"""A TCP proxy between a Kafka client and a broker that keeps one small frame of each API, version, direction and client.

Frames are kept as they came, without their size: api-vVERSION-request|response-CLIENT.bin. Addresses of brokers in
answers are rewritten on their way to the client, so that it stays on the tap. Run by capture.py.
"""

import asyncio
from pathlib import Path
from typing import Any

from barnabas.wire import apis
from barnabas.wire.frame import FrameReader, RequestHeader, response_body_at
from barnabas.wire.primitives import Message, field_names

FRAME_BYTES_MAX = 100 << 20
KEPT_BYTES_MAX = 1200
RECEIVED_BYTES = 1 << 16
API_VERSIONS = 18
UNSUPPORTED_VERSION = b"\x00\x23"


class Tap:
    """One broker behind one listening port."""

    def __init__(self, kafka: tuple[str, int], folder: Path) -> None:
        self.kafka = kafka
        self.folder = folder
        self.client = "unnamed"
        self.port = 0

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(*self.kafka)
        asked: dict[int, tuple[int, int]] = {}
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
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        frames = FrameReader(FRAME_BYTES_MAX)
        while received := await reader.read(RECEIVED_BYTES):
            for frame in frames.feed(memoryview(received)):
                header = RequestHeader(frame)
                asked[header.correlation_id] = header.key, header.version
                self.keep(header.key, header.version, "request", frame)
            writer.write(received)
            await writer.drain()
        writer.close()

    async def responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        frames = FrameReader(FRAME_BYTES_MAX)
        while received := await reader.read(RECEIVED_BYTES):
            for frame in frames.feed(memoryview(received)):
                key, version = asked.pop(int.from_bytes(frame[:4], "big", signed=True))
                if key == API_VERSIONS and frame[4:6] == UNSUPPORTED_VERSION:
                    version = 0
                self.keep(key, version, "response", frame)
                sent = self.readdressed(key, version, frame)
                writer.write(len(sent).to_bytes(4, "big") + sent)
            await writer.drain()
        writer.close()

    def keep(self, key: int, version: int, direction: str, frame: bytes) -> None:
        """The largest of the small ones says the most; a large one is kept until a smaller one comes."""
        name = f"{apis.BY_KEY[key].module}-v{version}-{direction}-{self.client}.bin"
        path = self.folder / name
        known = path.stat().st_size if path.exists() else None
        if known is None or (
            known < len(frame) <= KEPT_BYTES_MAX or (known > KEPT_BYTES_MAX and len(frame) < known)
        ):
            path.write_bytes(frame)

    def readdressed(self, key: int, version: int, frame: bytes) -> bytes:
        module = apis.load(key)
        at = response_body_at(key, version, frame)
        message = module.decode_response(frame, at, version)
        if not self.readdress(message):
            return frame
        return frame[:at] + bytes(module.encode_response(message, version))

    def readdress(self, value: Any) -> bool:
        """Whether there was an address of the broker in value; it is the tap's now."""
        if isinstance(value, list):
            return True in [self.readdress(item) for item in value]
        if not isinstance(value, Message):
            return False
        changed = True in [self.readdress(getattr(value, name)) for name in field_names(type(value))]
        if getattr(value, "port", None) == self.kafka[1]:
            value.port = self.port  # type: ignore[attr-defined]
            return True
        return changed
