"""`barnabas topic analyze` and `skew`: what a topic's records are like, and whether partitions share them evenly."""

import json
import sys
from typing import Any, Final

import click

from barnabas.cli.names import topic_argument
from barnabas.cli.output import bootstrap_option, connect, emit, form_option, guarded
from barnabas.cli.places import Where, resolve
from barnabas.client.cluster import Cluster
from barnabas.client.fetch import EARLIEST, LATEST, Place, Reader, offsets_at
from barnabas.records.batch import CODECS, BatchHeader
from barnabas.records.record import Record

WAIT_MS: Final = 500
SAMPLE: Final = 10_000


class Sample:
    """What was seen of one partition."""

    def __init__(self) -> None:
        self._records = self._key_bytes = self._value_bytes = 0
        self._null_keys = self._null_values = self._json = self._batches = 0
        self._keys: set[bytes] = set()
        self._codecs: set[str] = set()
        self._first_ms, self._last_ms = sys.maxsize, -1

    def take(self, record: Record) -> None:
        self._records += 1
        self._first_ms = min(self._first_ms, record.timestamp)
        self._last_ms = max(self._last_ms, record.timestamp)
        if record.key is None:
            self._null_keys += 1
        else:
            self._key_bytes += len(record.key)
            self._keys.add(record.key)
        if record.value is None:
            self._null_values += 1
        else:
            self._value_bytes += len(record.value)
            self._json += _is_json(record.value)

    def take_batch(self, header: BatchHeader) -> None:
        self._batches += 1
        self._codecs.add(CODECS[header.codec])

    def row(self, place: Place) -> dict[str, Any]:
        """Averages of what is there; None where there is nothing to divide by."""
        span_ms = self._last_ms - self._first_ms
        return {
            "partition": place[1],
            "records": self._records,
            "per_second": _share(self._records * 1000, span_ms),
            "batch_records": _share(self._records, self._batches),
            "codecs": sorted(self._codecs),
            "key_bytes": _share(self._key_bytes, self._records - self._null_keys),
            "value_bytes": _share(self._value_bytes, self._records - self._null_values),
            "keys": len(self._keys),
            "null_keys": self._null_keys,
            "null_values": self._null_values,
            "json_values": self._json,
        }


def _share(number: int, of: int) -> float | None:
    return round(number / of, 1) if of > 0 else None


def _is_json(value: bytes) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


@click.command(
    epilog="""\b
Examples:
  barnabas topic analyze clicks
  barnabas topic analyze clicks -n 1000 -o json"""
)
@topic_argument
@click.option(
    "-n", "--sample", type=click.IntRange(1), default=SAMPLE, show_default=True, help="Of each partition."
)
@bootstrap_option
@form_option
@guarded
def analyze(topic: str, sample: int, bootstrap: str, form: str | None) -> None:
    """Show what a topic's records are like.

    Looks at the last ones of each partition: rate, sizes, keys, nulls, batches and codecs.
    """
    cluster = connect(bootstrap)
    places = [(topic, index) for index in range(cluster.partitions(topic))]
    emit([seen.row(place) for place, seen in samples(cluster, places, sample).items()], form)


def samples(cluster: Cluster, places: list[Place], count: int) -> dict[Place, Sample]:
    """What the last records of each place are like, up to what is its end now."""
    seen = {place: Sample() for place in places}
    ends = resolve(cluster, places, Where("end"))
    starts = resolve(cluster, places, Where("tail", count))
    reader = Reader(cluster, dict(starts), lambda place, header: seen[place].take_batch(header))
    while reader.positions:
        for place, record in reader.poll(WAIT_MS):
            if record.offset < ends[place]:
                seen[place].take(record)
        for place in [place for place, position in reader.positions.items() if position >= ends[place]]:
            del reader.positions[place]
    return seen


@click.command(epilog="Example: barnabas topic skew clicks")
@topic_argument
@bootstrap_option
@form_option
@guarded
def skew(topic: str, bootstrap: str, form: str | None) -> None:
    """Show how evenly partitions are filled.

    The fullest comes first; what compaction took away counts as if it were there.
    """
    cluster = connect(bootstrap)
    places = [(topic, index) for index in range(cluster.partitions(topic))]
    starts, ends = offsets_at(cluster, places, EARLIEST), offsets_at(cluster, places, LATEST)
    counts = {place: ends[place] - starts[place] for place in places}
    total = sum(counts.values())
    rows = [
        {
            "partition": place[1],
            "offsets": count,
            "percent": _share(100 * count, total),
            "of_average": round(count * len(places) / total, 2) if total else None,
        }
        for place, count in sorted(counts.items(), key=lambda pair: -pair[1])
    ]
    emit(rows, form)
