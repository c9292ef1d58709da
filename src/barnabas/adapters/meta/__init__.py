"""Metadata stores: SQLite on disk, a dict in memory. One contract suite runs against both."""

from typing import Literal, TypeAlias

Sharing: TypeAlias = Literal["alone", "host", "guest"]
"""Who else has the store open: nobody; others that open it later and end earlier; the host and its other guests.

Alone and host take what is there as their own when they open it: leased keys go. A guest touches nothing.
"""
