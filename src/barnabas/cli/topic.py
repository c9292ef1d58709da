"""`barnabas topic`: list, make, look at, change and remove topics."""

from collections.abc import Sequence
from typing import Any

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
    settings_of,
    yes_option,
)
from barnabas.client import admin
from barnabas.client.cluster import Refused
from barnabas.client.fetch import EARLIEST, LATEST, offsets_at


@click.group()
def topic() -> None:
    """List, make, change and remove topics."""


@topic.command(epilog="Example: barnabas topic ls -o json")
@bootstrap_option
@form_option
@click.option("--internal", is_flag=True, help="Also the broker's own topics.")
@guarded
def ls(bootstrap: str, form: str | None, internal: bool) -> None:
    """List topics."""
    rows = [
        {
            "topic": found.name,
            "partitions": len(found.partitions),
            "replicas": max((len(part.replica_nodes) for part in found.partitions), default=0),
        }
        for found in connect(bootstrap).metadata().topics
        if internal or not found.is_internal
    ]
    emit(rows, form)


@topic.command(
    epilog="""\b
Examples:
  barnabas topic create clicks -p 6
  barnabas topic create states --set cleanup.policy=compact --set retention.ms=-1"""
)
@click.argument("name")
@click.option("-p", "--partitions", type=click.IntRange(1), help="Default: the broker's num.partitions.")
@click.option("--replicas", type=click.IntRange(1), help="Default: the broker's.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A topic option; may be repeated."
)
@click.option("--if-absent", is_flag=True, help="No error when the topic exists.")
@click.option("--dry-run", is_flag=True, help="Only let the broker check it.")
@bootstrap_option
@guarded
def create(
    name: str,
    partitions: int | None,
    replicas: int | None,
    settings: Sequence[str],
    if_absent: bool,
    dry_run: bool,
    bootstrap: str,
) -> None:
    """Make a topic."""
    configs = settings_of(settings)
    try:
        admin.create_topic(
            connect(bootstrap), name, partitions or -1, replicas or -1, configs, validate_only=dry_run
        )
    except Refused as error:
        if not if_absent or error.code != errors.TOPIC_ALREADY_EXISTS:
            raise
        click.echo(f"{name} exists already", err=True)
    else:
        click.echo(f"{name} {'could be' if dry_run else 'is'} made", err=True)


@topic.command(
    epilog="""\b
Examples:
  barnabas topic describe clicks
  barnabas topic describe clicks --options"""
)
@click.argument("name")
@click.option("--options", "with_options", is_flag=True, help="All options and where each value comes from.")
@bootstrap_option
@form_option
@guarded
def describe(name: str, with_options: bool, bootstrap: str, form: str | None) -> None:
    """Show a topic's partitions with their offsets, or its options."""
    cluster = connect(bootstrap)
    cluster.partitions(name)
    if with_options:
        emit(_options(admin.topic_configs(cluster, name)), form)
        return
    parts = sorted(cluster.metadata([name]).topics[0].partitions, key=lambda part: int(part.partition_index))
    places = [(name, part.partition_index) for part in parts]
    starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
    emit(
        [
            {
                "partition": part.partition_index,
                "leader": part.leader_id,
                "replicas": part.replica_nodes,
                "in_sync": part.isr_nodes,
                "start": starts[name, part.partition_index],
                "end": ends[name, part.partition_index],
            }
            for part in parts
        ],
        form,
    )


def _options(configs: Sequence[Any]) -> list[dict[str, Any]]:
    sources = {
        1: "topic",
        2: "broker",
        3: "cluster",
        4: "file",
        5: "default",
        6: "logger",
        7: "client",
        8: "group",
    }
    return [
        {"option": row.name, "value": row.value, "set_by": sources.get(row.config_source, "default")}
        for row in configs
    ]


@topic.command(
    epilog="""\b
Examples:
  barnabas topic alter clicks --set retention.ms=3600000
  barnabas topic alter clicks --unset retention.ms"""
)
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Give an option a value.")
@click.option("--unset", multiple=True, metavar="NAME", help="Back to the default.")
@bootstrap_option
@guarded
def alter(name: str, settings: Sequence[str], unset: Sequence[str], bootstrap: str) -> None:
    """Change a topic's options."""
    changes: dict[str, str | None] = {**settings_of(settings), **dict.fromkeys(unset)}
    if not changes:
        raise click.UsageError("nothing to change: give --set NAME=VALUE or --unset NAME")
    cluster = connect(bootstrap)
    cluster.partitions(name)
    admin.alter_topic(cluster, name, changes)
    click.echo(f"{name}: {len(changes)} options changed", err=True)


@topic.command(epilog="Example: barnabas topic rm clicks --yes")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@yes_option
@dry_option
@bootstrap_option
@guarded
def rm(names: Sequence[str], yes: bool, dry_run: bool, bootstrap: str) -> None:
    """Remove topics with all their records."""
    cluster = connect(bootstrap)
    for name in names:
        places = [(name, index) for index in range(cluster.partitions(name))]
        starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
        count = sum(ends[place] - starts[place] for place in places)
        click.echo(f"remove {name}: {len(places)} partitions, about {count} records", err=True)
    if dry_run:
        return
    confirm("Remove?", yes)
    for name in names:
        admin.delete_topic(cluster, name)


@topic.command("add-partitions", epilog="Example: barnabas topic add-partitions clicks --total 12")
@click.argument("name")
@click.option("--total", type=click.IntRange(1), required=True, help="Partitions it then has.")
@bootstrap_option
@guarded
def add_partitions(name: str, total: int, bootstrap: str) -> None:
    """Give a topic more partitions. Keys may then go to other partitions than before."""
    cluster = connect(bootstrap)
    before = cluster.partitions(name)
    admin.add_partitions(cluster, name, total)
    click.echo(f"{name}: {before} partitions before, {total} now", err=True)


@topic.command(
    epilog="""\b
Examples:
  barnabas topic trim clicks --to end --yes
  barnabas topic trim clicks --partition 0 --to 1000"""
)
@click.argument("name")
@click.option("--to", "target", required=True, metavar="OFFSET|end", help="First offset to keep.")
@click.option("--partition", type=click.IntRange(0), help="Only this one.")
@yes_option
@dry_option
@bootstrap_option
@guarded
def trim(name: str, target: str, partition: int | None, yes: bool, dry_run: bool, bootstrap: str) -> None:
    """Delete the oldest records of a topic."""
    if target != "end" and not target.isdigit():
        raise click.UsageError(f"--to takes an offset or `end`, not {target!r}")
    cluster = connect(bootstrap)
    count = cluster.partitions(name)
    if partition is not None and partition >= count:
        raise Failed(f"{name} has {count} partitions, no {partition}", f"barnabas topic describe {name}", 3)
    places = [(name, index) for index in (range(count) if partition is None else [partition])]
    starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
    wanted = {place: ends[place] if target == "end" else min(int(target), ends[place]) for place in places}
    wanted = {place: offset for place, offset in wanted.items() if offset > starts[place]}
    for place, offset in wanted.items():
        click.echo(f"{name}[{place[1]}]: delete offsets {starts[place]} to {offset - 1}", err=True)
    if dry_run or not wanted:
        return
    confirm("Delete?", yes)
    for place, offset in wanted.items():
        admin.trim(cluster, name, place[1], offset)
