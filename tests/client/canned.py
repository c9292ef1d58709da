"""A client.cluster.Transport that answers by itself: frames are decoded, answered by a test, and encoded."""

from abc import ABC, abstractmethod

from barnabas.client.cluster import Address
from barnabas.wire import apis
from barnabas.wire.frame import RequestHeader
from barnabas.wire.messages import api_versions


class CannedTransport(ABC):
    """Serves every API in every version; answer() says what."""

    def __init__(self) -> None:
        self.slept = 0

    @abstractmethod
    def answer(self, key: int, ask: object, address: Address) -> object:
        """The response to a request, or Unreachable."""

    def exchange(self, address: Address, frame: bytes, answered: bool) -> bytes:
        header = RequestHeader(frame[4:])
        module = apis.load(header.key)
        ask = module.decode_request(frame[4:], header.body_at, header.version)
        reply = _versions() if header.key == 18 else self.answer(header.key, ask, address)
        head = header.correlation_id.to_bytes(4, "big")
        if header.key != 18 and header.version >= apis.BY_KEY[header.key].flexible_from:
            head += b"\x00"
        return head + module.encode_response(reply, header.version)

    def forget(self, address: Address) -> None:
        return  # there is no connection to close

    def sleep_ms(self, wait_ms: int) -> None:
        self.slept += wait_ms

    def wall_ms(self) -> int:
        return 0


def _versions() -> api_versions.ApiVersionsResponse:
    rows = [
        api_versions.ApiVersion(api_key=row.key, min_version=row.version_min, max_version=row.version_max)
        for row in apis.BY_KEY.values()
    ]
    return api_versions.ApiVersionsResponse(api_keys=rows)
