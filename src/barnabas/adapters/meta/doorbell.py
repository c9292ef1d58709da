"""How a process hears that another one changed the metadata database: a datagram, or a look every POLL_S.

B1  Each process that shares the database has a UDP socket on 127.0.0.1 whose port is in the table `bell`. Who has
    committed sends a byte to each of the others. A datagram says only "look": a lost, forged or stray one changes nothing.
B2  Who hears nothing for POLL_S looks of itself: PRAGMA data_version, which costs some microseconds and reads no table.
B3  The listening thread has a connection of its own, reads two numbers with it, and never writes. It rings while the store
    has not taken what is there, and again after each POLL_S: a look that failed is repeated.
B4  A process that was killed leaves its port in the table. Nobody has it bound, which tells whoever comes next: it goes then.
"""

import socket
import sqlite3
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Final

from barnabas.adapters.meta.database import connect, revision

HOST: Final = "127.0.0.1"
POLL_S: Final = 0.25


class Doorbell:
    """seen() tells which revision has been taken, ring() is called when there is a later one: both on the thread."""

    def __init__(self, path: str, seen: Callable[[], int], ring: Callable[[], None]) -> None:
        self._seen = seen
        self._ring = ring
        self._closing = False
        self._db = connect(path, create=False)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(POLL_S)
        self.port: int = self._socket.getsockname()[1]
        self._thread = Thread(target=self._listen, name="barnabas-doorbell", daemon=True)
        self._thread.start()

    def ring_others(self, ports: Sequence[int]) -> None:
        """Never waits: a datagram to the same machine is taken or dropped."""
        for port in ports:
            if port != self.port:
                try:
                    self._socket.sendto(b"\0", (HOST, port))
                except OSError:
                    continue  # they look of themselves

    @staticmethod
    def is_dead(port: int) -> bool:
        """B4."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            try:
                trial.bind((HOST, port))
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Returns when the thread has ended."""
        self._closing = True
        try:
            self._socket.sendto(b"\0", (HOST, self.port))
        except OSError:
            pass  # it wakes of itself
        self._thread.join()
        self._socket.close()
        self._db.close()

    def _listen(self) -> None:
        version = there = -1
        while not self._closing:
            try:
                now = self._db.execute("PRAGMA data_version").fetchone()[0]
                if now != version:
                    there = revision(self._db)
                    version = now
            except sqlite3.Error:
                version = -1  # the store meets the same error at its next commit, and says so
            if there > self._seen() and not self._closing:
                self._ring()
            try:
                self._socket.recv(16)
            except OSError:
                continue  # nobody rang
