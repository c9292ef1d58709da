"""Every codec: round trips, the shape that other clients can read, and bounds that neither cut nor burst."""

import random
import tracemalloc

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabas.records.compression import (
    GZIP,
    LZ4,
    NONE,
    SNAPPY,
    XERIAL_HEAD,
    XERIAL_MAGIC,
    ZSTD,
    CannotDecompress,
    compress,
    decompress,
)

CODECS = [NONE, GZIP, SNAPPY, LZ4, ZSTD]
STREAMS = [GZIP, LZ4, ZSTD]
LZ4_FLAGS_AT = 4
BLOCKS_STAND_ALONE = 0x20
MIB = 1 << 20

WORDS = [random.Random(1).randbytes(7) for _ in range(300)]
MIXED = b"".join(random.Random(2).choices(WORDS, k=40_000))
CONTENTS = {"empty": b"", "short": b"x" * 100, "dense": b"x" * 100_000, "mixed": MIXED}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_compressed_comes_back(codec: int, name: str) -> None:
    assert decompress(codec, compress(codec, CONTENTS[name])) == CONTENTS[name]


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=2000), codec=st.sampled_from(CODECS))
def test_any_bytes_come_back(content: bytes, codec: int) -> None:
    assert decompress(codec, memoryview(compress(codec, content))) == content


@pytest.mark.parametrize(
    ("codec", "levels"), [(GZIP, range(-1, 10)), (LZ4, range(1, 18)), (ZSTD, [-7, -1, 0, 1, 3, 19])]
)
def test_every_level_is_taken(codec: int, levels: range) -> None:
    for level in levels:
        assert decompress(codec, compress(codec, MIXED[:20_000], level)) == MIXED[:20_000]


@pytest.mark.parametrize("name", CONTENTS)
def test_lz4_blocks_stand_alone(name: str) -> None:
    """Java's reader refuses a frame whose blocks refer to earlier ones."""
    assert compress(LZ4, CONTENTS[name])[LZ4_FLAGS_AT] & BLOCKS_STAND_ALONE


def test_linked_lz4_blocks_of_others_are_read() -> None:
    linked = bytes(cramjam.lz4.compress(MIXED))
    assert not linked[LZ4_FLAGS_AT] & BLOCKS_STAND_ALONE
    assert decompress(LZ4, linked) == MIXED


@pytest.mark.parametrize("codec", CODECS[1:])
@pytest.mark.parametrize("name", ["short", "dense", "mixed"])
def test_the_limit_is_exact(codec: int, name: str) -> None:
    content = CONTENTS[name]
    packed = compress(codec, content)
    for limit in (len(content), len(content) + 1):
        assert decompress(codec, packed, limit) == content
    for limit in (0, 1, len(content) // 2, len(content) - 1):
        with pytest.raises(CannotDecompress):
            decompress(codec, packed, limit)


@pytest.mark.parametrize("codec", STREAMS)
@pytest.mark.parametrize("name", CONTENTS)
def test_members_in_a_row_are_one_content(codec: int, name: str) -> None:
    """gzip members and lz4 or zstd frames may follow each other: none may be dropped, whatever the buffer."""
    content = CONTENTS[name] + MIXED[:5000]
    packed = compress(codec, CONTENTS[name]) + compress(codec, MIXED[:5000])
    for limit in (len(content), len(content) + 1):
        assert decompress(codec, packed, limit) == content
    for limit in (len(CONTENTS[name]), len(content) - 1):
        with pytest.raises(CannotDecompress):
            decompress(codec, packed, limit)


@pytest.mark.parametrize("codec", CODECS[1:])
def test_cut_content_never_comes_back_short(codec: int) -> None:
    packed = compress(codec, MIXED[:3000])
    for size in range(len(packed)):
        if codec == SNAPPY and size == len(XERIAL_HEAD):
            continue  # a head without blocks is an empty content
        with pytest.raises(CannotDecompress):
            decompress(codec, packed[:size])


@pytest.mark.parametrize("codec", CODECS[1:])
def test_foreign_bytes_are_refused(codec: int) -> None:
    for content in (b"\xff" * 50, b"plain text, not compressed at all", bytes(64)):
        if codec == SNAPPY and not content[0]:
            content += b"\x01"
        with pytest.raises(CannotDecompress):
            decompress(codec, content)


@pytest.mark.parametrize("codec", STREAMS)
def test_a_bomb_stops_at_the_limit(codec: int) -> None:
    bomb = compress(codec, bytes(16 << 20))
    with pytest.raises(CannotDecompress):
        decompress(codec, bomb, 1 << 20)


@pytest.mark.parametrize("codec", CODECS[1:])
@pytest.mark.parametrize("size", [MIB - 1, 16 * MIB])
def test_memory_is_bounded_by_the_limit(codec: int, size: int) -> None:
    """The buffer, and a copy of what is in it: never more, whatever the content grows to."""
    packed = memoryview(compress(codec, bytes(size)))
    tracemalloc.start()
    try:
        decompress(codec, packed, MIB)
    except CannotDecompress:
        assert size > MIB
    else:
        assert size < MIB
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * MIB + 2 * len(packed) + 100_000


def test_a_snappy_block_is_judged_by_the_size_it_announces() -> None:
    with pytest.raises(CannotDecompress):
        decompress(SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\x00" * 10)


def test_snappy_blocks_share_one_limit() -> None:
    packed = compress(SNAPPY, bytes(200_000))
    assert packed.startswith(XERIAL_MAGIC)
    assert decompress(SNAPPY, packed, 200_000) == bytes(200_000)
    with pytest.raises(CannotDecompress):
        decompress(SNAPPY, packed, 199_999)


def test_a_raw_snappy_block_is_read() -> None:
    assert decompress(SNAPPY, bytes(cramjam.snappy.compress_raw(MIXED))) == MIXED


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_unknown_codecs_are_refused(codec: int) -> None:
    with pytest.raises(CannotDecompress):
        decompress(codec, b"x")
