"""kio, an independent codec, reads what we write as the same values, and writes what we read as the same message.

kio has one class per API and version whose fields stand in the order of the definition; it maps times, error codes and
uuids to richer types, which are brought back to plain ones here.
"""

import datetime
import io
import uuid
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer
from wire_samples import KINDS, Kind, Sampler, for_each, leaves

from barnabas.wire.primitives import Records

EPOCH = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)
API_KINDS = [kind for kind in KINDS if kind.definition.key >= 0]


def plain(value: Any) -> Any:
    if isinstance(value, Records):
        return value.to_bytes()
    if isinstance(value, ErrorCode):
        return value.value
    if isinstance(value, datetime.timedelta):
        return round(value / MILLISECOND)
    if isinstance(value, datetime.datetime):
        return round((value - EPOCH) / MILLISECOND)
    if isinstance(value, uuid.UUID):
        return value.bytes
    return value


def kio_leaves(entity: Any) -> Iterator[Any]:
    """The plain values of a kio message, as wire_samples.leaves gives ours."""
    for each in fields(entity):
        value = getattr(entity, each.name)
        for item in value if isinstance(value, tuple) else [value]:
            if is_dataclass(item):
                yield from kio_leaves(item)
            else:
                yield plain(item)
        if isinstance(value, tuple):
            yield len(value)


def same(ours: Any, theirs: Any) -> bool:
    """kio has None for the uuid of zeros."""
    return ours == theirs or (theirs is None and ours == bytes(16))


@for_each(API_KINDS)
def test_kio_reads_and_writes_the_same(kind: Kind) -> None:
    load = load_request_schema if kind.message.kind == "request" else load_response_schema
    schema = load(kind.definition.key, kind.version)
    read, write = entity_reader(schema), entity_writer(schema)
    for seed in range(3):
        message = Sampler(seed).message(kind)
        encoded = kind.encode(message)
        entity, size = read(encoded, 0)
        assert size == len(encoded)
        ours = [plain(value) for value in leaves(message, kind, kind.message.name)]
        theirs = list(kio_leaves(entity))
        assert len(ours) == len(theirs)
        assert all(map(same, ours, theirs)), (ours, theirs)
        written = io.BytesIO()
        write(written, entity)
        assert kind.decode(written.getvalue()) == message
