"""Kafka 4.3's client-metrics options as facts: name, type, default, bounds, importance, how it may change, internal or not.

Taken from Kafka's own ConfigDef by codegen/OptionFacts.java. What we do with each stands in uses.py.
"""

from typing import Final

Row = tuple[str, str, str | None, str, str, str, bool]

ROWS: Final[tuple[Row, ...]] = (
    ("interval.ms", "int", "300000", "", "medium", "dynamic", False),
    ("match", "list", "", "", "medium", "dynamic", False),
    ("metrics", "list", "", "", "medium", "dynamic", False),
)
