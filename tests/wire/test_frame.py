"""Frames: cut anywhere, they come out the same; sizes and headers that no peer may send are refused."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.wire import apis
from barnabas.wire.frame import (
    LARGE_FRAME_BYTES,
    SIZE_BYTES,
    FrameError,
    FrameReader,
    RequestHeader,
    request_head,
    response_body_at,
    response_head,
)
from barnabas.wire.primitives import Malformed

FRAME_BYTES_MAX = 1000
MEMORY_BYTES_MAX = 100_000
API_VERSIONS, FETCH, PRODUCE = 18, 1, 0


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=8), st.lists(st.integers(1, 90), min_size=1))
def test_frames_do_not_depend_on_how_the_stream_is_cut(contents: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framed, contents))
    reader, frames, at, turn = FrameReader(FRAME_BYTES_MAX), [], 0, 0
    while at < len(stream):
        received = stream[at : at + cuts[turn % len(cuts)]]
        frames += reader.feed(memoryview(received))
        at, turn = at + len(received), turn + 1
    assert frames == contents
    assert reader.held_bytes == 0


def test_a_frame_is_owned_bytes() -> None:
    received = bytearray(framed(b"first") + framed(b"second")[:6])
    reader = FrameReader(FRAME_BYTES_MAX)
    frames = reader.feed(memoryview(received))
    received[:] = bytes(len(received))
    assert frames == [b"first"]
    assert reader.held_bytes == 6
    assert reader.feed(memoryview(framed(b"second")[6:])) == [b"second"]


def fed(reader: FrameReader, stream: bytes, most: int, runs: list[bytes]) -> list[bytes]:
    """What a network does: one buffer for all there is, bytes of its own for what is expected; at most `most` at a time."""
    frames: list[bytes] = []
    at = 0
    while at < len(stream):
        size = min(most, reader.expected or most)
        run = stream[at : at + size]
        at += len(run)
        if reader.expected:
            runs.append(run)
            frames += reader.feed(memoryview(run))
        else:
            buffer = bytearray(run)
            frames += reader.feed(memoryview(buffer))
            buffer[:] = bytes(len(buffer))
    return frames


SIZES = (
    1,
    LARGE_FRAME_BYTES,
    5,
    LARGE_FRAME_BYTES - 1,
    3 * LARGE_FRAME_BYTES,
    200_000,
    LARGE_FRAME_BYTES + 3,
    1,
)
FEW_SIZES = (1, LARGE_FRAME_BYTES, 5, LARGE_FRAME_BYTES - 1, 2, LARGE_FRAME_BYTES + 3, 1)
"""Of each kind one: byte by byte the rest is more of the same."""


@pytest.mark.parametrize(
    "most", [*range(1, 12), 4095, 4096, LARGE_FRAME_BYTES, LARGE_FRAME_BYTES + 4, 1 << 20]
)
def test_large_frames_that_come_apart_are_the_same(most: int) -> None:
    sizes = FEW_SIZES if most < 12 else SIZES
    contents = [bytes([number]) * (size - 1) + b"!" for number, size in enumerate(sizes)]
    reader = FrameReader(1 << 20)
    assert fed(reader, b"".join(map(framed, contents)), most, []) == contents
    assert (reader.held_bytes, reader.expected) == (0, 0)


def test_a_large_frame_that_comes_in_one_run_is_not_copied() -> None:
    reader = FrameReader(1 << 20)
    contents = [b"a" * 100_000, b"b" * 200_000]
    runs: list[bytes] = []
    assert fed(reader, framed(contents[0]), 100_004, runs) == contents[:1]
    assert reader.expected == SIZE_BYTES, "who sends a large frame may send another"
    (frame,) = fed(reader, framed(contents[1]), 1 << 20, runs)
    assert [len(run) for run in runs] == [SIZE_BYTES, 200_000]
    assert frame is runs[1]
    assert fed(reader, framed(b"small"), 1 << 20, runs) == [b"small"]
    assert reader.expected == 0, "small ones come together"


def test_part_of_a_longer_run_is_not_kept_whole() -> None:
    """A view of some of a peer's bytes must not hold all of them."""
    reader = FrameReader(1 << 20)
    content = b"a" * 100_000
    stream = framed(content) + framed(content)[:-1]
    (frame,) = reader.feed(memoryview(stream))
    assert frame == content
    assert reader.held_bytes == len(stream) - len(frame) - SIZE_BYTES
    assert reader.feed(memoryview(b"a")) == [content]


@pytest.mark.parametrize("most", [1, 100])
def test_a_frame_that_trickles_in_holds_little_more_than_its_bytes(most: int) -> None:
    reader = FrameReader(1 << 30)
    stream = framed(bytes(LARGE_FRAME_BYTES + 1_000))[:-1]
    tracemalloc.start()
    try:
        fed(reader, stream, most, [])
        assert tracemalloc.get_traced_memory()[0] < 2 * len(stream)
    finally:
        tracemalloc.stop()
    assert reader.held_bytes == len(stream)


@pytest.mark.parametrize("size", [0, -1, -(1 << 31), FRAME_BYTES_MAX + 1, (1 << 31) - 1])
def test_a_size_that_no_frame_may_have_ends_the_connection(size: int) -> None:
    announced = size.to_bytes(4, "big", signed=True)
    with pytest.raises(FrameError):
        FrameReader(FRAME_BYTES_MAX).feed(memoryview(announced))
    reader = FrameReader(FRAME_BYTES_MAX)
    for byte in announced[:3]:
        assert reader.feed(memoryview(bytes([byte]))) == []
    with pytest.raises(FrameError):
        reader.feed(memoryview(announced[3:]))


def test_a_frame_of_the_largest_size_is_taken() -> None:
    content = bytes(FRAME_BYTES_MAX)
    assert FrameReader(FRAME_BYTES_MAX).feed(memoryview(framed(content))) == [content]


def test_an_announced_size_costs_no_memory() -> None:
    reader = FrameReader(1 << 30)
    tracemalloc.start()
    try:
        assert reader.feed(memoryview((1 << 30).to_bytes(4, "big") + bytes(100))) == []
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()
    assert reader.held_bytes == 104


@pytest.mark.parametrize("row", apis.BY_KEY.values(), ids=lambda row: row.name)
def test_the_header_of_a_request_of_ours_is_read_back(row: apis.ApiVersions) -> None:
    for version in range(row.version_min, row.version_max + 1):
        head = request_head(row.key, version, -5, "größe", body_bytes=4)
        assert int.from_bytes(head[:4], "big") == len(head) - 4 + 4
        header = RequestHeader(head[4:] + b"body")
        assert (header.key, header.version, header.correlation_id) == (row.key, version, -5)
        assert header.client_id == "größe"
        assert (head[4:] + b"body")[header.body_at :] == b"body"


@pytest.mark.parametrize(
    ("client_id", "read"),
    [
        (b"\xff\xff", None),
        (b"\xff\xfe", None),
        (b"\x00\x00", ""),
        (b"\x00\x03a\xffb", "a\ufffdb"),
    ],
)
def test_client_ids_are_read_as_kafka_reads_them(client_id: bytes, read: str | None) -> None:
    header = RequestHeader(b"\x00\x01\x00\x04\x00\x00\x00\x07" + client_id + b"body")
    assert header.client_id == read
    assert header.body_at == 8 + len(client_id)


def test_tags_of_a_header_are_skipped() -> None:
    header = RequestHeader(b"\x00\x01\x00\x0c\x00\x00\x00\x07\xff\xff\x01\x05\x02xybody")
    assert header.body_at == 15


@pytest.mark.parametrize("end", range(15))
def test_a_header_cut_short_is_malformed(end: int) -> None:
    with pytest.raises(Malformed):
        RequestHeader(b"\x00\x01\x00\x0c\x00\x00\x00\x07\x00\x01c\x01\x05\x01x"[:end])


def test_an_api_that_kafka_does_not_have_still_has_a_header() -> None:
    header = RequestHeader(b"\x03\xe7\x00\x00\x00\x00\x00\x07\xff\xff")
    assert (header.key, header.correlation_id, header.body_at) == (999, 7, 10)


@pytest.mark.parametrize(
    ("key", "version", "head"),
    [
        (FETCH, 11, b"\x00\x00\x00\x07\x00\x00\x00\x09"),
        (FETCH, 12, b"\x00\x00\x00\x08\x00\x00\x00\x09\x00"),
        (PRODUCE, 13, b"\x00\x00\x00\x08\x00\x00\x00\x09\x00"),
        (API_VERSIONS, 4, b"\x00\x00\x00\x07\x00\x00\x00\x09"),
    ],
)
def test_the_header_of_a_response(key: int, version: int, head: bytes) -> None:
    assert response_head(9, key, version, body_bytes=3) == head
    assert response_body_at(key, version, head[4:] + b"abc") == len(head) - 4
