"""What only the real disk can show: short writes, refusals, other processes."""

import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from barnabas.adapters import files as files_module
from barnabas.adapters.files import OsFiles, file_system_kind, raise_descriptor_limit, storage_warning
from barnabas.ports import WorldError

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/share rw - nfs4 server:/x rw
31 30 8:2 / /srv/share/local\\040disk rw - xfs /dev/sdb1 rw
32 22 0:41 / /srv/sharedstuff rw master:2 - overlay overlay rw
33 22 0:42 / /over rw - ext4 /dev/sdc1 rw
34 22 0:43 / /over rw - tmpfs tmpfs rw
"""


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OsFiles().open(f"{tmp_path}/a", create=True)
    real_pwritev, real_pwrite = os.pwritev, os.pwrite

    def stingy_pwritev(fd: int, chunks: Sequence[bytes | memoryview], position: int) -> int:
        return real_pwritev(fd, [b"".join(chunks)[:7]], position)

    def stingy_pwrite(fd: int, content: bytes, position: int) -> int:
        return real_pwrite(fd, content[:3], position)

    monkeypatch.setattr(os, "pwritev", stingy_pwritev)
    monkeypatch.setattr(os, "pwrite", stingy_pwrite)
    assert file.write(2, [b"0123456789", b"", b"abcdefghij"]) == 20
    assert file.read(2, 30) == b"0123456789abcdefghij"


def test_a_write_that_makes_no_progress_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = OsFiles().open(f"{tmp_path}/a", create=True)
    monkeypatch.setattr(os, "pwritev", lambda fd, chunks, position: 0)
    monkeypatch.setattr(os, "pwrite", lambda fd, content, position: 0)
    with pytest.raises(WorldError, match="the disk is full: free space or shorten retention") as raised:
        file.write(0, [b"x"])
    assert raised.value.errno == errno.ENOSPC


def test_a_short_read_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OsFiles().open(f"{tmp_path}/a", create=True)
    file.write(0, [b"0123456789"])
    real_pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, position: real_pread(fd, min(size, 4), position))
    assert file.read(1, 8) == b"12345678"
    assert file.read(1, 50) == b"123456789"


def test_a_closed_file_refuses_and_closes_no_other(tmp_path: Path) -> None:
    files = OsFiles()
    file = files.open(f"{tmp_path}/a", create=True)
    number = file.fileno()
    file.close()
    other = files.open(f"{tmp_path}/b", create=True)
    assert other.fileno() == number, "the number is used again"
    file.close()
    other.write(0, [b"x"])
    uses = (
        file.size,
        file.sync,
        lambda: file.truncate(0),
        lambda: file.read(0, 1),
        lambda: file.write(0, [b"x"]),
    )
    for call in uses:
        with pytest.raises(WorldError) as raised:
            call()
        assert raised.value.errno == errno.EBADF


@pytest.mark.patches
def test_a_failed_atomic_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = OsFiles()
    files.write_atomic(f"{tmp_path}/a", b"old")

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(files_module, "sync_descriptor", refuse)
    with pytest.raises(WorldError) as raised:
        files.write_atomic(f"{tmp_path}/a", b"new")
    assert raised.value.errno == errno.EIO
    assert files.read_all(f"{tmp_path}/a") == b"old"
    assert files.list(str(tmp_path)) == ["a"]


def test_a_lock_holds_against_another_process_and_ends_with_it(tmp_path: Path) -> None:
    path = f"{tmp_path}/.lock"
    code = (
        "import sys, fcntl, os; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT);"
        "fcntl.flock(fd, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert OsFiles().lock(path) is None
        holder.kill()
        holder.wait(10)
    release = OsFiles().lock(path)
    assert release is not None
    release()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/srv/share", "nfs4"),
        ("/srv/share/logs", "nfs4"),
        ("/srv/share/local disk/logs", "xfs"),
        ("/srv/sharedstuff", "overlay"),
        ("/srv/shared", "ext4"),
        ("/over/x", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path, folder: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert file_system_kind(folder, str(table)) == kind
    assert file_system_kind(folder, str(tmp_path / "absent")) == ""


@pytest.mark.patches
@pytest.mark.parametrize(
    ("kind", "word"), [("nfs4", "network"), ("overlay", "volume"), ("tmpfs", "memory"), ("ext4", None)]
)
def test_storage_that_does_not_keep_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str, word: str | None
) -> None:
    monkeypatch.setattr(files_module, "file_system_kind", lambda folder: kind)
    warning = storage_warning("/somewhere")
    assert (warning is None) if word is None else (warning is not None and word in warning)


def test_the_soft_limit_of_files_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        assert raise_descriptor_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.patches
def test_of_two_syncs_at_once_none_hears_well_of_what_the_other_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux tells a write error to one fsync of a descriptor, and says to the next that all is well."""
    told = threading.Event()
    calls: list[int] = []

    def fails_once(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            told.wait(10)
            raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(files_module, "sync_descriptor", fails_once)
    file = OsFiles().open(str(tmp_path / "a"), create=True)
    errors: list[int] = []

    def sync() -> None:
        try:
            file.sync()
        except WorldError as error:
            errors.append(error.errno)

    threads = [threading.Thread(target=sync) for _ in range(3)]
    for thread in threads:
        thread.start()
    told.set()
    for thread in threads:
        thread.join(10)
    assert errors == [errno.EIO] * 3 and len(calls) == 1
    with pytest.raises(WorldError):
        file.sync()
    OsFiles().open(str(tmp_path / "a")).sync()


def test_a_name_that_cannot_be_looked_up_is_not_called_absent(tmp_path: Path) -> None:
    """Who believes that there is no log begins one anew."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    with pytest.raises(WorldError) as raised:
        OsFiles().exists(f"{tmp_path}/loop/log")
    assert raised.value.errno == errno.ELOOP
    assert not OsFiles().exists(f"{tmp_path}/none/log")
    assert not OsFiles().exists(f"{tmp_path}/file/log")
