"""From a frame to the handler of its API and back to bytes: versions, blame, counts.

Kafka's rule for what it does not know: an unknown key or version closes the connection; ApiVersions alone is answered,
with error 35 in the layout of v0, so that a newer client can step down (KIP-35, KIP-511).
"""

from typing import Any, Final

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.ports import Clock, FileRange, Piece
from barnabas.server import handlers
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller, Closed
from barnabas.telemetry import Counter
from barnabas.wire import frame as wire_frame
from barnabas.wire.primitives import Malformed

API_VERSIONS: Final = 18


class Request:
    """An open request and the place of its reply in the order of replies."""

    __slots__ = ("api", "body_at", "correlation_id", "frame", "key", "pieces", "ready", "version")

    def __init__(
        self, api: Api, key: int, version: int, correlation_id: int, frame: bytes, body_at: int
    ) -> None:
        self.api = api
        self.key = key
        self.version = version
        self.correlation_id = correlation_id
        self.frame = frame
        self.body_at = body_at
        self.pieces: list[Piece] = []
        self.ready = False


class Dispatch:
    """All connections of a broker share one."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.clock: Clock = broker.clock
        self.log = broker.log
        self._apis: dict[int, Api] = {}
        self._requests: dict[int, Counter] = {}
        self._bytes_in = broker.telemetry.counter(
            "barnabas_received_bytes_total", "Bytes of whole request frames"
        )
        self._refused = broker.telemetry.counter(
            "barnabas_refused_frames_total", "Frames that closed their connection"
        )

    def open(self, frame: bytes, caller: Caller) -> Request:
        """Read the header. Raises Closed for what Kafka answers by closing."""
        try:
            header = wire_frame.read_request_header(frame)
        except (Malformed, wire_frame.FrameError) as error:
            self._refused.add()
            raise Closed(f"bad request header: {error}") from None
        key, version = header.api_key, header.api_version
        api = self._apis.get(key)
        if api is None:
            api = self._load(key)
        if not api.version_min <= version <= api.version_max and key != API_VERSIONS:
            self._refused.add()
            raise Closed(f"{api.name} version {version} is not served")
        self._requests[key].value += 1
        self._bytes_in.value += len(frame) + 4
        client_id = header.client_id or ""
        if client_id != caller.client_id:
            caller.client_id = client_id
        return Request(api, key, version, header.correlation_id, frame, header.body_at)

    def _load(self, key: int) -> Api:
        if key not in handlers.SERVED:
            self._refused.add()
            raise Closed(f"API key {key} is not served")
        api = self._apis[key] = handlers.load(key)
        self._requests[key] = self._broker.telemetry.counter(
            "barnabas_requests_total", "Requests begun, by API", api=api.name
        )
        return api

    def answer(self, request: Request, caller: Caller) -> list[Piece] | Parked | None:
        """The reply as pieces, a reply that comes later, or None when the protocol wants none."""
        api = request.api
        if request.key == API_VERSIONS and not api.version_min <= request.version <= api.version_max:
            return self._step_down(request)
        try:
            ask = api.decode(request.frame, request.body_at, request.version)
        except Malformed as error:
            self._refused.add()
            raise Closed(f"{api.name} v{request.version} cannot be read: {error}") from None
        try:
            response = api.handle(self._broker, ask, request.version, caller)
        except Closed:
            raise
        except Exception as error:
            raise self._blamed(request, error) from error
        if response is None or isinstance(response, Parked):
            return response
        return self.encode(request, response)

    def encode(self, request: Request, response: Any) -> list[Piece]:
        """Length, response header and body. Raises Closed when the response cannot be said in that version."""
        try:
            body = request.api.plan(response, request.version)
        except Exception as error:
            raise self._blamed(request, error) from error
        return self._framed(request.correlation_id, request.key, request.version, body)

    def _blamed(self, request: Request, error: Exception) -> Closed:
        """A bug of ours costs one connection, never the loop's turn, and never leaves a peer waiting."""
        name = request.api.name
        self.log.error("request failed", api=name, version=request.version, error=repr(error))
        return Closed(f"{name} failed: {error!r}")

    def _framed(self, correlation_id: int, key: int, version: int, body: list[Piece]) -> list[Piece]:
        if len(body) == 1 and isinstance(body[0], bytes):
            return [wire_frame.response_head(correlation_id, key, version, len(body[0])) + body[0]]
        size = 0
        for piece in body:
            size += piece.size if isinstance(piece, FileRange) else len(piece)
        head = wire_frame.response_head(correlation_id, key, version, size)
        if isinstance(body[0], bytes):
            body[0] = head + body[0]
            return body
        return [head, *body]

    def _step_down(self, request: Request) -> list[Piece]:
        """Error 35 in v0, with key 18 alone, so the client can ask again in a version both know."""
        from barnabas.wire.messages import api_versions

        response = api_versions.ApiVersionsResponse(
            error_code=errors.UNSUPPORTED_VERSION,
            api_keys=[
                api_versions.ApiVersion(
                    api_key=API_VERSIONS,
                    min_version=request.api.version_min,
                    max_version=request.api.version_max,
                )
            ],
        )
        body: list[Piece] = [api_versions.encode_response(response, 0)]
        return self._framed(request.correlation_id, request.key, 0, body)
