"""The client's way to brokers from the command line: one blocking socket per broker."""

import contextlib
import socket
import time
from typing import Final

from barnabas.client.cluster import Address, Unreachable

CONNECT_TIMEOUT_S: Final = 5.0
FIRST_ANSWER_TIMEOUT_S: Final = 10.0
"""What listens there may not be a broker, and may never say a word."""

ANSWER_TIMEOUT_S: Final = 90.0
"""Longer than the rebalance time-out, for which a JoinGroup may wait."""

REPLY_BYTES_MAX: Final = 512 << 20


class Sockets:
    """A client.cluster.Transport."""

    def __init__(self, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._open: dict[Address, socket.socket] = {}

    def exchange(self, address: Address, frame: bytes, answered: bool) -> bytes:
        sent = False
        try:
            found = self._open.get(address) or self._connect(address)
            sent = True
            found.sendall(frame)
            if not answered:
                return b""
            size = int.from_bytes(_read(found, 4), "big", signed=True)
            if not 0 < size <= REPLY_BYTES_MAX:
                raise OSError(f"an answer of {size} bytes; is it a Kafka broker?")
            reply = _read(found, size)
            found.settimeout(ANSWER_TIMEOUT_S)
            return reply
        except OSError as error:
            self.forget(address)
            reason = "it says nothing" if isinstance(error, TimeoutError) and sent else error.strerror
            raise Unreachable(address, reason or str(error) or "time-out", sent=sent) from None
        except KeyboardInterrupt:
            self.forget(address)
            raise

    def _connect(self, address: Address) -> socket.socket:
        found = socket.create_connection(address, self._connect_timeout_s)
        found.settimeout(FIRST_ANSWER_TIMEOUT_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[address] = found
        return found

    def forget(self, address: Address) -> None:
        found = self._open.pop(address, None)
        if found is not None:
            with contextlib.suppress(OSError):
                found.close()

    def sleep_ms(self, wait_ms: int) -> None:
        time.sleep(wait_ms / 1000)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


def _read(found: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view = memoryview(content)
    at = 0
    while at < size:
        count = found.recv_into(view[at:])
        if not count:
            raise OSError("the broker closed the connection")
        at += count
    return bytes(content)
