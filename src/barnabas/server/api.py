"""What dispatch needs to know of an API: its versions, its codec, its handler."""

from collections.abc import Callable, Generator, Iterator, Sequence
from types import ModuleType
from typing import Any, Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from barnabas.ports import Piece
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire import apis
from barnabas.wire.frame import response_tags_from

Handler = Callable[[Broker, Any, int, Caller], Any]
"""handle(broker, ask, version, caller) -> response, Parked, or None where the protocol wants no answer; Steps (stepwise.py)
of an API that is served in steps.
"""

UNSTABLE_FROM: Final = {22: 6}
"""Versions that Kafka 4.3 has and does not offer: InitProducerId v6 is of two-phase commit (KIP-939)."""


def versions(key: int) -> tuple[int, int]:
    """First and last version that is answered."""
    row = apis.BY_KEY[key]
    return row.version_min, min(row.version_max, UNSTABLE_FROM.get(key, row.version_max + 1) - 1)


class Api:
    """One API key as this broker serves it: in all versions that Kafka 4.3 offers. One that is asked for all the time has
    methods of its own, for a function that is kept in an attribute has its arguments boxed and parsed at each call.

    codes are all errors that a response may carry, at whatever depth; a test that sees another one fails.
    """

    __slots__ = (
        "_decode",
        "_handle",
        "_write",
        "codes",
        "decode_in_steps",
        "encode_in_steps",
        "is_written",
        "key",
        "name",
        "plan",
        "tags_from",
        "version_max",
        "version_min",
    )

    def __init__(self, key: int, message: ModuleType, handle: Handler, codes: Sequence[int]) -> None:
        self.key = key
        self.name = apis.BY_KEY[key].name
        self.version_min, self.version_max = versions(key)
        self._decode: Callable[[bytes, int, int], Any] = message.decode_request
        self._handle = handle
        self.codes = codes
        self.tags_from = response_tags_from(key)
        self._write: Callable[[BytesWriter, Any, int], None] | None = getattr(message, "write_response", None)
        self.is_written = self._write is not None
        """Its replies are written behind others: those of all that are neither planned nor encoded in steps."""
        self.plan: Callable[[Any, int], list[Piece]] | None = getattr(message, "plan_response", None)
        """Of the responses that carry records: these stay ranges of their files."""
        self.decode_in_steps: Callable[[bytes, int, int], Generator[None, None, Any]] | None = getattr(
            message, "decode_request_in_steps", None
        )
        self.encode_in_steps: Callable[[BytesWriter, Any, int], Iterator[None]] | None = getattr(
            message, "encode_response_in_steps", None
        )
        """Both, of those that may be so large that they would hold up everybody."""

    def decode(self, frame: bytes, body_at: i64, version: i64) -> Any:
        """The request. Raises Malformed."""
        return self._decode(frame, body_at, version)

    def handle(self, broker: Any, ask: Any, version: int, caller: Any) -> Any:
        """See Handler. A Broker and a Caller; tests of one handler give less."""
        return self._handle(broker, ask, version, caller)

    def write(self, out: BytesWriter, response: Any, version: i64) -> None:
        """The body of its reply, behind what out has, if it is one of those that are written."""
        assert self._write is not None, "it is written"
        self._write(out, response, version)
