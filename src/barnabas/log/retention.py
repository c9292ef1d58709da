"""Which segments may go. Pure: it plans, the log deletes.

Only a prefix of the segments goes, and nothing at or behind the high watermark. The active segment goes as the others
do unless it is empty, as in Kafka: a topic that nobody writes to must still let its records go.
"""

from collections.abc import Sequence

from barnabas.config.effective import TopicOptions
from barnabas.log.segment import NO_TIMESTAMP, Segment

FOREVER = -1


def count_expired(
    segments: Sequence[Segment],
    options: TopicOptions,
    wall_ms: int,
    log_start_offset: int,
    high_watermark: int,
    by_time: bool = True,
) -> int:
    """How many segments from the first on may be deleted now. by_time False: the wall clock is not to be trusted."""
    excess = sum(segment.size for segment in segments) - options.retention_bytes
    count = 0
    for segment in segments:
        if segment.end_offset > high_watermark or (segment is segments[-1] and segment.size == 0):
            break
        below_start = segment.end_offset <= log_start_offset and segment is not segments[-1]
        timestamp = segment.max_timestamp if segment.max_timestamp != NO_TIMESTAMP else segment.created_ms
        too_old = (
            by_time
            and options.cleanup_delete
            and options.retention_ms != FOREVER
            and wall_ms - timestamp > options.retention_ms
        )
        too_much = (
            options.cleanup_delete and options.retention_bytes != FOREVER and excess - segment.size >= 0
        )
        if not (below_start or too_old or too_much):
            break
        excess -= segment.size
        count += 1
    return count
