"""A reader: positions per partition, whole fetches, records decoded whatever their codec."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from barnabas import errors
from barnabas.client.cluster import TRIES_MAX, Address, Cluster, Patience, Refused, Unreachable
from barnabas.records.batch import BatchHeader
from barnabas.records.record import Record, batches, records_of
from barnabas.wire.messages import fetch, list_offsets

LATEST: Final = -1
EARLIEST: Final = -2
READ_COMMITTED: Final = 1
"""Records of open and of aborted transactions are not handed out."""

FETCH_BYTES: Final = 8 << 20
PARTITION_BYTES: Final = 1 << 20

Place = tuple[str, int]
"""Topic and partition."""


def offsets_at(cluster: Cluster, places: Iterable[Place], timestamp: int) -> dict[Place, int]:
    """The offset at a time (ms), LATEST or EARLIEST for each place; -1 where no record is that late.

    One request per leader. Raises Refused with the first code that does not pass, and Unreachable.
    """
    patience = Patience(cluster)
    wanted = list(places)
    found: dict[Place, int] = {}
    left, code = wanted, errors.NONE
    for tried in range(TRIES_MAX):
        if tried:
            cluster.pause()
        for place, row in _rows_of(cluster, left, timestamp, patience):
            if row.error_code == errors.NONE:
                found[place] = row.offset
                continue
            code = row.error_code
            if code not in errors.RETRIABLE:
                raise Refused(code, f"{place[0]}[{place[1]}]")
            cluster.stale(place[0])
        left = [place for place in wanted if place not in found]
        if not left:
            return {place: found[place] for place in wanted}
    raise Refused(code, f"{left[0][0]}[{left[0][1]}]")


def _rows_of(
    cluster: Cluster, places: list[Place], timestamp: int, patience: Patience
) -> Iterator[tuple[Place, Any]]:
    """Without those whose leader does not answer."""
    for leader, own in by_leader(cluster, places).items():
        topics: dict[str, list[list_offsets.ListOffsetsPartition]] = {}
        for topic, partition in own:
            row = list_offsets.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
            topics.setdefault(topic, []).append(row)
        ask = list_offsets.ListOffsetsRequest(
            replica_id=-1,
            isolation_level=READ_COMMITTED,
            topics=[
                list_offsets.ListOffsetsTopic(name=name, partitions=rows) for name, rows in topics.items()
            ],
        )
        try:
            reply = cluster.ask(2, ask, leader)
        except Unreachable as error:
            patience.take(error)
            for name in topics:
                cluster.stale(name)
            continue
        for answer in reply.topics:
            for part in answer.partitions:
                yield (answer.name, part.partition_index), part


def by_leader(cluster: Cluster, places: Iterable[Place]) -> dict[Address, list[Place]]:
    found: dict[Address, list[Place]] = {}
    for place in places:
        found.setdefault(cluster.leader(*place), []).append(place)
    return found


class Reader:
    """Reads the places in `positions`, each from its offset on; a place may be dropped at any time."""

    def __init__(
        self,
        cluster: Cluster,
        positions: dict[Place, int],
        on_batch: Callable[[Place, BatchHeader], None] = lambda place, header: None,
    ) -> None:
        """on_batch: told of each batch whose records are handed out."""
        self._cluster = cluster
        self._on_batch = on_batch
        self.positions = positions

    def poll(self, wait_ms: int) -> Iterator[tuple[Place, Record]]:
        """What came within wait_ms, in order within each place; positions follow the records handed out.

        Raises Refused, or Unreachable when a leader does not answer; polling again then looks for the new one.
        """
        for leader, places in by_leader(self._cluster, self.positions).items():
            try:
                reply = self._cluster.ask(1, self._request(places, wait_ms), leader)
            except Unreachable:
                for topic, _ in places:
                    self._cluster.stale(topic)
                raise
            if reply.error_code:
                raise Refused(reply.error_code, "fetch")
            for topic in reply.responses:
                for part in topic.partitions:
                    yield from self._take((topic.topic, part.partition_index), part)

    def _request(self, places: list[Place], wait_ms: int) -> fetch.FetchRequest:
        topics: dict[str, list[fetch.FetchPartition]] = {}
        for topic, partition in places:
            offset = self.positions[topic, partition]
            row = fetch.FetchPartition(
                partition=partition, fetch_offset=offset, partition_max_bytes=PARTITION_BYTES
            )
            topics.setdefault(topic, []).append(row)
        return fetch.FetchRequest(
            max_wait_ms=wait_ms,
            min_bytes=1,
            max_bytes=FETCH_BYTES,
            isolation_level=READ_COMMITTED,
            topics=[fetch.FetchTopic(topic=name, partitions=rows) for name, rows in topics.items()],
        )

    def _take(self, place: Place, part: Any) -> Iterator[tuple[Place, Record]]:
        if part.error_code:
            if part.error_code not in errors.RETRIABLE:
                raise Refused(
                    part.error_code, f"{place[0]}[{place[1]}] at offset {self.positions.get(place)}"
                )
            self._cluster.stale(place[0])
            self._cluster.pause()
            return
        content = part.records.to_bytes() if part.records is not None else b""
        aborted = sorted((row.first_offset, row.producer_id) for row in part.aborted_transactions or ())
        dropped: set[int] = set()
        for header, at in batches(content):
            while aborted and aborted[0][0] <= header.next_offset - 1:
                dropped.add(aborted.pop(0)[1])
            if header.is_control:
                dropped.discard(header.producer_id)
            elif not (header.is_transactional and header.producer_id in dropped):
                self._on_batch(place, header)
                for record in records_of(content, header, at):
                    if place not in self.positions:
                        return
                    if record.offset >= self.positions[place]:
                        self.positions[place] = record.offset + 1
                        yield place, record
            if place in self.positions:
                self.positions[place] = max(self.positions[place], header.next_offset)
