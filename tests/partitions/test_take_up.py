"""A start with a journal: what does not count any more (J3), files that refuse (J4, J5 of log/take_up.py)."""

import errno
from collections.abc import Iterator

import pytest
from journal_bench import TOPICS, Bench

from barnabas.log import folder as names
from barnabas.log.checkpoints import LEADER_EPOCHS, RECOVERY_POINTS, TOPIC_IDS, Key
from barnabas.log.journal import JOURNAL, Entry, kept_content, read_kept
from barnabas.log.take_up import KEPT, Placing
from barnabas.node import StartFailed
from barnabas.partitions.data_folder import FolderRefused
from barnabas.partitions.journal_committer import SMALL_BYTES
from barnabas.ports import WorldError
from barnabas.records.batch import read_header
from barnabas.testing.disk import Kind, VirtualDisk
from barnabas.testing.machine import ROOT

SEEDS = range(6)
FAULTS: list[tuple[Kind, str]] = [
    ("open", "a-0/0000"),
    ("write", "a-0/0000"),
    ("sync", "a-0/0000"),
    ("read", f"a-0/{names.PARTITION_METADATA}"),
    ("read", f"a-0/{LEADER_EPOCHS}"),
]


def crashed(seed: int = 3) -> Bench:
    """All three topics have answered records that are in the ring alone."""
    bench = Bench(seed=seed)
    for _ in range(3):
        bench.put(*TOPICS)
    bench.machine.crash()
    return bench


def kept(bench: Bench) -> list[str]:
    return bench.machine.disk.list(f"{ROOT}/{KEPT}")


def of_any_epoch(self: Placing, entry: Entry, folder: str, key: Key) -> Iterator[tuple[int, int]]:
    """Planted: what was cut off counts, too, unless it lies below the recovery point."""
    at = 0
    while at < len(entry.batches):
        batch = read_header(entry.batches, at)
        if batch.next_offset > self._recovery_point(*key, entry.topic_id):
            yield at, batch.size
        at += batch.size


@pytest.mark.parametrize("planted", [None, pytest.param(of_any_epoch, marks=pytest.mark.patches)])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_cut_off_is_not_written_over_what_took_its_place(
    seed: int, planted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is in the ring and its file refuses it, when that file is empty: the next epoch begins in the same file, and its
    first batch is too large for the ring.
    """
    if planted is not None:
        monkeypatch.setattr(Placing, "_counting", planted)
    bench = Bench(seed=seed)
    bench.put(*TOPICS)
    bench.put(*TOPICS)
    for _ in range(2):  # after the first time it is empty
        bench.machine.disk.fail("write", errno.EIO, path="a-0/0000")
        bench.put("a")
        assert bench.partition("a").offline
        bench.time.run_for(5_000)
        assert not bench.partition("a").offline
    bench.put("a", size=SMALL_BYTES)
    bench.machine.crash()
    bench.machine.boot()
    has_all = all(bench.stored(name) == bench.answered[name] for name in TOPICS)
    assert has_all == (planted is None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "path"), FAULTS)
def test_a_partition_whose_files_refuse_is_offline_and_the_others_serve(
    seed: int, kind: Kind, path: str
) -> None:
    bench = crashed(seed)
    bench.machine.disk.fail(kind, errno.EIO, times=1_000, path=path)
    bench.machine.boot()
    assert bench.partition("a").offline and kept(bench)
    bench.put("b", "c")
    assert not bench.partition("b").offline and not bench.partition("c").offline
    bench.machine.disk.heal()
    bench.time.run_for(10_000)
    assert not bench.partition("a").offline and not kept(bench)
    bench.put(*TOPICS)
    bench.check()
    bench.machine.crash()
    bench.machine.boot()
    bench.check()


def test_a_kept_file_that_was_not_finished_is_none() -> None:
    """The power went while it was written: the ring still has all of it."""
    bench = crashed()
    disk = bench.machine.disk
    disk.fail("write", errno.EIO, times=1, path="a-0/0000")
    disk.fail("write", errno.EIO, path=f"{KEPT}/")
    with pytest.raises((WorldError, StartFailed)):
        bench.machine.boot()
    assert [name for name in kept(bench) if name.endswith(".tmp")]
    bench.machine.boot()
    assert not bench.partition("a").offline and not kept(bench)
    bench.check()


@pytest.mark.parametrize("seed", range(16))
def test_what_is_kept_outlives_the_starts_at_which_its_partition_refuses(seed: int) -> None:
    """The ring has been used again by then."""
    bench = crashed(seed)
    for number in range(3):
        bench.machine.disk.fail("write", errno.EIO, times=1_000, path="a-0/0000")
        bench.machine.boot()
        assert bench.partition("a").offline
        for _ in range(4 + number):
            bench.put("b", "c")
        if number == 1:
            assert not bench.machine.stop(), "what it kept was a reason to look at the logs at the next start"
        else:
            bench.machine.crash()
        bench.machine.disk.heal()
    bench.machine.boot()
    bench.check()
    assert not kept(bench)


@pytest.mark.parametrize("calls", range(0, 60, 3))
def test_a_crash_while_it_is_kept_loses_nothing(calls: int) -> None:
    bench = crashed(calls)
    disk = bench.machine.disk
    disk.fail("open", errno.EIO, times=1_000, path="a-0/0000")
    disk.interrupt(calls)
    try:
        bench.machine.boot()
        bench.machine.crash()
    except (FolderRefused, StartFailed, WorldError):
        disk.crash()
    disk.heal()
    bench.machine.boot()
    bench.check()


def test_a_start_fails_when_nothing_can_be_kept_and_the_journal_stays() -> None:
    bench = crashed()
    for path in ("a-0/0000", KEPT):
        bench.machine.disk.fail("open", errno.EIO, times=1_000, path=path)
    with pytest.raises(StartFailed, match=KEPT):
        bench.machine.boot()
    bench.machine.disk.heal()
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("name", [names.PARTITION_METADATA, LEADER_EPOCHS])
def test_a_file_that_says_nothing_sensible_takes_its_partition_offline_and_nothing_is_dropped(
    name: str,
) -> None:
    bench = crashed()
    path = f"{ROOT}/a-0/{name}"
    before = bench.machine.disk.read_all(path)
    bench.machine.disk.write_atomic(path, b"?")
    bench.machine.boot()
    assert bench.partition("a").offline
    bench.put("b", "c")
    bench.machine.crash()
    bench.machine.disk.write_atomic(path, before)
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("name", [RECOVERY_POINTS, TOPIC_IDS])
def test_a_journal_is_not_taken_up_without_the_recovery_points(name: str) -> None:
    """Counted as 0 they would send old batches into compacted segments."""
    bench = crashed()
    path = f"{ROOT}/{name}"
    disk = bench.machine.disk
    before = disk.read_all(path) if disk.exists(path) else b"0\n0\n"
    disk.write_atomic(path, b"0\n9\n")
    with pytest.raises(StartFailed, match=f"(?s){name} is not what was written.*remove {ROOT}/{JOURNAL}"):
        bench.machine.boot()
    disk.write_atomic(path, before)
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("name", [RECOVERY_POINTS, TOPIC_IDS])
def test_checkpoints_that_cannot_be_read_are_no_empty_ones(name: str) -> None:
    bench = crashed()
    disk = bench.machine.disk
    if not disk.exists(f"{ROOT}/{name}"):
        disk.write_atomic(f"{ROOT}/{name}", b"0\n0\n")
    disk.fail("read", errno.EIO, path=name)
    with pytest.raises(WorldError, match=name):
        bench.machine.boot()
    disk.lose_process()


def test_without_a_journal_a_checkpoint_that_does_not_parse_costs_a_scan() -> None:
    bench = Bench(journal_bytes=0)
    bench.put(*TOPICS)
    bench.machine.crash()
    bench.machine.disk.write_atomic(f"{ROOT}/{RECOVERY_POINTS}", b"?")
    bench.machine.boot()
    bench.check()


@pytest.mark.parametrize("how", ["while it runs", "while it is down"])
def test_what_was_kept_of_a_deleted_topic_goes(how: str) -> None:
    bench = crashed()
    disk = bench.machine.disk
    disk.fail("write", errno.EIO, times=1_000, path="a-0/0000")
    bench.machine.boot()
    assert kept(bench)
    if how == "while it runs":
        for _ in bench.machine.node.partitions.closing("a", bench.partition("a").topic_id):
            pass
        bench.time.run_for(120_000)
    else:
        bench.machine.crash()
        del bench.machine.contents.values["cluster/topic/a"]
        bench.machine.boot()
    assert not kept(bench)


def test_a_kept_file_that_lacks_anything_says_so() -> None:
    disk = VirtualDisk()
    entries = [Entry(bytes(16), "t-0/1.log", at, b"x" * 9_000_000) for at in range(4)]
    content = kept_content(bytes(range(16)), entries)
    path = "/kept"
    disk.write_atomic(path, content)
    read = read_kept(disk.open(path))
    assert read is not None and [entry.position for entry in read] == [0, 1, 2, 3]
    for damaged in (
        content[:-4096],
        content[:4096],
        content[:100],
        b"",
        content[:5_000] + b"?" + content[5_001:],
        content[:-5_000] + b"?" + content[-4_999:],
    ):
        disk.write_atomic(path, damaged)
        assert read_kept(disk.open(path)) is None
