"""Opening a TCP stream without stopping the loop: the name is looked up in a pool, then each address is tried.

"localhost" may name ::1 first while the peer listens on 127.0.0.1 only; so the addresses are tried in the resolver's
order until one answers, and the last one's error is told. There is no time limit of its own: who dials keeps the
deadline, the system gives up after its own (about two minutes on Linux).
"""

import errno
import os
import socket
from collections.abc import Callable

from barnabas.adapters.loop import AsyncLoop
from barnabas.ports import WorldError

Dialled = Callable[[socket.socket | None, WorldError | None], None]
Address = tuple[socket.AddressFamily, tuple[str, int]]


class Dial:
    """One attempt to reach host:port; on_dialled is called once, never inside start()."""

    def __init__(self, loop: AsyncLoop, host: str, port: int, on_dialled: Dialled) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._on_dialled = on_dialled
        self._addresses: list[Address] = []

    def start(self) -> None:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, self._host)
            except OSError:
                continue
            self._addresses = [(family, (self._host, self._port))]
            self._loop.soon(lambda: self._next(errno.EHOSTUNREACH))
            return
        self._loop.run_in("read", self._look_up, self._looked_up)

    def _look_up(self) -> list[Address]:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return [(family, (str(name[0]), self._port)) for family, _, _, _, name in found]

    def _looked_up(self, addresses: object | None, error: BaseException | None) -> None:
        if isinstance(addresses, list) and addresses:
            self._addresses = addresses
            self._next(errno.EHOSTUNREACH)
        else:
            text = f"{self._host}:{self._port}: the name is not known ({error})"
            self._on_dialled(None, WorldError(text, errno.EHOSTUNREACH))

    def _next(self, number: int) -> None:
        """Try the next address; number is why the one before failed."""
        if not self._addresses:
            text = f"{self._host}:{self._port}: {os.strerror(number)}"
            self._on_dialled(None, WorldError(text, number))
            return
        family, address = self._addresses.pop(0)
        try:
            stream = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self._next(error.errno or errno.EMFILE)
            return
        stream.setblocking(False)
        number = stream.connect_ex(address)
        if number in (0, errno.EINPROGRESS):
            self._loop.asyncio.add_writer(stream.fileno(), self._finish, stream)
        else:
            stream.close()
            self._next(number)

    def _finish(self, stream: socket.socket) -> None:
        self._loop.asyncio.remove_writer(stream.fileno())
        number = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            stream.close()
            self._next(number)
        else:
            self._on_dialled(stream, None)
