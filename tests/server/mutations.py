"""Requests of every API and version that are nearly right: valid messages whose bytes, lengths, counts and tags were damaged.

One seed, one stream of frames. What a message says is random but for names and times: those are often ones that the broker
knows, so that the damage gets past the first check, and waits are short, so that an answer is due soon.
"""

import random
import struct
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "wire"))

from rawclient import batch_of, frame_of, header_of, is_flexible
from wire_samples import KINDS, Field, Kind, Sampler

from barnabas.records.batch import CODECS, HEADER_BYTES, crc32c
from barnabas.server.handlers import SERVED
from barnabas.wire.primitives import Records

TOPIC: Final = "victim"
NAMES: Final = (TOPIC, TOPIC, "group", "", "consumer", "range", "retention.ms", "größe", "x" * 300)
WAITS: Final = ("max_wait_ms", "timeout_ms", "session_timeout_ms", "rebalance_timeout_ms")
MAY_WAIT: Final = (0, 1, 11, 14)
"""Produce, Fetch, JoinGroup and SyncGroup say themselves how long they may wait, and damage may say 25 days."""
SPECIAL_INT32: Final = (-1, -2, 0, 1, 0x7FFFFFFF, -0x80000000, 65_536, 1 << 24)
SPECIAL_INT16: Final = (-1, -2, 0, 0x7FFF, -0x8000)
SPECIAL_VARINTS: Final = (
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80\x80",
    b"\x80",
)
CRC_AT: Final = 17
ATTRIBUTES_AT: Final = 21

REQUESTS: Final = {
    (kind.definition.key, kind.version): kind
    for kind in KINDS
    if kind.message.kind == "request" and kind.definition.key in SERVED
}


class Near(Sampler):
    """Messages that name what there is."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(0)
        self.random = chance

    def item(self, kind: Kind, each: Field) -> Any:
        if each.item == "string":
            return self.random.choice(NAMES)
        if each.item == "records":
            return Records(damaged_batch(self.random))
        if each.name in WAITS:
            return self.random.choice((0, 1, 20))
        return super().item(kind, each)

    def integer(self, each: Field) -> int:
        if self.random.random() < 0.6:
            return self.random.choice((-1, 0, 0, 1))
        return super().integer(each)


class Mutator:
    """Frames for one API key."""

    def __init__(self, chance: random.Random) -> None:
        self.wrong_sizes = 0
        """Frames that say more or less bytes than they have."""
        self._chance = chance
        self._near = Near(chance)

    def frame(self, key: int, version: int, correlation: int) -> bytes:
        """A whole frame, its size right most of the time."""
        chance = self._chance
        kind = REQUESTS[key, version]
        body = kind.encode(self._near.message(kind))
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            body = self._damaged(body)
        content = self._head(key, version, correlation) + body
        if chance.random() < 0.03:
            self.wrong_sizes += 1
            return struct.pack(">i", len(content) + chance.choice((-1, 1, 7))) + content
        return frame_of(content)

    def _head(self, key: int, version: int, correlation: int) -> bytes:
        chance = self._chance
        client_id = chance.choice((None, b"", b"fuzz", b"fuzz", b"\xff\xfe", b"c" * 1_000))
        head = header_of(key, version, correlation, client_id)
        if is_flexible(key, version):
            unknown = b"\x01\x63" + bytes((3,)) + b"abc"
            head += chance.choice((b"\0", b"\0", b"\0", b"\0", unknown, b"\x02" + unknown[1:], b"\x7f"))
        return head

    def _damaged(self, body: bytes) -> bytes:
        """One change: of a byte, a number, a length or count (they are numbers too), a piece."""
        chance = self._chance
        if not body:
            return chance.randbytes(chance.choice((0, 1, 9)))
        at = chance.randrange(len(body))
        until = min(len(body), at + chance.choice((1, 2, 4, 16)))
        how = chance.randrange(9)
        if how == 0:
            return body[:at] + bytes((body[at] ^ 1 << chance.randrange(8),)) + body[at + 1 :]
        if how == 1:
            return body[:at] + bytes((chance.choice((0, 1, 2, 0x7F, 0x80, 0xFF)),)) + body[at + 1 :]
        if how == 2:
            return body[:at] + struct.pack(">i", chance.choice(SPECIAL_INT32)) + body[at + 4 :]
        if how == 3:
            return body[:at] + struct.pack(">h", chance.choice(SPECIAL_INT16)) + body[at + 2 :]
        if how == 4:
            return body[:at] + chance.choice(SPECIAL_VARINTS) + body[at + chance.choice((0, 1)) :]
        if how == 5:
            return body[:at] + body[until:]
        if how == 6:
            return body[:until] + body[at:until] * chance.choice((1, 3, 100)) + body[until:]
        if how == 7:
            return body[:at]
        return body + chance.randbytes(chance.choice((1, 4, 50)))


def damaged_batch(chance: random.Random) -> bytes:
    """Batches as a producer may send them: of every codec, whole or with one field, length or byte wrong."""
    values = [chance.randbytes(chance.choice((0, 5, 90))) for _ in range(chance.choice((1, 2, 7)))]
    batch = batch_of(
        values,
        codec=chance.choice(CODECS),
        producer_id=chance.choice((-1, -1, 0, 7)),
        producer_epoch=chance.choice((-1, 0)),
        base_sequence=chance.choice((-1, 0, 1)),
    )
    how = chance.randrange(6)
    if how == 0:
        return batch
    if how == 1:
        return batch + batch_of([b"second"])
    if how == 2:
        return batch[: chance.randrange(len(batch) + 1)]
    changed = bytearray(batch)
    for _ in range(chance.choice((1, 1, 3))):
        # The header has most of the meaning; behind it lie records, compressed or not.
        at = chance.randrange(HEADER_BYTES) if chance.random() < 0.6 else chance.randrange(len(changed))
        changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 1))
    if how > 3:
        changed[CRC_AT:ATTRIBUTES_AT] = struct.pack(">I", crc32c(memoryview(changed)[ATTRIBUTES_AT:]))
    return bytes(changed)


def pieces(chance: random.Random, content: bytes) -> list[bytes]:
    """The same bytes, cut where no frame ends."""
    cuts = sorted(chance.randrange(len(content) + 1) for _ in range(chance.choice((0, 1, 3, 8))))
    return [content[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(content)]) if begin < end]
