"""One file per API key; `SERVED` names them all, with the versions we answer and what ApiVersions says of them.

A module is imported when its API is first asked for, so that a start costs what is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from barnabas.wire import apis

if TYPE_CHECKING:
    from barnabas.server.api import Api

SERVED: Final[dict[int, str]] = {
    0: "produce",
    1: "fetch",
    2: "list_offsets",
    3: "metadata",
    8: "offset_commit",
    9: "offset_fetch",
    10: "find_coordinator",
    11: "join_group",
    12: "heartbeat",
    13: "leave_group",
    14: "sync_group",
    15: "describe_groups",
    16: "list_groups",
    18: "api_versions",
    19: "create_topics",
    20: "delete_topics",
    21: "delete_records",
    22: "init_producer_id",
    23: "offset_for_leader_epoch",
    32: "describe_configs",
    33: "alter_configs",
    35: "describe_log_dirs",
    37: "create_partitions",
    42: "delete_groups",
    44: "incremental_alter_configs",
    47: "offset_delete",
    60: "describe_cluster",
    61: "describe_producers",
    75: "describe_topic_partitions",
}

UNSTABLE_FROM: Final = {22: 6}
"""Versions that Kafka 4.3 has and does not offer: InitProducerId v6 is of two-phase commit (KIP-939)."""


def versions(key: int) -> tuple[int, int]:
    """First and last version that is answered."""
    row = apis.BY_KEY[key]
    return row.version_min, min(row.version_max, UNSTABLE_FROM.get(key, row.version_max + 1) - 1)


def load(key: int) -> "Api":
    """The API's own description: its versions, codec and handler. Imports its module."""
    api = import_module(f"barnabas.server.handlers.{SERVED[key]}").API
    assert api.key == key, f"{SERVED[key]} describes API {api.key}"
    return api  # type: ignore[no-any-return]
