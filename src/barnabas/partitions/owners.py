"""State folders of workers, `owners/<node>` in a data folder, and how what lies in them becomes the folder's own again.

W1  Who holds the lock of a state folder owns what its node leads; the kernel frees it at the process's death. So nobody is at
    work on the logs of a node whose lock is free, or ours: that is the fence.
W2  Order, here as in every start: what a ring has is in its segments, or kept, and synced → the merged checkpoints are durable
    in the root → the ring is void → the state folder goes.
W3  Checkpoints are merged for the topics that there are: a set may speak of one that was deleted and made anew (K1, K2).
Crash   between any two steps: the state folder is there as it was, or with a void ring, and all of it is done once more. A ring
        that was taken up already changes nothing, for its batches lie where they lay or below the recovery point.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from barnabas.cluster.image import Topic
from barnabas.config.effective import BrokerOptions, topic_options
from barnabas.log import folder as names
from barnabas.log.checkpoints import Key, Offsets, OffsetSet, write_all
from barnabas.log.journal import void
from barnabas.log.loading import load_log
from barnabas.log.log import Log
from barnabas.log.segment import OpenFiles
from barnabas.log.take_up import forget_kept, kept_of, take_up
from barnabas.partitions.data_folder import DELETE_SUFFIX, NAMES_LOCK, DataFolder
from barnabas.ports import Clock, Files, WorldError
from barnabas.telemetry import Log as Lines

OWNERS: Final = "owners"
OPEN_FILES: Final = 16
"""Of the log that is being recovered; one after the other."""


def owner_folder(root: str, node: int) -> str:
    """The state folder of a worker."""
    return f"{root}/{OWNERS}/{node}"


def owners(files: Files, root: str) -> list[int]:
    """Node ids that have a state folder, in order. Raises WorldError."""
    return sorted(int(name) for name in files.list(f"{root}/{OWNERS}") if name.isdigit())


def states(files: Files, root: str) -> list[str]:
    """All folders with checkpoints and a journal: the root first. Raises WorldError."""
    return [root, *(owner_folder(root, node) for node in owners(files, root))]


def try_lock(files: Files, root: str, node: int) -> Callable[[], None] | None:
    """Take the place of a worker (W1); returns the release, None while it lives. Raises WorldError."""
    files.make_folder(owner_folder(root, node))
    return files.lock(f"{owner_folder(root, node)}/{names.LOCK}")


def take_up_own(files: Files, folder: DataFolder, lines: Lines) -> None:
    """The ring of this process alone, as it starts. Raises WorldError."""
    if not folder.was_clean:
        take_up(files, folder.state, folder.root, folder.offsets).tell(lines)
    void(files, folder.state)


def consolidate(files: Files, folder: DataFolder, topics: Mapping[str, Topic], lines: Lines) -> bool:
    """Whoever holds the root's lock, while no worker runs: afterwards the root has everything, and no state folder is left.

    topics: the image's. Returns whether every worker had stopped cleanly. Raises WorldError: try again, nothing is lost.
    """
    root = folder.root
    with ExitStack() as held:
        nodes = owners(files, root)
        for node in nodes:
            release = try_lock(files, root, node)
            if release is None:
                raise WorldError(
                    f"{owner_folder(root, node)} is in use by a worker of an earlier run. It stops by itself when its parent "
                    "has ended: wait some seconds, then start again."
                )
            held.callback(release)
        all_clean = True
        offsets = Offsets.read(files, states(files, root))
        for state in states(files, root):
            is_clean = folder.was_clean if state == root else files.exists(f"{state}/{names.CLEAN_MARK}")
            all_clean = all_clean and (is_clean or state == root)
            if not is_clean:
                take_up(files, state, root, offsets).tell(lines)
        if nodes or offsets.are_anyones:  # no longer then: bury() adds to what is there
            ids = {topic.name: topic.topic_id for topic in topics.values()}
            _write(files, root, offsets.merged(ids), ids)
        for state in states(files, root):
            void(files, state)
        if nodes:
            files.remove_folder(f"{root}/{OWNERS}")
            files.sync_folder(root)
    folder.reread()
    return all_clean


def bury(
    files: Files,
    root: str,
    node: int,
    led: Sequence[tuple[Topic, int]],
    options: BrokerOptions,
    clock: Clock,
    lines: Lines,
) -> bool:
    """The logs that a dead worker led become whole, indexed and synced to their ends, and the root's checkpoints say so.

    Holds up whoever calls it: scanning takes a second for some hundred megabytes above the recovery points. The caller has
    the worker's lock (try_lock) and the root's, and buries one at a time. A log that is damaged, or whose disk fails, keeps
    the checkpoints it has: its next leader finds what is wrong by itself, and tries again. Raises WorldError: try again.

    Returns whether all are whole.
    """
    state = owner_folder(root, node)
    is_clean = files.exists(f"{state}/{names.CLEAN_MARK}")
    offsets = Offsets.read(files, (root, state))
    if not is_clean:
        take_up(files, state, root, offsets).tell(lines)
    found = OffsetSet.read(files, root)
    ids = {**(found.topic_ids or {}), **{topic.name: topic.topic_id for topic, _ in led}}
    merged = Offsets([found]).merged(ids)
    points, starts = dict(merged.points), dict(merged.starts)
    pool = OpenFiles(files, OPEN_FILES)
    all_whole = True
    for topic, index in led:
        if not names.is_of(files, names.partition_folder(root, topic.name, index), topic.topic_id):
            continue  # a deleted namesake's, for this worker never heard of the deletion: the next leader sets it aside
        log, is_whole = _recovered(
            pool, root, topic, index, options, clock.wall_ms(), is_clean, offsets, lines
        )
        all_whole = all_whole and is_whole
        key: Key = (topic.name, index)
        points[key] = max(points.get(key, 0), log.recovery_point)
        starts[key] = max(starts.get(key, 0), log.log_start_offset)
    _write(files, root, OffsetSet(points, starts, ids), ids)
    void(files, state)
    files.remove_folder(state)
    files.sync_folder(f"{root}/{OWNERS}")
    return all_whole


def remove_deleted(
    files: Files,
    root: str,
    free: Mapping[bytes, Collection[int]],
    new_uuid: Callable[[], bytes],
    lines: Lines,
) -> set[bytes]:
    """The folders of deleted topics whose leaders died before they had removed them. For whoever holds the root's lock.

    free: by topic id, the partitions that no process has open or will open. Returns the topics of which something is left.
    Crash: a folder that has its last name is removed by the next start, one that does not is set aside there.
    """
    left: set[bytes] = set()
    for name in files.list(root):
        parsed = names.parse_partition(name)
        index = names.parse_left(name) if parsed is None else parsed[1]
        topic_id = None if index is None else names.read_topic_id(files, f"{root}/{name}")
        if index is None or topic_id is None or topic_id not in free:
            continue
        try:
            if index not in free[topic_id] or not _remove(files, root, name, index, topic_id, new_uuid()):
                left.add(topic_id)
                continue
        except WorldError as error:
            left.add(topic_id)
            lines.warning("a deleted topic's folder stays", folder=name, reason=error.what)
            continue
        lines.info("removed the folder of a deleted topic", folder=name)
    return left


def _remove(files: Files, root: str, name: str, index: int, topic_id: bytes, new_uuid: bytes) -> bool:
    """Under a name of its own first: a topic of the old one's may be made anew meanwhile (data_folder D5)."""
    release = files.lock(f"{root}/{OWNERS}/{NAMES_LOCK}")
    if release is None:
        return False
    gone = f"{root}/{name}"
    try:
        if names.read_topic_id(files, gone) != topic_id:
            return False
        if not name.endswith(DELETE_SUFFIX):
            gone = names.deleted_folder(root, name.rpartition("-")[0], index, new_uuid)
            files.rename(f"{root}/{name}", gone)
    finally:
        release()
    files.remove_folder(gone)
    forget_kept(files, root, kept_of(files, root, topic_id, index))
    return True


def _recovered(
    pool: OpenFiles,
    root: str,
    topic: Topic,
    index: int,
    options: BrokerOptions,
    now_ms: int,
    is_clean: bool,
    offsets: Offsets,
    lines: Lines,
) -> tuple[Log, bool]:
    """Its recovery point is its end, unless it could not be recovered; whether it was."""

    def make() -> Log:
        folder = names.partition_folder(root, topic.name, index)
        return Log(pool, folder, topic.name, index, topic.topic_id, topic_options(topic.overrides, options))

    log, problem = load_log(pool.files, root, make, now_ms, is_clean, offsets)
    if problem is None:
        try:
            # What load took up is synced (R5), and the rest was: the next leader, which loads without a clean mark, checks
            # the batches behind the last index entry and reads the snapshot.
            log.reached_recovery_point([], log.end_offset)
            log.close(clean=False)
        except WorldError as error:
            problem = error
    if problem is not None:
        lines.warning(
            "a dead worker's log is left to its next leader",
            partition=f"{topic.name}-{index}",
            reason=str(problem),
        )
    return log, problem is None


def _write(files: Files, root: str, merged: OffsetSet, ids: Mapping[str, bytes]) -> None:
    points = {key: offset for key, offset in merged.points.items() if offset}
    starts = {key: offset for key, offset in merged.starts.items() if offset}
    write_all(files, root, points, starts, ids)
