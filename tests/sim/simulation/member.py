"""Members of the group, and somebody who commits without being one.

A member finds its coordinator, joins, takes its assignment, asks for the committed offsets, reads, and commits what it has
handled; it beats, and begins anew when it is told that a rebalance began or that its generation is over.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from barnabas import errors
from barnabas.wire.internal import consumer_protocol_assignment, consumer_protocol_subscription
from barnabas.wire.internal.consumer_protocol_assignment import ConsumerProtocolAssignment, TopicPartition
from barnabas.wire.internal.consumer_protocol_subscription import ConsumerProtocolSubscription
from barnabas.wire.messages.find_coordinator import FindCoordinatorRequest
from barnabas.wire.messages.heartbeat import HeartbeatRequest
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from barnabas.wire.messages.leave_group import LeaveGroupRequest, MemberIdentity
from barnabas.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from barnabas.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from barnabas.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from simulation.history import NO_OFFSET
from simulation.log_clients import TOPIC, Fetched, fetch, find_start
from simulation.process import RETRY_MS, Client, Process

if TYPE_CHECKING:
    from simulation.world import World

GROUP: Final = "g"
SOLO: Final = "solo"
SESSION_MS: Final = 1_000
REBALANCE_MS: Final = 1_500
BEAT_MS: Final = 250
FETCH_WAIT_MS: Final = 200
CONSUMER: Final = "consumer"
PROTOCOL: Final = "range"
GROUPS_SINCE: Final = 8
IDENTITIES_SINCE: Final = 3

LOOK_AGAIN: Final = (
    errors.COORDINATOR_LOAD_IN_PROGRESS,
    errors.COORDINATOR_NOT_AVAILABLE,
    errors.NOT_COORDINATOR,
)
OVER: Final = (errors.UNKNOWN_MEMBER_ID, errors.ILLEGAL_GENERATION)


def subscription() -> bytes:
    body = consumer_protocol_subscription.encode(ConsumerProtocolSubscription([TOPIC]), 1)
    return (1).to_bytes(2, "big") + body


def assignment_of(partitions: list[int]) -> bytes:
    body = consumer_protocol_assignment.encode(
        ConsumerProtocolAssignment([TopicPartition(TOPIC, partitions)]), 1
    )
    return (1).to_bytes(2, "big") + body


def partitions_of(assignment: bytes) -> list[int]:
    if not assignment:
        return []
    found = consumer_protocol_assignment.decode(assignment, 2, int.from_bytes(assignment[:2], "big"))
    return [index for topic in found.assigned_partitions for index in topic.partitions]


class OffsetClient:
    """What members and those who are none do alike: find the coordinator, read committed offsets, commit."""

    def __init__(self, world: "World", name: str, group: str) -> None:
        self.world = world
        self.process = Process(world, name)
        self.group = group
        self.desk = Client(self.process, world.versions)
        """To the coordinator: a commit that waits for its answer holds up what is asked behind it."""
        self.aside = Client(self.process, world.versions)
        """To the coordinator, too, for what will not wait."""
        self.entered_at = 0
        """The step at which it was let in under the member id that it has."""

    def find(self, found: Callable[[], None]) -> None:
        def answered(response: Any) -> None:
            if response is None or response.coordinators[0].error_code:
                self.process.after(RETRY_MS, lambda: self.find(found))
            else:
                coordinator = response.coordinators[0]
                for desk in (self.desk, self.aside):
                    desk.turn_to((coordinator.host, coordinator.port))
                found()

        self.desk.turn_to()
        self.desk.ask(10, FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group]), answered)

    def read_offsets(
        self,
        partitions: list[int],
        have: Callable[[dict[int, int]], None],
        lost: Callable[[], None],
        desk: Client | None = None,
    ) -> None:
        history = self.world.history
        floors = {partition: history.committed_floor(self.group, partition) for partition in partitions}
        if self.world.versions[9] >= GROUPS_SINCE:
            topics = [OffsetFetchRequestTopics(TOPIC, partition_indexes=partitions)]
            ask = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(self.group, topics=topics)])
        else:
            ask = OffsetFetchRequest(self.group, [OffsetFetchRequestTopic(TOPIC, partitions)])

        def answered(response: Any) -> None:
            answer = response.groups[0] if response is not None and response.groups else response
            if answer is None or answer.error_code:
                history.require(
                    answer is None or answer.error_code in LOOK_AGAIN, "refused", f"OffsetFetch: {answer}"
                )
                self.process.after(RETRY_MS, lost)
                return
            offsets: dict[int, int] = {}
            for part in answer.topics[0].partitions:
                partition = part.partition_index
                history.require(part.error_code == 0, "refused", f"OffsetFetch: {part}")
                history.offset_shown(self.group, partition, part.committed_offset, floors[partition])
                offsets[partition] = part.committed_offset
            have(offsets)

        (desk or self.desk).ask(9, ask, answered)

    def commit(
        self,
        offsets: dict[int, int],
        generation: int,
        member_id: str,
        instance: str | None,
        answered: Callable[[int | None], None],
    ) -> None:
        """answered(error code), None when no answer came."""
        history = self.world.history
        floor = history.generation
        rival = history.rival(instance, self.process.name, self.entered_at)
        parts = [
            OffsetCommitRequestPartition(partition, offset, -1, "") for partition, offset in offsets.items()
        ]
        for partition, offset in offsets.items():
            history.commit_sent(self.group, partition, offset)

        def told(response: Any) -> None:
            code = None if response is None else response.topics[0].partitions[0].error_code
            if code == 0:
                if generation != NO_OFFSET:
                    history.spoke("a commit", generation, floor, self.process.name, rival)
                for partition, offset in offsets.items():
                    history.commit_acked(self.group, partition, offset)
            answered(code)

        topics = [OffsetCommitRequestTopic(TOPIC, partitions=parts)]
        self.desk.ask(8, OffsetCommitRequest(self.group, generation, member_id, instance, -1, topics), told)


class Solo(OffsetClient):
    """Commits rising offsets for a group without members, some at once, and reads back what is committed."""

    def __init__(self, world: "World", name: str, commits: int) -> None:
        super().__init__(world, name, SOLO)
        self._left = commits
        self._next = 1
        self._codes: list[int | None] = []
        """Answers to what was committed at once."""
        self.find(self._commit)

    @property
    def done(self) -> bool:
        return self._left == 0

    def _commit(self) -> None:
        """None that had no answer is sent again: it might undo a later one."""
        first, self._next = self._next, self._next + self.world.time.random.choice((1, 1, 2, 5))
        self._codes = []
        count = self._next - first
        for offset in range(first, self._next):
            self.commit({0: offset}, -1, "", None, lambda code: self._committed(code, count))
        if self.world.time.random.random() < 0.5:
            delay_ms = self.world.time.random.randrange(30)
            self.process.after(delay_ms, self._look_aside)

    def _look_aside(self) -> None:
        """What it commits is perhaps not durable yet: shown, it must be."""
        self.read_offsets([0], lambda offsets: None, lambda: None, self.aside)

    def _committed(self, code: int | None, count: int) -> None:
        self.world.history.require(code in (None, 0, *LOOK_AGAIN), "refused", f"commit with {code}")
        self._codes.append(code)
        if len(self._codes) < count:
            return
        if any(code != 0 for code in self._codes):
            self.process.after(RETRY_MS, lambda: self.find(self._commit))
        else:
            self._read()

    def _read(self) -> None:
        self.read_offsets([0], self._have_read, lambda: self.find(self._read))

    def _have_read(self, offsets: dict[int, int]) -> None:
        self._left -= 1
        if not self.done:
            self.process.after(self.world.time.random.randrange(60), self._commit)


class Member(OffsetClient):
    """One process in the group."""

    def __init__(self, world: "World", name: str, instance: str | None) -> None:
        super().__init__(world, name, GROUP)
        self.instance = instance
        self.generation = -1
        self.running = False
        """It has its assignment and knows where to begin."""
        self.partitions: list[int] = []
        self._feed = Client(self.process, world.versions)
        self._member_id = ""
        self._assignments: list[SyncGroupRequestAssignment] = []
        self._positions: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._leaving = False
        self._asked_at = 0
        self.process.after(BEAT_MS, self._tick)
        self.find(self._join)

    @property
    def alive(self) -> bool:
        return self.process.alive

    @property
    def has_committed_all(self) -> bool:
        """Everything that was acknowledged to producers in its partitions is read and committed."""
        ends = self.world.history.high_watermark
        return self.running and all(
            max(self._committed[index], 0) >= ends[index] for index in self.partitions
        )

    def leave(self) -> None:
        """As soon as nothing else is asked."""
        self._leaving = True

    # -- into a generation

    def _join(self) -> None:
        self.running = False
        floor = self.world.history.generation
        if not self._member_id:
            self._asked_at = self.world.time.steps
        ask = JoinGroupRequest(
            GROUP,
            SESSION_MS,
            REBALANCE_MS,
            self._member_id,
            self.instance,
            CONSUMER,
            [JoinGroupRequestProtocol(PROTOCOL, subscription())],
        )
        patience_ms = self.world.time.random.choice((REBALANCE_MS // 2, 4 * REBALANCE_MS))
        self.desk.ask(11, ask, lambda response: self._joined(response, floor), patience_ms)

    def _joined(self, response: Any, floor: int) -> None:
        code = None if response is None else response.error_code
        if code == errors.MEMBER_ID_REQUIRED:
            self._member_id = response.member_id
            self._join()
        elif code == 0:
            history = self.world.history
            history.joined(response.generation_id, floor)
            if self._member_id != response.member_id or not self.entered_at:
                self.entered_at = self.world.time.steps
            self.generation, self._member_id = response.generation_id, response.member_id
            self._assignments = []
            if response.leader == self._member_id and not response.skip_assignment:
                self._assignments = self._assign([each.member_id for each in response.members])
            self._sync()
        else:
            self._again(code, "JoinGroup")

    def _assign(self, members: list[str]) -> list[SyncGroupRequestAssignment]:
        """As the leader: every partition to somebody, to another one each time."""
        random = self.world.time.random
        parts: dict[str, list[int]] = {member: [] for member in members}
        shift = random.randrange(len(members))
        for partition in self.world.history.partitions:
            parts[members[(partition + shift) % len(members)]].append(partition)
        return [
            SyncGroupRequestAssignment(member, assignment_of(indexes)) for member, indexes in parts.items()
        ]

    def _sync(self) -> None:
        floor = self.world.history.generation
        rival = self.world.history.rival(self.instance, self.process.name, self.entered_at)
        ask = SyncGroupRequest(
            GROUP,
            self.generation,
            self._member_id,
            self.instance,
            CONSUMER,
            PROTOCOL,
            self._assignments,
        )
        self.desk.ask(14, ask, lambda response: self._synced(response, floor, rival), 4 * REBALANCE_MS)

    def _synced(self, response: Any, floor: int, rival: str | None) -> None:
        code = None if response is None else response.error_code
        if code == 0:
            self.partitions = partitions_of(response.assignment)
            history = self.world.history
            history.spoke("SyncGroup", self.generation, floor, self.process.name, rival)
            if self.instance is not None:
                history.took_over(self.instance, self.process.name, self._asked_at)
            history.assigned(self.generation, self.instance or self.process.name, self.partitions, floor)
            self._begin()
        elif code is None and self.world.time.random.random() < 0.5:
            self.find(self._sync)
        else:
            self._again(code, "SyncGroup")

    def _again(self, code: int | None, what: str) -> None:
        """The generation is not to be had or is over: in again, with a new id where the old one is forgotten."""
        history = self.world.history
        if code == errors.FENCED_INSTANCE_ID and self.world.has_rivals(self.instance):
            self.process.kill()
            return
        history.require(
            code in (None, errors.REBALANCE_IN_PROGRESS, *LOOK_AGAIN, *OVER),
            "refused",
            f"{what} of {self.process.name} with {code}",
        )
        self.running = False
        if code == errors.UNKNOWN_MEMBER_ID:
            self._member_id = ""
        self.process.after(RETRY_MS, lambda: self.find(self._join))

    def _begin(self) -> None:
        if not self.partitions:
            self._start({})
            return
        self.read_offsets(self.partitions, self._start, lambda: self.find(self._begin))

    def _start(self, offsets: dict[int, int]) -> None:
        self._committed = offsets
        self._positions = {partition: max(offset, 0) for partition, offset in offsets.items()}
        self.running = True
        self._poll()

    # -- in it

    def _poll(self) -> None:
        if self.running and self.partitions and not self._feed.busy:
            generation = self.generation
            fetch(
                self.world,
                self._feed,
                self._positions,
                lambda found: self._polled(generation, found),
                FETCH_WAIT_MS,
            )

    def _polled(self, generation: int, found: list[Fetched]) -> None:
        if self.running and generation == self.generation:
            for each in found:
                if each.partition not in self._positions:
                    continue
                if each.code == errors.OFFSET_OUT_OF_RANGE:
                    self._reset(generation, each.partition)
                    return
                if each.records and each.records[0].offset == self._positions[each.partition]:
                    self.world.history.handled(each.partition, each.records)
                    self._positions[each.partition] = each.records[-1].offset + 1
        self.process.after(self.world.time.random.randrange(1, 30), self._poll)

    def _reset(self, generation: int, partition: int) -> None:
        """Records were deleted before they were read."""

        def found(offset: int | None) -> None:
            if offset is not None and self.running and generation == self.generation:
                position = self._positions[partition]
                self.world.history.require(
                    position < offset, "refused", f"offset {position} is out of range of {offset}"
                )
                self.world.history.passed_over(partition, position, offset)
                self._positions[partition] = offset
            self.process.after(RETRY_MS, self._poll)

        find_start(self.world, self._feed, partition, found)

    def _tick(self) -> None:
        self.process.after(BEAT_MS, self._tick)
        if self.running and not self.desk.busy:
            behind = {
                index: at for index, at in self._positions.items() if at != max(self._committed[index], 0)
            }
            if self._leaving:
                self._say_goodbye()
            elif behind:
                self._commit(behind, self._committed_some)
            else:
                self._beat()

    def _commit(self, offsets: dict[int, int], then: Callable[[int | None], None]) -> None:
        def answered(code: int | None) -> None:
            if code == 0:
                self._committed.update(offsets)
            then(code)

        self.commit(dict(offsets), self.generation, self._member_id, self.instance, answered)

    def _committed_some(self, code: int | None) -> None:
        if code is None or code in LOOK_AGAIN:
            self.find(lambda: None)
        elif code:
            self._again(code, "OffsetCommit")

    def _beat(self) -> None:
        ask = HeartbeatRequest(GROUP, self.generation, self._member_id, self.instance)
        self.desk.ask(12, ask, self._beaten)

    def _beaten(self, response: Any) -> None:
        code = None if response is None else response.error_code
        if code is None or code in LOOK_AGAIN:
            self.find(lambda: None)
        elif code == errors.REBALANCE_IN_PROGRESS and self.partitions:
            self._commit(self._positions, lambda _: self._again(code, "Heartbeat"))
        elif code:
            self._again(code, "Heartbeat")

    def _say_goodbye(self) -> None:
        if self.world.versions[13] >= IDENTITIES_SINCE:
            ask = LeaveGroupRequest(GROUP, members=[MemberIdentity(self._member_id, self.instance)])
        else:
            ask = LeaveGroupRequest(GROUP, self._member_id)
        self.desk.ask(13, ask, self._left)

    def _left(self, response: Any) -> None:
        code = (
            None
            if response is None
            else response.error_code or (response.members[0].error_code if response.members else 0)
        )
        if code in (0, errors.UNKNOWN_MEMBER_ID, errors.FENCED_INSTANCE_ID):
            self.process.kill()
        else:
            self.world.history.require(code in (None, *LOOK_AGAIN), "refused", f"LeaveGroup with {code}")
            self.find(lambda: None)
