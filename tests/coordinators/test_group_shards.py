"""A coordinator of several partitions."""

from virtual_stage import RecordedPartition, VirtualStage

from barnabas.coordinators.group.coordinator import java_hash


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
