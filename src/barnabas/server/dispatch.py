"""From a frame to the handler of its API and back to bytes: versions, blame, counts.

Kafka's rule for what it does not know: an unknown key or version closes the connection; ApiVersions alone is answered,
with error 35 in the layout of v0, so that a newer client can step down (KIP-35, KIP-511).
"""

from collections.abc import Generator
from typing import Any, Final

from librt.strings import BytesWriter

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.ports import Clock, FileRange, Piece
from barnabas.server import handlers
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller, Closed
from barnabas.server.stepwise import Stepwise, let_go, written
from barnabas.telemetry import Counter
from barnabas.wire.frame import RequestHeader, begin_response, end_response, response_head
from barnabas.wire.primitives import Malformed

API_VERSIONS: Final = 18
JOINED_BYTES_MAX: Final = 8 * 1024
"""A head is copied together with what is behind it up to this size: every piece costs the sender something."""


class Request(RequestHeader):
    """An open request and the place of its reply in the order of replies. Its frame, which may be large, is not kept here."""

    __slots__ = ("parked", "pieces", "ready", "route")

    route: "Route"

    def __init__(self, frame: bytes) -> None:
        super().__init__(frame)
        self.parked: Parked | None = None
        self.pieces: list[Piece] | None = None
        """Its reply; None of one that is ready: it has that of parked, which is written when it is sent."""
        self.ready = False


class Route:
    """An API and how often this broker was asked for it."""

    __slots__ = ("api", "requests")

    def __init__(self, api: Api, requests: Counter) -> None:
        self.api = api
        self.requests = requests


class Dispatch:
    """All connections of a broker share one."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.clock: Clock = broker.clock
        self.out = BytesWriter()
        """Where a connection puts together what it sends at once."""
        self.log = broker.log
        self._routes: list[Route | None] = [None] * (max(handlers.SERVED) + 1)
        self._bytes_in = broker.telemetry.counter(
            "barnabas_received_bytes_total", "Bytes of whole request frames"
        )
        self._refused = broker.telemetry.counter(
            "barnabas_refused_frames_total", "Frames that closed their connection"
        )

    def open(self, frame: bytes, caller: Caller) -> Request:
        """Read the header. Raises Closed for what Kafka answers by closing."""
        try:
            request = Request(frame)
        except Malformed as error:
            self._refused.add()
            raise Closed(f"bad request header: {error}") from None
        key = request.key
        route = self._routes[key] if 0 <= key < len(self._routes) else None
        if route is None:
            route = self._load(key)
        request.route = route
        api = route.api
        if not api.version_min <= request.version <= api.version_max and key != API_VERSIONS:
            self._refused.add()
            raise Closed(f"{api.name} version {request.version} is not served")
        route.requests.value += 1
        self._bytes_in.value += len(frame) + 4
        if request.client != caller.client:
            caller.call_itself(request.client, request.client_id)
        return request

    def _load(self, key: int) -> Route:
        if key not in handlers.SERVED:
            self._refused.add()
            raise Closed(f"API key {key} is not served")
        api = handlers.load(key)
        requests = self._broker.telemetry.counter(
            "barnabas_requests_total", "Requests begun, by API", api=api.name
        )
        route = Route(api, requests)
        self._routes[key] = route
        return route

    def answer(self, request: Request, frame: bytes, caller: Caller) -> list[Piece] | Parked | None:
        """The reply as pieces, a reply that comes later, or None when the protocol wants none."""
        api = request.route.api
        if request.key == API_VERSIONS and not api.version_min <= request.version <= api.version_max:
            return self._step_down(request)
        if api.decode_in_steps is not None:
            return self._answer_in_steps(request, frame, caller)
        try:
            ask = api.decode(frame, request.body_at, request.version)
        except Malformed as error:
            self._refused.add()
            raise _unreadable(request, error) from None
        try:
            response = api.handle(self._broker, ask, request.version, caller)
        except Closed:
            raise
        except Exception as bug:
            raise self._blamed(request, bug) from bug
        if response is None or isinstance(response, Parked):
            return response
        return self.encode(request, response)

    def _answer_in_steps(self, request: Request, frame: bytes, caller: Caller) -> list[Piece] | Parked:
        broker = self._broker
        work = Stepwise(broker.clock, broker.loop, self._steps(request, frame, caller))
        work.go_on()
        if work.parked.reply is not None:  # it was not large
            return self.encode(request, work.parked.reply)
        return work.parked

    def _steps(
        self, request: Request, frame: bytes, caller: Caller
    ) -> Generator[Parked | None, None, list[Piece]]:
        api, version = request.route.api, request.version
        assert api.decode_in_steps is not None and api.encode_in_steps is not None, "an API has both"
        ask = yield from api.decode_in_steps(frame, request.body_at, version)
        response = yield from api.handle(self._broker, ask, version, caller)
        yield from let_go(ask)
        out = BytesWriter()
        steps = api.encode_in_steps(out, response, version)
        pieces = yield from written(steps, out, request.correlation_id, request.key, version)
        yield from let_go(response)
        return pieces

    def encode(self, request: Request, response: Any) -> list[Piece]:
        """Length, response header and body. Raises Closed when the response cannot be said in that version."""
        api = request.route.api
        if api.plan is None:
            if not api.is_written:
                return self._encoded(request, response)
            out = BytesWriter()
            self.write(out, request, response)
            return [out.getvalue()]
        key, version = request.key, request.version
        try:
            pieces = api.plan(response, version)
        except Exception as error:
            raise self._blamed(request, error) from error
        size = 0
        for piece in pieces:
            size += piece.size if isinstance(piece, FileRange) else len(piece)
        head = response_head(request.correlation_id, key, version, size)
        first = pieces[0]
        if isinstance(first, FileRange) or len(first) > JOINED_BYTES_MAX:
            return [head, *pieces]
        pieces[0] = head + first
        return pieces

    def write(self, out: BytesWriter, request: Request, response: Any) -> None:
        """encode, behind what out has: of an API that is neither planned nor encoded in steps."""
        api, version = request.route.api, request.version
        begin = len(out)
        try:
            begin_response(out, request.correlation_id, version >= api.tags_from)
            api.write(out, response, version)
            end_response(out, begin)
        except Exception as error:
            out.truncate(begin)
            raise self._blamed(request, error) from error

    def take_out(self) -> bytes:
        """What out has; it is empty then."""
        content = self.out.getvalue()
        if len(content) > JOINED_BYTES_MAX:
            self.out = BytesWriter()  # one large answer should not stay in memory for ever
        else:
            self.out.truncate(0)
        return content

    def _encoded(self, request: Request, reply: list[Piece] | Exception) -> list[Piece]:
        """What the steps came to."""
        if isinstance(reply, list):
            return reply
        if isinstance(reply, Malformed):
            self._refused.add()
            raise _unreadable(request, reply)
        raise reply if isinstance(reply, Closed) else self._blamed(request, reply)

    def _blamed(self, request: Request, error: Exception) -> Closed:
        """A bug of ours costs one connection, never the loop's turn, and never leaves a peer waiting."""
        name = request.route.api.name
        self.log.error("request failed", api=name, version=request.version, error=repr(error))
        return Closed(f"{name} failed: {error!r}")

    def _step_down(self, request: Request) -> list[Piece]:
        """Error 35 in v0, with key 18 alone, so the client can ask again in a version both know."""
        from barnabas.wire.messages import api_versions

        response = api_versions.ApiVersionsResponse(
            error_code=errors.UNSUPPORTED_VERSION,
            api_keys=[
                api_versions.ApiVersion(
                    api_key=API_VERSIONS,
                    min_version=request.route.api.version_min,
                    max_version=request.route.api.version_max,
                )
            ],
        )
        body = api_versions.encode_response(response, 0)
        return [response_head(request.correlation_id, request.key, 0, len(body)) + body]


def _unreadable(request: Request, error: Malformed) -> Closed:
    return Closed(f"{request.route.api.name} v{request.version} cannot be read: {error}")
