"""Which records of a refused batch are at fault, so that a producer can drop these and send the others (KIP-467).

Asked only after a refusal, so nothing here is on the way of a good batch.
"""

from typing import Final

from barnabas import errors
from barnabas.config.effective import TopicOptions
from barnabas.records.batch import HEADER_BYTES, BatchHeader
from barnabas.records.compression import CannotDecompress
from barnabas.records.record import BadRecord, records_of
from barnabas.records.validate import NO_TIMESTAMP

OF_RECORDS: Final = (errors.INVALID_RECORD, errors.INVALID_TIMESTAMP)
"""Codes of a batch of which some records may be good."""
FAULTS_MAX: Final = 10_000
"""A megabyte may open to eighteen million records. A producer that sends the others again is told the next ones: the answer is
half a megabyte then, and costs the loop two milliseconds.
"""

Fault = tuple[int, str]
"""The record's place in its batch, and a sentence."""


def record_faults(content: bytes, start: int, size: int, options: TopicOptions, now_ms: int) -> list[Fault]:
    """Records without a key on a compacted topic, and those outside the topic's time limits.

    None when the batch itself is broken: then no record is better than another. The first FAULTS_MAX are found.
    """
    if size < HEADER_BYTES or (header := BatchHeader(content, start)).size != size:
        return []
    oldest = now_ms - options.timestamp_before_max_ms
    newest = now_ms + options.timestamp_after_max_ms
    faults: list[Fault] = []
    try:
        for index, record in enumerate(records_of(content, header, start)):
            stamp = record.timestamp
            if options.cleanup_compact and record.key is None:
                faults.append((index, "The topic is compacted: a record needs a key."))
            elif (
                not options.timestamp_type_log_append
                and stamp != NO_TIMESTAMP
                and not oldest <= stamp <= newest
            ):
                faults.append((index, f"Timestamp {stamp} lies outside {oldest} to {newest}."))
            if len(faults) == FAULTS_MAX:
                break
    except (BadRecord, CannotDecompress):
        return []
    return faults
