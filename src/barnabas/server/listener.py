"""Listening sockets and the connections they bring, within limits.

Limits  max.connections and max.connections.per.ip (a further one is closed at accept), connections.max.idle.ms,
        and three memory budgets of the node: bytes of requests that are not begun, uncommitted bytes, unsent reply bytes.
        Over a budget the sockets that use it are not read until it is free again: an error would lose data, a pause
        only makes the peer wait. Only a request that begins frees the first of them, so those that lack least are read
        on, but not those that could not begin for a wait before them.
        Looked at every CHECK_MS while a connection holds anything: who holds nothing costs nothing.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from barnabas.partitions.committer import Uncommitted
from barnabas.partitions.turn import Turn
from barnabas.partitions.waits import Waits
from barnabas.ports import Connection, Listening, Network, Receiver
from barnabas.server.connection import ServerConnection
from barnabas.server.dispatch import Dispatch
from barnabas.telemetry import Telemetry

FRAME_BYTES_BUDGET: Final = 256 * 1024 * 1024
UNCOMMITTED_BYTES_BUDGET: Final = 64 * 1024 * 1024
UNSENT_BYTES_BUDGET: Final = 256 * 1024 * 1024
CHECK_MS: Final = 50
IDLE_CHECK_MS: Final = 10_000


class Refused:
    """The receiver of a connection that is over a limit: it is closed at once."""

    def received(self, content: memoryview) -> None:
        return

    def closed(self, reason: str) -> None:
        return


class Listeners:
    """All listening sockets of one node and all their connections."""

    def __init__(
        self,
        network: Network,
        dispatch: Dispatch,
        turn: Turn,
        waits: Waits,
        uncommitted: Uncommitted,
        get_int: Callable[[str], int],
        telemetry: Telemetry,
    ) -> None:
        self._network = network
        self._dispatch = dispatch
        self._turn = turn
        self._waits = waits
        self._uncommitted = uncommitted
        self._get_int = get_int
        self._sockets: list[Listening] = []
        self._open: dict[ServerConnection, Connection] = {}
        self._watched: dict[ServerConnection, None] = {}
        """All that hold part of a frame or of a reply, and perhaps some that did when they were last looked at."""
        self._checking = False
        self._full = False
        self._by_host: Counter[str] = Counter()
        self._stopped = False
        self.frame_bytes_budget = FRAME_BYTES_BUDGET
        self.unsent_bytes_budget = UNSENT_BYTES_BUDGET
        self._accepted = telemetry.counter("barnabas_connections_total", "Connections accepted")
        self._turned_away = telemetry.counter(
            "barnabas_connections_refused_total", "Connections closed at accept for a limit"
        )
        telemetry.gauge("barnabas_connections", "Open connections").read_from(lambda: len(self._open))
        telemetry.gauge("barnabas_uncommitted_bytes", "Bytes appended and not committed").read_from(
            lambda: uncommitted.bytes
        )
        telemetry.gauge("barnabas_frame_bytes", "Bytes of requests that are not begun").read_from(
            self.frame_bytes
        )
        telemetry.gauge(
            "barnabas_unsent_bytes", "Reply bytes that wait for their readers or their turn"
        ).read_from(self.unsent_bytes)

    def listen(self, name: str, host: str, port: int, *, shared: bool = False) -> Listening:
        """Raises WorldError when the port is taken."""
        listening = self._network.listen(
            host, port, lambda connection: self._connected(connection, name), shared=shared
        )
        self._sockets.append(listening)
        return listening

    def start(self) -> None:
        self._waits.call_after(IDLE_CHECK_MS, self._close_idle)

    def stop(self) -> None:
        """No new connections; the open ones close once what is answered is sent."""
        self._stopped = True
        for listening in self._sockets:
            listening.close()
        for connection in list(self._open):
            connection.close()

    def frame_bytes(self) -> int:
        return sum(served.frame_bytes for served in self._watched)

    def unsent_bytes(self) -> int:
        return sum(served.unsent_bytes() for served in self._watched)

    def _connected(self, connection: Connection, listener: str) -> Receiver:
        host = connection.peer_host
        if (
            self._stopped
            or len(self._open) >= self._get_int("max.connections")
            or self._by_host[host] >= self._get_int("max.connections.per.ip")
        ):
            self._turned_away.add()
            connection.close(after_sending=False)
            return Refused()
        self._accepted.add()
        self._by_host[host] += 1
        served = ServerConnection(
            self._dispatch,
            connection,
            listener,
            self._get_int("socket.request.max.bytes"),
            self._turn,
            self,
        )
        self._open[served] = connection
        return served

    def watch(self, served: ServerConnection) -> None:
        self._watched[served] = None
        self._check_later()

    def forget(self, served: ServerConnection) -> None:
        connection = self._open.pop(served)
        self._watched.pop(served, None)
        self._by_host[connection.peer_host] -= 1
        if not self._by_host[connection.peer_host]:
            del self._by_host[connection.peer_host]

    def _check_later(self) -> None:
        if not self._checking:
            self._checking = True
            self._waits.call_after(CHECK_MS, self._check)

    def _check(self) -> None:
        self._checking = False
        if not self._stopped:
            self._check_budgets()
            if self._watched or self._full:
                self._check_later()

    def _check_budgets(self) -> None:
        """Too many uncommitted bytes hold every connection; the other budgets, those that use them."""
        was_full, self._full = self._full, self._uncommitted.bytes > UNCOMMITTED_BYTES_BUDGET
        waiting = self._beyond_frame_budget()
        unsent_full = self.unsent_bytes() > self.unsent_bytes_budget
        for served in list(self._open if self._full or was_full else self._watched):
            unsent = served.unsent_bytes()
            hold = self._full or served in waiting or (unsent_full and unsent > 0)
            if hold != served.held:
                served.hold(hold)
            if served.watched and not (hold or unsent or served.frame_bytes):
                served.watched = False
                del self._watched[served]

    def _beyond_frame_budget(self) -> set[ServerConnection]:
        """Over the budget: the blocked, and those whose frames would take more than half of it again.

        One that is not blocked may go on whatever it takes.
        """
        if self.frame_bytes() <= self.frame_bytes_budget:
            return set()
        unfinished = [served for served in self._watched if served.frame_bytes]
        unfinished.sort(key=lambda served: (served.is_blocked, served.missing_bytes))
        waiting = set()
        room = self.frame_bytes_budget // 2
        for place, served in enumerate(unfinished):
            if not served.is_blocked and (served.missing_bytes <= room or place == 0):
                room -= served.missing_bytes
            else:
                waiting.add(served)
        return waiting

    def _close_idle(self) -> None:
        if self._stopped:
            return
        limit_ms = self._get_int("connections.max.idle.ms")
        if limit_ms >= 0:
            oldest_ms = self._dispatch.clock.mono_ms() - limit_ms
            for served in [each for each in self._open if each.is_idle_since(oldest_ms)]:
                served.close()
        self._waits.call_after(IDLE_CHECK_MS, self._close_idle)
