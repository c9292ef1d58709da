"""Fetch (1), v4-18. Plans byte ranges of whole batches, and their bytes go from file to socket; few bytes are read at once.

Behaviour  max_bytes and partition_max_bytes bound the answer, but the first batch of the first partition with data comes
           whole whatever its size, so that a reader always moves. At most 512 partitions have records. With fewer than
           min_bytes and no error the request waits up to max_wait_ms and is planned once more, at completion. Sessions:
           KIP-227. A reader whose last epoch ended before its offset is told where (diverging epoch) and gets no records.
Cold       Where a batch begins is looked for on the loop in what is in memory. What is not is read in a thread first, and
           the answer is planned anew; what it then sends of a file may be cold, too (adapters/network.py).
Versions   v7: sessions. v9: current_leader_epoch. v11: rack. v12: flexible, diverging epoch. v13: topics by id.
           v15: replica state is a tag. v16: leader and node endpoints with an epoch that is over. v17, v18: of followers.
Not done   Followers: a replica_id >= 0 is answered NOT_LEADER_OR_FOLLOWER for each partition (no replication here).
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64, mypyc_attr

from barnabas import errors
from barnabas.partitions.fetch_session import (
    FINAL_EPOCH,
    INITIAL_EPOCH,
    INVALID_SESSION_ID,
    FetchSession,
    Key,
    Wanted,
)
from barnabas.partitions.open import Led
from barnabas.partitions.partition import READ_COMMITTED, FetchPlan, Partition
from barnabas.partitions.waits import Parked
from barnabas.ports import Cold, FileRange
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import fetch as message
from barnabas.wire.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)
from barnabas.wire.primitives import NO_ITEMS, Records

REPLICA_STATE_SINCE: Final = 15
LEADER_SINCE: Final = 16
ANSWER_READ_BYTES_MAX: Final = 256 * 1024
"""Of one answer, bytes that are read when it is planned. A reader may be slow: beyond them it costs ranges of files only."""
WITH_RECORDS_MAX: Final = 512
"""Partitions of one answer that have records: to find and read them takes the loop one to four µs each. The others are told
without, as when max_bytes is reached, and a reader comes to them with its next fetch.
"""
COLD_TRIES_MAX: Final = 3
"""A page cache that lets go at once must not hold up an answer for ever: after so many tries the loop waits for the disk."""
MISLED: Final = (errors.FENCED_LEADER_EPOCH, errors.NOT_LEADER_OR_FOLLOWER)


@mypyc_attr(free_list_len=1)
class Fetching:
    """One fetch: what it wants, planned now and, if it has to wait, once more."""

    __slots__ = (
        "_abandoned",
        "_ask",
        "_broker",
        "_cold",
        "_follower",
        "_full",
        "_idle",
        "_limit",
        "_listener",
        "_tries",
        "_version",
        "session",
        "wanted",
    )

    def __init__(
        self,
        broker: Broker,
        ask: FetchRequest,
        version: int,
        wanted: dict[Key, Wanted],
        session: FetchSession | None,
        full: bool,
        listener: str,
    ) -> None:
        self._broker = broker
        self._listener = listener
        self._follower = is_follower(ask, version)
        self._ask = ask
        self._version = version
        self._full = full
        self._cold: list[Cold] | None = None
        self._idle: list[Partition] | None = None
        """Without a plan, for there is no news of them."""
        self._tries = 0
        self._abandoned = False
        self._limit = min(ask.max_bytes, broker.options.get_int("fetch.max.bytes"))
        self.wanted = wanted
        self.session = session

    def answer(self) -> FetchResponse | Parked:
        plans, size, at_once = self._plan()
        if self._cold is None and self._is_enough(plans, size, at_once):
            return self._response(plans)
        parked = Parked()
        self._go_on(parked, plans, size, at_once)
        return parked

    def _go_on(self, parked: Parked, plans: list["Planned"], size: int, at_once: bool) -> None:
        if self._cold is not None:
            self._warm(parked, lambda: self._go_on(parked, *self._plan()))
        elif self._is_enough(plans, size, at_once):
            parked.complete(self._response(plans))
        else:
            self._wait(parked, plans, size)

    def _is_enough(self, plans: list["Planned"], size: int, at_once: bool) -> bool:
        ask = self._ask
        return (
            size >= ask.min_bytes
            or ask.max_wait_ms <= 0
            or at_once
            or not self.wanted
            or self._has_news(plans)
        )

    def _wait(self, parked: Parked, plans: list["Planned"], size: int) -> None:
        ask = self._ask
        keys = [partition for _, _, partition, _ in plans if partition is not None] + (self._idle or [])
        deadline_ms = self._broker.clock.mono_ms() + ask.max_wait_ms
        waits = self._broker.waits
        waiter = waits.add(keys, max(ask.min_bytes - size, 1), deadline_ms, lambda _: self._finish(parked))
        parked.when_abandoned(lambda: waits.cancel(waiter))

    def _finish(self, parked: Parked) -> None:
        """With what there is now."""
        plans, _, _ = self._plan()
        if self._cold is not None:
            self._warm(parked, lambda: self._finish(parked))
        else:
            parked.complete(self._response(plans))

    def _warm(self, parked: Parked, then: Callable[[], None]) -> None:
        """Why a read failed is told by the plan that comes to it again."""
        cold, self._cold = self._cold or [], None
        self._tries += 1

        def work() -> None:
            for each in cold:
                each.work()

        def warmed(_: object | None, error: BaseException | None) -> None:
            if not self._abandoned:
                then()

        parked.when_abandoned(self._abandon)
        self._broker.loop.run_in("read", work, warmed)

    def _abandon(self) -> None:
        self._abandoned = True

    def _has_news(self, plans: list["Planned"]) -> bool:
        """A moved high watermark alone does not end a wait, but a diverging epoch does."""
        return any(plan.code or plan.diverging for _, _, _, plan in plans)

    def _plan(self) -> tuple[list["Planned"], int, bool]:
        """What there is, its bytes, and whether more must not be waited for. When something was cold it is made anew."""
        left: i64 = self._limit
        size: i64 = 0
        may_read: i64 = ANSWER_READ_BYTES_MAX
        at_once = False
        room = WITH_RECORDS_MAX
        isolation = self._ask.isolation_level
        waits = self._tries >= COLD_TRIES_MAX
        plans: list[Planned] = []
        self._idle = None
        name, topic_id, leaders = "", b"", None
        for key, wanted in self.wanted.items():
            if key[0] is not name or key[1] is not topic_id:  # most often it is the topic of the one before
                name, topic_id, _ = key
                leaders = self._leaders_of(name, topic_id)
            partition, code = self._find(leaders, key[2])
            if partition is None or code:
                plan = FetchPlan(code, -1, -1, -1)
            elif not self._full and is_idle(partition, wanted):
                if self._idle is None:
                    self._idle = []
                self._idle.append(partition)
                continue
            else:
                try:
                    plan = partition.plan_fetch(
                        wanted.offset,
                        min(wanted.max_bytes, left),
                        isolation,
                        size == 0,
                        wanted.epoch,
                        wanted.last_epoch,
                        may_read > 0,
                        waits,
                    )
                except Cold as cold:
                    if self._cold is None:
                        self._cold = []
                    self._cold.append(cold)
                    continue
                may_read -= plan.read_bytes
            if plan.code:
                at_once = True
            elif plan.size:
                size += plan.size
                left -= plan.size
                if left < 0:
                    left = 0  # by the one batch that comes whole whatever its size
                room -= 1
                if not room:
                    left = 0
                    at_once = True
            plans.append((key, wanted, partition, plan))
        return plans, size, at_once

    def _leaders_of(self, name: str, topic_id: bytes) -> Led | None:
        partitions = self._broker.partitions
        return partitions.by_id(topic_id) if self._version >= 13 else partitions.by_name(name)

    def _find(self, leaders: Led | None, index: int) -> tuple[Partition | None, int]:
        if leaders is None:
            by_id = self._version >= 13
            return None, errors.UNKNOWN_TOPIC_ID if by_id else errors.UNKNOWN_TOPIC_OR_PARTITION
        if not 0 <= index < len(leaders):
            return None, errors.UNKNOWN_TOPIC_OR_PARTITION
        partition = leaders[index]
        return partition, errors.NOT_LEADER_OR_FOLLOWER if self._follower or partition is None else 0

    def _response(self, plans: list["Planned"]) -> FetchResponse:
        session = self.session
        response = FetchResponse(session_id=session.id if session is not None else INVALID_SESSION_ID)
        topic: FetchableTopicResponse | None = None
        with_data: list[Key] | None = None
        for key, wanted, partition, plan in plans:
            if session is not None:
                news = wanted.is_news(
                    plan.size > 0 or plan.diverging is not None,
                    plan.code,
                    plan.high_watermark,
                    plan.last_stable_offset,
                    plan.log_start_offset,
                )
                if not (news or self._full):
                    continue
                if plan.size:
                    if with_data is None:
                        with_data = []
                    with_data.append(key)
            if topic is None or topic.topic != key[0] or topic.topic_id != key[1]:
                topic = FetchableTopicResponse(topic=key[0], topic_id=key[1])
                response.responses.append(topic)
            topic.partitions.append(self._partition_data(response, key, partition, plan))
        if session is not None and with_data is not None:
            session.rotate(with_data)
        return response

    def _partition_data(
        self, response: FetchResponse, key: Key, partition: Partition | None, plan: FetchPlan
    ) -> PartitionData:
        piece = plan.piece
        is_plain = partition is not None and self._ask.isolation_level != READ_COMMITTED
        data = PartitionData(
            partition_index=key[2],
            error_code=plan.code,
            high_watermark=plan.high_watermark,
            last_stable_offset=plan.last_stable_offset,
            log_start_offset=plan.log_start_offset,
            aborted_transactions=None if is_plain else NO_ITEMS,
            records=Records(size=piece.size, planned=piece)
            if isinstance(piece, FileRange)
            else Records(piece or b""),
        )
        if plan.code in MISLED and self._version >= LEADER_SINCE:
            self._name_leader(response, key, data)
        if plan.diverging is not None:
            data.diverging_epoch = EpochEndOffset(*plan.diverging)
        return data

    def _name_leader(self, response: FetchResponse, key: Key, data: PartitionData) -> None:
        """KIP-951: where to go with what came to the wrong broker, or under an epoch that is over."""
        leader, epoch = self._broker.topics.leader_of(*key)
        data.current_leader = LeaderIdAndEpoch(leader, epoch)
        if self._follower or any(known.node_id == leader for known in response.node_endpoints):
            return
        response.node_endpoints += [
            NodeEndpoint(node_id=known.node_id, host=known.host, port=known.port, rack=known.rack)
            for known in self._broker.topics.advertised(self._listener)
            if known.node_id == leader
        ]


def is_idle(partition: Partition, wanted: Wanted) -> bool:
    """Whether an incremental answer would leave it out: most partitions of a session, most of the time."""
    return partition.has_nothing_for(wanted.offset, wanted.epoch, wanted.last_epoch) and wanted.knows(
        partition.high_watermark, partition.last_stable_offset, partition.log_start_offset
    )


def is_follower(ask: FetchRequest, version: int) -> bool:
    """Brokers give their id: in a field of its own, and since v15 in a tag."""
    if version < REPLICA_STATE_SINCE:
        return ask.replica_id >= 0
    return ask.replica_state is not None and ask.replica_state.replica_id >= 0


Planned = tuple[Key, Wanted, Partition | None, FetchPlan]


def handle(broker: Broker, ask: FetchRequest, version: int, caller: Caller) -> FetchResponse | Parked:
    if version < 7 or (ask.session_id == INVALID_SESSION_ID and ask.session_epoch == FINAL_EPOCH):
        return Fetching(broker, ask, version, wanted_of(ask), None, True, caller.listener).answer()
    by_id = version >= 13
    now_ms = broker.clock.mono_ms()
    if ask.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
        broker.fetch_sessions.close(ask.session_id)
        wanted = wanted_of(ask)
        session = None
        if ask.session_epoch == INITIAL_EPOCH:
            session = broker.fetch_sessions.open(wanted, by_id, now_ms)
        return Fetching(broker, ask, version, wanted, session, True, caller.listener).answer()
    found = broker.fetch_sessions.find(ask.session_id, ask.session_epoch, by_id, now_ms)
    if isinstance(found, int):
        return FetchResponse(error_code=found)
    refresh(found, ask)
    if not broker.fetch_sessions.keep(found, now_ms):
        return FetchResponse(error_code=errors.FETCH_SESSION_ID_NOT_FOUND)
    return Fetching(broker, ask, version, found.partitions, found, False, caller.listener).answer()


def wanted_of(ask: FetchRequest) -> dict[Key, Wanted]:
    """The partitions a full fetch names, in its order."""
    return {
        (topic.topic, topic.topic_id, asked.partition): Wanted(
            asked.fetch_offset,
            asked.partition_max_bytes,
            asked.current_leader_epoch,
            asked.last_fetched_epoch,
        )
        for topic in ask.topics
        for asked in topic.partitions
    }


def refresh(session: FetchSession, ask: FetchRequest) -> None:
    """An incremental fetch changes, adds and forgets partitions of its session."""
    for topic in ask.topics:
        for asked in topic.partitions:
            session.ask(
                (topic.topic, topic.topic_id, asked.partition),
                asked.fetch_offset,
                asked.partition_max_bytes,
                asked.current_leader_epoch,
                asked.last_fetched_epoch,
            )
    for gone in ask.forgotten_topics_data:
        for index in gone.partitions:
            session.forget((gone.topic, gone.topic_id, index))


class Fetch(Api):
    def decode(self, frame: bytes, body_at: i64, version: i64) -> FetchRequest:
        return message.decode_request(frame, body_at, version)

    def handle(
        self, broker: Broker, ask: FetchRequest, version: int, caller: Caller
    ) -> FetchResponse | Parked:
        return handle(broker, ask, version, caller)


API = Fetch(
    1,
    message,
    handle,
    codes=(
        errors.UNKNOWN_TOPIC_OR_PARTITION,
        errors.UNKNOWN_TOPIC_ID,
        errors.OFFSET_OUT_OF_RANGE,
        errors.FENCED_LEADER_EPOCH,
        errors.UNKNOWN_LEADER_EPOCH,
        errors.NOT_LEADER_OR_FOLLOWER,
        errors.FETCH_SESSION_ID_NOT_FOUND,
        errors.INVALID_FETCH_SESSION_EPOCH,
        errors.FETCH_SESSION_TOPIC_ID_ERROR,
        errors.KAFKA_STORAGE_ERROR,
    ),
)
