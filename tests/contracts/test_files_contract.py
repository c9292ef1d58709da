"""What every Files holds: the disk's, the one in memory, the one that forgets."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from barnabas.adapters.files import OsFiles
from barnabas.adapters.ram_files import RamFiles
from barnabas.ports import Files, WorldError
from barnabas.testing.disk import VirtualDisk

MAKERS: dict[str, Callable[[], Files]] = {"os": OsFiles, "ram": RamFiles, "virtual": VirtualDisk}


@pytest.fixture(params=sorted(MAKERS))
def files(request: pytest.FixtureRequest) -> Files:
    return MAKERS[str(request.param)]()


@pytest.fixture
def root(files: Files, tmp_path: Path) -> str:
    folder = f"{tmp_path}/store"
    files.make_folder(folder)
    return folder


def errno_of(call: Callable[[], object]) -> int:
    with pytest.raises(WorldError) as raised:
        call()
    return raised.value.errno


def test_what_is_written_at_a_position_is_read_from_it(files: Files, root: str) -> None:
    file = files.open(f"{root}/a", create=True)
    assert file.write(0, [b"abc", memoryview(b"defg")]) == 7
    assert file.write(7, [b"hij"]) == 3
    assert file.size() == 10
    assert file.read(0, 10) == b"abcdefghij"
    assert file.read(2, 3) == b"cde"
    assert file.read(8, 100) == b"ij"
    assert file.read(10, 5) == b""
    assert file.read(99, 5) == b""


def test_what_is_in_memory_is_read_now(files: Files, root: str) -> None:
    """What was written a moment ago is, most often: who gets nothing has read() run in a thread and asks again."""
    file = files.open(f"{root}/a", create=True)
    file.write(0, [b"abcdefghij"])
    for position, size in ((0, 10), (2, 3), (8, 100), (10, 5), (99, 5)):
        for _ in range(50):
            found = file.read_now(position, size)
            if found is not None:
                break
        assert found == file.read(position, size)


def test_to_begin_the_way_to_the_disk_changes_nothing(files: Files, root: str) -> None:
    """A hint: of any range, also of one that is not there, and of a file that is closed or gone."""
    file = files.open(f"{root}/a", create=True)
    content = bytes(range(256)) * 64
    file.write(0, [content])
    for position, size in ((0, len(content)), (5000, 1), (0, 0), (1 << 40, 1 << 30)):
        file.write_back(position, size)
    assert file.read(0, len(content) + 1) == content and file.size() == len(content)
    files.unlink(f"{root}/a")
    file.write_back(0, len(content))
    file.close()
    file.write_back(0, len(content))


def test_more_chunks_than_one_system_call_takes(files: Files, root: str) -> None:
    file = files.open(f"{root}/a", create=True)
    chunks = [bytes([at % 251]) * (at % 7) for at in range(3000)]
    whole = b"".join(chunks)
    assert file.write(0, chunks) == len(whole)
    assert file.read(0, len(whole) + 1) == whole
    assert file.write(len(whole), []) == 0
    assert file.size() == len(whole)


def test_a_write_inside_the_file_changes_only_its_range(files: Files, root: str) -> None:
    file = files.open(f"{root}/a", create=True)
    file.write(0, [b"0123", b"4567"])
    file.write(3, [b"xy"])
    assert file.read(0, 8) == b"012xy567"
    file.write(7, [b"end"])
    assert file.read(0, 20) == b"012xy56end"


def test_a_gap_reads_as_zeros_and_an_empty_write_makes_none(files: Files, root: str) -> None:
    file = files.open(f"{root}/a", create=True)
    file.write(5, [b""])
    assert file.size() == 0
    file.write(3, [b"x"])
    assert file.read(0, 4) == b"\0\0\0x"


@pytest.mark.parametrize("size", [0, 2, 3, 5, 8, 11])
def test_truncate_cuts_or_fills(files: Files, root: str, size: int) -> None:
    file = files.open(f"{root}/a", create=True)
    file.write(0, [b"012", b"345", b"67"])
    file.truncate(size)
    assert file.size() == size
    assert file.read(0, 100) == b"01234567\0\0\0"[:size]
    file.write(size, [b"next"])
    assert file.read(size, 4) == b"next"


def test_a_file_opened_again_is_the_same_file(files: Files, root: str) -> None:
    one = files.open(f"{root}/a", create=True)
    one.write(0, [b"abc"])
    one.sync()
    other = files.open(f"{root}/a")
    assert other.read(0, 3) == b"abc"
    other.write(3, [b"d"])
    assert one.size() == 4
    assert one.path == f"{root}/a"
    one.close()
    assert other.read(0, 4) == b"abcd"


def test_an_unlinked_file_serves_those_who_hold_it(files: Files, root: str) -> None:
    file = files.open(f"{root}/a", create=True)
    file.write(0, [b"abc"])
    files.unlink(f"{root}/a")
    assert not files.exists(f"{root}/a")
    assert file.read(0, 3) == b"abc"
    files.unlink(f"{root}/a")
    assert files.open(f"{root}/a", create=True).size() == 0


def test_absence_is_said_by_its_number(files: Files, root: str) -> None:
    assert errno_of(lambda: files.open(f"{root}/none")) == errno.ENOENT
    assert errno_of(lambda: files.read_all(f"{root}/none")) == errno.ENOENT
    assert errno_of(lambda: files.rename(f"{root}/none", f"{root}/b")) == errno.ENOENT
    assert errno_of(lambda: files.open(f"{root}/no/folder", create=True)) == errno.ENOENT
    assert errno_of(lambda: files.write_atomic(f"{root}/no/folder", b"")) == errno.ENOENT
    assert errno_of(lambda: files.open(root)) == errno.EISDIR


def test_folders_list_what_lies_in_them(files: Files, root: str) -> None:
    files.make_folder(f"{root}/deep/er")
    files.make_folder(f"{root}/deep/er")
    files.open(f"{root}/deep/b", create=True)
    files.open(f"{root}/deep/a", create=True)
    assert files.list(f"{root}/deep") == ["a", "b", "er"]
    assert files.list(root) == ["deep"]
    assert files.list(f"{root}/none") == []
    assert files.exists(f"{root}/deep")
    assert files.exists(f"{root}/deep/er")
    assert not files.exists(f"{root}/dee")
    files.sync_folder(f"{root}/deep")


def test_a_renamed_folder_takes_its_files_along(files: Files, root: str) -> None:
    files.make_folder(f"{root}/old")
    files.open(f"{root}/old/a", create=True).write(0, [b"abc"])
    files.make_folder(f"{root}/older")
    files.rename(f"{root}/old", f"{root}/new")
    assert files.list(root) == ["new", "older"]
    assert files.read_all(f"{root}/new/a") == b"abc"


def test_a_rename_replaces_a_file_but_no_full_folder(files: Files, root: str) -> None:
    files.write_atomic(f"{root}/a", b"new")
    files.write_atomic(f"{root}/b", b"old")
    files.rename(f"{root}/a", f"{root}/b")
    assert files.list(root) == ["b"]
    assert files.read_all(f"{root}/b") == b"new"
    files.make_folder(f"{root}/c")
    files.make_folder(f"{root}/d")
    files.open(f"{root}/d/x", create=True)
    assert errno_of(lambda: files.rename(f"{root}/c", f"{root}/d")) == errno.ENOTEMPTY


def test_remove_folder_takes_all_below_and_nothing_beside(files: Files, root: str) -> None:
    files.make_folder(f"{root}/a/b")
    files.make_folder(f"{root}/ab")
    files.open(f"{root}/a/b/x", create=True)
    files.open(f"{root}/ab/y", create=True)
    files.remove_folder(f"{root}/a")
    files.remove_folder(f"{root}/a")
    assert files.list(root) == ["ab"]
    assert files.list(f"{root}/ab") == ["y"]


def test_write_atomic_replaces_the_whole_and_leaves_nothing_beside(files: Files, root: str) -> None:
    files.write_atomic(f"{root}/a", b"a longer content")
    files.write_atomic(f"{root}/a", b"short")
    assert files.read_all(f"{root}/a") == b"short"
    assert files.list(root) == ["a"]


def test_a_lock_has_one_holder(files: Files, root: str) -> None:
    release = files.lock(f"{root}/.lock")
    assert release is not None
    assert files.lock(f"{root}/.lock") is None
    assert files.list(root) == [".lock"]
    release()
    again = files.lock(f"{root}/.lock")
    assert again is not None
    release()  # a second release is not the new holder's
    assert files.lock(f"{root}/.lock") is None
    again()


def test_there_is_room(files: Files, root: str) -> None:
    assert 0 < files.free_bytes(root) <= files.total_bytes(root)


def test_a_ring_has_its_size_and_keeps_what_it_holds(files: Files, root: str) -> None:
    size = 16 * 4096
    ring = files.open_ring(f"{root}/ring", size)
    if isinstance(files, RamFiles):
        assert ring is None, "nothing in memory is durable"
        return
    if ring is None:
        pytest.skip("this file system has no O_DIRECT")
    assert ring.size() == size
    assert ring.write(4096, [b"a" * 5000, b"", memoryview(b"b" * 3192)]) == 8192
    assert ring.write(0, [b"c" * 4096]) == 4096
    ring.close()
    again = files.open_ring(f"{root}/ring", size)
    assert again is not None and again.size() == size
    content = files.open(f"{root}/ring").read(0, size)
    assert content == b"c" * 4096 + b"a" * 5000 + b"b" * 3192 + bytes(size - 12288)
    larger = files.open_ring(f"{root}/ring", 2 * size)
    assert larger is not None and larger.size() == 2 * size


def test_a_ring_takes_a_write_larger_than_its_buffer(files: Files, root: str) -> None:
    size = 4 * 1024 * 1024
    ring = files.open_ring(f"{root}/ring", size)
    if ring is None:
        if not isinstance(files, RamFiles):
            pytest.skip("this file system has no O_DIRECT")
        return
    content = bytes(range(256)) * (3 * 1024 * 1024 // 256)
    assert ring.write(4096, [content]) == len(content)
    assert files.open(f"{root}/ring").read(4096, len(content)) == content


def test_a_ring_without_a_folder_is_refused(files: Files, root: str) -> None:
    if not isinstance(files, RamFiles):
        assert errno_of(lambda: files.open_ring(f"{root}/none/ring", 8192)) == errno.ENOENT
