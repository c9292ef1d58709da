"""A partition's log as its folder, the checkpoints and what a journal kept of it say: for whoever leads it next, and for who
buries a leader that died.
"""

from collections.abc import Callable

from barnabas.log.checkpoints import Offsets
from barnabas.log.log import Log
from barnabas.log.recovery import DamagedLog
from barnabas.log.take_up import take_up_kept
from barnabas.ports import Files, WorldError


def load_log(
    files: Files, root: str, make: Callable[[], Log], now_ms: int, clean: bool, offsets: Offsets
) -> tuple[Log, DamagedLog | WorldError | None]:
    """The log, or one that stands in for it and why: its disk failed (try again), or it is damaged."""
    log = make()
    try:
        kept = take_up_kept(files, root, log.topic_id, log.index, offsets)
        log.load(
            now_ms,
            clean=clean and not kept,
            recovery_point=offsets.recovery_point(log.topic, log.index, log.topic_id),
            log_start_offset=offsets.log_start(log.topic, log.index, log.topic_id),
        )
    except (DamagedLog, WorldError) as error:
        return stand_in(make, offsets), error
    return log, None


def stand_in(make: Callable[[], Log], offsets: Offsets) -> Log:
    """A log without files. Checkpoints are written for all partitions at once and must go on saying of it what they say."""
    log = make()
    log.recovery_point = offsets.recovery_point(log.topic, log.index, log.topic_id)
    log.log_start_offset = offsets.log_start(log.topic, log.index, log.topic_id)
    return log
