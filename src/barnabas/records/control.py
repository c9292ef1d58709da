"""Control batches: the commit and abort markers of transactions, as they lie in a log (KIP-98).

Key      int16 version (0), int16 type: 0 abort, 1 commit.     Value   int16 version (0), int32 coordinator epoch.
"""

from typing import Final

from barnabas.records.record import BadRecord, Record, build_batch

ABORT: Final = 0
COMMIT: Final = 1
KEY_BYTES: Final = 4


def marker(kind: int, producer_id: int, producer_epoch: int, coordinator_epoch: int, timestamp: int) -> bytes:
    """A control batch that ends a transaction."""
    key = (0).to_bytes(2, "big") + kind.to_bytes(2, "big")
    value = (0).to_bytes(2, "big") + coordinator_epoch.to_bytes(4, "big", signed=True)
    return build_batch(
        [Record(key, value, timestamp)],
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )


def kind_of(record: Record) -> int:
    """ABORT, COMMIT or a type of the protocol's own (leader change and the like). Raises BadRecord."""
    key = record.key or b""
    if len(key) < KEY_BYTES:
        raise BadRecord("a control record without its type")
    return int.from_bytes(key[2:KEY_BYTES], "big", signed=True)
