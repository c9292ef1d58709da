"""Who asks: one Caller for each connection, refreshed when a request names another client id."""

from barnabas.ports import Connection


class Caller:
    """What handlers may know of the peer."""

    __slots__ = ("client", "client_id", "connection", "host", "listener", "principal")

    def __init__(self, connection: Connection, listener: str) -> None:
        self.connection = connection
        self.host = f"/{connection.peer_host}"
        self.listener = listener
        self.client: bytes | None = b""
        self.client_id = ""
        self.principal = "User:ANONYMOUS"

    def call_itself(self, client: bytes | None, client_id: str | None) -> None:
        """A request named another client id than the one before it: as it came, and as text."""
        self.client = client
        self.client_id = client_id or ""


class Closed(Exception):
    """This connection must end; reason is for our log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
