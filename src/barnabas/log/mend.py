"""Repair of a damaged partition: what is no batch goes, all whole batches stay, and no offset changes its meaning.

M1  Lost offsets become one empty batch, as compaction leaves one: readers step over it, the next batch follows without a
    hole, and no new record gets an offset that a consumer has seen before.
M2  Bytes that are taken out are kept in a file beside: NNN.log.cut-POSITION.
Crash   before the rename: the cut files and a .tmp, which the next start unlinks; the log is as it was. After it: repaired.
        Indexes go before, and are rebuilt from the log.
Needs as much free space as the segment is large, and that no node uses the folder.
"""

from typing import Final

from barnabas.log import folder as names
from barnabas.log.epochs import LeaderEpochs
from barnabas.log.examine import Damage, Examined, SegmentFacts
from barnabas.ports import File, Files, WorldError
from barnabas.records.record import build_batch

COPY_BYTES: Final = 1 << 20


def cut_name(damage: Damage) -> str:
    """M2: name of the file that keeps the bytes."""
    return f"{names.segment_name(damage.base, names.LOG_SUFFIX)}.cut-{damage.position}"


def mend(files: Files, examined: Examined) -> None:
    """Every damage that was found. Raises WorldError; what was repaired until then stays so."""
    epochs = LeaderEpochs(files, examined.folder)
    epochs.load()
    for segment in examined.segments:
        for path in segment.wrong_indexes:
            files.unlink(path)
        if segment.damages:
            rewrite(files, examined.folder, segment, epochs)


def rewrite(files: Files, folder: str, segment: SegmentFacts, epochs: LeaderEpochs) -> None:
    path = f"{folder}/{names.segment_name(segment.base, names.LOG_SUFFIX)}"
    source = files.open(path)
    for damage in segment.damages:
        keep_cut(files, folder, source, damage)
    beside = f"{path}.tmp"
    target = files.open(beside, create=True)
    try:
        target.truncate(0)
        at = position = 0
        for damage in segment.damages:
            at = copy(source, position, damage.position, target, at)
            if damage.behind > damage.offset:
                at += target.write(at, [filler(damage, epochs)])
            position = damage.end
        copy(source, position, segment.size, target, at)
        target.sync()
    except WorldError:
        files.unlink(beside)
        raise
    target.close()
    source.close()
    for suffix in (names.INDEX_SUFFIX, names.TIME_INDEX_SUFFIX):
        files.unlink(f"{folder}/{names.segment_name(segment.base, suffix)}")
    files.rename(beside, path)
    files.sync_folder(folder)


def keep_cut(files: Files, folder: str, source: File, damage: Damage) -> None:
    """An earlier repair may have cut at the same position: its file stays."""
    if damage.end == damage.position:
        return
    name, count = cut_name(damage), 1
    while files.exists(f"{folder}/{name}"):
        count += 1
        name = f"{cut_name(damage)}-{count}"
    kept = files.open(f"{folder}/{name}", create=True)
    copy(source, damage.position, damage.end, kept, 0)
    kept.sync()
    kept.close()
    files.sync_folder(folder)


def copy(source: File, start: int, end: int, target: File, at: int) -> int:
    """Bytes [start, end) to position at of target; returns the position behind them."""
    while start < end:
        content = source.read(start, min(COPY_BYTES, end - start))
        if not content:
            raise WorldError(f"{source.path}: shorter than it was")
        at += target.write(at, [content])
        start += len(content)
    return at


def filler(damage: Damage, epochs: LeaderEpochs) -> bytes:
    """M1."""
    return build_batch(
        [],
        base_offset=damage.offset,
        last_offset_delta=damage.behind - damage.offset - 1,
        leader_epoch=epochs.epoch_of(damage.offset, max(damage.epoch, 0)),
    )
