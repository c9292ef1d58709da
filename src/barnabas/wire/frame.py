"""A connection's bytes ↔ frames. Sans-IO: bytes in, owned frames out.

Layout   int32 size, then size bytes: a request header and a body, or a response header and a body.
         Request header v1: int16 key, int16 version, int32 correlation id, nullable string client id.
         v2 adds a tagged section. Response header v0: int32 correlation id; v1 adds a tagged section.
         ApiVersions answers with header v0 in every version, so that any client can read it (KIP-511).
F1       A frame is handed out whole, as bytes of its own; nothing refers to the receive buffer.
F2       What is held grows as bytes arrive, never by an announced size.
F3       A large frame whose bytes come apart from those around it (`expected`) is put together by at most one copy, and by
         none when it comes in one run: megabytes that are copied twice push everything else out of the processor's cache.
"""

from struct import Struct
from typing import Final

from librt.strings import BytesWriter, read_i16_be, read_i32_be, write_i32_be
from mypy_extensions import i64

from barnabas.wire.apis import BY_KEY, NOT_FLEXIBLE
from barnabas.wire.primitives import Malformed, skip_tags, text_of

SIZE_BYTES: Final = 4
LARGE_FRAME_BYTES: Final = 64 * 1024
"""From this size on a frame is asked for apart. Smaller ones come many at a time: a call for each would cost more."""
COPIED_RUN_BYTES_MAX: Final = 16 * 1024
RUN_BYTES_MIN: Final = 4 * 1024
"""Smaller runs of a frame gather in one: each would cost as much again as an object of its own (F2)."""
HEADER_BYTES_MIN: Final = 10
"""Key, version, correlation id and the length of the client id."""

API_VERSIONS: Final = 18

KEY_MAX: Final = max(BY_KEY)
_FLEXIBLE_FROM: Final = [
    BY_KEY[key].flexible_from if key in BY_KEY else NOT_FLEXIBLE for key in range(KEY_MAX + 1)
]
"""By key: looked up for each request."""
_SIZE: Final = Struct(">i").unpack_from
"""Of a view, which none of librt's readers takes."""


class FrameError(ValueError):
    """The stream cannot be cut into frames any more: its connection must close. frames came whole before that."""

    def __init__(self, reason: str, frames: list[bytes]) -> None:
        super().__init__(reason)
        self.frames = frames


class FrameReader:
    """Cuts one direction of a connection into frames."""

    __slots__ = ("_frame_bytes_max", "_runs", "_wanted", "expected", "held_bytes")

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._runs: list[bytes | bytearray] = []
        """Of the frame that is not whole: its content as far as it came, or a part of its size."""
        self._wanted = 0
        self.held_bytes = 0
        """Bytes of a frame that is not whole yet, those of its size among them."""
        self.expected = 0
        """Bytes that had better come next apart from what follows them, and be ours to keep; 0: as they come."""

    @property
    def missing_bytes(self) -> int:
        """Bytes that this frame lacks to be whole, as far as its size is known."""
        return self._wanted - self.held_bytes

    def feed(self, received: memoryview) -> list[bytes]:
        """The frames that received completes. Raises FrameError for a size that no frame may have."""
        frames: list[bytes] = []
        at = 0
        while self.held_bytes:
            missing = self._wanted - self.held_bytes
            if missing > len(received) - at:
                self._hold(received[at:] if at else received)
                self.expected = missing - (len(received) - at) if self._wanted >= LARGE_FRAME_BYTES else 0
                return frames
            self._hold(received[at : at + missing])
            at += missing
            if self._wanted > SIZE_BYTES:
                frames.append(self._whole())
            else:
                self._begin(int.from_bytes(b"".join(self._runs), "big", signed=True), frames)
                if at == len(received):
                    return frames
        self._cut(received, at, frames)
        return frames

    def _cut(self, view: memoryview, at: i64, frames: list[bytes]) -> None:
        """At at a frame begins."""
        end: i64 = len(view)
        # Small frames, many at a time: to copy all at once and cut that costs less than to cut a view.
        is_copied = end <= COPIED_RUN_BYTES_MAX
        run = view.tobytes() if is_copied else b""
        size: int
        while end - at >= SIZE_BYTES:
            if is_copied:
                size = read_i32_be(run, at)
            else:
                size = _SIZE(view, at)[0]
            behind = at + SIZE_BYTES + size
            if behind > end or size <= 0 or size > self._frame_bytes_max:
                self._begin(size, frames)
                if at + SIZE_BYTES < end:
                    self._hold(view[at + SIZE_BYTES :])
                    self.expected = behind - end if self.expected else 0
                return
            frames.append(
                run[at + SIZE_BYTES : behind] if is_copied else view[at + SIZE_BYTES : behind].tobytes()
            )
            at = behind
        if at < end:
            self._hold(view[at:])
            self.expected = 0
        else:  # who sends a large frame may send another: its size is read alone
            self.expected = SIZE_BYTES if frames and len(frames[-1]) >= LARGE_FRAME_BYTES else 0
        self._wanted = SIZE_BYTES

    def _begin(self, size: int, frames: list[bytes]) -> None:
        """A frame of size bytes begins, of which nothing came. Raises FrameError."""
        if size <= 0 or size > self._frame_bytes_max:
            raise FrameError(f"a frame of {size} bytes (limit {self._frame_bytes_max})", frames)
        self._runs = []
        self._wanted = SIZE_BYTES + size
        self.held_bytes = SIZE_BYTES
        self.expected = size if size >= LARGE_FRAME_BYTES else 0

    def _hold(self, run: memoryview) -> None:
        """bytes that are a run of their own are kept as they are, for nobody can change them (F1)."""
        size = len(run)
        self.held_bytes += size
        runs = self._runs
        if size < RUN_BYTES_MIN:
            last = runs[-1] if runs else None
            if isinstance(last, bytearray):
                last += run
            else:
                runs.append(bytearray(run))
            return
        owner = run.obj
        runs.append(owner if isinstance(owner, bytes) and len(owner) == size else bytes(run))

    def _whole(self) -> bytes:
        """The frame, of which nothing is missing."""
        frame = b"".join(self._runs)  # one run of bytes is returned as it is
        self._runs = []
        self.held_bytes = 0
        return frame


class RequestHeader:
    """What precedes a request's body, which begins at body_at of the frame.

    Raises Malformed when the frame is too short for its header. Unknown keys are read as header v1.
    """

    __slots__ = ("body_at", "client", "correlation_id", "key", "version")

    key: int
    version: int
    correlation_id: int
    body_at: i64

    def __init__(self, frame: bytes) -> None:
        if len(frame) < HEADER_BYTES_MIN:
            raise Malformed(f"a request of {len(frame)} bytes")
        self.key = read_i16_be(frame, 0)
        self.version = read_i16_be(frame, 2)
        self.correlation_id = read_i32_be(frame, 4)
        size: int = read_i16_be(frame, 8)
        self.client: bytes | None = None
        at: i64 = HEADER_BYTES_MIN
        if size >= 0:
            at += size
            if at > len(frame):
                raise Malformed("the client id runs past the end of the request")
            self.client = frame[HEADER_BYTES_MIN:at]
        key = self.key
        if self.version >= (_FLEXIBLE_FROM[key] if 0 <= key <= KEY_MAX else NOT_FLEXIBLE):
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
    out = BytesWriter()
    begin_response(out, correlation_id, version >= response_tags_from(api_key))
    end_response(out, 0, body_bytes)
    return out.getvalue()


def response_tags_from(api_key: int) -> int:
    """The version from which the header of a response has a tagged section."""
    return NOT_FLEXIBLE if api_key == API_VERSIONS else _FLEXIBLE_FROM[api_key]


def begin_response(out: BytesWriter, correlation_id: int, has_tags: bool) -> None:
    """The header of a response; its size is filled in by end_response."""
    write_i32_be(out, 0)
    write_i32_be(out, correlation_id)
    if has_tags:
        out.append(0)


def end_response(out: BytesWriter, begin: i64, more_bytes: int = 0) -> None:
    """What began at begin ends here, or after more_bytes that are sent behind it."""
    # An int: four times u8(…) of an i64 cost a microsecond where they are interpreted.
    size: int = len(out) - begin - SIZE_BYTES + more_bytes
    out[begin] = size >> 24 & 0xFF
    out[begin + 1] = size >> 16 & 0xFF
    out[begin + 2] = size >> 8 & 0xFF
    out[begin + 3] = size & 0xFF


def response_body_at(api_key: int, version: int, frame: bytes) -> int:
    """Where the body of a response frame begins: behind its correlation id and tags."""
    if api_key != API_VERSIONS and version >= BY_KEY[api_key].flexible_from:
        return skip_tags(frame, 4)
    return 4
