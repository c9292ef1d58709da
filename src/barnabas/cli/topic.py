"""`barnabas topic`: list, make, look at, change and remove topics."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from barnabas import errors
from barnabas.cli.analyze import analyze, skew
from barnabas.cli.commands import Commands
from barnabas.cli.copy import copy
from barnabas.cli.names import topic_argument, topics_argument
from barnabas.cli.output import (
    EXIT_NOT_FOUND,
    Failed,
    bootstrap_option,
    confirm,
    connect,
    counted,
    dry_option,
    emit,
    form_option,
    guarded,
    settings_of,
    yes_option,
)
from barnabas.cli.places import parse_where, resolve
from barnabas.client import admin
from barnabas.client.cluster import Cluster, Refused
from barnabas.client.fetch import EARLIEST, LATEST, offsets_at


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  barnabas topic create clicks -p 6
  barnabas topic describe clicks --options
  barnabas topic alter --help""",
)
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
@topic_argument
@click.option("--options", "with_options", is_flag=True, help="All options and where each value comes from.")
@bootstrap_option
@form_option
@guarded
def describe(topic: str, with_options: bool, bootstrap: str, form: str | None) -> None:
    """Show a topic's partitions, or its options.

    Partitions come with their leader, replicas and offsets, options with who gave them their value.
    """
    cluster = connect(bootstrap)
    count = cluster.partitions(topic)
    if with_options:
        emit(_options(admin.topic_configs(cluster, topic)), form)
        return
    found = cluster.metadata([topic]).topics[0]
    leaders = {part.partition_index: part for part in found.partitions}
    held = _held(cluster, topic, range(count))
    emit(
        [
            {
                "partition": index,
                "leader": leaders[index].leader_id,
                "replicas": leaders[index].replica_nodes,
                "in_sync": leaders[index].isr_nodes,
                "start": start,
                "end": end,
            }
            for index, (start, end) in held.items()
        ],
        form,
    )


def _held(cluster: Cluster, topic: str, indexes: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Partition → its first offset, and the one behind its last."""
    places = [(topic, index) for index in indexes]
    starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
    return {place[1]: (starts[place], ends[place]) for place in places}


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
  barnabas topic alter clicks --unset retention.ms --dry-run"""
)
@topic_argument
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Give an option a value.")
@click.option("--unset", multiple=True, metavar="NAME", help="Back to the default.")
@dry_option
@bootstrap_option
@form_option
@guarded
def alter(
    topic: str, settings: Sequence[str], unset: Sequence[str], dry_run: bool, bootstrap: str, form: str | None
) -> None:
    """Change a topic's options.

    Prints them as they were and as they are.
    """
    changes: dict[str, str | None] = {**settings_of(settings), **dict.fromkeys(unset)}
    if not changes:
        raise click.UsageError("nothing to change: give --set NAME=VALUE or --unset NAME")
    if both := settings_of(settings).keys() & set(unset):
        raise click.UsageError(f"{min(both)}: either --set or --unset")
    cluster = connect(bootstrap)
    cluster.partitions(topic)
    before = {row.name: row.value for row in admin.topic_configs(cluster, topic)}
    admin.alter_topic(cluster, topic, changes, validate_only=dry_run)
    emit(
        [
            {"option": name, "before": before.get(name), "after": "(default)" if value is None else value}
            for name, value in changes.items()
        ],
        form,
    )
    click.echo(
        f"{topic}: {counted(len(changes), 'option')} {'to be changed' if dry_run else 'changed'}", err=True
    )


@topic.command(
    epilog="""\b
Examples:
  barnabas topic rm clicks --dry-run
  barnabas topic rm clicks other --yes"""
)
@topics_argument
@yes_option
@dry_option
@bootstrap_option
@form_option
@guarded
def rm(topics: Sequence[str], yes: bool, dry_run: bool, bootstrap: str, form: str | None) -> None:
    """Remove topics with all their records."""
    cluster = connect(bootstrap)
    names = list(dict.fromkeys(topics))
    rows = []
    for name in names:
        held = _held(cluster, name, range(cluster.partitions(name)))
        records = sum(end - start for start, end in held.values())
        rows.append({"topic": name, "partitions": len(held), "offsets": records})
    emit(rows, form)
    if dry_run:
        return
    confirm(f"Remove {', '.join(names)}?", yes)
    for name in names:
        admin.delete_topic(cluster, name)
    click.echo(f"{counted(len(names), 'topic')} removed", err=True)


@topic.command("add-partitions", epilog="Example: barnabas topic add-partitions clicks --total 12")
@topic_argument
@click.option("--total", type=click.IntRange(1), required=True, help="Partitions it then has.")
@dry_option
@bootstrap_option
@guarded
def add_partitions(topic: str, total: int, dry_run: bool, bootstrap: str) -> None:
    """Give a topic more partitions. Keys may then go to other partitions than before."""
    cluster = connect(bootstrap)
    before = cluster.partitions(topic)
    admin.add_partitions(cluster, topic, total, validate_only=dry_run)
    click.echo(
        f"{topic}: {counted(before, 'partition')} {'now' if dry_run else 'before'}, {total} then", err=True
    )


@topic.command(
    epilog="""\b
Examples:
  barnabas topic trim clicks --to end --yes
  barnabas topic trim clicks --partition 0 --to 1000 --dry-run
  barnabas topic trim clicks --to @-7d"""
)
@topic_argument
@click.option("--to", "target", required=True, metavar="OFFSET|end|@TIME", help="First record to keep.")
@click.option("--partition", type=click.IntRange(0), help="Only this one.")
@yes_option
@dry_option
@bootstrap_option
@form_option
@guarded
def trim(
    topic: str,
    target: str,
    partition: int | None,
    yes: bool,
    dry_run: bool,
    bootstrap: str,
    form: str | None,
) -> None:
    """Delete the oldest records of a topic."""
    where = parse_where(target, time.time_ns() // 1_000_000)
    if where.kind in ("start", "tail"):
        raise click.UsageError(f"--to takes an offset, `end` or @TIME, not {target!r}")
    cluster = connect(bootstrap)
    count = cluster.partitions(topic)
    if partition is not None and partition >= count:
        raise Failed(
            f"{topic} has {counted(count, 'partition')}, no {partition}",
            f"see them: barnabas topic describe {topic}",
            EXIT_NOT_FOUND,
        )
    indexes = range(count) if partition is None else [partition]
    wanted = resolve(cluster, [(topic, index) for index in indexes], where, reached=True)
    rows = [
        {"partition": index, "start": start, "new_start": wanted[topic, index], "end": end}
        for index, (start, end) in _held(cluster, topic, indexes).items()
        if wanted[topic, index] > start
    ]
    emit(rows, form)
    if not rows:
        click.echo("nothing to delete", err=True)
    if dry_run or not rows:
        return
    confirm(f"Delete these records of {topic}?", yes)
    for row in rows:
        admin.trim(cluster, topic, row["partition"], row["new_start"])
    click.echo(f"{topic}: the oldest records of {counted(len(rows), 'partition')} are deleted", err=True)


for command in (analyze, skew, copy):
    topic.add_command(command)
