"""Every message in every version: what is encoded is decoded to the same, and what is cut short is refused."""

import subprocess
import sys
import tracemalloc
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librt.strings import BytesWriter
from wire_samples import KINDS, Kind, Sampler, for_each

from barnabas.wire.primitives import Malformed, Message, field_names

MEMORY_BYTES_MAX = 200_000


@for_each(KINDS)
def test_a_message_survives_its_encoding(kind: Kind) -> None:
    for seed in range(3):
        message = Sampler(seed).message(kind)
        encoded = kind.encode(message)
        assert kind.decode(encoded) == message
        assert kind.decode(b"head" + encoded, start=4) == message


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 2**32))
def test_any_message_survives_its_encoding(kind: Kind, seed: int) -> None:
    message = Sampler(seed).message(kind)
    assert kind.decode(kind.encode(message)) == message


@for_each(KINDS)
def test_a_message_cut_at_any_byte_is_malformed(kind: Kind) -> None:
    encoded = kind.encode(Sampler(1).message(kind))
    step = max(1, len(encoded) // 24)
    for end in [*range(0, len(encoded), step), *range(max(0, len(encoded) - 8), len(encoded))]:
        with pytest.raises(Malformed):
            kind.decode(encoded[:end])


IN_STEPS = [kind for kind in KINDS if hasattr(kind.module, "encode_response_in_steps")]


def items_of(message: Message) -> int:
    """In its arrays, from which they come one a step."""
    fields = [getattr(message, name) for name in field_names(type(message))]
    return sum(isinstance(item, Message) for field in fields if isinstance(field, list) for item in field)


def decoded_in_steps(kind: Kind, content: bytes) -> tuple[Any, int]:
    """The message, and how many pauses there were."""
    steps = kind.module.decode_request_in_steps(content, 0, kind.version)
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


@pytest.mark.parametrize("kind", IN_STEPS, ids=str)
def test_in_steps_it_is_the_same(kind: Kind) -> None:
    for seed in range(8):
        message = Sampler(seed).message(kind)
        encoded = kind.encode(message)
        items = items_of(message)
        if kind.message.kind == "request":
            assert decoded_in_steps(kind, encoded) == (message, items)
            for end in range(len(encoded)):
                with pytest.raises(Malformed):
                    decoded_in_steps(kind, encoded[:end])
            continue
        out, pieces = BytesWriter(), []
        for _ in kind.module.encode_response_in_steps(out, message, kind.version):
            pieces.append(out.getvalue())
            out.truncate(0)
        assert b"".join(pieces) + out.getvalue() == encoded
        assert len(pieces) >= items


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_noise_is_decoded_or_malformed(kind: Kind, content: bytes) -> None:
    try:
        kind.decode(content)
    except Malformed:
        return


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 2**32), st.data())
def test_a_damaged_message_is_decoded_or_malformed(kind: Kind, seed: int, data: st.DataObject) -> None:
    encoded = bytearray(kind.encode(Sampler(seed).message(kind)))
    for _ in range(min(len(encoded), 3)):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(
            st.sampled_from((0, 1, 127, 128, 255))
        )
    try:
        kind.decode(bytes(encoded))
    except Malformed:
        return


@for_each(KINDS)
def test_an_absurd_length_costs_no_memory(kind: Kind) -> None:
    encoded = kind.encode(Sampler(2).message(kind))
    kind.decode(encoded)
    lengths = (b"\xff\xff\xff\xff\x07", b"\x7f\xff\xff\xff")
    tracemalloc.start()
    try:
        for at in range(0, len(encoded), max(1, len(encoded) // 12)):
            for length in lengths:
                try:
                    kind.decode(encoded[:at] + length + encoded[at + len(length) :])
                except Malformed:
                    pass
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_the_table_of_apis_loads_no_message() -> None:
    program = "import sys, barnabas.wire.apis; print([m for m in sys.modules if 'wire.messages' in m])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_table_of_apis_agrees_with_the_modules() -> None:
    from barnabas.wire import apis

    assert sorted(apis.BY_KEY) == [key for key in range(93) if key not in (4, 5, 6, 7)]
    for row in apis.BY_KEY.values():
        module: ModuleType = apis.load(row.key)
        assert row.key == module.API_KEY
        assert (row.version_min, row.version_max) == (module.VERSION_MIN, module.VERSION_MAX)
        assert row.flexible_from == module.FLEXIBLE_FROM
