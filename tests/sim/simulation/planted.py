"""Faults planted into the broker, one rule each: a checker that was never seen red is no checker.

Each patches what one line of the broker does, and names the rules of history.py that may find it.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from barnabas.coordinators import runtime
from barnabas.coordinators.group import offsets
from barnabas.coordinators.group.classic import Classic
from barnabas.coordinators.group.group import Group
from barnabas.coordinators.group.shard import GroupShard
from barnabas.log import compaction, log, recovery, take_up
from barnabas.log.log import Log
from barnabas.log.producer_state import ProducerState
from barnabas.partitions import committer, journal_committer
from barnabas.partitions.journal_committer import JournalCommitter
from barnabas.partitions.node_journal import Journal
from barnabas.partitions.partition import Partition
from barnabas.partitions.upkeep import Upkeep
from barnabas.ports import WorldError
from barnabas.records.record import Record
from barnabas.testing.meta import VirtualMetaStore

Patch = pytest.MonkeyPatch
LOSES: Final = (
    "lost",
    "committed",
    "watermark",
    "one value",
    "holes",
    "epochs",
    "waits",
    "generation",
    "one owner",
    "fenced",
    "refused",
)
"""What a crash makes the broker forget shows at whatever is looked at first."""


class Planted(NamedTuple):
    plant: Callable[[Patch], None]
    rules: frozenset[str]
    focus: tuple[str, ...]
    """The faults at which it shows; none named: at whatever comes."""
    is_rare: bool
    """It takes hundreds of histories to show, or a very long one."""
    first: int = 0
    """A hint, so that the search is short: the seed that showed it last. When the broker changes, another one does."""

    @property
    def name(self) -> str:
        return self.plant.__name__


PLANTED: Final[list[Planted]] = []


def caught_by(
    *rules: str,
    focus: tuple[str, ...] = (),
    rare: bool = False,
    first: int = 0,
    among: list[Planted] = PLANTED,
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def keep(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        among.append(Planted(plant, frozenset(rules), focus, rare, first))
        return plant

    return keep


# -- the log


def patch_jobs(patch: Patch, run: Callable[..., None]) -> None:
    for module in (committer, journal_committer):
        patch.setattr(module, "run_job", run)


@caught_by(*LOSES, first=4)
def reply_before_sync(patch: Patch) -> None:
    real = committer.run_job
    patch_jobs(patch, lambda *rest, **named: real(*rest, **{**named, "sync": False}))


@caught_by(*LOSES, focus=("sync", "power"), first=10)
def failed_sync_is_believed(patch: Patch) -> None:
    real = committer.run_job

    def run(loop: Any, lane: Any, writes: Any, *rest: Any, **named: Any) -> None:
        for write in writes:
            write.file = Believing(write.file)
        real(loop, lane, writes, *rest, **named)

    patch_jobs(patch, run)


@caught_by(*LOSES, first=9)
def the_journal_is_not_taken_up(patch: Patch) -> None:
    patch.setattr(take_up.Placing, "add", lambda self, entry: None)


@caught_by(*LOSES, rare=True)
def a_half_of_the_ring_is_used_again_too_early(patch: Patch) -> None:
    patch.setattr(JournalCommitter, "_checkpoint", lambda self, half: self._journal.ring.paid(half))


THAWS: Final = ("ring", "thaw", "power")
"""The ring freezes, it thaws, the files lose what was not synced."""


@caught_by(*LOSES, focus=THAWS, rare=True, first=510)
def the_ring_thaws_before_its_files_are_synced(patch: Patch) -> None:
    patch.setattr(Journal, "next_owed", lambda self: None)


@caught_by(*LOSES, focus=("sync", "sync", "power"), rare=True)
def the_ring_thaws_before_a_partition_is_restored(patch: Patch) -> None:
    """At the next tick, with all that is owed synced: that is sooner than the partition is opened anew."""

    def thaw(self: JournalCommitter, now_ms: int) -> None:
        journal = self._journal
        if journal.frozen and not journal.is_renewing:
            while (owed := journal.next_owed()) is not None:
                Believing(owed.popitem()[0]).sync()
            journal.prepare()

    patch.setattr(JournalCommitter, "thaw", thaw)


@caught_by(*LOSES, focus=("sync", "power"), rare=True)
def a_file_whose_sync_failed_is_synced_once_more_and_believed(patch: Patch) -> None:
    patch.setattr(
        Partition, "doubt", lambda self, error: self.lane.journal and self.lane.journal.freeze(error)
    )


class Believing:
    """A file whose sync never fails."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def sync(self) -> None:
        try:
            self._file.sync()
        except WorldError:
            return


@caught_by("twice", "order", "one value", first=9)
def retry_not_recognised(patch: Patch) -> None:
    patch.setattr(ProducerState, "check", lambda self, header: None)


@caught_by("twice", "order", "refused", focus=("kill", "restart"), first=4)
def recovery_forgets_producers(patch: Patch) -> None:
    patch.setattr(log.recovery, "load_producers", lambda files, folder, segments, now_ms: ProducerState())


@caught_by(*LOSES, first=3)
def told_when_appended(patch: Patch) -> None:
    patch.setattr(Partition, "when_committed", lambda self, end_offset, callback: callback(0))


@caught_by(*LOSES, focus=("sync", "kill"), rare=True)
def page_cache_is_taken_for_truth(patch: Patch) -> None:
    patch.setattr(recovery, "write_again", lambda segment, position: segment.file.sync())


@caught_by(*LOSES, "twice", "mute", focus=("sync",))
def reopened_without_truncating(patch: Patch) -> None:
    """Batches that nobody was told of stay in the way of those that are written again, and a retry waits for its first."""
    patch.setattr(Log, "cutting", lambda self, offset, now_ms: Uncut(offset))
    patch.setattr(
        Log, "apply", lambda self, cut: setattr(self, "end_offset", min(cut.offset, self.end_offset))
    )


class Uncut:
    """A cut that leaves all as it is."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def work(self) -> None:
        return


@caught_by("mute", focus=("sync", "disk"))
def who_waits_for_a_write_that_fails_is_forgotten(patch: Patch) -> None:
    patch.setattr(Partition, "_give_up", lambda self, code: setattr(self, "_waiting", None))


@caught_by("log start", focus=("delete", "power"))
def deleting_is_answered_before_it_is_durable(patch: Patch) -> None:
    real = Upkeep.write_checkpoints

    def write(self: Upkeep, done: Any = None) -> None:
        if done is not None:
            done(None)
        else:
            real(self)

    patch.setattr(Upkeep, "write_checkpoints", write)


@caught_by("log start", "lost", focus=("delete", "restart"), first=9)
def retention_takes_one_segment_more(patch: Patch) -> None:
    real = log.count_expired

    def count(segments: Any, *rest: Any) -> int:
        found = real(segments, *rest)
        return min(found + 1, len(segments) - 1) if found else 0

    patch.setattr(log, "count_expired", count)


@caught_by("watermark", "lost", "one value", "holes", "epochs", "refused", focus=("sync", "power"), first=9)
def readers_see_what_is_not_committed(patch: Patch) -> None:
    real = Partition.plan_fetch

    def plan(self: Partition, *rest: Any, **named: Any) -> Any:
        kept, self.high_watermark = self.high_watermark, self.log.end_offset
        try:
            return real(self, *rest, **named)
        finally:
            self.high_watermark = kept

    patch.setattr(Partition, "plan_fetch", plan)


@caught_by(*LOSES, focus=("power",))
def metadata_is_not_synced(patch: Patch) -> None:
    """Topics, reigns, all of it, as marks of how far a broker has come."""
    real = VirtualMetaStore.txn

    def txn(self: VirtualMetaStore, *rest: Any, **named: Any) -> None:
        real(self, *rest, **{**named, "durable": False})

    patch.setattr(VirtualMetaStore, "txn", txn)


# -- the coordinator


@caught_by("committed", "skipped", focus=("power",), first=4)
def commit_is_answered_before_it_is_durable(patch: Patch) -> None:
    def gather(self: GroupShard, facts: list[Record], told: runtime.Told) -> None:
        told(self.append(facts))

    patch.setattr(GroupShard, "gather", gather)


@caught_by("committed", "skipped")
def commits_of_one_turn_are_written_in_another_order(patch: Patch) -> None:
    real = GroupShard._append

    def append(self: GroupShard, facts: list[Record]) -> int:
        return real(self, facts[::-1])

    patch.setattr(GroupShard, "_append", append)


@caught_by("one owner", "generation", "fenced", focus=("enter", "power", "kill"), rare=True)
def assignment_is_given_before_it_is_durable(patch: Patch) -> None:
    real = Classic._assign

    def assign(self: Classic, group: Any, ask: Any) -> None:
        kept = self._shard.when_durable
        self._shard.when_durable = lambda callback: callback(0)  # type: ignore[method-assign]
        real(self, group, ask)
        self._shard.when_durable = kept  # type: ignore[method-assign]

    patch.setattr(Classic, "_assign", assign)


@caught_by("fenced", focus=("pause", "enter"), first=9)
def any_generation_may_commit(patch: Patch) -> None:
    real = offsets.commit_fault

    def fault(group: Group | None, ask: Any, version: int) -> int:
        code = real(group, ask, version)
        return 0 if code in (22, 25, 82) else code

    patch.setattr(offsets, "commit_fault", fault)


@caught_by("fenced", focus=("replace",), first=20)
def a_replaced_static_member_is_not_fenced(patch: Patch) -> None:
    real = offsets.commit_fault

    def fault(group: Group | None, ask: Any, version: int) -> int:
        code = real(group, ask, version)
        return 0 if code == 82 else code

    patch.setattr(offsets, "commit_fault", fault)


@caught_by("generation", "one owner", "fenced", "waits")
def the_generation_does_not_rise(patch: Patch) -> None:
    real = Classic._join_response

    def respond(self: Classic, group: Group, *rest: Any, **named: Any) -> Any:
        group.generation = max(1, group.generation - 1)
        return real(self, group, *rest, **named)

    patch.setattr(Classic, "_join_response", respond)


@caught_by("waits", focus=("die",), first=56)
def sessions_never_end(patch: Patch) -> None:
    patch.setattr(Classic, "_session_over", lambda self, group, member: None)


@caught_by("waits", focus=("die", "kill"), first=10)
def members_that_died_with_the_broker_are_waited_for(patch: Patch) -> None:
    patch.setattr(Classic, "resume", lambda self, group: None)


@caught_by("waits")
def the_join_phase_has_no_deadline(patch: Patch) -> None:
    real = Classic._prepare_rebalance

    def prepare(self: Classic, group: Group) -> None:
        real(self, group)
        if group.join_timer is not None:
            group.join_timer.cancel()

    patch.setattr(Classic, "_prepare_rebalance", prepare)


@caught_by("committed", "generation", "one owner", "waits", "fenced")
def loading_stops_at_the_first_slice(patch: Patch) -> None:
    patch.setattr(runtime, "LOAD_SLICE_BYTES", 200)
    patch.setattr(GroupShard, "_slice", first_slice)


def first_slice(self: GroupShard, offset: int) -> None:
    content = self.partition.read_bytes(offset, runtime.LOAD_SLICE_BYTES)
    for header, at in runtime.batches(content):
        for record in runtime.records_of(content, header, at):
            self.apply(record)
    self.loaded = True
    self._seen_offset = self.partition.high_watermark
    self.on_loaded()


@caught_by("committed", "generation", "one owner", "waits", "skipped", "fenced")
def compaction_takes_the_newest_record_too(patch: Patch) -> None:
    real = compaction.last_offsets
    patch.setattr(
        compaction,
        "last_offsets",
        lambda segments: {key: offset + 1 for key, offset in real(segments).items()},
    )
