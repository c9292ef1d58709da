"""One partition of __consumer_offsets: its groups, what its records mean, its clockwork."""

from collections.abc import Callable

from barnabas import errors
from barnabas.config.effective import BrokerOptions
from barnabas.coordinators.group import offsets
from barnabas.coordinators.group.classic import Classic
from barnabas.coordinators.group.facts import OffsetFact, group_fact, read_group, read_key, read_offset
from barnabas.coordinators.group.group import Group, State
from barnabas.coordinators.runtime import Shard, ShardPartition, TurnEnd
from barnabas.partitions.waits import Waits
from barnabas.ports import Clock, Loop
from barnabas.records.record import Record
from barnabas.telemetry import Log
from barnabas.wire.internal.group_metadata_key import GroupMetadataKey
from barnabas.wire.internal.offset_commit_key import OffsetCommitKey
from barnabas.wire.internal.offset_commit_value import OffsetCommitValue


class GroupShard(Shard):
    """Groups whose ids hash to one partition."""

    def __init__(
        self,
        index: int,
        partition: ShardPartition,
        clock: Clock,
        loop: Loop,
        turn: TurnEnd,
        lines: Log,
        waits: Waits,
        options: BrokerOptions,
        new_id: Callable[[], str],
    ) -> None:
        codec = options.get_int("offsets.topic.compression.codec")
        super().__init__(index, partition, clock, loop, turn, lines, codec)
        self.groups: dict[str, Group] = {}
        self._options = options
        self.classic = Classic(self, clock, loop, waits, options, new_id)

    def apply(self, record: Record) -> None:
        if isinstance(record, OffsetFact):
            self._keep_offset(record.place, record.committed)
            return
        key = read_key(record.key or b"\xff\xff")
        if key is None:
            return
        if isinstance(key, GroupMetadataKey):
            self._apply_group(key.group, record)
            return
        if record.value is not None:
            self._keep_offset(key, read_offset(record.value))
        elif key.group in self.groups:
            self.groups[key.group].offsets.pop((key.topic, key.partition), None)

    def _keep_offset(self, place: OffsetCommitKey, committed: OffsetCommitValue) -> None:
        group = self.groups.get(place.group)
        if group is None:
            group = self.groups[place.group] = Group(place.group, self.clock.wall_ms())
        group.offsets[place.topic, place.partition] = committed

    def _apply_group(self, group_id: str, record: Record) -> None:
        """While the shard serves, a group's own fact changes nothing: its state is what the fact was made from."""
        if self.loaded:
            return
        if record.value is None:
            group = self.groups.get(group_id)
            if group is not None and not group.offsets:
                del self.groups[group_id]
            elif group is not None:
                kept = group.offsets
                group = self.groups[group_id] = Group(group_id, self.clock.wall_ms())
                group.offsets = kept
            return
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = Group(group_id, self.clock.wall_ms())
        group.take_value(read_group(record.value), self.clock.wall_ms())

    def on_loaded(self) -> None:
        for group in self.groups.values():
            self.classic.resume(group)

    def make(self, group_id: str) -> tuple[Group, int]:
        """A new group, without members, and an error code. It has a fact from its first join on, as in Kafka.

        From then on only a deletion or the end of its offsets' retention forgets it, with its generation: given out
        again, old members could speak for it.
        """
        group = Group(group_id, self.clock.wall_ms())
        code = self.append([group_fact(group_id, group.to_value())])
        if code == 0:
            self.groups[group_id] = group
        return group, code

    def delete(self, group: Group) -> int:
        """Tombstones for all that is kept of an empty group."""
        facts = offsets.tombstones(group, list(group.offsets))
        facts.append(group_fact(group.group_id, None))
        code = self.append(facts)
        if code == 0:
            self.classic.end(group, errors.GROUP_ID_NOT_FOUND)
            self.groups.pop(group.group_id, None)
        return code

    def expire_offsets(self, now_ms: int) -> None:
        self.append_gathered()
        retention_ms = self._options.get_int("offsets.retention.minutes") * 60_000
        for group in list(self.groups.values()):
            gone = offsets.expired(group, now_ms, retention_ms)
            if gone and self.append(offsets.tombstones(group, gone)):
                return
            if group.state is State.EMPTY and not group.offsets and not group.pending:
                self.delete(group)

    def drop_topic(self, topic: str) -> None:
        """The topic was deleted: its offsets mean nothing any more."""
        self.append_gathered()
        for group in list(self.groups.values()):
            gone = [key for key in group.offsets if key[0] == topic]
            if gone:
                self.append(offsets.tombstones(group, gone))

    def drop(self) -> None:
        """Sessions end, clients look for the coordinator again."""
        super().drop()
        for group in self.groups.values():
            self.classic.end(group, errors.NOT_COORDINATOR)
        self.groups.clear()
