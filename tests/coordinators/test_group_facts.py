"""Whatever happened, what loads from the facts is what was durable: groups, members, assignments and offsets."""

from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_stage import RecordedPartition, VirtualStage

from barnabas.coordinators.group.group import Group, State
from barnabas.coordinators.group.shard import GroupShard

NAMES = ("alice", "bob", "carol")
OFFSETS = st.integers(0, 1000)
COMMANDS = st.lists(
    st.one_of(
        st.builds("join {} v=3".format, st.sampled_from(NAMES)),
        st.builds("join {}@{} v=5 member=".format, st.sampled_from(NAMES), st.sampled_from("pq")),
        st.builds("leave {}".format, st.sampled_from(NAMES)),
        st.builds("commit t_0={}".format, OFFSETS),
        st.builds("commit {} t_1={}".format, st.sampled_from(NAMES), OFFSETS),
        st.builds("heartbeat {}".format, st.sampled_from(NAMES)),
        st.builds("sync {0} {0}=part".format, st.sampled_from(NAMES)),
        st.builds("tick {}s".format, st.integers(1, 70)),
        st.sampled_from(["forget-offsets t 0", "delete", "drop-topic t"]),
    ),
    max_size=40,
)


def kept(group: Group) -> tuple[object, ...]:
    """What a group's facts hold."""
    members = [
        (each.member_id, each.instance_id, each.client_id, each.session_timeout_ms, each.assignment)
        for each in group.members.values()
    ]
    return group.generation, group.protocol_type, group.protocol, group.leader, members


def offsets_of(shard: GroupShard) -> dict[tuple[str, str, int], int]:
    return {
        (group.group_id, *key): value.offset
        for group in shard.groups.values()
        for key, value in group.offsets.items()
    }


def drive(stage: VirtualStage, commands: list[str]) -> None:
    for command in commands:
        if command.startswith("sync") and command.split()[1] not in stage.member_ids:
            continue
        stage.run(command)


@settings(max_examples=60, deadline=None)
@given(COMMANDS)
def test_what_loads_is_what_was_there(commands: list[str]) -> None:
    stage = VirtualStage({})
    drive(stage, commands)
    before = stage.shard
    settled = {
        group.group_id: kept(group)
        for group in before.groups.values()
        if group.state is State.STABLE or (group.state is State.EMPTY and group.generation > 0)
    }
    offsets = offsets_of(before)
    stage.run("crash")
    after = stage.shard
    assert offsets_of(after) == offsets
    assert {group_id: kept(after.groups[group_id]) for group_id in settled} == settled


@settings(max_examples=60, deadline=None)
@given(COMMANDS, st.lists(OFFSETS, min_size=1, max_size=5))
def test_a_shown_offset_does_not_go_back(commands: list[str], late: list[int]) -> None:
    """Commits that are not durable when the partition fails were neither acknowledged nor shown."""
    stage = VirtualStage({})
    drive(stage, commands)
    durable = len(stage.partition.content)
    offsets = offsets_of(stage.shard)
    stage.run("hold")
    told = [line for offset in late for line in (*stage.run(f"commit t_2={offset}"), *stage.run("fetch"))]
    assert not [line for line in told if line.endswith("t[2] NONE") or f"t[2]={late[-1]}" in line]
    stage.partition = survivor(stage.partition, durable)
    stage.run("crash")
    assert offsets_of(stage.shard) == offsets


def survivor(partition: RecordedPartition, batches: int) -> RecordedPartition:
    """The partition with its first batches, as a crash leaves it."""
    other = RecordedPartition()
    other.content = partition.content[:batches]
    other.end_offset = other.high_watermark = partition.high_watermark
    return other
