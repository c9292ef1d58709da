"""A coordinator of several partitions."""

import pytest
from virtual_stage import RecordedPartition, VirtualStage

from barnabas import errors
from barnabas.coordinators.group.classic import ANSWERS_A_TURN
from barnabas.coordinators.group.coordinator import java_hash
from barnabas.coordinators.group.facts import read_key
from barnabas.coordinators.runtime import BATCH_BYTES_MAX, GATHERED_BYTES_MAX, UNREADABLE, parted, size_of
from barnabas.records.batch import HEADER_BYTES
from barnabas.records.record import Record, all_records
from barnabas.wire.internal.offset_commit_key import OffsetCommitKey
from barnabas.wire.messages import offset_fetch
from barnabas.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponse,
)

SIZE_AT = 8
"""Where the size of a batch stands in it, the largest byte first."""


def test_a_list_is_whole_or_an_error() -> None:
    """While one partition loads, what others have is not shown as if it were all."""
    stage = VirtualStage({})
    stage.run("commit t_0=1")
    stage.run("commit t_1=1")
    loading = RecordedPartition()
    loading.content = list(stage.partition.content)
    loading.end_offset = loading.high_watermark = stage.partition.high_watermark
    stage.loads = False
    stage.coordinator.on_partition_opened(1, loading)
    assert stage.run("list") == ["groups: COORDINATOR_LOAD_IN_PROGRESS none"]
    stage.coordinator.on_partition_closed(1)
    stage.loads = True
    assert stage.run("list") == ["groups: g:Empty:classic"]


def test_a_shard_loads_by_threads_what_is_cold() -> None:
    stage = VirtualStage({})
    stage.run("commit t_0=1")
    stage.run("commit t_1=2")
    stage.partition.is_cold = True
    stage.run("crash")
    assert stage.run("list") == ["groups: COORDINATOR_LOAD_IN_PROGRESS none"], "a thread reads"
    stage.run("tick 1s")
    assert stage.run("fetch") == ["offsets: t[0]=1, t[1]=2"]


@pytest.mark.parametrize("at", [SIZE_AT, HEADER_BYTES])
def test_a_shard_that_cannot_be_read_says_so_and_the_others_serve(at: int) -> None:
    """A record is longer than its batch, or the batch longer than what there is."""
    stage = VirtualStage({})
    stage.run("commit t_0=1")
    (batch,) = stage.partition.content
    damaged = RecordedPartition()
    damaged.content = [batch[:at] + bytes([batch[at] + 2]) + batch[at + 1 :]]
    damaged.end_offset = damaged.high_watermark = stage.partition.high_watermark
    stage.coordinator.on_partition_opened(1, damaged)
    assert stage.run("list") == ["groups: g:Empty:classic"]
    assert stage.run("fetch") == ["offsets: t[0]=1"]
    ((level, message, fields),) = stage.logged
    assert (level, message, fields["partition"], fields["offset"]) == ("error", UNREADABLE, 1, 0)
    stage.coordinator.on_partition_closed(1)

    stage.partition.content = damaged.content
    stage.run("crash")
    assert stage.run("commit t_0=2") == ["admin committed: t[0] NOT_COORDINATOR"]
    assert stage.run("list") == ["groups: none"]
    stage.partition.content = [batch]
    stage.run("crash")
    assert stage.run("fetch") == ["offsets: t[0]=1"], "once it was mended"


def test_a_group_belongs_to_the_partition_that_java_would_choose() -> None:
    """As Java prints "…".hashCode(), also where it overflows and where a letter takes two UTF-16 units."""
    assert [java_hash(text) for text in ("", "a", "group", "polygenelubricants", "☃", "😀")] == [
        0,
        97,
        98629247,
        -2147483648,
        9731,
        1772899,
    ]


def committed_places(batch: bytes) -> list[int]:
    """The partitions of topic t whose offsets a batch says, in its order."""
    keys = [read_key(record.key or b"") for record in all_records(batch)]
    return [key.partition for key in keys if isinstance(key, OffsetCommitKey)]


def test_commits_of_one_turn_share_a_batch() -> None:
    stage = VirtualStage({})
    stage.run("commit t_2=0")
    for command in ("begin-turn", "commit t_1=1", "commit t_0=2 t_1=3", "commit t_0=4"):
        stage.run(command)
    assert stage.run("end-turn") == [
        "admin committed: t[1] NONE",
        "admin committed: t[0] NONE, t[1] NONE",
        "admin committed: t[0] NONE",
    ]
    assert [committed_places(batch) for batch in stage.partition.content] == [[2], [1, 0, 1, 0]]
    stage.run("crash")
    assert stage.run("fetch") == ["offsets: t[2]=0, t[1]=3, t[0]=4"]


def test_a_long_turn_is_several_batches_and_no_commit_is_torn() -> None:
    stage = VirtualStage({})
    stage.run("commit t_2=0")
    stage.run("begin-turn")
    note = "x" * (GATHERED_BYTES_MAX // 5)
    for _ in range(3):
        stage.run(f"commit t_0=1 t_1=2 metadata={note}")
    stage.run("end-turn")
    assert [committed_places(batch) for batch in stage.partition.content] == [[2], [0, 1, 0, 1], [0, 1]]


def test_facts_that_are_too_many_for_a_batch_are_parted_in_order() -> None:
    facts = [Record(b"%d" % number, bytes(BATCH_BYTES_MAX // 3)) for number in range(7)]
    parts = parted(facts)
    assert [fact.key for part in parts for fact in part] == [fact.key for fact in facts]
    assert len(parts) == 4 and all(size_of(part) <= BATCH_BYTES_MAX for part in parts)
    assert parted(facts[:1]) == [facts[:1]]


class TwoPartitions(VirtualStage):
    """Group `f` belongs to the one on the stage, `g` to the other. Both have committed an offset."""

    partitions = 2

    def __init__(self) -> None:
        super().__init__({})
        self.other = RecordedPartition()
        self.coordinator.on_partition_opened(1, self.other)
        self.settle()
        for group in ("f", "g"):
            self.run(f"commit group={group} t_0=1")

    def hold(self) -> None:
        self.partition.held = self.other.held = True

    def heard(self, partition: RecordedPartition, code: int) -> list[str]:
        """What is answered when the partition's commit ends so."""
        self.lines = []
        partition.release(code)
        return self.lines


def test_each_deleted_group_has_the_answer_of_its_own_partition() -> None:
    stage = TwoPartitions()
    stage.hold()
    assert stage.run("delete g f h") == ["admin waits"]
    assert stage.heard(stage.other, errors.KAFKA_STORAGE_ERROR) == []
    assert stage.heard(stage.partition, 0) == ["deleted: NOT_COORDINATOR, NONE, GROUP_ID_NOT_FOUND"]


def test_each_fetched_group_has_the_answer_of_its_own_partition() -> None:
    stage = TwoPartitions()
    stage.hold()
    for group in ("f", "g"):
        assert stage.run(f"commit group={group} t_0=2") == ["admin waits"]
    answered: list[OffsetFetchResponse] = []
    ask = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=None) for group in "fg"])
    stage.ask("admin", offset_fetch, ask, 8, lambda _, response: answered.append(response))
    stage.heard(stage.partition, 0)
    stage.heard(stage.other, errors.KAFKA_STORAGE_ERROR)
    of_f, of_g = answered[-1].groups
    assert (of_f.error_code, of_f.topics[0].partitions[0].committed_offset) == (0, 2)
    assert (of_g.error_code, of_g.topics) == (errors.NOT_COORDINATOR, [])


class Unsettled(VirtualStage):
    """What a command leads to in later turns of the loop happens when `turn_loop` says so."""

    def settle(self) -> None:
        if not hasattr(self, "started"):
            self.started = True
            super().settle()

    def turn_loop(self) -> list[str]:
        self.lines = []
        self.time.settle()
        return self.lines


MANY = 2 * ANSWERS_A_TURN + 1


def joined_by_many(stage: VirtualStage) -> list[str]:
    """The first member begins; the others join and wait for it. What its second join leads to at once."""
    stage.run("join m0 v=3")
    for number in range(1, MANY):
        stage.run(f"join m{number} v=3")
    return stage.run("join m0 v=3")


def test_a_large_group_is_answered_in_slices() -> None:
    stage = Unsettled({})
    first = joined_by_many(stage)
    assert len(first) == ANSWERS_A_TURN
    rest = stage.turn_loop()
    assert len(first + rest) == MANY and all("generation=2" in line for line in first + rest)
    for number in range(1, MANY):
        assert stage.run(f"sync m{number}") == [f"m{number} waits"]
    parts = " ".join(f"m{number}=part{number}" for number in range(MANY))
    first = stage.run(f"sync m0 {parts}")
    assert len(first) == ANSWERS_A_TURN
    rest = stage.turn_loop()
    assert sorted(first + rest) == sorted(f"m{number} sync: assigned part{number}" for number in range(MANY))


def test_the_next_rebalance_may_begin_before_all_are_answered() -> None:
    """Each answer is that of the generation in which it was made; nobody is answered twice, or never."""
    stage = Unsettled({})
    first = joined_by_many(stage)
    assert stage.run("join late v=3") == ["late waits"]
    rest = stage.turn_loop()
    assert len(first + rest) == MANY and all("generation=2" in line for line in first + rest)
    assert stage.run("sync m5") == ["m5 sync: REBALANCE_IN_PROGRESS"]
    for number in range(1, MANY):
        stage.run(f"join m{number} v=3")
    last = stage.run("join m0 v=3") + stage.turn_loop()
    assert len(last) == MANY + 1 and all("generation=3" in line for line in last)


def test_a_group_that_goes_away_between_slices_leaves_nobody_waiting() -> None:
    stage = Unsettled({})
    first = joined_by_many(stage)
    stage.run("close")
    assert len(first + stage.turn_loop()) == MANY
