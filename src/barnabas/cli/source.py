"""Where `consume` gets its records: partitions from a start to a stop, alone or as a member of a group.

What was printed is committed, never what was not: stdout is flushed first, and a record counts when done() says so.
A broker that is lost is looked for again; the group may meanwhile go on without us, and we join it anew.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from barnabas.cli.places import Where, resolve
from barnabas.client.cluster import TRIES_MAX, Cluster, Unreachable
from barnabas.client.fetch import EARLIEST, Place, Reader, offsets_at
from barnabas.client.groups import committed
from barnabas.client.member import Member
from barnabas.records.record import Record

WAIT_MS: Final = 500
BEAT_MS: Final = 3000
COMMIT_MS: Final = 5000
LOOK_MS: Final = 10_000
"""How long a partition that was added may go unseen."""

FAR: Final = 1 << 63


def _now_ms() -> float:
    return time.monotonic() * 1000


class Source:
    """Records of topics from where we are to start, to where we are to stop."""

    def __init__(
        self,
        cluster: Cluster,
        topics: Sequence[str],
        start: Where,
        stop: Where | None,
        group: str | None,
        flush: Callable[[], None],
        timeout_ms: int | None = None,
    ) -> None:
        """flush: what was printed has left this process when it returns."""
        self._cluster = cluster
        self._topics = list(dict.fromkeys(topics))
        self._start = start
        self._stop = stop
        self._group = group
        self._flush = flush
        self._member = Member(cluster, group, self._topics) if group else None
        self._reader = Reader(cluster, {})
        self._joined = False
        self._stops: dict[Place, int] = {}
        self._done: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._beat_at = self._commit_at = 0.0
        self._look_at = _now_ms() + LOOK_MS
        self._counts: dict[str, int] = {}
        self._deadline = None if timeout_ms is None else _now_ms() + timeout_ms
        self.timed_out = False

    def records(self) -> Iterator[tuple[Place, Record]]:
        """Raises Unreachable when no broker answers at first, or it stays away later."""
        self._begin()
        lost = 0
        while not self._is_over():
            try:
                if not self._joined:
                    self._begin()
                yield from self._poll()
                self._keep_membership()
                self._look_for_partitions()
                lost = 0
            except Unreachable:
                lost += 1
                if lost == TRIES_MAX:
                    raise
                self._cluster.pause()

    def _poll(self) -> Iterator[tuple[Place, Record]]:
        wait_ms = self._wait_ms()
        if not self._reader.positions:
            time.sleep(wait_ms / 1000)
        for place, record in self._reader.poll(wait_ms):
            stop = self._stops.get(place)
            if stop is None or record.offset < stop:
                yield place, record
        for place, position in self._reader.positions.items():
            self._done[place] = min(position, self._stops.get(place, position))

    def done(self, place: Place, record: Record) -> None:
        """The record is handed to what flush writes out, or not wanted."""
        self._done[place] = record.offset + 1

    def close(self) -> None:
        """Commit what was printed and leave the group."""
        if self._member is None or not self._joined:
            return
        try:
            self._commit()
        finally:
            self._member.leave()

    def _begin(self) -> None:
        self._counts = {topic: self._cluster.partitions(topic) for topic in self._topics}
        if self._member is None or self._group is None:
            places = [(topic, index) for topic, count in self._counts.items() for index in range(count)]
            positions = resolve(self._cluster, places, self._start, reached=True)
        else:
            places = self._member.join()
            self._committed = committed(self._cluster, self._group)
            fresh = [place for place in places if place not in self._committed]
            positions = resolve(self._cluster, fresh, self._start, reached=True)
            known = [place for place in places if place in self._committed]
            starts = offsets_at(self._cluster, known, EARLIEST)
            positions.update({place: max(self._committed[place], starts[place]) for place in known})
        if self._stop is not None:
            later = [place for place in places if place not in self._stops]
            self._stops.update(resolve(self._cluster, later, self._stop))
        self._reader.positions = positions
        self._done = dict(positions)
        self._joined = True

    def _is_over(self) -> bool:
        positions = self._reader.positions
        for place in [place for place in positions if positions[place] >= self._stops.get(place, FAR)]:
            del positions[place]
        self.timed_out = self._deadline is not None and _now_ms() >= self._deadline
        return self.timed_out or (not positions and self._stop is not None and self._joined)

    def _wait_ms(self) -> int:
        if self._deadline is None:
            return WAIT_MS
        return max(0, min(WAIT_MS, round(self._deadline - _now_ms())))

    def _keep_membership(self) -> None:
        if self._member is None:
            return
        now = _now_ms()
        if now >= self._commit_at:
            self._commit_at = now + COMMIT_MS
            self._commit()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_MS
            if not self._member.beat():
                self._commit()
                self._joined = False

    def _look_for_partitions(self) -> None:
        """Those that were added since are read from their start; a group's leader then shares them out."""
        if self._stop is not None or _now_ms() < self._look_at:
            return
        self._look_at = _now_ms() + LOOK_MS
        for topic in self._topics:
            self._cluster.stale(topic)
        counts = {topic: self._cluster.partitions(topic) for topic in self._topics}
        if self._member is None:
            for topic, count in counts.items():
                added = [(topic, index) for index in range(self._counts[topic], count)]
                self._reader.positions.update(offsets_at(self._cluster, added, EARLIEST))
        elif counts != self._counts:
            self._commit()
            self._joined = False
        self._counts = counts

    def _commit(self) -> None:
        moved = {
            place: offset for place, offset in self._done.items() if offset != self._committed.get(place)
        }
        if self._member is None or not moved:
            return
        self._flush()
        if self._member.commit(moved):
            self._committed.update(moved)
