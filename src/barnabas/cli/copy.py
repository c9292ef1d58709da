"""`barnabas topic copy`: the records that a topic holds now into another one, there or on another cluster."""

import time

import click

from barnabas import errors
from barnabas.cli.names import topic_argument
from barnabas.cli.output import Failed, bootstrap_option, compression_option, connect, counted, guarded
from barnabas.cli.places import Where, parse_range
from barnabas.cli.source import Source
from barnabas.client import admin
from barnabas.client.cluster import Cluster, Refused
from barnabas.client.produce import Producer

SET_ON_TOPIC = 1
"""A config_source: this value was given to the topic itself."""


@click.command(
    epilog="""\b
Examples:
  barnabas topic copy clicks clicks-before
  barnabas topic copy clicks clicks-today -o @-1d
  barnabas topic copy clicks clicks --to-bootstrap 10.0.0.7:9092"""
)
@topic_argument
@click.argument("copy")
@click.option("--to-bootstrap", metavar="HOST:PORT[,…]", help="Brokers of another cluster to copy to.")
@click.option("-o", "--offset", "where", default="start", show_default=True, help="From where; FROM:TO.")
@compression_option
@bootstrap_option
@guarded
def copy(
    topic: str, copy: str, to_bootstrap: str | None, where: str, compression: str, bootstrap: str
) -> None:
    """Copy a topic's records, and its options.

    Keys, headers and times are kept. COPY is made like TOPIC when it is absent. Records keep their partition where both have as many, else their keys decide.
    """
    if to_bootstrap is None and copy == topic:
        raise click.UsageError("a topic is no copy of itself: give another name, or --to-bootstrap")
    start, stop = parse_range(where, time.time_ns() // 1_000_000)
    origin = connect(bootstrap)
    target = connect(to_bootstrap) if to_bootstrap else origin
    same = _make(origin, topic, target, copy)
    source = Source(origin, [topic], start, stop or Where("end"), None, lambda: None)
    producer = Producer(target, copy, codec=compression)
    try:
        for (_, partition), record in source.records():
            producer.add(record, partition if same else None)
        producer.flush()
    except KeyboardInterrupt:
        producer.flush()
        raise
    finally:
        click.echo(f"{counted(producer.sent_records, 'record')} copied to {copy}", err=True)


def _make(origin: Cluster, topic: str, target: Cluster, copy: str) -> bool:
    """Whether both have as many partitions."""
    count = origin.partitions(topic)
    try:
        return target.partitions(copy) == count
    except Refused as error:
        if error.code != errors.UNKNOWN_TOPIC_OR_PARTITION:
            raise
    rows = admin.topic_configs(origin, topic)
    configs = {row.name: row.value for row in rows if row.config_source == SET_ON_TOPIC}
    if None in configs.values():
        raise Failed(
            f"{topic} has an option that is kept secret", f"make {copy} first: barnabas topic create"
        )
    admin.create_topic(target, copy, count, -1, configs)
    return True
