"""`barnabas group`: consumer groups, how far they are behind, and moving them."""

import sys
import time
from typing import Any

import click

from barnabas.cli.commands import Commands
from barnabas.cli.names import group_argument
from barnabas.cli.output import (
    bootstrap_option,
    confirm,
    connect,
    dry_option,
    emit,
    form_option,
    guarded,
    yes_option,
)
from barnabas.cli.places import Span
from barnabas.cli.seek import seek, stopped
from barnabas.client import groups
from barnabas.client.cluster import Cluster
from barnabas.client.fetch import LATEST, offsets_at


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  barnabas group ls
  barnabas group lag billing --watch
  barnabas group seek billing --to start --dry-run""",
)
def group() -> None:
    """List consumer groups, see how far they are behind, move them."""


@group.command(epilog="Example: barnabas group ls -o json")
@bootstrap_option
@form_option
@guarded
def ls(bootstrap: str, form: str | None) -> None:
    """List groups."""
    rows = [
        {"group": row.group_id, "state": row.group_state or None, "protocol": row.protocol_type}
        for row in groups.list_groups(connect(bootstrap))
    ]
    emit(rows, form)


@group.command(epilog="Example: barnabas group describe billing")
@group_argument
@bootstrap_option
@form_option
@guarded
def describe(name: str, bootstrap: str, form: str | None) -> None:
    """Show a group's state and members.

    And what each of them reads, whichever protocol the group speaks.
    """
    found = groups.describe_group(connect(bootstrap), name)
    click.echo(
        f"{name}: {found.state}, {found.protocol} protocol, assignor {found.assignor or '-'}", err=True
    )
    rows = [
        {
            "member": member.member_id,
            "client": member.client_id,
            "host": member.client_host,
            "reads": [f"{topic}[{partition}]" for topic, partition in member.places],
        }
        for member in found.members
    ]
    emit(rows, form)


@group.command(
    epilog="""\b
Examples:
  barnabas group lag billing
  barnabas group lag billing --watch"""
)
@group_argument
@click.option("--watch", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option(
    "--every", "every_ms", type=Span(), default="2s", show_default=True, help="How often, with --watch."
)
@bootstrap_option
@form_option
@guarded
def lag(name: str, watch: bool, every_ms: int, bootstrap: str, form: str | None) -> None:
    """Show how far a group is behind.

    By partition: what it has committed, the end, what lies between, and who reads it.
    """
    cluster = connect(bootstrap)
    while True:
        state, rows = _lag(cluster, name)
        if watch and sys.stdout.isatty():
            click.clear()
        click.echo(f"{name}: {state}, {sum(row['lag'] or 0 for row in rows)} behind", err=True)
        emit(rows, form)
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(every_ms / 1000)


def _lag(cluster: Cluster, name: str) -> tuple[str, list[dict[str, Any]]]:
    """The group's state, and a row for each partition that it has committed or reads."""
    found = groups.describe_group(cluster, name)
    offsets = groups.committed(cluster, name)
    readers = {place: member.client_id for member in found.members for place in member.places}
    ends = offsets_at(cluster, sorted(offsets.keys() | readers.keys()), LATEST)
    rows = [
        {
            "topic": place[0],
            "partition": place[1],
            "committed": offsets.get(place),
            "end": end,
            "lag": max(0, end - offsets[place]) if place in offsets else None,
            "reader": readers.get(place),
        }
        for place, end in ends.items()
    ]
    return found.state, rows


@group.command(
    epilog="""\b
Examples:
  barnabas group offsets billing > billing.jsonl
  barnabas group seek billing --from-file billing.jsonl"""
)
@group_argument
@bootstrap_option
@form_option
@guarded
def offsets(name: str, bootstrap: str, form: str | None) -> None:
    """Show what a group has committed.

    `group seek --from-file` takes it back.
    """
    cluster = connect(bootstrap)
    groups.describe_group(cluster, name)
    found = groups.committed(cluster, name)
    emit(
        [{"topic": place[0], "partition": place[1], "offset": found[place]} for place in sorted(found)], form
    )


@group.command(epilog="Example: barnabas group rm billing --yes")
@group_argument
@yes_option
@dry_option
@bootstrap_option
@form_option
@guarded
def rm(name: str, yes: bool, dry_run: bool, bootstrap: str, form: str | None) -> None:
    """Remove a group with its offsets.

    It must have no members.
    """
    cluster = connect(bootstrap)
    stopped(cluster, name, fresh=False)
    found = groups.committed(cluster, name)
    emit(
        [{"topic": place[0], "partition": place[1], "committed": found[place]} for place in sorted(found)],
        form,
    )
    if dry_run:
        return
    confirm(f"Remove group {name} and these offsets?", yes)
    groups.delete_group(cluster, name)
    click.echo(f"{name} is removed", err=True)


group.add_command(seek)
