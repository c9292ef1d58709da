"""A disk that forgets and fails: what a reader was told of survives, and a failed call assigns nothing."""

import contextlib
import errno

import pytest
from written_log import NOW_MS, Disk, append, everything, located, rolled

from barnabas.log.log import Log
from barnabas.ports import WorldError
from barnabas.records.batch import read_header
from barnabas.records.record import Record, all_records, build_batch
from barnabas.testing.disk import Kind, VirtualDisk

SMALL = {"internal_segment_bytes": 500}


def virtual(seed: int) -> tuple[VirtualDisk, Disk]:
    virtual = VirtualDisk(seed)
    disk = Disk(virtual, "/d")
    virtual.sync_folder("/")
    return virtual, disk


def values(log: Log) -> list[bytes | None]:
    return [record.value for record in all_records(everything(log))]


def put(log: Log, number: int, epoch: int = 1) -> None:
    append(log, [b"%04d" % number], epoch=epoch, producer_id=1, producer_epoch=0, base_sequence=number)


@pytest.mark.parametrize("seed", range(40))
def test_a_power_cut_leaves_all_that_was_synced_and_a_prefix_of_the_rest(seed: int) -> None:
    world, disk = virtual(seed)
    log = disk.log(**SMALL)
    synced = world.random.randint(0, 25)
    for number in range(30):
        put(log, number)
        log.segments[-1].file.sync() if number < synced else None
    world.crash()
    again = disk.log(**SMALL)
    count = again.end_offset
    assert synced <= count <= 30
    assert values(again) == [b"%04d" % number for number in range(count)]
    assert (again.producers.by_id[1].last_sequence if count else -1) == count - 1
    for number in range(count, 35):
        put(again, number, epoch=2)
    assert values(again) == [b"%04d" % number for number in range(35)]


@pytest.mark.parametrize("seed", range(20))
def test_what_a_reopen_cut_off_never_comes_back(seed: int) -> None:
    """Truncate, go on in a new file under a new epoch, lose power: the cut batches stay gone, the new ones stay."""
    world, disk = virtual(seed)
    log = disk.log()
    for number in range(10):
        put(log, number)
    log.segments[-1].file.sync()
    for _ in range(10, 14):
        append(log, [b"never committed"])
    log.truncate_to(10, NOW_MS)
    rolled(log)
    for number in range(10, 13):
        put(log, number, epoch=2)
    log.segments[-1].file.sync()
    world.crash()
    again = disk.log(recovery_point=0)
    assert values(again) == [b"%04d" % number for number in range(13)]
    assert again.epoch_end_offset(1) == (1, 10)


def test_what_a_start_finds_in_the_page_cache_is_written_again_before_it_is_served() -> None:
    """A sync failed and the process died: the kernel shows bytes as clean that are on no disk."""
    world, disk = virtual(1)
    log = disk.log()
    put(log, 0)
    log.segments[-1].file.sync()
    for number in range(1, 4):
        put(log, number)
    world.fail("sync", errno.EIO)
    with pytest.raises(WorldError):
        log.segments[-1].file.sync()
    world.lose_process()
    again = disk.log()
    assert again.end_offset == 4
    world.crash()
    assert disk.log().end_offset == 4


def test_a_reader_gets_nothing_of_a_batch_that_is_not_written_yet(disk: Disk) -> None:
    """The first append after a start: where the high watermark lies must be found without its bytes."""
    log = disk.log()
    for number in range(3):
        put(log, number)
    log.close(clean=True)
    again = disk.log(clean=True)
    batch = build_batch([Record(None, b"not written", NOW_MS)])
    again.append(read_header(batch, 0), batch, 0, 1, NOW_MS)
    found = located(again, 1, 1 << 20, 3)
    assert [record.offset for record in all_records(found)] == [1, 2]
    assert len(found) == len(disk.content()) // 3 * 2


def test_what_lies_behind_the_next_segments_base_is_cut_and_the_next_stays(disk: Disk) -> None:
    log = disk.log()
    for number in range(6):
        put(log, number)
    stale = disk.content()
    log.truncate_to(4, NOW_MS)
    rolled(log)
    put(log, 4, epoch=2)
    disk.overwrite(stale)
    again = disk.log()
    assert values(again) == [b"%04d" % number for number in range(5)]
    assert [segment.end_offset for segment in again.segments] == [4, 5]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("kind", ["open", "write", "sync", "rename", "sync_folder", "truncate"])
def test_a_failed_append_is_cut_off_and_the_next_one_goes_on(kind: Kind, number: int) -> None:
    """At the n-th call of each kind, for every n until no call fails any more."""
    batch = build_batch([Record(None, b"x" * 300, NOW_MS)])
    for after in range(60):
        world, disk = virtual(after)
        log = disk.log(**SMALL)
        world.fail(kind, number, after=after)
        failures = 0
        for _ in range(6):
            end_offset = log.end_offset
            try:
                write = log.append(read_header(batch, 0), batch, 0, 1, NOW_MS)
                log.do_chores()
                write.file.write(write.position, [write.head, write.body])
            except WorldError as error:
                assert error.errno == number
                failures += 1
                log.truncate_to(end_offset, NOW_MS)
                rolled(log)
        world.heal()
        count = log.end_offset
        assert count == 6 - failures and len(values(log)) == count
        log.close(clean=True)
        again = disk.log(clean=True, **SMALL)
        assert again.end_offset == count and len(values(again)) == count
        if not failures:
            return
    raise AssertionError("more calls than expected")


@pytest.mark.parametrize("kind", ["open", "write", "truncate", "sync_folder"])
def test_a_roll_that_failed_leaves_no_file_that_cuts_the_log(kind: Kind) -> None:
    """Its file may be there already: were the old segment to grow past its base, a restart would cut it there."""
    for after in range(12):
        world, disk = virtual(after)
        log = disk.log(**SMALL)
        while log.end_offset < 7:
            put(log, log.end_offset)
        world.fail(kind, errno.EIO, after=after)
        try:
            rolled(log)
        except WorldError:
            world.fail("unlink", errno.EIO, after=after % 2)
            with contextlib.suppress(WorldError):
                log.truncate_to(5, NOW_MS)
            world.heal()
            log.truncate_to(5, NOW_MS)
        world.heal()
        count = log.end_offset + 9
        while log.end_offset < count:
            put(log, log.end_offset, epoch=2)
        assert values(disk.log(**SMALL)) == [b"%04d" % number for number in range(count)]


@pytest.mark.parametrize("kind", ["open", "read", "sync", "truncate", "write", "unlink", "sync_folder"])
def test_a_failed_recovery_harms_nothing(kind: Kind) -> None:
    """Torn tail; recovery fails at its n-th call; the next one finds the same log."""
    for after in range(60):
        world, disk = virtual(after)
        log = disk.log(**SMALL)
        for number in range(12):
            put(log, number)
        name = log.segments[-1].path(".log").rpartition("/")[2]
        disk.overwrite(disk.content(name)[:-1], name)
        world.fail(kind, errno.EIO, after=after)
        try:
            disk.log(**SMALL)
            failed = False
        except WorldError:
            failed = True
        world.heal()
        assert values(disk.log(**SMALL)) == [b"%04d" % number for number in range(11)]
        if not failed:
            return
    raise AssertionError("more calls than expected")


def test_a_file_that_ends_below_the_recovery_point_is_damage(disk: Disk) -> None:
    from barnabas.log.recovery import DamagedLog

    log = disk.log()
    put(log, 0)
    size = log.segments[0].size
    put(log, 1)
    content = disk.content()
    disk.overwrite(content[:size])
    with pytest.raises(DamagedLog, match="the file ends"):
        disk.log(recovery_point=2)
    assert disk.log(recovery_point=1).end_offset == 1


def test_no_offset_is_given_twice_when_the_start_outlived_the_records(disk: Disk) -> None:
    """DeleteRecords is durable at once, the records under `cache` are not."""
    log = disk.log()
    for number in range(5):
        put(log, number)
    content = disk.content()
    disk.overwrite(content[: len(content) // 5 * 2])
    again = disk.log(log_start_offset=4)
    assert (again.log_start_offset, again.end_offset, again.segments) == (4, 4, [])
    assert append(again, [b"on"], epoch=2) == 4
    assert disk.log(log_start_offset=4).end_offset == 5


def test_a_batch_that_claims_a_later_offset_is_the_one_that_goes(disk: Disk) -> None:
    """In a closed segment holes are possible (compaction), so the lie shows at the batch behind it."""
    log = disk.log(**SMALL)
    for number in range(12):
        put(log, number)
    first = log.segments[0]
    assert first.end_offset > 4
    position = first.position_of(2)
    content = bytearray(disk.content())
    content[position + 7] += 1
    disk.overwrite(bytes(content))
    again = disk.log(**SMALL)
    assert values(again) == [b"0000", b"0001"] and len(again.segments) == 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("after", range(3))
def test_a_folder_whose_name_could_not_be_synced_is_synced_at_the_next_try(seed: int, after: int) -> None:
    """Else what is synced inside it goes with it. The folder's own names are synced twice, that of itself once."""
    world, disk = virtual(seed)
    world.sync_folder("/d")
    log = disk.log()
    world.fail("sync_folder", errno.EIO, after=after)
    with pytest.raises(WorldError):
        put(log, 0)
    log.truncate_to(0, NOW_MS)
    put(log, 0)
    log.segments[-1].file.sync()
    world.crash()
    assert values(disk.log()) == [b"0000"]
