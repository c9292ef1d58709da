"""`barnabas group seek`: what a group has committed, moved; the plan first."""

import json
import sys
import time
from collections.abc import Iterable, Sequence

import click

from barnabas import errors
from barnabas.cli.names import group_argument
from barnabas.cli.output import (
    Failed,
    bootstrap_option,
    confirm,
    connect,
    counted,
    dry_option,
    emit,
    form_option,
    guarded,
    yes_option,
)
from barnabas.cli.places import Where, parse_where, resolve
from barnabas.client import groups
from barnabas.client.cluster import Cluster, Refused
from barnabas.client.fetch import EARLIEST, LATEST, Place, offsets_at

Offsets = dict[Place, int]


class Target:
    """Where a group shall go: exactly one of these is given."""

    def __init__(self, where: Where | None, shift: int | None, group: str | None, file: str | None) -> None:
        """group: another one, whose offsets are taken. file: path of JSON Lines as `group offsets` prints them."""
        if sum(given is not None for given in (where, shift, group, file)) != 1:
            raise click.UsageError(
                "say where to with one of --to, --to-offset, --shift, --from-group and --from-file"
            )
        self._where = where
        self._shift = shift
        self._group = group
        self._file = file

    def plan(self, cluster: Cluster, committed: Offsets, topics: Sequence[str]) -> Offsets:
        """Raises Failed when nothing says which partitions."""
        named = self._named(cluster)
        if named is not None:
            wanted = {place: offset for place, offset in named.items() if not topics or place[0] in topics}
            starts, ends = offsets_at(cluster, wanted, EARLIEST), offsets_at(cluster, wanted, LATEST)
            return {place: min(max(wanted[place], starts[place]), ends[place]) for place in sorted(wanted)}
        places = sorted(committed)
        if topics:
            places = [(topic, index) for topic in topics for index in range(cluster.partitions(topic))]
        if self._where is not None:
            return resolve(cluster, places, self._where, reached=True)
        assert self._shift is not None
        starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
        return {
            place: min(max(committed.get(place, starts[place]) + self._shift, starts[place]), ends[place])
            for place in places
        }

    def _named(self, cluster: Cluster) -> Offsets | None:
        if self._group is not None:
            groups.describe_group(cluster, self._group)
            return groups.committed(cluster, self._group)
        if self._file is None:
            return None
        if self._file == "-":
            return read_offsets(sys.stdin)
        with open(self._file, encoding="utf-8", errors="replace") as lines:
            return read_offsets(lines)


def read_offsets(lines: Iterable[str]) -> Offsets:
    """Raises Failed with the line that is none."""
    found: Offsets = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            topic, partition, offset = row["topic"], row["partition"], row["offset"]
        except (ValueError, KeyError, TypeError, RecursionError):
            topic, partition, offset = None, -1, -1
        if not isinstance(topic, str) or not _is_number(partition) or not _is_number(offset):
            raise Failed(
                f'line {number} is not {{"topic": …, "partition": …, "offset": …}}',
                "write such a file with: barnabas group offsets GROUP -o jsonl",
            )
        found[topic, partition] = offset
    return found


def _is_number(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0


def stopped(cluster: Cluster, name: str, *, fresh: bool) -> None:
    """Raises Failed when the group has members, Refused when it is not there; it need not be when fresh."""
    try:
        members = groups.describe_group(cluster, name).members
    except Refused as error:
        if fresh and error.code == errors.GROUP_ID_NOT_FOUND:
            return
        raise
    if members:
        raise Failed(
            f"group {name} has {counted(len(members), 'member')}, who would go on from where they are",
            f"stop them first: barnabas group describe {name}",
        )


@click.command(
    epilog="""\b
Examples:
  barnabas group seek billing --to start --dry-run
  barnabas group seek billing --to @-1h --yes
  barnabas group seek billing --topic clicks --shift -100
  barnabas group seek copy --from-group billing"""
)
@group_argument
@click.option("--to", "target", metavar="start|end|@TIME", help="Where to go.")
@click.option("--to-offset", type=click.IntRange(0), help="An offset, in every partition.")
@click.option("--shift", type=int, help="This many records forward, or back.")
@click.option("--from-group", metavar="GROUP", help="Where another group is.")
@click.option("--from-file", metavar="FILE", help="What `group offsets` printed; - is stdin.")
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
    from_group: str | None,
    from_file: str | None,
    topics: Sequence[str],
    yes: bool,
    dry_run: bool,
    bootstrap: str,
    form: str | None,
) -> None:
    """Move what a group has committed.

    It must have no members. Prints the plan and asks.
    """
    if target is not None and to_offset is not None:
        raise click.UsageError("either --to or --to-offset")
    where = None if target is None else parse_where(target, time.time_ns() // 1_000_000)
    if to_offset is not None:
        where = Where("offset", to_offset)
    aim = Target(where, shift, from_group, from_file)
    cluster = connect(bootstrap)
    stopped(cluster, name, fresh=bool(topics or from_group or from_file))
    committed = groups.committed(cluster, name)
    plan = aim.plan(cluster, committed, topics)
    if not plan:
        raise Failed(f"nothing says which partitions {name} shall read", "name a topic with --topic TOPIC")
    rows = [
        {"topic": topic, "partition": index, "committed": committed.get((topic, index)), "new": offset}
        for (topic, index), offset in plan.items()
    ]
    emit(rows, form)
    if dry_run:
        return
    confirm(f"Move group {name}?", yes)
    groups.commit(cluster, name, plan)
    click.echo(f"{name} is moved in {counted(len(plan), 'partition')}", err=True)
