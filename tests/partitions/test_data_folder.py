"""A data folder and the state folder in it: partitions/data_folder.py."""

import pytest

from barnabas.log import checkpoints
from barnabas.log import folder as names
from barnabas.partitions.data_folder import BALLAST, DATABASE, DataFolder, FolderRefused
from barnabas.telemetry import Log, silent
from barnabas.testing.disk import VirtualDisk

ROOT = "/data"
STATE = f"{ROOT}/owners/2"
TOPIC_ID = bytes(range(16))


@pytest.fixture
def disk() -> VirtualDisk:
    """With a folder that a broker has made."""
    disk = VirtualDisk(5)
    disk.make_folder(ROOT)
    disk.open(f"{ROOT}/{DATABASE}", create=True)
    disk.sync_folder(ROOT)
    disk.sync_folder("/")
    return disk


def folder_of(disk: VirtualDisk, state: str | None = None) -> DataFolder:
    return DataFolder(disk, ROOT, Log(silent, lambda: 0), state)


def opened(disk: VirtualDisk, state: str | None = None) -> DataFolder:
    disk.make_folder(state or ROOT)  # as a parent does
    folder = folder_of(disk, state)
    folder.open()
    return folder


def test_parent_and_workers_hold_a_lock_each(disk: VirtualDisk) -> None:
    opened(disk)
    worker = opened(disk, STATE)
    opened(disk, f"{ROOT}/owners/3")
    with pytest.raises(FolderRefused, match="owners/2 is in use"):
        opened(disk, STATE)
    worker.close(clean=False)
    opened(disk, STATE)


def test_a_worker_that_is_late_makes_no_state_folder(disk: VirtualDisk) -> None:
    """A later start has taken up what was there, and counts on having found all."""
    with pytest.raises(FolderRefused, match="no folder"):
        folder_of(disk, f"{ROOT}/owners/1").open()
    assert not disk.exists(f"{ROOT}/owners")


def test_a_clean_stop_is_that_of_the_state_folder_alone(disk: VirtualDisk) -> None:
    opened(disk).close(clean=True)
    worker = opened(disk, STATE)
    assert not worker.was_clean, "nobody has said so of this one"
    worker.close(clean=True)
    assert disk.exists(f"{ROOT}/{names.CLEAN_MARK}")
    again = opened(disk, STATE)
    assert again.was_clean and not disk.exists(f"{STATE}/{names.CLEAN_MARK}")
    assert disk.exists(f"{ROOT}/{names.CLEAN_MARK}"), "the parent's own business"


def test_a_worker_writes_its_checkpoints_and_reads_the_roots_too(disk: VirtualDisk) -> None:
    root, worker = opened(disk), opened(disk, STATE)
    worker.write_offsets({("t", 0): 5}, {}, {"t": TOPIC_ID})
    assert not disk.exists(f"{ROOT}/{checkpoints.RECOVERY_POINTS}")
    root.write_offsets({("t", 0): 3, ("t", 1): 8}, {("t", 1): 6}, {"t": TOPIC_ID})
    assert worker.offsets.recovery_point("t", 0, TOPIC_ID) == 0
    worker.reread()
    assert [worker.offsets.recovery_point("t", index, TOPIC_ID) for index in (0, 1)] == [5, 8]
    assert worker.offsets.log_start("t", 1, TOPIC_ID) == 6
    root.reread()
    assert root.offsets.recovery_point("t", 0, TOPIC_ID) == 3, "owners' sets are merged by consolidate"


def test_the_ballast_is_the_roots(disk: VirtualDisk) -> None:
    opened(disk, STATE)
    assert not disk.exists(f"{ROOT}/{BALLAST}") and not disk.exists(f"{STATE}/{BALLAST}")


@pytest.mark.parametrize("seed", range(8))
def test_what_a_worker_has_synced_in_its_folder_outlives_the_power(seed: int) -> None:
    """Its journal would be gone with the folder's name."""
    disk = VirtualDisk(seed)
    disk.make_folder(ROOT)
    disk.sync_folder("/")
    worker = opened(disk, STATE)
    worker.write_offsets({("t", 0): 5}, {}, {"t": TOPIC_ID})
    disk.crash()
    assert opened(disk, STATE).offsets.recovery_point("t", 0, TOPIC_ID) == 5
