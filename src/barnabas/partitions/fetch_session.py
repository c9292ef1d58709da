"""Incremental fetch sessions (KIP-227): a consumer names its partitions once, then only what changes.

S1  A session's epoch rises by one with each fetch, from 1, and after 2^31-1 comes 1 again.
S2  Partitions keep the order in which they were added, but one that gave data goes to the end: none is starved.
S3  A full answer lists every partition; an incremental one those with data, an error, or a changed high watermark,
    LSO or log start.
S4  All sessions together hold at most BYTES_MAX and fill at most so many slots. Room is made as Kafka makes a slot free:
    who was not used for EVICTION_MS goes, longest unused first; then who is older than that and has fewer partitions
    than the one that comes or grows, smallest first. Where that is not enough nobody goes: who comes fetches without a
    session, who grows loses his.
Nothing is durable: a client whose session is gone gets FETCH_SESSION_ID_NOT_FOUND and makes a new one.
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64, mypyc_attr

from barnabas import errors

INVALID_SESSION_ID: Final = 0
INITIAL_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
EPOCH_MAX: Final = 2**31 - 1
EVICTION_MS: Final = 120_000
BYTES_MAX: Final = 64 * 1024 * 1024
"""Some 200,000 partitions. Kafka has no such limit: only slots."""

PARTITION_BYTES: Final = 320
"""What a session holds for one partition, as measured, without the topic's name."""

Key = tuple[str, bytes, int]
"""Topic name ("" when the client names ids), topic id, partition."""


@mypyc_attr(free_list_len=1)
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

    offset: i64
    max_bytes: i64
    high_watermark: i64
    last_stable_offset: i64
    log_start_offset: i64

    def __init__(self, offset: i64, max_bytes: i64, epoch: int, last_epoch: int) -> None:
        self.ask(offset, max_bytes, epoch, last_epoch)
        self.told = False
        self.high_watermark = -1
        self.last_stable_offset = -1
        self.log_start_offset = -1

    def ask(self, offset: i64, max_bytes: i64, epoch: int, last_epoch: int) -> None:
        self.offset = offset
        self.max_bytes = max_bytes
        self.epoch = epoch
        self.last_epoch = last_epoch

    def knows(self, high_watermark: i64, last_stable_offset: i64, log_start: i64) -> bool:
        return (
            self.told
            and high_watermark == self.high_watermark
            and last_stable_offset == self.last_stable_offset
            and log_start == self.log_start_offset
        )

    def is_news(
        self, has_data: bool, code: int, high_watermark: i64, last_stable_offset: i64, log_start: i64
    ) -> bool:
        """S3. Remembers what is told. An error is told anew each time."""
        news = has_data or code != 0 or not self.knows(high_watermark, last_stable_offset, log_start)
        self.told = code == 0
        self.high_watermark = high_watermark
        self.last_stable_offset = last_stable_offset
        self.log_start_offset = log_start
        return news


class FetchSession:
    """One client's partitions. held_bytes: what they take; counted_bytes: what FetchSessions has counted of it."""

    __slots__ = (
        "counted_bytes",
        "created_ms",
        "epoch",
        "held_bytes",
        "id",
        "last_used_ms",
        "partitions",
        "uses_ids",
    )

    def __init__(self, session_id: int, partitions: dict[Key, Wanted], uses_ids: bool, now_ms: int) -> None:
        self.id = session_id
        self.epoch = 1
        self.partitions = partitions
        self.uses_ids = uses_ids
        self.created_ms = now_ms
        self.last_used_ms = now_ms
        self.held_bytes = sum(bytes_of(key) for key in partitions)
        self.counted_bytes = 0

    def ask(self, key: Key, offset: i64, max_bytes: i64, epoch: int, last_epoch: int) -> None:
        """A partition is added, or asked for in another way. Then see FetchSessions.keep."""
        known = self.partitions.get(key)
        if known is None:
            self.partitions[key] = Wanted(offset, max_bytes, epoch, last_epoch)
            self.held_bytes += bytes_of(key)
        else:
            known.ask(offset, max_bytes, epoch, last_epoch)

    def forget(self, key: Key) -> None:
        if self.partitions.pop(key, None) is not None:
            self.held_bytes -= bytes_of(key)

    def rotate(self, keys: list[Key]) -> None:
        """S2: those that gave data, in their order here, go to the end."""
        if len(keys) == len(self.partitions):
            return
        for key in keys:
            wanted = self.partitions.pop(key, None)
            if wanted is not None:
                self.partitions[key] = wanted


def bytes_of(key: Key) -> int:
    return PARTITION_BYTES + len(key[0])


class FetchSessions:
    """All sessions of one broker (S4)."""

    def __init__(self, slots: int, below: Callable[[int], int], bytes_max: int = BYTES_MAX) -> None:
        self._slots = slots
        self._below = below
        self._bytes_max = bytes_max
        self._sessions: dict[int, FetchSession] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, partitions: dict[Key, Wanted], uses_ids: bool, now_ms: int) -> FetchSession | None:
        """A new session, or None when there is nothing to keep or no room to be had."""
        if not partitions:
            return None
        session_id = 0
        while session_id == INVALID_SESSION_ID or session_id in self._sessions:
            session_id = 1 + self._below(EPOCH_MAX - 1)
        session = FetchSession(session_id, partitions, uses_ids, now_ms)
        if not self._make_room(session, 1, now_ms):
            return None
        self._sessions[session_id] = session
        self._count(session)
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

    def keep(self, session: FetchSession, now_ms: int) -> bool:
        """Its partitions changed. False: there is no room for them, and the session is gone."""
        if session.held_bytes > session.counted_bytes and not self._make_room(session, 0, now_ms):
            self.close(session.id)
            return False
        self._count(session)
        return True

    def close(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self.held_bytes -= session.counted_bytes

    def _count(self, session: FetchSession) -> None:
        self.held_bytes += session.held_bytes - session.counted_bytes
        session.counted_bytes = session.held_bytes

    def _make_room(self, session: FetchSession, slots: int, now_ms: int) -> bool:
        """S4: for the slots and for what is not counted yet of that session."""
        slots_over = len(self._sessions) + slots - self._slots
        bytes_over = self.held_bytes + session.held_bytes - session.counted_bytes - self._bytes_max
        if slots_over <= 0 and bytes_over <= 0:
            return True
        going = []
        for other in self._evictable(len(session.partitions), now_ms):
            going.append(other.id)
            slots_over -= 1
            bytes_over -= other.counted_bytes
            if slots_over <= 0 and bytes_over <= 0:
                for session_id in going:
                    self.close(session_id)
                return True
        return False

    def _evictable(self, size: int, now_ms: int) -> list[FetchSession]:
        """S4: in the order in which they go for one with size partitions."""
        unused: list[FetchSession] = []
        smaller: list[FetchSession] = []
        for session in self._sessions.values():
            if now_ms - session.last_used_ms > EVICTION_MS:
                unused.append(session)
            elif now_ms - session.created_ms > EVICTION_MS and len(session.partitions) < size:
                smaller.append(session)
        unused.sort(key=lambda session: session.last_used_ms)
        smaller.sort(key=lambda session: len(session.partitions))
        return unused + smaller
