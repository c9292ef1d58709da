"""Who asks: one Caller for each connection, refreshed when a request names another client id."""

from barnabas.ports import Connection


class Caller:
    """What handlers may know of the peer."""

    __slots__ = ("client_id", "connection", "host", "listener", "principal", "software")

    def __init__(self, connection: Connection, listener: str) -> None:
        self.connection = connection
        self.host = f"/{connection.peer_host}"
        self.listener = listener
        self.client_id = ""
        self.principal = "User:ANONYMOUS"
        self.software = ("unknown", "unknown")


class Closed(Exception):
    """This connection must end; reason is for our log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
