"""What the clients of one simulation were told, and the rules that it must obey. A broken rule raises Broken.

lost          an acknowledged record that was not deleted is read at the offset that was acknowledged
twice         a value stands at one offset only
order         the records of a producer stand in the order in which it sent them
one value     an offset has one value for ever, one that somebody sent
holes         offsets follow each other
damaged       a batch that is read has the checksum that it says
watermark     a high watermark that a reader was told never goes back
log start     nothing is deleted but by request or retention; what was deleted stays so
generation    no generation is given out after a later one had got its assignment
one owner     in one generation a partition is assigned to one member
fenced        who speaks for an old generation, or for a static member that was replaced, is refused
committed     what OffsetFetch gives is the last commit that was acknowledged or shown, or a later one
skipped       what lies below a committed offset was read by the group
one leader    a leader epoch of a partition is one broker's, and no broker tells an older one than it has told
epochs        the leader epochs of batches rise with their offsets, and a batch keeps the one it has
settled       a topic that is made, grows or gets another option is so for all brokers at once, unless one dies meanwhile
namesake      a topic that is made anew has no record of the one before
waits         when faults stop, everybody gets what is due to it in bounded time
mute          while no process, disk or wire is held up, each request is answered, or its connection ends
two writers   of two processes that live only one changes the files of a partition
refused       no answer that the protocol does not allow here

A floor is what had been told when a request left: an answer may know more, never less.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from barnabas.records.record import Record

NO_OFFSET: Final = -1


class Broken(AssertionError):
    """A rule does not hold."""

    def __init__(self, seed: int, rule: str, text: str, how: str = "") -> None:
        """how: the options with which soak.py runs that world."""
        super().__init__(
            f"seed {seed}: rule '{rule}': {text} (again: python tests/sim/soak.py {how}--first {seed} --count 1)"
        )
        self.rule = rule


class History:
    """Facts of one run. Partitions are those of the one topic."""

    def __init__(self, seed: int, partitions: int, has_retention: bool, how: str = "") -> None:
        self.seed = seed
        self._how = how
        self.partitions = range(partitions)
        self.generation = 0
        self.high_watermark = [0] * partitions
        self.deleted_to = [0] * partitions
        self._has_retention = has_retention
        self._asked_to_delete = [0] * partitions
        self._sent: list[set[bytes]] = [set() for _ in self.partitions]
        self._acked: list[dict[bytes, int]] = [{} for _ in self.partitions]
        self._values: list[dict[int, bytes]] = [{} for _ in self.partitions]
        self._handled: list[set[int]] = [set() for _ in self.partitions]
        self._owners: dict[tuple[int, int], str] = {}
        self._reigns: dict[str, list[tuple[str, int]]] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._attempted: dict[tuple[str, int], set[int]] = {}
        self._leaders: dict[tuple[str, int, int], int] = {}
        self._epochs: list[dict[int, int]] = [{} for _ in self.partitions]

    def require(self, holds: bool, rule: str, text: str) -> None:
        if not holds:
            raise Broken(self.seed, rule, text, self._how)

    # -- the log

    def sent(self, partition: int, values: Iterable[bytes]) -> None:
        self._sent[partition].update(values)

    def acked(self, partition: int, values: Sequence[bytes], base_offset: int) -> None:
        for offset, value in enumerate(values, base_offset):
            self._know(partition, offset, value)
            before = self._acked[partition].setdefault(value, offset)
            self.require(before == offset, "twice", f"{value!r} was acknowledged at {before} and at {offset}")

    def _know(self, partition: int, offset: int, value: bytes) -> None:
        before = self._values[partition].setdefault(offset, value)
        self.require(
            before == value,
            "one value",
            f"offset {offset} of partition {partition} is {before!r} and {value!r}",
        )

    def fetched(
        self, partition: int, asked: int, records: Sequence[Record], high_watermark: int, floor: int
    ) -> None:
        """An answer to a reader that had asked for offset `asked` when it knew of high watermark `floor`."""
        self.require(
            high_watermark >= floor,
            "watermark",
            f"{high_watermark} after {floor} in partition {partition}",
        )
        self.high_watermark[partition] = max(self.high_watermark[partition], high_watermark)
        for offset, record in enumerate(records, asked):
            self.require(
                record.offset == offset, "holes", f"{record.offset} where {offset} follows in {partition}"
            )
            self.require(
                offset < high_watermark, "watermark", f"offset {offset} is shown above {high_watermark}"
            )
            value = record.value or b""
            self.require(value in self._sent[partition], "one value", f"{value!r} at {offset} was never sent")
            self._know(partition, offset, value)

    def epochs_read(self, partition: int, epochs: Sequence[tuple[int, int]]) -> None:
        """(base offset, leader epoch) of batches that were read, in order."""
        known = self._epochs[partition]
        highest = 0
        for offset, epoch in epochs:
            before = known.setdefault(offset, epoch)
            self.require(
                highest <= epoch == before,
                "epochs",
                f"the batch at {offset} of partition {partition} has epoch {epoch}, had {before}, follows {highest}",
            )
            highest = epoch

    def leader_told(
        self, partition: tuple[str, int], epoch: int, leader: int, told: dict[tuple[str, int], int]
    ) -> None:
        """Metadata. told: the highest epochs that this broker had told when it was asked; kept up to date."""
        before = self._leaders.setdefault((*partition, epoch), leader)
        self.require(
            before == leader, "one leader", f"epoch {epoch} of {partition} is led by {before} and by {leader}"
        )
        floor = told.get(partition, -1)
        self.require(epoch >= floor, "one leader", f"epoch {epoch} of {partition} is told after {floor}")
        told[partition] = epoch

    def handled(self, partition: int, records: Sequence[Record]) -> None:
        """A member of the group has done its work with these."""
        self._handled[partition].update(record.offset for record in records)

    def passed_over(self, partition: int, begin: int, end: int) -> None:
        """A member was told that these were deleted; after a crash what retention had taken may be back."""
        self._handled[partition].update(range(begin, end))

    def wants_deleted(self, partition: int, offset: int) -> None:
        self._asked_to_delete[partition] = max(self._asked_to_delete[partition], offset)

    def deleted(self, partition: int, log_start: int) -> None:
        self.deleted_to[partition] = max(self.deleted_to[partition], log_start)

    def log_start_seen(self, partition: int, log_start: int, floor: int) -> None:
        self.require(
            log_start >= floor, "log start", f"{log_start} although records below {floor} were deleted"
        )
        self.require(
            self._has_retention or log_start <= self._asked_to_delete[partition],
            "log start",
            f"{log_start} although nobody asked for more than {self._asked_to_delete[partition]}",
        )

    def check_log(self, partition: int, log_start: int, records: Sequence[Record]) -> None:
        """What is read in the end, from the start to the high watermark."""
        where: dict[bytes, int] = {}
        last: dict[bytes, int] = {}
        for record in records:
            value = record.value or b""
            self.require(value not in where, "twice", f"{value!r} at {where.get(value)} and {record.offset}")
            where[value] = record.offset
            producer, _, number = value.partition(b"-")
            self.require(
                int(number) > last.get(producer, -1), "order", f"{value!r} behind {last.get(producer)}"
            )
            last[producer] = int(number)
        for value, offset in self._acked[partition].items():
            if offset >= log_start:
                self.require(
                    where.get(value) == offset,
                    "lost",
                    f"{value!r} acknowledged at {offset} of partition {partition}, found at {where.get(value)}",
                )

    # -- the group

    def joined(self, generation: int, floor: int) -> None:
        self.require(
            generation >= floor, "generation", f"{generation} is given after {floor} had its assignment"
        )

    def took_over(self, instance: str, process: str, asked_at: int) -> None:
        """A process that had asked, at that step, to be this static member has got an assignment as it."""
        self._reigns.setdefault(instance, []).append((process, asked_at))

    def rival(self, instance: str | None, process: str, entered_at: int) -> str | None:
        """Who asked to be this static member after a process had become it, and has become it by now."""
        return next(
            (
                name
                for name, asked_at in self._reigns.get(instance or "", [])
                if name != process and asked_at > entered_at
            ),
            None,
        )

    def assigned(self, generation: int, owner: str, partitions: Sequence[int], floor: int) -> None:
        self.require(
            generation >= floor, "fenced", f"an assignment of generation {generation} after one of {floor}"
        )
        self.generation = max(self.generation, generation)
        for partition in partitions:
            before = self._owners.setdefault((generation, partition), owner)
            self.require(
                before == owner,
                "one owner",
                f"partition {partition} of generation {generation}: {before} and {owner}",
            )

    def spoke(self, what: str, generation: int, floor: int, process: str, rival: str | None) -> None:
        """A request of that generation was accepted. floor, rival: as they were when it left."""
        self.require(
            generation >= floor, "fenced", f"{what} of generation {generation} is accepted after {floor}"
        )
        self.require(rival is None, "fenced", f"{what} of {process} is accepted although {rival} took over")

    def commit_sent(self, group: str, partition: int, offset: int) -> None:
        self._attempted.setdefault((group, partition), set()).add(offset)

    def commit_acked(self, group: str, partition: int, offset: int) -> None:
        key = group, partition
        self._committed[key] = max(self._committed.get(key, NO_OFFSET), offset)

    def committed_floor(self, group: str, partition: int) -> int:
        return self._committed.get((group, partition), NO_OFFSET)

    def offset_shown(self, group: str, partition: int, offset: int, floor: int) -> None:
        key = group, partition
        self.require(
            offset >= floor,
            "committed",
            f"{offset} of partition {partition} of {group} although {floor} was known",
        )
        self.require(
            offset == NO_OFFSET or offset in self._attempted.get(key, ()),
            "committed",
            f"{offset} of partition {partition} of {group} was never committed",
        )
        self._committed[key] = max(self._committed.get(key, NO_OFFSET), offset)

    def check_handled(self, group: str, partition: int, log_start: int) -> None:
        committed = self.committed_floor(group, partition)
        missed = [
            offset
            for offset in range(max(log_start, self.deleted_to[partition]), committed)
            if offset not in self._handled[partition]
        ]
        self.require(
            not missed, "skipped", f"{missed[:5]} of partition {partition} lie below committed {committed}"
        )
