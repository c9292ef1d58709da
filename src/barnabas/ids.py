"""The id of no topic."""

from typing import Final

ZERO_UUID: Final = bytes(16)
"""What a request carries when it names the topic instead (KIP-516)."""
