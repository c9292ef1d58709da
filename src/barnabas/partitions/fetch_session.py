"""Incremental fetch sessions (KIP-227): a consumer names its partitions once, then only what changes.

S1  A session's epoch rises by one with each fetch, from 1, and after 2^31-1 comes 1 again.
S2  Partitions keep the order in which they were added, but one that gave data goes to the end: none is starved.
S3  A full answer lists every partition; an incremental one those with data, an error, or a changed high watermark,
    LSO or log start.
Nothing is durable: a client whose session is gone gets FETCH_SESSION_ID_NOT_FOUND and makes a new one.
"""

from collections.abc import Callable, Iterable
from typing import Final

from barnabas import errors

INVALID_SESSION_ID: Final = 0
INITIAL_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
EPOCH_MAX: Final = 2**31 - 1
EVICTION_MS: Final = 120_000
"""A session used within this time gives its slot only to one with more partitions."""

Key = tuple[str, bytes, int]
"""Topic name ("" when the client names ids), topic id, partition."""


class Wanted:
    """One partition of a session: what the client last asked, and what it was last told."""

    __slots__ = (
        "epoch",
        "high_watermark",
        "last_epoch",
        "last_stable_offset",
        "log_start_offset",
        "max_bytes",
        "offset",
        "told",
    )

    def __init__(self, offset: int, max_bytes: int, epoch: int, last_epoch: int) -> None:
        self.ask(offset, max_bytes, epoch, last_epoch)
        self.told = False
        self.high_watermark = -1
        self.last_stable_offset = -1
        self.log_start_offset = -1

    def ask(self, offset: int, max_bytes: int, epoch: int, last_epoch: int) -> None:
        self.offset = offset
        self.max_bytes = max_bytes
        self.epoch = epoch
        self.last_epoch = last_epoch

    def is_news(
        self, has_data: bool, code: int, high_watermark: int, last_stable_offset: int, log_start: int
    ) -> bool:
        """S3. Remembers what is told. An error is told anew each time."""
        news = (
            has_data
            or code != 0
            or not self.told
            or high_watermark != self.high_watermark
            or last_stable_offset != self.last_stable_offset
            or log_start != self.log_start_offset
        )
        self.told = code == 0
        self.high_watermark = high_watermark
        self.last_stable_offset = last_stable_offset
        self.log_start_offset = log_start
        return news


class FetchSession:
    """One client's partitions."""

    __slots__ = ("epoch", "id", "last_used_ms", "partitions", "uses_ids")

    def __init__(self, session_id: int, partitions: dict[Key, Wanted], uses_ids: bool, now_ms: int) -> None:
        self.id = session_id
        self.epoch = 1
        self.partitions = partitions
        self.uses_ids = uses_ids
        self.last_used_ms = now_ms

    def rotate(self, keys: Iterable[Key]) -> None:
        """S2: those that gave data go to the end."""
        for key in keys:
            wanted = self.partitions.pop(key, None)
            if wanted is not None:
                self.partitions[key] = wanted


class FetchSessions:
    """All sessions of one broker, at most slots of them."""

    def __init__(self, slots: int, below: Callable[[int], int]) -> None:
        self._slots = slots
        self._below = below
        self._sessions: dict[int, FetchSession] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def partition_count(self) -> int:
        return sum(len(session.partitions) for session in self._sessions.values())

    def open(self, partitions: dict[Key, Wanted], uses_ids: bool, now_ms: int) -> FetchSession | None:
        """A new session, or None when there is nothing to keep or no slot to be had."""
        if not partitions or not self._make_room(len(partitions), now_ms):
            return None
        session_id = 0
        while session_id == INVALID_SESSION_ID or session_id in self._sessions:
            session_id = 1 + self._below(EPOCH_MAX - 1)
        session = self._sessions[session_id] = FetchSession(session_id, partitions, uses_ids, now_ms)
        return session

    def find(self, session_id: int, epoch: int, uses_ids: bool, now_ms: int) -> FetchSession | int:
        """The session of an incremental fetch, its epoch moved on; or an error code."""
        session = self._sessions.get(session_id)
        if session is None:
            return errors.FETCH_SESSION_ID_NOT_FOUND
        if session.epoch != epoch:
            return errors.INVALID_FETCH_SESSION_EPOCH
        if session.uses_ids != uses_ids:
            return errors.FETCH_SESSION_TOPIC_ID_ERROR
        session.epoch = 1 if epoch == EPOCH_MAX else epoch + 1
        session.last_used_ms = now_ms
        return session

    def close(self, session_id: int) -> None:
        self._sessions.pop(session_id, None)

    def _make_room(self, size: int, now_ms: int) -> bool:
        if len(self._sessions) < self._slots:
            return True
        for session in self._sessions.values():
            stale = now_ms - session.last_used_ms > EVICTION_MS
            if stale or len(session.partitions) < size:
                del self._sessions[session.id]
                self.evicted += 1
                return True
        return False
