"""A connection's bytes ↔ frames. Sans-IO: bytes in, owned frames out.

Layout   int32 size, then size bytes: a request header and a body, or a response header and a body.
         Request header v1: int16 key, int16 version, int32 correlation id, nullable string client id.
         v2 adds a tagged section. Response header v0: int32 correlation id; v1 adds a tagged section.
         ApiVersions answers with header v0 in every version, so that any client can read it (KIP-511).
F1       A frame is handed out whole, as bytes of its own; nothing refers to the receive buffer.
F2       What is held grows as bytes arrive, never by an announced size.
"""

from typing import Final

from librt.strings import BytesWriter, read_i16_be, read_i32_be, write_i32_be

from barnabas.wire.apis import BY_KEY, NOT_FLEXIBLE
from barnabas.wire.primitives import Malformed, skip_tags, text_of

SIZE_BYTES: Final = 4
HEADER_BYTES_MIN: Final = 10
"""Key, version, correlation id and the length of the client id."""

API_VERSIONS: Final = 18

_FLEXIBLE_FROM: Final = {key: api.flexible_from for key, api in BY_KEY.items()}


class FrameError(ValueError):
    """The stream cannot be cut into frames any more: its connection must close. frames came whole before that."""

    def __init__(self, reason: str, frames: list[bytes]) -> None:
        super().__init__(reason)
        self.frames = frames


class FrameReader:
    """Cuts one direction of a connection into frames."""

    __slots__ = ("_frame_bytes_max", "_held", "_wanted")

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._held = bytearray()
        self._wanted = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._held)

    @property
    def missing_bytes(self) -> int:
        """Bytes that this frame lacks to be whole, as far as its size is known."""
        return self._wanted - len(self._held)

    def feed(self, received: memoryview) -> list[bytes]:
        """The frames that received completes. Raises FrameError for a size that no frame may have."""
        if not self._held:
            frames, at = self._cut(received)
            if at < len(received):
                self._held += received[at:]
            return frames
        held = self._held
        held += received
        if len(held) < self._wanted:
            return []
        with memoryview(held) as view:
            frames, at = self._cut(view)
        del held[:at]
        return frames

    def _cut(self, view: memoryview) -> tuple[list[bytes], int]:
        frames: list[bytes] = []
        at = 0
        end = len(view)
        while end - at >= SIZE_BYTES:
            size = int.from_bytes(view[at : at + SIZE_BYTES], "big", signed=True)
            if size <= 0 or size > self._frame_bytes_max:
                raise FrameError(f"a frame of {size} bytes (limit {self._frame_bytes_max})", frames)
            behind = at + SIZE_BYTES + size
            if behind > end:
                self._wanted = behind - at
                return frames, at
            frames.append(bytes(view[at + SIZE_BYTES : behind]))
            at = behind
        self._wanted = SIZE_BYTES
        return frames, at


class RequestHeader:
    """What precedes a request's body, which begins at body_at of the frame.

    Raises Malformed when the frame is too short for its header. Unknown keys are read as header v1.
    """

    __slots__ = ("body_at", "client", "correlation_id", "key", "version")

    key: int
    version: int
    correlation_id: int

    def __init__(self, frame: bytes) -> None:
        if len(frame) < HEADER_BYTES_MIN:
            raise Malformed(f"a request of {len(frame)} bytes")
        self.key = read_i16_be(frame, 0)
        self.version = read_i16_be(frame, 2)
        self.correlation_id = read_i32_be(frame, 4)
        size: int = read_i16_be(frame, 8)
        self.client: bytes | None = None
        at = HEADER_BYTES_MIN
        if size >= 0:
            at += size
            if at > len(frame):
                raise Malformed("the client id runs past the end of the request")
            self.client = frame[HEADER_BYTES_MIN:at]
        if self.version >= _FLEXIBLE_FROM.get(self.key, NOT_FLEXIBLE):
            try:
                at = at + 1 if frame[at] == 0 else skip_tags(frame, at)
            except IndexError:
                raise Malformed("the request header is cut short") from None
        self.body_at = at

    @property
    def client_id(self) -> str | None:
        """A negative length is null; what is not UTF-8 is read with replacements, as Kafka does."""
        return None if self.client is None else text_of(self.client)


def request_head(api_key: int, version: int, correlation_id: int, client_id: str, body_bytes: int) -> bytes:
    """Size and header of a request of ours."""
    client = client_id.encode()
    tags = b"\x00" if version >= BY_KEY[api_key].flexible_from else b""
    header = b"".join(
        (
            api_key.to_bytes(2, "big"),
            version.to_bytes(2, "big"),
            correlation_id.to_bytes(4, "big", signed=True),
            len(client).to_bytes(2, "big"),
            client,
            tags,
        )
    )
    return (len(header) + body_bytes).to_bytes(4, "big") + header


def response_head(correlation_id: int, api_key: int, version: int, body_bytes: int) -> bytes:
    """Size and header of a response."""
    flexible = api_key != API_VERSIONS and version >= _FLEXIBLE_FROM[api_key]
    out = BytesWriter()
    write_i32_be(out, body_bytes + (5 if flexible else 4))
    write_i32_be(out, correlation_id)
    if flexible:
        out.append(0)
    return out.getvalue()


def response_body_at(api_key: int, version: int, frame: bytes) -> int:
    """Where the body of a response frame begins: behind its correlation id and tags."""
    if api_key != API_VERSIONS and version >= BY_KEY[api_key].flexible_from:
        return skip_tags(frame, 4)
    return 4
