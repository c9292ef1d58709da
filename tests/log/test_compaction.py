"""Compaction: the last record of each key survives, at its offset; a crash at any step leaves the old or the new."""

import errno

import pytest
from written_log import NOW_MS, TOPIC_ID, Disk, everything, located

from barnabas.config.effective import BrokerOptions, topic_options
from barnabas.log.log import Log
from barnabas.log.segment import OpenFiles
from barnabas.ports import Files, WorldError
from barnabas.records.batch import DELETE_HORIZON, check_crc, read_header
from barnabas.records.record import Record, all_records, batches, build_batch
from barnabas.testing.disk import VirtualDisk

OPTIONS = {
    "cleanup.policy": "compact",
    "internal.segment.bytes": "600",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "1000",
}
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def opened(files: Files, root: str, *, recovery_point: int = 0, clean: bool = False) -> Log:
    log = Log(OpenFiles(files, 2), f"{root}/t-0", "t", 0, TOPIC_ID, topic_options(OPTIONS, BrokerOptions({})))
    log.load(NOW_MS, clean=clean, recovery_point=recovery_point, log_start_offset=0)
    return log


def put(log: Log, pairs: list[tuple[str | None, str | None]], **batch: object) -> None:
    records = [
        Record(None if key is None else key.encode(), None if value is None else value.encode(), NOW_MS)
        for key, value in pairs
    ]
    content = build_batch(records, **batch)  # type: ignore[arg-type]
    write = log.append(read_header(content, 0), content, 0, 1, NOW_MS)
    log.do_chores()
    write.file.write(write.position, [write.head, write.body])


def synced(log: Log) -> Log:
    for segment in log.segments:
        segment.file.sync()
    log.reached_recovery_point(log.segments, log.end_offset)
    log.checkpointed_offset = log.recovery_point
    return log


def fill(log: Log) -> None:
    """Four keys again and again, in batches of two, in every codec; then a tombstone and the active segment."""
    for number in range(20):
        put(
            log,
            [(f"k{number % 4}", f"a{number}"), (f"k{number % 4}", f"b{number}")],
            codec=CODECS[number % 5],
        )
    put(log, [("k0", None)])
    while log.segments[-1].remembered != 1:
        put(log, [("other", "x" * 100)])


def held(log: Log) -> dict[bytes | None, list[tuple[int, bytes | None]]]:
    found: dict[bytes | None, list[tuple[int, bytes | None]]] = {}
    for record in all_records(everything(log)):
        found.setdefault(record.key, []).append((record.offset, record.value))
    return found


def test_the_last_record_of_each_key_stays_at_its_offset(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    before, end = held(log), log.end_offset
    freed = synced(log).compact(NOW_MS, end)
    after = held(log)
    assert freed > 0 and log.end_offset == end
    assert set(after) == set(before)
    for key in (b"k0", b"k1", b"k2", b"k3"):
        assert after[key] == before[key][-1:]
    for header, at in batches(everything(log)):
        content = everything(log)
        assert check_crc(content, at, header.size, header.crc)


def test_every_offset_is_still_answered_by_the_next_record_that_is_left(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    synced(log).compact(NOW_MS, log.end_offset)
    for offset in range(log.end_offset):
        found = located(log, offset, 1 << 20, log.end_offset)
        assert read_header(found, 0).next_offset > offset


def test_a_tombstone_goes_once_its_horizon_has_passed(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    synced(log).compact(NOW_MS, log.end_offset)
    (tombstone,) = held(log)[b"k0"]
    assert tombstone[1] is None
    horizons = [h.base_timestamp for h, _ in batches(everything(log)) if h.attributes & DELETE_HORIZON]
    assert horizons == [NOW_MS + 1000]
    assert [r.timestamp for r in all_records(everything(log)) if r.value is None] == [NOW_MS]
    for now_ms, left in ((NOW_MS + 999, True), (NOW_MS + 1000, False)):
        log.cleaned_offset = 0
        log.compact(now_ms, log.end_offset)
        assert (b"k0" in held(log)) is left


def test_records_without_a_key_go(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    put(log, [(None, "lost"), ("k", "v")])
    fill(log)
    synced(log).compact(NOW_MS, log.end_offset)
    assert None not in held(log) and held(log)[b"k"] == [(1, b"v")]


def test_what_is_not_synced_or_not_committed_is_left_alone(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    assert log.compact(NOW_MS, log.end_offset) == 0, "below no recovery point"
    assert synced(log).compact(NOW_MS, log.segments[1].base_offset - 1) == 0, "above the high watermark"


def test_nothing_new_is_nothing_to_do(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    assert synced(log).compact(NOW_MS, log.end_offset) > 0
    sizes = [segment.size for segment in log.segments]
    assert log.compact(NOW_MS, log.end_offset) == 0
    assert [segment.size for segment in log.segments] == sizes


def test_a_producers_last_sequence_outlives_its_records(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    for number in range(3):
        put(log, [("k1", "x")], producer_id=5, producer_epoch=0, base_sequence=number)
    fill(log)
    synced(log).compact(NOW_MS, log.end_offset)
    log.close(clean=True)
    for name in disk.files.list(log.folder):
        if name.endswith(".snapshot"):
            disk.files.unlink(f"{log.folder}/{name}")
    again = opened(disk.files, disk.root, clean=True)
    assert again.producers.by_id[5].last_sequence == 2


@pytest.mark.parametrize("recovery_point", [0, None])
def test_recovery_accepts_the_holes_that_compaction_made(disk: Disk, recovery_point: int | None) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    synced(log).compact(NOW_MS, log.end_offset)
    content = everything(log)
    again = opened(disk.files, disk.root, recovery_point=log.end_offset if recovery_point is None else 0)
    assert again.end_offset == log.end_offset
    assert everything(again) == content


def assert_every_batch_is_found(log: Log) -> None:
    for record in all_records(everything(log)):
        header = read_header(located(log, record.offset, 1 << 20, log.end_offset), 0)
        assert header.base_offset <= record.offset < header.next_offset


@pytest.mark.parametrize("kind", ["open", "write", "sync", "rename", "unlink", "sync_folder", "truncate"])
def test_a_failure_at_any_call_leaves_a_log_that_holds_the_last_record_of_each_key(kind: str) -> None:
    for after in range(120):
        disk = VirtualDisk(after)
        disk.make_folder("/d")
        disk.sync_folder("/")
        log = opened(disk, "/d")
        fill(log)
        synced(log)
        wanted = {key: values[-1] for key, values in held(log).items()}
        disk.fail(kind, errno.EIO, after=after)  # type: ignore[arg-type]
        try:
            log.compact(NOW_MS, log.end_offset)
            failed = False
        except WorldError:
            failed = True
        disk.heal()
        assert {key: values[-1] for key, values in held(log).items()} == wanted, "as it is in RAM"
        assert_every_batch_is_found(log)
        disk.crash()
        again = opened(disk, "/d", recovery_point=log.end_offset)
        assert again.end_offset == log.end_offset
        assert {key: values[-1] for key, values in held(again).items()} == wanted
        if not failed:
            return
    raise AssertionError("more calls than expected")


def test_the_log_goes_on_while_a_run_works(disk: Disk) -> None:
    """Between work() and install() records come."""
    log = opened(disk.files, disk.root)
    fill(log)
    run = synced(log).compaction(NOW_MS, log.end_offset)
    assert run is not None and len(run.chosen) > 1
    run.work()
    put(log, [("late", "v")])
    wanted = {key: values[-1] for key, values in held(log).items()}
    assert log.install(run) > 0
    assert {key: values[-1] for key, values in held(log).items()} == wanted
    assert [name for name in disk.files.list(log.folder) if name.endswith((".cleaned", ".swap"))] == []


def test_a_reader_of_a_segment_whose_name_is_taken_reads_on(disk: Disk) -> None:
    """While a thread gives the copy its name, the log has the segment still; and only a few files may be open."""
    log = opened(disk.files, disk.root)
    fill(log)
    content = everything(log)
    run = synced(log).compaction(NOW_MS, log.end_offset)
    assert run is not None
    run.work()
    segment, copy, source = run.chosen[0], run.copies[0], run.sources[0]
    replace = log.replacing(segment, copy, source)
    assert replace() is None
    for _ in range(3):
        for other in log.segments:
            other.position_of(other.base_offset + 1)
        assert everything(log) == content
    log.replaced(segment, copy)
    assert everything(log) != content
    assert_every_batch_is_found(log)


def test_the_copy_is_indexed_where_it_is_written_not_when_it_is_installed(disk: Disk) -> None:
    log = opened(disk.files, disk.root)
    fill(log)
    run = synced(log).compaction(NOW_MS, log.end_offset)
    assert run is not None
    run.work()
    log.install(run)
    for copy in run.copies:
        assert copy in log.segments
        told = (copy.offset_index.to_bytes(), copy.time_index.to_bytes(), copy.max_timestamp, copy.size)
        copy.rebuild_indexes(log.options.index_interval_bytes)
        copy.write_indexes()
        assert told == (
            copy.offset_index.to_bytes(),
            copy.time_index.to_bytes(),
            copy.max_timestamp,
            copy.file.size(),
        )
