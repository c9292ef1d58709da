"""One file per API key; `SERVED` names them all, with the versions we answer and what ApiVersions says of them.

A module is imported when its API is first asked for, so that a start costs what is used.
"""

from importlib import import_module
from typing import Final

from barnabas.server.api import Api, versions

__all__ = ["SERVED", "load", "versions"]

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


def load(key: int) -> Api:
    """The API's own description: its versions, codec and handler. Imports its module."""
    api: Api = import_module(f"barnabas.server.handlers.{SERVED[key]}").API
    assert api.key == key, f"{SERVED[key]} describes API {api.key}"
    return api
