"""`/metrics`, `/live` and `/ready` over plain HTTP/1.1, one answer a connection (RFC 9112).

/live   200 while the loop turns: that it answers is the proof.
/ready  200 once all partitions that can serve do, 503 before that and while stopping.
"""

from collections.abc import Callable
from typing import Final

from barnabas.ports import Connection, Listening, Network
from barnabas.server.exposition import render
from barnabas.telemetry import Telemetry

REQUEST_BYTES_MAX: Final = 8192
TEXT: Final = "text/plain; charset=utf-8"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


class HealthConnection:
    """The receiver of one HTTP request."""

    def __init__(self, connection: Connection, answer: Callable[[str, str], bytes]) -> None:
        self._connection = connection
        self._answer = answer
        self._received = b""

    def received(self, content: memoryview) -> None:
        self._received += bytes(content)
        if b"\r\n\r\n" in self._received or b"\n\n" in self._received:
            words = self._received.split(b"\n", 1)[0].decode("latin-1").split()
            method, path = (words[0], words[1]) if len(words) >= 2 else ("", "")
            self._connection.send([self._answer(method, path)])
            self._connection.close(after_sending=True)
        elif len(self._received) > REQUEST_BYTES_MAX:
            self._connection.close(after_sending=False)

    def closed(self, reason: str) -> None:
        return


class Health:
    """The node's own little web server."""

    def __init__(self, network: Network, telemetry: Telemetry) -> None:
        self._network = network
        self._telemetry = telemetry
        self._listening: Listening | None = None
        self.ready = False

    def listen(self, host: str, port: int) -> Listening:
        """Raises WorldError when the port is taken."""
        self._listening = self._network.listen(
            host, port, lambda connection: HealthConnection(connection, self._answer)
        )
        return self._listening

    def stop(self) -> None:
        if self._listening is not None:
            self._listening.close()

    def _answer(self, method: str, path: str) -> bytes:
        path = path.split("?", 1)[0]
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", TEXT, "only GET is served here\n", True)
        body = method == "GET"
        if path == "/metrics":
            return _response("200 OK", METRICS, render(self._telemetry), body)
        if path == "/live":
            return _response("200 OK", TEXT, "live\n", body)
        if path == "/ready":
            if self.ready:
                return _response("200 OK", TEXT, "ready\n", body)
            return _response("503 Service Unavailable", TEXT, "not ready\n", body)
        return _response("404 Not Found", TEXT, "try /metrics, /live or /ready\n", body)


def _response(status: str, kind: str, text: str, body: bool) -> bytes:
    content = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (content if body else b"")
