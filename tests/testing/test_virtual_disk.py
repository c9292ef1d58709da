"""The disk that forgets must forget what it may, keep what it must, and fail when it is told to."""

import errno
from collections.abc import Callable

import pytest

from barnabas.ports import File, WorldError
from barnabas.testing.disk import Kind, VirtualDisk

SEEDS = range(200)


def disk_with_a_file(seed: int) -> tuple[VirtualDisk, File]:
    """/log/a exists durably and holds "old!", synced."""
    disk = VirtualDisk(seed)
    disk.make_folder("/log")
    disk.sync_folder("/")
    file = disk.open("/log/a", create=True)
    disk.sync_folder("/log")
    file.write(0, [b"old!"])
    file.sync()
    return disk, file


def refused(call: Callable[[], object], number: int) -> None:
    with pytest.raises(WorldError) as raised:
        call()
    assert raised.value.errno == number


def test_synced_bytes_survive_and_unsynced_ones_may_not() -> None:
    seen = set()
    for seed in SEEDS:
        disk, file = disk_with_a_file(seed)
        file.write(4, [b"one"])
        file.write(7, [b"two"])
        disk.crash()
        content = disk.read_all("/log/a")
        assert content[:4] == b"old!", f"seed {seed}"
        seen.add(content[4:])
    assert {b"", b"one", b"onetwo", b"\0\0\0two"} <= seen
    assert any(rest.startswith(b"onet") and len(rest) < 6 for rest in seen), "some writes are torn"


def test_a_truncation_is_forgotten_too() -> None:
    seen = set()
    for seed in SEEDS:
        disk, file = disk_with_a_file(seed)
        file.truncate(1)
        disk.crash()
        seen.add(disk.read_all("/log/a"))
    assert seen == {b"old!", b"o"}
    disk, file = disk_with_a_file(0)
    file.truncate(1)
    file.sync()
    disk.crash()
    assert disk.read_all("/log/a") == b"o"


def test_a_name_is_durable_after_the_sync_of_its_folder_only() -> None:
    seen = set()
    for seed in SEEDS:
        disk, _ = disk_with_a_file(seed)
        file = disk.open("/log/b", create=True)
        file.write(0, [b"x"])
        file.sync()
        disk.crash()
        seen.add(disk.exists("/log/b"))
    assert seen == {True, False}


def test_names_survive_in_their_order() -> None:
    seen = set()
    for seed in SEEDS:
        disk, _ = disk_with_a_file(seed)
        disk.open("/log/b", create=True)
        disk.rename("/log/a", "/log/c")
        disk.unlink("/log/b")
        disk.crash()
        seen.add(tuple(disk.list("/log")))
    assert seen == {("a",), ("a", "b"), ("b", "c"), ("c",)}


def test_a_folder_without_a_durable_name_takes_its_files_along() -> None:
    seen = set()
    for seed in SEEDS:
        disk = VirtualDisk(seed)
        disk.make_folder("/log/t-0")
        file = disk.open("/log/t-0/a", create=True)
        file.write(0, [b"x"])
        file.sync()
        disk.sync_folder("/log/t-0")
        disk.crash()
        seen.add(disk.exists("/log/t-0/a"))
        assert disk.exists("/log/t-0/a") == disk.exists("/log/t-0")
    assert seen == {True, False}


def test_a_removed_folder_may_come_back_whole() -> None:
    seen = set()
    for seed in SEEDS:
        disk, _ = disk_with_a_file(seed)
        disk.remove_folder("/log")
        disk.crash()
        seen.add(disk.list("/log") == ["a"] and disk.read_all("/log/a") == b"old!")
    assert seen == {True, False}


def test_an_atomic_write_is_old_or_new_wherever_it_fails() -> None:
    """Each of its system calls fails in turn, and the power goes right then."""
    kinds: tuple[Kind, ...] = ("open", "write", "sync", "rename", "sync_folder")
    seen = set()
    for seed in SEEDS:
        disk, _ = disk_with_a_file(seed)
        disk.fail(kinds[seed % len(kinds)], errno.EIO)
        refused(lambda disk=disk: disk.write_atomic("/log/a", b"new content"), errno.EIO)  # type: ignore[misc]
        disk.crash()
        seen.add(disk.read_all("/log/a"))
    assert seen == {b"old!", b"new content"}
    disk, _ = disk_with_a_file(1)
    disk.write_atomic("/log/a", b"new content")
    disk.crash()
    assert disk.read_all("/log/a") == b"new content"
    assert disk.list("/log") == ["a"]


def test_a_failed_sync_loses_its_writes_though_reading_shows_them() -> None:
    disk, file = disk_with_a_file(3)
    file.write(4, [b"lost"])
    disk.fail("sync", errno.EIO)
    refused(file.sync, errno.EIO)
    assert file.read(0, 8) == b"old!lost"
    file.sync()  # says that all is well
    disk.crash()
    assert disk.read_all("/log/a") == b"old!"


def test_a_full_disk_may_have_taken_a_part() -> None:
    seen = set()
    for seed in SEEDS:
        disk, file = disk_with_a_file(seed)
        disk.fail("write", errno.ENOSPC)
        refused(lambda file=file: file.write(4, [b"1234"]), errno.ENOSPC)  # type: ignore[misc]
        seen.add(file.read(4, 10))
    assert seen == {b"", b"1", b"12", b"123", b"1234"}


def test_faults_wait_for_their_call_and_their_path() -> None:
    disk, file = disk_with_a_file(0)
    other = disk.open("/log/b", create=True)
    disk.fail("write", errno.EIO, after=1, times=2, path="/log/a")
    other.write(0, [b"x"])
    file.write(0, [b"x"])
    refused(lambda: file.write(0, [b"x"]), errno.EIO)
    other.write(0, [b"x"])
    refused(lambda: file.write(0, [b"x"]), errno.EIO)
    file.write(0, [b"x"])
    disk.fail("read", errno.EIO, times=1_000)
    refused(lambda: file.read(0, 1), errno.EIO)
    disk.heal()
    assert file.read(0, 1) == b"x"
    assert disk.calls["write"] == 7, "one by the set-up, six here"


def test_a_dead_process_uses_no_file_and_holds_no_lock() -> None:
    disk, file = disk_with_a_file(0)
    release = disk.lock("/log/.lock")
    assert release is not None
    disk.crash()
    assert disk.lock("/log/.lock") is not None
    release()
    assert disk.lock("/log/.lock") is None, "the dead one's release frees nothing"
    with pytest.raises(AssertionError, match="a process that died"):
        file.write(0, [b"x"])


def test_one_seed_one_history() -> None:
    def history(seed: int) -> list[bytes]:
        disk, file = disk_with_a_file(seed)
        contents = []
        for _ in range(5):
            for at in range(8):
                file.write(file.size(), [bytes([at]) * 9])
            disk.crash()
            file = disk.open("/log/a")
            contents.append(disk.read_all("/log/a"))
        return contents

    assert history(7) == history(7)
    assert len({tuple(history(seed)) for seed in range(10)}) == 10


# -- several processes


def test_processes_see_each_others_writes_and_the_death_of_one_takes_nothing_else() -> None:
    disk, file = disk_with_a_file(0)
    other = disk.process()
    file.write(4, [b"unsynced"])
    assert other.read_all("/log/a") == b"old!unsynced"
    theirs = other.open("/log/a")
    disk.lose_process()
    assert theirs.read(4, 8) == b"unsynced", "its files stay open, and the page cache is the machine's"
    with pytest.raises(AssertionError):
        file.read(0, 1)


def test_a_sync_by_one_process_makes_durable_what_another_one_wrote() -> None:
    for seed in SEEDS:
        disk, file = disk_with_a_file(seed)
        file.write(4, [b"mine"])
        disk.process().open("/log/a").sync()
        disk.crash()
        assert disk.read_all("/log/a") == b"old!mine"


def test_a_power_failure_is_the_end_of_all_processes() -> None:
    disk, _ = disk_with_a_file(0)
    other = disk.process()
    theirs = other.open("/log/a")
    disk.crash()
    with pytest.raises(AssertionError):
        theirs.size()
    assert other.open("/log/a").size() == 4


def test_a_lock_is_freed_by_its_holder_and_by_its_death_alone() -> None:
    disk, _ = disk_with_a_file(0)
    other = disk.process()
    release = disk.lock("/log/.lock")
    assert release is not None and other.lock("/log/.lock") is None
    other.lose_process()
    assert other.lock("/log/.lock") is None
    disk.lose_process()
    assert other.lock("/log/.lock") is not None
    release()
    assert disk.lock("/log/.lock") is None, "an old life's release frees nothing"


def test_faults_are_those_of_one_process() -> None:
    disk, file = disk_with_a_file(0)
    other = disk.process()
    disk.fail("sync", errno.EIO)
    other.open("/log/a").sync()
    refused(file.sync, errno.EIO)


def test_two_living_processes_never_change_one_folder() -> None:
    disk, _ = disk_with_a_file(0)
    other = disk.process()
    changes: list[Callable[[], object]] = [
        lambda: other.open("/log/a").write(0, [b"x"]),
        lambda: other.open("/log/a").truncate(0),
        lambda: other.unlink("/log/a"),
        lambda: other.rename("/log/a", "/log/b"),
        lambda: other.rename("/log", "/gone"),
        lambda: other.remove_folder("/log"),
    ]
    for number, change in enumerate(changes, 1):
        with pytest.raises(AssertionError, match="lives"):
            change()
        assert len(disk.platter.breaches) == number
    other.open("/log/a").sync()
    disk.lose_process()
    for change in (changes[0], changes[3]):
        change()
    refused(lambda: disk.open("/log/a"), errno.ENOENT)
    with pytest.raises(AssertionError, match="lives"):
        disk.open("/log/b").write(0, [b"y"])


def test_a_process_that_takes_turns_gives_a_folder_on_and_takes_it_only_from_the_dead() -> None:
    parent, file = disk_with_a_file(0)
    worker = parent.process()
    parent.takes_turns = True
    worker.open("/log/a").write(0, [b"x"])
    with pytest.raises(AssertionError, match="lives"):
        file.write(0, [b"y"])
    worker.lose_process()
    file.write(0, [b"y"])
    worker.open("/log/a").write(0, [b"z"])


def left_by_a_write_that_did_not_fit(seed: int) -> bytes:
    disk, file = disk_with_a_file(seed)
    disk.platter.is_full = True
    refused(lambda: file.write(4, [b"more"]), errno.ENOSPC)
    refused(lambda: disk.process().open("/log/b", create=True), errno.ENOSPC)
    refused(lambda: disk.make_folder("/other"), errno.ENOSPC)
    left = file.read(0, 100)
    file.truncate(4)
    file.write(0, [b"new!"])
    file.sync()
    disk.platter.is_full = False
    file.write(4, [b"more"])
    assert disk.read_all("/log/a") == b"new!more"
    return left


def test_a_full_platter_takes_what_lies_within_files_alone() -> None:
    assert {b"old!", b"old!mo"} <= {left_by_a_write_that_did_not_fit(seed) for seed in range(30)}
