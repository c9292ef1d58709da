"""Reads everything through incremental fetch sessions (KIP-227), with one leader after the other."""

from typing import TYPE_CHECKING, Any, Final

from barnabas import errors
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from simulation.log_clients import FETCH_BYTES, TOPIC, checked, find_start, floors_of
from simulation.process import PATIENCE_MS, RETRY_MS, Client, Process

if TYPE_CHECKING:
    from simulation.world import World

SINCE: Final = 7
"""The version of Fetch that has sessions."""
SESSION_OVER: Final = (errors.FETCH_SESSION_ID_NOT_FOUND, errors.INVALID_FETCH_SESSION_EPOCH)
STAYS_MS: Final = 1_000


class SessionReader:
    """Says only what changed since its last request; what an answer does not name has nothing new."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self._process = Process(world, name)
        self._client = Client(self._process, world.versions)
        self._positions = dict.fromkeys(world.history.partitions, 0)
        self._home = 0
        """It reads what is led by the leader of this partition."""
        self._leave_at_ms = 0
        self._forget_session()
        self._read()

    @property
    def has_read_all(self) -> bool:
        ends = self._world.history.high_watermark
        return all(position >= ends[partition] for partition, position in self._positions.items())

    def _forget_session(self) -> None:
        self._session_id = 0
        self._epoch = 0
        self._told: dict[int, int] = {}
        """What the session knows: partitions and positions."""

    def _begin_anew(self) -> None:
        self._forget_session()
        self._client.forget_leaders()
        self._process.after(RETRY_MS, self._read)

    def _read(self) -> None:
        """It goes to another leader only when it has read all here: one whose session is mute waits for ever."""
        now_ms, ends = self._world.time.mono_ms(), self._world.history.high_watermark
        behind = any(offset < ends[partition] for partition, offset in self._told.items())
        if now_ms >= self._leave_at_ms and not behind:
            self._leave_at_ms = now_ms + STAYS_MS
            self._home = self._world.time.random.randrange(len(self._positions))
            self._forget_session()
        self._client.by_leader(TOPIC, list(self._positions), self._grouped)

    def _grouped(self, groups: list[list[int]]) -> None:
        mine = next((group for group in groups if self._home in group), None)
        if mine is None:
            self._begin_anew()
        else:
            self._fetch(mine)

    def _fetch(self, group: list[int]) -> None:
        floors = floors_of(self._world, group)
        asked = {partition: self._positions[partition] for partition in group}
        news = {
            partition: offset for partition, offset in asked.items() if self._told.get(partition) != offset
        }
        gone = sorted(self._told.keys() - asked.keys())
        self._told = asked
        parts = [
            FetchPartition(partition, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
            for partition, offset in news.items()
        ]
        wait_ms = self._world.time.random.choice((0, 100, 1_000))
        ask = FetchRequest(
            max_wait_ms=wait_ms,
            min_bytes=1 if wait_ms else 0,
            max_bytes=FETCH_BYTES,
            session_id=self._session_id,
            session_epoch=self._epoch,
            topics=[FetchTopic(TOPIC, partitions=parts)] if parts else [],
            forgotten_topics_data=[ForgottenTopic(TOPIC, partitions=gone)] if gone else [],
        )

        def answered(response: Any) -> None:
            self._answered(response, asked, floors)

        self._client.ask_leader(TOPIC, group[0], 1, ask, answered, PATIENCE_MS + wait_ms)

    def _answered(self, response: Any, asked: dict[int, int], floors: dict[int, tuple[int, int]]) -> None:
        if response is None or response.error_code:
            history = self._world.history
            allowed = response is None or response.error_code in SESSION_OVER
            history.require(
                allowed, "refused", f"a fetch session ends with {response and response.error_code}"
            )
            self._begin_anew()
            return
        if self._epoch == 0:
            self._session_id = response.session_id
        if self._session_id:
            self._epoch += 1
        else:
            self._forget_session()  # there was no room for one
        for part in response.responses[0].partitions if response.responses else ():
            self._take(part, asked, floors)
        self._process.after(self._world.time.random.choice((1, 10, 100)), self._read)

    def _take(self, part: Any, asked: dict[int, int], floors: dict[int, tuple[int, int]]) -> None:
        partition = part.partition_index
        is_asked = partition in asked
        self._world.history.require(is_asked, "refused", f"a fetch session tells of partition {partition}")
        found = checked(self._world, part, asked[partition], floors[partition])
        if found.code == errors.OFFSET_OUT_OF_RANGE:
            find_start(self._world, self._client, partition, lambda offset: self._start_at(partition, offset))
        elif found.records:
            self._positions[partition] = found.records[-1].offset + 1

    def _start_at(self, partition: int, offset: int | None) -> None:
        self._positions[partition] = max(self._positions[partition], offset or 0)
