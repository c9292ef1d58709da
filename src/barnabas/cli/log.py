"""`barnabas log`: look at, check and repair the files of partitions, without a broker.

PATH is a partition's folder or, for `verify` and `repair`, a whole data folder. Only `repair` writes.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import click

from barnabas.adapters.files import OsFiles, ReadOnlyFiles
from barnabas.cli.lines import to_line
from barnabas.cli.output import (
    EXIT_NOT_FOUND,
    Failed,
    confirm,
    dry_option,
    emit,
    form_option,
    guarded,
    yes_option,
)
from barnabas.log import folder as names
from barnabas.log.checkpoints import Offsets
from barnabas.log.examine import Batch, Damage, Examined, Walk, bases_of, examine, walks
from barnabas.log.journal import JOURNAL, read_rounds, void
from barnabas.log.mend import cut_name, mend
from barnabas.log.recovery import DamagedLog
from barnabas.log.take_up import KEPT, kept_of, take_up, take_up_kept
from barnabas.partitions.owners import states
from barnabas.ports import WorldError
from barnabas.records.batch import CODECS
from barnabas.records.compression import CannotDecompress
from barnabas.records.record import BadRecord, records_of

DATABASE = "barnabas.db"
IN_USE = "stop the broker that uses it first"
WAITING = "has records for these logs: repair, or a start, writes them first"


class Root:
    """A data folder, read once when it is asked: as its broker left it, or its workers, each in a state folder."""

    def __init__(self, files: OsFiles, path: str) -> None:
        self._files = files
        self.path = path

    @cached_property
    def offsets(self) -> Offsets:
        return Offsets.read(self._files, states(self._files, self.path))

    @cached_property
    def is_clean(self) -> bool:
        return self._files.exists(f"{self.path}/{names.CLEAN_MARK}")


class Place:
    """One partition's folder and what the data folder says of it."""

    def __init__(self, folder: str, root: Root) -> None:
        self.folder = folder
        self.root = root
        self.name = folder.rpartition("/")[2]
        parsed = names.parse_partition(self.name)
        assert parsed is not None, "the caller looked"
        self.key = parsed

    def topic_id(self, files: OsFiles) -> bytes:
        return names.read_topic_id(files, self.folder) or b""

    def examine(self, files: OsFiles) -> Examined:
        point = self.root.offsets.recovery_point(*self.key, self.topic_id(files))
        return examine(files, self.folder, self.root.is_clean, point)


def is_partition(files: OsFiles, folder: str) -> bool:
    return names.parse_partition(folder.rpartition("/")[2]) is not None and bool(bases_of(files, folder))


def places_of(files: OsFiles, paths: Sequence[str]) -> list[Place]:
    """The partitions that the paths mean, each once."""
    found: dict[str, Place] = {}
    roots: dict[str, Root] = {}
    for path in paths:
        folder = os.path.abspath(path)
        inside = [f"{folder}/{name}" for name in files.list(folder)] if os.path.isdir(folder) else []
        partitions = (
            [folder] if is_partition(files, folder) else [one for one in inside if is_partition(files, one)]
        )
        if not partitions:
            raise Failed(
                f"there are no partitions in {path}",
                "give a data folder, or a partition's folder in it, for example data/clicks-0",
                EXIT_NOT_FOUND,
            )
        for each in partitions:
            root = each.rpartition("/")[0]
            found[each] = Place(each, roots.setdefault(root, Root(files, root)))
    return list(found.values())


def failed_world(error: WorldError) -> Failed:
    return Failed(error.what, "look at the disk and at who may read and write there")


@click.group()
def log() -> None:
    """Look at, check and repair the files of partitions, without a broker."""


# -- dump ------------------------------------------------------------------------------------------


@log.command(
    epilog="""\b
Examples:
  barnabas log dump data/clicks-0
  barnabas log dump data/clicks-0 --from 5000 --to 6000 -o table
  barnabas log dump data/clicks-0 --records | barnabas produce saved"""
)
@click.argument("path", metavar="PATH")
@click.option("--from", "first", type=click.IntRange(0), default=0, help="First offset to print.")
@click.option("--to", "behind", type=click.IntRange(0), help="Offset to stop before.")
@click.option("--records", is_flag=True, help="The records, in the form that `produce` takes back.")
@form_option
@guarded
def dump(path: str, first: int, behind: int | None, records: bool, form: str | None) -> None:
    """Print the batches of a partition, or its records."""
    files = ReadOnlyFiles()
    places = places_of(files, [path])
    if len(places) > 1:
        raise Failed(f"{path} holds {len(places)} partitions", f"choose one, for example {places[0].folder}")
    (place,) = places
    damaged = 0
    rows: list[dict[str, Any]] = []
    keep_rows = form in ("json", "table") or (form is None and sys.stdout.isatty())
    try:
        for walk, piece in pieces_of(files, place):
            if isinstance(piece, Damage):
                damaged += 1
                click.echo(f"{place.name}: {where(piece)}: {piece.reason}", err=True)
            elif piece.header.next_offset <= first or (
                behind is not None and piece.header.base_offset >= behind
            ):
                continue
            elif records:
                damaged += not print_records(place, walk, piece, first, behind)
            elif keep_rows:
                rows.append(batch_row(walk, piece))
            else:
                emit([batch_row(walk, piece)], "jsonl")
    except WorldError as error:
        raise failed_world(error) from error
    if rows:
        emit(rows, form)
    if damaged:
        raise Failed(
            f"{damaged} places could not be read",
            f"see what can be done: barnabas log repair {path} --dry-run",
        )


def pieces_of(files: OsFiles, place: Place) -> Iterator[tuple[Walk, Batch | Damage]]:
    for walk in walks(files, place.folder, 0):
        for piece in walk.pieces():
            yield walk, piece


def batch_row(walk: Walk, batch: Batch) -> dict[str, Any]:
    header = batch.header
    return {
        "segment": walk.base,
        "position": batch.position,
        "bytes": header.size,
        "first": header.base_offset,
        "last": header.next_offset - 1,
        "records": header.record_count,
        "codec": CODECS[header.codec] if header.codec < len(CODECS) else header.codec,
        "epoch": header.leader_epoch,
        "max_timestamp": header.max_timestamp,
        "producer": header.producer_id,
        "sequence": header.base_sequence,
        "kind": "control" if header.is_control else "transaction" if header.is_transactional else "data",
    }


def print_records(place: Place, walk: Walk, batch: Batch, first: int, behind: int | None) -> bool:
    """Whether the batch could be opened. Control batches hold no records of anybody's."""
    if batch.header.is_control:
        return True
    chunk, at = walk.source.window(batch.position, batch.header.size)
    try:
        for record in records_of(chunk, batch.header, at):
            if record.offset >= first and (behind is None or record.offset < behind):
                click.echo(to_line(*place.key, record))
    except (BadRecord, CannotDecompress) as error:
        click.echo(
            f"{place.name}: the batch at offset {batch.header.base_offset} does not open: {error}", err=True
        )
        return False
    return True


# -- verify ----------------------------------------------------------------------------------------


@log.command(
    epilog="""\b
Examples:
  barnabas log verify data
  barnabas log verify data/clicks-0 data/clicks-1 -o json"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@form_option
@guarded
def verify(paths: Sequence[str], form: str | None) -> None:
    """Check every batch of partitions; change nothing."""
    files = ReadOnlyFiles()
    rows, damaged = [], 0
    try:
        for place in places_of(files, paths):
            examined = place.examine(files)
            tell(place, examined)
            damaged += bool(examined.damages)
            rows.append(verdict(place, examined))
    except WorldError as error:
        raise failed_world(error) from error
    emit(rows, form)
    if damaged:
        raise Failed(
            f"{damaged} of {len(rows)} partitions {'is' if damaged == 1 else 'are'} damaged",
            f"see what can be done: barnabas log repair {' '.join(paths)} --dry-run",
        )


def verdict(place: Place, examined: Examined) -> dict[str, Any]:
    state = "damaged" if examined.damages else "unfinished" if examined.unfinished else "whole"
    return {
        "partition": place.name,
        "segments": len(examined.segments),
        "batches": sum(segment.batches for segment in examined.segments),
        "records": sum(segment.records for segment in examined.segments),
        "bytes": sum(segment.size for segment in examined.segments),
        "start": examined.start_offset,
        "end": examined.end_offset,
        "lost": sum(damage.behind - damage.offset for damage in examined.damages),
        "state": state,
    }


def tell(place: Place, examined: Examined) -> None:
    for damage in examined.damages:
        click.echo(f"{place.name}: {where(damage)}: {damage.reason}", err=True)
    if examined.unfinished is not None:
        fault = examined.unfinished
        text = (
            f"{place.name}: {where(fault)}: {fault.reason}; not synced, so the next start cuts from here on"
        )
        click.echo(text, err=True)
    for segment in examined.segments:
        for path in segment.wrong_indexes:
            click.echo(f"{path}: contradicts its log; it holds nothing of its own", err=True)


def where(damage: Damage) -> str:
    return (
        f"{names.segment_name(damage.base, names.LOG_SUFFIX)} at {damage.position} (offset {damage.offset})"
    )


# -- repair ----------------------------------------------------------------------------------------


@log.command(
    epilog="""\b
Examples:
  barnabas log repair data --dry-run
  barnabas log repair data/clicks-0 --yes"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@yes_option
@dry_option
@guarded
def repair(paths: Sequence[str], yes: bool, dry_run: bool) -> None:
    """Take damage out of partitions, keep all whole batches, and keep the bytes that go in files beside."""
    files = OsFiles()
    places = places_of(files, paths)
    locks: list[Callable[[], None]] = []
    try:
        for root in dict.fromkeys(place.root for place in places):
            for release in locked(files, root.path):
                locks.append(release)
            take_up_journals(files, root, dry_run)
        for place in places:
            take_up_what_was_kept(files, place, dry_run)
        plans = [(place, place.examine(files)) for place in places]
        plans = [(place, found) for place, found in plans if found.damages or wrong_indexes(found)]
        for place, found in plans:
            tell_plan(place, found)
        if not plans:
            click.echo("nothing is damaged", err=True)
        if dry_run or not plans:
            return
        confirm("Repair?", yes)
        for place, found in plans:
            mend(files, found)
            again = place.examine(files)
            if again.damages:
                raise Failed(
                    f"{place.name} is still damaged", "look at the disk: it changes what is written to it"
                )
            click.echo(f"{place.name}: whole, offsets {again.start_offset} to {again.end_offset}", err=True)
    except WorldError as error:
        raise failed_world(error) from error
    finally:
        for release in locks:
            release()


def locked(files: OsFiles, root: str) -> Iterator[Callable[[], None]]:
    """The locks of the data folder and of its workers, who may outlive a parent: nobody else writes while they are held."""
    if not files.exists(f"{root}/{DATABASE}"):
        raise Failed(
            f"{root} is no data folder of Barnabas",
            "repair works on the folder that --data or log.dirs names",
        )
    for state in states(files, root):
        release = files.lock(f"{state}/{names.LOCK}")
        if release is None:
            raise Failed(f"{state} is in use", IN_USE)
        yield release


def take_up_journals(files: OsFiles, root: Root, dry_run: bool) -> None:
    """A broker that did not stop cleanly may have left records in the journal alone: they come first."""
    for state in states(files, root.path):
        path = f"{state}/{JOURNAL}"
        if files.exists(f"{state}/{names.CLEAN_MARK}") or not files.exists(path):
            continue
        if dry_run:
            if read_rounds(files.open(path)):
                click.echo(f"{path} {WAITING}", err=True)
            continue
        taken = take_up(files, state, root.path, root.offsets)
        void(files, state)
        if taken.bytes:
            click.echo(f"took up {taken.bytes} bytes from {path}", err=True)
        for folder, error in taken.refused.items():
            click.echo(f"{folder}: {error}; kept in {root.path}/{KEPT}", err=True)


def take_up_what_was_kept(files: OsFiles, place: Place, dry_run: bool) -> None:
    """So may an earlier start, of this partition."""
    topic_id, index = place.topic_id(files), place.key[1]
    kept = kept_of(files, place.root.path, topic_id, index)
    if dry_run:
        for path in kept:
            click.echo(f"{path} {WAITING}", err=True)
        return
    try:
        if take_up_kept(files, place.root.path, topic_id, index, place.root.offsets):
            click.echo(f"took up {', '.join(kept)}", err=True)
    except DamagedLog as error:
        raise Failed(f"{place.name}: records of it wait", str(error)) from error


def wrong_indexes(examined: Examined) -> list[str]:
    return [path for segment in examined.segments for path in segment.wrong_indexes]


def tell_plan(place: Place, examined: Examined) -> None:
    for damage in examined.damages:
        click.echo(f"{place.name}: {where(damage)}: {damage.reason}", err=True)
        if damage.end > damage.position:
            click.echo(
                f"  take out {damage.end - damage.position} bytes, keep them in {cut_name(damage)}", err=True
            )
        if damage.behind == damage.offset + 1:
            click.echo(f"  offset {damage.offset} is lost: readers step over it", err=True)
        elif damage.behind > damage.offset:
            text = f"offsets {damage.offset} to {damage.behind - 1} are lost: readers step over them"
            click.echo(f"  {text}", err=True)
    for path in wrong_indexes(examined):
        click.echo(f"{path}: contradicts its log\n  remove it; the next start writes it anew", err=True)
