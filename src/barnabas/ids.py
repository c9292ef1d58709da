"""Numbers and names that look alike get types here. Types only, no logic.

Offset is logical, Position is bytes in a file, Epoch is a fence, Sequence is a producer's own count.
"""

from typing import Final, NewType

Offset = NewType("Offset", int)
Position = NewType("Position", int)
Epoch = NewType("Epoch", int)
ProducerId = NewType("ProducerId", int)
NodeId = NewType("NodeId", int)
TopicId = NewType("TopicId", bytes)

ZERO_UUID: Final = TopicId(bytes(16))
"""The id of no topic: what a request carries when it names the topic instead (KIP-516)."""

NO_PRODUCER: Final = ProducerId(-1)
NO_EPOCH: Final = Epoch(-1)
NO_OFFSET: Final = Offset(-1)
