"""Arguments that name topics and groups. A shell that completes them asks the broker; without one it gets nothing."""

import os
from collections.abc import Callable
from typing import Any, Final

import click

PATIENCE_S: Final = 1.0


def _topics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _asked(ctx, _topic_names) if name.startswith(incomplete)]


def _groups(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _asked(ctx, _group_names) if name.startswith(incomplete)]


def _asked(ctx: click.Context, names: Callable[[Any], list[str]]) -> list[str]:
    from barnabas.cli.output import DEFAULT_BOOTSTRAP, connect
    from barnabas.client.cluster import Refused, Unreachable

    bootstrap = ctx.params.get("bootstrap") or os.environ.get("BARNABAS_BOOTSTRAP") or DEFAULT_BOOTSTRAP
    try:
        return names(connect(bootstrap, PATIENCE_S))
    except (Unreachable, Refused, click.UsageError):
        return []


def _topic_names(cluster: Any) -> list[str]:
    return [topic.name for topic in cluster.metadata().topics if not topic.is_internal]


def _group_names(cluster: Any) -> list[str]:
    from barnabas.client.groups import list_groups

    return [row.group_id for row in list_groups(cluster)]


topic_argument: Final = click.argument("topic", shell_complete=_topics)
topics_argument: Final = click.argument(
    "topics", nargs=-1, required=True, metavar="TOPIC…", shell_complete=_topics
)
group_argument: Final = click.argument("name", shell_complete=_groups)
group_option: Final = click.option(
    "-g", "--group", shell_complete=_groups, help="Read as a member of a group, and commit."
)
