"""`barnabas group`: consumer groups, how far they are behind, and moving them."""

import time
from collections.abc import Sequence

import click

from barnabas import errors
from barnabas.cli.output import (
    Failed,
    bootstrap_option,
    confirm,
    connect,
    dry_option,
    emit,
    form_option,
    guarded,
    yes_option,
)
from barnabas.cli.places import parse_where, resolve
from barnabas.client import groups
from barnabas.client.cluster import Cluster, Refused
from barnabas.client.fetch import EARLIEST, LATEST, Place, offsets_at


@click.group()
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
@click.argument("name")
@bootstrap_option
@form_option
@guarded
def describe(name: str, bootstrap: str, form: str | None) -> None:
    """Show a group's state and members, and what each reads."""
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


@group.command(epilog="Example: barnabas group lag billing")
@click.argument("name")
@bootstrap_option
@form_option
@guarded
def lag(name: str, bootstrap: str, form: str | None) -> None:
    """Show how many records a group has not committed yet, by partition."""
    cluster = connect(bootstrap)
    groups.describe_group(cluster, name)
    offsets = groups.committed(cluster, name)
    ends = offsets_at(cluster, sorted(offsets), LATEST)
    rows = [
        {
            "topic": place[0],
            "partition": place[1],
            "committed": offsets[place],
            "end": end,
            "lag": max(0, end - offsets[place]),
        }
        for place, end in ends.items()
    ]
    emit(rows, form)


@group.command(
    epilog="""\b
Examples:
  barnabas group seek billing --to start --dry-run
  barnabas group seek billing --to @-1h --yes
  barnabas group seek billing --topic clicks --shift -100"""
)
@click.argument("name")
@click.option("--to", "target", metavar="start|end|@TIME", help="Where to go.")
@click.option("--to-offset", type=click.IntRange(0), help="An offset, in every partition.")
@click.option("--shift", type=int, help="This many records forward, or back.")
@click.option("--topic", "topics", multiple=True, help="Only this topic, committed or not; may be repeated.")
@yes_option
@dry_option
@bootstrap_option
@form_option
@guarded
def seek(
    name: str,
    target: str | None,
    to_offset: int | None,
    shift: int | None,
    topics: Sequence[str],
    yes: bool,
    dry_run: bool,
    bootstrap: str,
    form: str | None,
) -> None:
    """Move what a group has committed. It must have no members."""
    if sum(given is not None for given in (target, to_offset, shift)) != 1:
        raise click.UsageError("say where to with one of --to, --to-offset and --shift")
    cluster = connect(bootstrap)
    _stopped(cluster, name, fresh=bool(topics))
    offsets = groups.committed(cluster, name)
    places = sorted(place for place in offsets if not topics or place[0] in topics)
    if topics:
        places = [(topic, index) for topic in topics for index in range(cluster.partitions(topic))]
    if not places:
        raise Failed(f"group {name} has committed nothing", "say what it shall read with --topic TOPIC")
    plan = _plan(cluster, places, offsets, target if to_offset is None else str(to_offset), shift)
    rows = [
        {"topic": topic, "partition": index, "committed": offsets.get((topic, index)), "new": offset}
        for (topic, index), offset in plan.items()
    ]
    emit(rows, form)
    if dry_run:
        return
    confirm(f"Move group {name}?", yes)
    groups.commit(cluster, name, plan)


def _stopped(cluster: Cluster, name: str, *, fresh: bool) -> None:
    """The group has no members; it may be new when fresh."""
    try:
        members = groups.describe_group(cluster, name).members
    except Refused as error:
        if fresh and error.code == errors.GROUP_ID_NOT_FOUND:
            return
        raise
    if members:
        raise Failed(
            f"group {name} has {len(members)} members, who would go on from where they are",
            f"stop them first: barnabas group describe {name}",
        )


def _plan(
    cluster: Cluster, places: list[Place], offsets: dict[Place, int], target: str | None, shift: int | None
) -> dict[Place, int]:
    if target is not None:
        return resolve(cluster, places, parse_where(target, time.time_ns() // 1_000_000), reached=True)
    assert shift is not None
    starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
    return {
        place: min(max(offsets.get(place, starts[place]) + shift, starts[place]), ends[place])
        for place in places
    }


@group.command(epilog="Example: barnabas group rm billing --yes")
@click.argument("name")
@yes_option
@dry_option
@bootstrap_option
@guarded
def rm(name: str, yes: bool, dry_run: bool, bootstrap: str) -> None:
    """Remove a group and what it has committed. It must have no members."""
    cluster = connect(bootstrap)
    _stopped(cluster, name, fresh=False)
    count = len(groups.committed(cluster, name))
    click.echo(f"remove {name}: offsets of {count} partitions", err=True)
    if dry_run:
        return
    confirm("Remove?", yes)
    groups.delete_group(cluster, name)
