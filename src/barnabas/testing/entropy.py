"""Chance from a seed."""

import random


class SeededEntropy:
    """The Entropy port: the same seed, the same ids."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> bytes:
        drawn = bytearray(self._random.randbytes(16))
        drawn[6] = drawn[6] & 0x0F | 0x40
        drawn[8] = drawn[8] & 0x3F | 0x80
        return bytes(drawn)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)
