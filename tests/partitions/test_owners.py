"""State folders of workers that end: partitions/owners.py, with a crash at every call."""

import errno
from collections.abc import Callable

import pytest

from barnabas.cluster.image import PartitionImage, Topic
from barnabas.config.effective import BrokerOptions, topic_options
from barnabas.log import folder as names
from barnabas.log.checkpoints import RECOVERY_POINTS, Key, Offsets
from barnabas.log.journal import Ring, Round, entry_head, prepare, read_rounds
from barnabas.log.loading import load_log
from barnabas.log.log import Log
from barnabas.log.recovery import DamagedLog
from barnabas.log.segment import OpenFiles
from barnabas.log.take_up import KEPT
from barnabas.partitions.data_folder import BALLAST, DATABASE, DataFolder
from barnabas.partitions.owners import OWNERS, bury, consolidate, owner_folder, owners, states, try_lock
from barnabas.ports import WorldError
from barnabas.records.batch import read_header
from barnabas.records.record import Record, all_records, build_batch
from barnabas.telemetry import Log as Lines
from barnabas.telemetry import silent
from barnabas.testing.disk import VirtualDisk
from barnabas.testing.virtual import VirtualTime

ROOT = "/data"
RING_BYTES = 4096 * 65
NOW_MS = 1_700_000_000_000
LINES = Lines(silent, lambda: 0)
OPTIONS = BrokerOptions({})
PARTITIONS = 3


def topic(name: str, number: int) -> Topic:
    return Topic(
        name, bytes([number]) * 16, tuple(PartitionImage(1, 1, (1,), (1,)) for _ in range(PARTITIONS))
    )


T, U = topic("t", 1), topic("u", 2)
TOPICS = {"t": T, "u": U}


class Folder:
    """A data folder on a disk that forgets, and the values that were answered in each of its partitions."""

    def __init__(self, seed: int) -> None:
        self.disk = VirtualDisk(seed)
        self.disk.make_folder(ROOT)
        for name in (DATABASE, BALLAST):
            self.disk.open(f"{ROOT}/{name}", create=True)
        self.disk.sync_folder(ROOT)
        self.disk.sync_folder("/")
        self.answered: dict[Key, list[bytes]] = {}

    def root(self) -> DataFolder:
        folder = DataFolder(self.disk, ROOT, LINES)
        folder.open()
        return folder

    def load(self, topic: Topic, index: int) -> tuple[Log, DamagedLog | WorldError | None]:
        """As the next leader does it, when the root has everything."""
        return self.load_with(Offsets.read(self.disk, [ROOT]), topic, index)

    def load_with(
        self, offsets: Offsets, topic: Topic, index: int, clean: bool = False
    ) -> tuple[Log, DamagedLog | WorldError | None]:
        pool = OpenFiles(self.disk, 64)

        def make() -> Log:
            path = names.partition_folder(ROOT, topic.name, index)
            options = topic_options(topic.overrides, OPTIONS)
            return Log(pool, path, topic.name, index, topic.topic_id, options)

        return load_log(self.disk, ROOT, make, NOW_MS, clean, offsets)

    def consolidate(self) -> bool:
        folder = self.root()
        try:
            return consolidate(self.disk, folder, TOPICS, LINES)
        finally:
            folder.close(clean=False)

    def bury(self, node: int, led: list[tuple[Topic, int]]) -> bool:
        release = try_lock(self.disk, ROOT, node)
        assert release is not None
        all_whole = bury(self.disk, ROOT, node, led, OPTIONS, VirtualTime(1), LINES)
        release()
        return all_whole

    def check(self) -> None:
        """Everything that was answered is there, and nothing is left in a ring."""
        assert owners(self.disk, ROOT) == []
        for (name, index), values in self.answered.items():
            log, problem = self.load(TOPICS[name], index)
            assert problem is None
            assert values_of(log) == values, (name, index)


def values_of(log: Log) -> list[bytes]:
    found: list[bytes] = []
    for segment in log.segments:
        content = segment.file.read(0, segment.size)
        found += [bytes(record.value or b"") for record in all_records(content)]
    return found


class Worker:
    """What a worker leaves in the folder: batches in its ring and, not synced, in the segments; checkpoints of its own."""

    def __init__(self, folder: Folder, node: int, state: str | None = None) -> None:
        self.folder = folder
        self.node = node
        self.state = owner_folder(ROOT, node) if state is None else state
        self.data = DataFolder(folder.disk, ROOT, LINES, self.state)
        folder.disk.make_folder(self.state)
        self.data.open()
        run_id = bytes([node]) * 16
        file = prepare(folder.disk, self.state, run_id, RING_BYTES)
        assert file is not None
        self.file = file
        self.ring = Ring(run_id, RING_BYTES)
        self.logs: dict[Key, Log] = {}
        self.reign = node + 10

    def log(self, topic: Topic, index: int) -> Log:
        key = (topic.name, index)
        if key not in self.logs:
            log, problem = self.folder.load_with(self.data.offsets, topic, index)
            assert problem is None
            self.logs[key] = log
        return self.logs[key]

    def put(self, topic: Topic, index: int, count: int = 1) -> None:
        log = self.log(topic, index)
        answered = self.folder.answered.setdefault((topic.name, index), [])
        for _ in range(count):
            value = b"%d:%d" % (self.node, len(answered))
            batch = build_batch([Record(None, value, NOW_MS)])
            write = log.append(read_header(batch, 0), batch, 0, self.reign, NOW_MS)
            log.do_chores()
            taken = Round()
            taken.add(entry_head(topic.topic_id, write.file.path[len(ROOT) + 1 :]), [write])
            assert self.ring.fits(taken.size)
            position, sequence = self.ring.place(taken.size)
            self.file.write(position, taken.to_chunks(self.ring.run_id, sequence))
            write.file.write(write.position, [write.head, write.body])
            answered.append(value)

    def checkpoint(self) -> None:
        for log in self.logs.values():
            for segment in log.prepare_recovery_point()[0]:
                segment.file.sync()
            log.reached_recovery_point([], log.end_offset)
        self.write_offsets()

    def write_offsets(self) -> None:
        ids = {log.topic: log.topic_id for log in self.logs.values()}
        points = {key: log.recovery_point for key, log in self.logs.items()}
        starts = {key: log.log_start_offset for key, log in self.logs.items() if log.log_start_offset}
        self.data.write_offsets(points, starts, ids)

    def stop(self) -> None:
        for log in self.logs.values():
            log.close(clean=True)
        self.write_offsets()
        self.data.close(clean=True)


def two_dead_workers(seed: int, node_before: bool = False) -> Folder:
    """And, before them, a node without workers that was killed."""
    folder = Folder(seed)
    if node_before:
        node = Worker(folder, 0, ROOT)
        node.put(T, 0, 2)
        node.checkpoint()
        node.put(T, 0, 2)
        node.put(U, 0, 2)
        folder.disk.crash()
        folder.consolidate()
        folder.disk.lose_process()
    one, two = Worker(folder, 1), Worker(folder, 2)
    one.put(T, 0, 3)
    two.put(T, 1, 3)
    one.checkpoint()
    one.put(T, 0, 2)
    one.put(U, 2, 4)
    two.put(U, 1, 3)
    folder.disk.crash()
    return folder


def with_crashes(folder: Folder, calls: int, work: Callable[[], object]) -> int:
    """Do work with a crash after so many calls, then after as many more as its next try does not reach, until it is done."""
    crashes = 0
    while True:
        folder.disk.interrupt(calls)
        try:
            work()
        except Exception as error:
            assert "the process has died" in str(error)
            folder.disk.crash() if crashes % 2 else folder.disk.lose_process()
            crashes += 1
            calls += 7
            continue
        folder.disk.crash()
        return crashes


@pytest.mark.parametrize("node_before", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_consolidate_brings_together_what_workers_left(seed: int, node_before: bool) -> None:
    folder = two_dead_workers(seed, node_before)
    assert not folder.consolidate()
    folder.check()
    offsets = Offsets.read(folder.disk, [ROOT])
    assert offsets.recovery_point("t", 0, T.topic_id) >= 3
    assert not folder.disk.exists(f"{ROOT}/{OWNERS}")


@pytest.mark.parametrize("tens", range(13))
def test_a_crash_at_any_call_of_consolidate_loses_nothing(tens: int) -> None:
    for calls in range(10 * tens, 10 * tens + 10):
        consolidate_with_a_crash(calls)


def consolidate_with_a_crash(calls: int) -> None:
    folder = two_dead_workers(calls, node_before=calls % 2 == 0)
    crashes = with_crashes(folder, calls, folder.consolidate)
    assert crashes or calls > 60
    folder.consolidate()  # the names of what was removed may be back
    folder.check()


@pytest.mark.parametrize("tens", range(19))
def test_a_crash_at_any_call_of_bury_loses_nothing(tens: int) -> None:
    """The parent is gone with it: the next one consolidates, or buries again."""
    for calls in range(10 * tens, 10 * tens + 10):
        bury_with_a_crash(calls)


def bury_with_a_crash(calls: int) -> None:
    folder = two_dead_workers(calls, node_before=calls % 2 == 0)
    led = [(T, 0), (T, 2), (U, 0), (U, 2)]
    again = folder.consolidate if calls % 3 == 0 else lambda: folder.bury(1, led)
    folder.disk.interrupt(calls)
    try:
        folder.bury(1, led)
    except WorldError:
        folder.disk.crash()
        with_crashes(folder, calls + 11, again)
    folder.disk.lose_process()
    folder.consolidate()
    folder.check()


@pytest.mark.parametrize("seed", range(8))
def test_what_was_buried_is_whole_and_opened_without_a_scan(seed: int) -> None:
    folder = two_dead_workers(seed)
    assert folder.bury(1, [(T, 0), (T, 2), (U, 2)])
    offsets = Offsets.read(folder.disk, [ROOT])
    assert [offsets.recovery_point(*key) for key in (("t", 0, T.topic_id), ("u", 2, U.topic_id))] == [5, 4]
    assert owners(folder.disk, ROOT) == [2], "the others go on"
    written = folder.disk.calls.get("write", 0)
    log, problem = folder.load(T, 0)
    assert problem is None and (log.end_offset, log.recovery_point) == (5, 5)
    assert folder.disk.calls.get("write", 0) - written <= 2, "nothing of the log: its indexes"
    folder.disk.crash()
    folder.consolidate()
    folder.check()


def test_a_new_leader_goes_on_and_the_root_says_what_it_did_not() -> None:
    """Its own checkpoints speak of what it opened; those of the dead are in the root until the next start."""
    folder = two_dead_workers(1)
    folder.bury(1, [(T, 0), (U, 2)])
    survivor = Worker(folder, 3)
    survivor.put(T, 0, 2)
    survivor.write_offsets()
    folder.disk.crash()
    folder.consolidate()
    folder.check()
    offsets = Offsets.read(folder.disk, [ROOT])
    assert offsets.recovery_point("u", 2, U.topic_id) == 4


def test_workers_that_stopped_cleanly_leave_a_clean_folder() -> None:
    folder = Folder(3)
    workers = [Worker(folder, 1), Worker(folder, 2)]
    for index, worker in enumerate(workers):
        worker.put(T, index, 4)
    for worker in workers:
        worker.stop()
    assert folder.consolidate()
    folder.check()
    log, problem = folder.load_with(Offsets.read(folder.disk, [ROOT]), T, 0, clean=True)
    assert problem is None and log.end_offset == 4
    third = Worker(folder, 3)
    third.put(U, 0)
    folder.disk.lose_process()
    assert not folder.consolidate()
    folder.check()


def test_a_folder_whose_worker_lives_is_not_consolidated() -> None:
    folder = Folder(4)
    worker = Worker(folder, 7)
    worker.put(T, 0)
    with pytest.raises(WorldError, match="owners/7 is in use by a worker of an earlier run"):
        folder.consolidate()
    assert try_lock(folder.disk, ROOT, 7) is None
    with pytest.raises(WorldError, match="owners/7"):
        folder.consolidate()
    worker.data.close(clean=False)
    folder.consolidate()
    folder.check()


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_log_is_left_to_its_next_leader_and_the_others_are_buried(seed: int) -> None:
    folder = Folder(seed)
    worker = Worker(folder, 1)
    worker.put(T, 0, 3)
    worker.put(T, 1, 3)
    worker.checkpoint()
    worker.put(T, 1, 2)
    file = worker.log(T, 0).segments[0].file
    file.write(30, [b"????????"])
    file.sync()
    folder.disk.crash()
    del folder.answered["t", 0]
    assert not folder.bury(1, [(T, 0), (T, 1)])
    offsets = Offsets.read(folder.disk, [ROOT])
    assert [offsets.recovery_point("t", index, T.topic_id) for index in (0, 1)] == [3, 5]
    assert isinstance(folder.load(T, 0)[1], DamagedLog)
    folder.check()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", ["bury", "consolidate"])
def test_what_the_ring_has_of_a_log_whose_disk_fails_is_kept_for_its_next_leader(seed: int, how: str) -> None:
    folder = two_dead_workers(seed)
    folder.disk.fail("write", errno.EIO, times=1_000, path="t-0/0000")
    if how == "bury":
        folder.bury(1, [(T, 0), (U, 2)])
    else:
        folder.consolidate()
    assert folder.disk.list(f"{ROOT}/{KEPT}")
    assert isinstance(folder.load(T, 0)[1], WorldError), "and it is tried again"
    folder.disk.crash()
    folder.disk.heal()
    folder.consolidate()
    folder.check()
    assert not folder.disk.list(f"{ROOT}/{KEPT}")


def test_checkpoints_of_a_deleted_namesake_do_not_outlive_it() -> None:
    folder = Folder(5)
    old, new = Worker(folder, 1), Worker(folder, 2)
    namesake = Topic("t", bytes([9]) * 16, T.partitions)
    old.data.write_offsets({("t", 0): 900, ("t", 1): 800}, {("t", 0): 700}, {"t": namesake.topic_id})
    new.put(T, 1, 3)
    new.checkpoint()
    folder.disk.lose_process()
    folder.consolidate()
    offsets = Offsets.read(folder.disk, [ROOT])
    assert [offsets.recovery_point("t", index, T.topic_id) for index in (0, 1)] == [0, 3]
    assert offsets.recovery_point("t", 0, namesake.topic_id) == 0
    folder.check()


def test_a_folder_from_before_there_were_ids_has_them_before_a_worker_is_buried() -> None:
    folder = Folder(6)
    folder.disk.write_atomic(f"{ROOT}/{RECOVERY_POINTS}", b"0\n2\nu 0 0\nt 2 0\n")
    node = Worker(folder, 0, ROOT)
    node.put(U, 0, 3)
    node.checkpoint()
    folder.disk.unlink(f"{ROOT}/checkpoint-topic-ids")
    folder.disk.sync_folder(ROOT)
    folder.disk.crash()
    folder.consolidate()
    Worker(folder, 1).put(T, 0, 2)
    folder.disk.lose_process()
    folder.bury(1, [(T, 0)])
    offsets = Offsets.read(folder.disk, [ROOT])
    assert offsets.recovery_point("u", 0, U.topic_id) == 3
    assert offsets.recovery_point("t", 0, T.topic_id) == 2
    folder.check()


def test_no_ring_says_anything_afterwards() -> None:
    folder = two_dead_workers(7, node_before=True)
    folder.consolidate()
    assert states(folder.disk, ROOT) == [ROOT]
    assert read_rounds(folder.disk.open(f"{ROOT}/journal")) == []


def test_a_buried_worker_that_never_heard_that_its_topic_was_made_anew_says_nothing_of_the_new_one() -> None:
    folder = Folder(7)
    worker = Worker(folder, 1)
    worker.put(T, 0, 3)
    worker.checkpoint()
    folder.disk.lose_process()
    anew = Topic("t", bytes([9]) * 16, T.partitions)
    folder.bury(1, [(anew, 0)])
    offsets = Offsets.read(folder.disk, [ROOT])
    assert offsets.recovery_point("t", 0, anew.topic_id) == 0
    assert names.read_topic_id(folder.disk, names.partition_folder(ROOT, "t", 0)) == T.topic_id
