"""The four codecs of the record format over cramjam, with a bound on what a peer's bytes may grow to.

gzip and zstd are their plain formats. lz4 is the frame format with independent blocks: Java reads no linked ones. snappy
comes in two shapes: xerial's framing, which Java writes (magic, two versions, then blocks with a big-endian length before
each), and one raw block, which others send.
"""

from typing import Final

import cramjam

NONE: Final = 0
GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4

XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
XERIAL_HEAD: Final = XERIAL_MAGIC + b"\x00\x00\x00\x01\x00\x00\x00\x01"
XERIAL_BLOCK_BYTES: Final = 32 * 1024
DEFAULT_LEVELS: Final = {GZIP: -1, LZ4: 9, ZSTD: 3}
EXPANDED_BYTES_MAX: Final = 128 * 1024 * 1024
FIRST_GUESS: Final = 8


class CannotDecompress(ValueError):
    """The bytes are not of the codec the batch names, or would grow beyond the limit."""


def compress(codec: int, content: bytes, level: int | None = None) -> bytes:
    """content in the shape Java writes for codec; level as in compression.*.level."""
    if codec == NONE:
        return content
    if codec == SNAPPY:
        blocks = [XERIAL_HEAD]
        for at in range(0, len(content), XERIAL_BLOCK_BYTES):
            block = bytes(cramjam.snappy.compress_raw(content[at : at + XERIAL_BLOCK_BYTES]))
            blocks += [len(block).to_bytes(4, "big"), block]
        return b"".join(blocks)
    level = DEFAULT_LEVELS[codec] if level is None else level
    if codec == GZIP:
        return bytes(cramjam.gzip.compress(content, level=6 if level < 0 else level))
    if codec == LZ4:
        return _lz4(content, level)
    if codec == ZSTD:
        return bytes(cramjam.zstd.compress(content, level=level))
    raise CannotDecompress(f"unknown codec {codec}")


def _lz4(content: bytes, level: int) -> bytes:
    """One frame whose blocks stand alone; the one-shot call of cramjam links them."""
    compressor = cramjam.lz4.Compressor(level=level, block_linked=False)
    compressor.compress(content)
    return bytes(compressor.finish())


def decompress(codec: int, content: bytes | memoryview, limit: int = EXPANDED_BYTES_MAX) -> bytes:
    """Raises CannotDecompress for foreign bytes and for what would exceed limit bytes."""
    if codec == NONE:
        return bytes(content)
    if codec == SNAPPY:
        return _snappy(bytes(content), limit)
    module = {GZIP: cramjam.gzip, LZ4: cramjam.lz4, ZSTD: cramjam.zstd}.get(codec)
    if module is None:
        raise CannotDecompress(f"unknown codec {codec}")
    return _bounded(module, content, limit)


def _bounded(module: object, content: bytes | memoryview, limit: int) -> bytes:
    """Into a buffer of a guessed size, made larger until it fits: the output can never outgrow the limit."""
    guess = max(len(content) * FIRST_GUESS, 4096)
    while True:
        room = bytearray(min(guess, limit))
        try:
            size = module.decompress_into(content, room)  # type: ignore[attr-defined]
        except cramjam.DecompressionError as error:
            if guess >= limit or not _is_full(error):
                raise CannotDecompress(str(error)) from None
            guess *= 8
            continue
        del room[size:]  # gives the rest back before the copy is made
        return bytes(room)


def _is_full(error: Exception) -> bool:
    """cramjam tells a full buffer by the text of its error alone; a test holds it to that for every codec."""
    return "failed to write whole buffer" in str(error)


def _snappy(content: bytes, limit: int) -> bytes:
    if not content.startswith(XERIAL_MAGIC):
        return _snappy_block(content, limit)
    out: list[bytes] = []
    at = len(XERIAL_HEAD)
    if len(content) < at:
        raise CannotDecompress("a snappy head is cut short")
    left = limit
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        at += 4
        if size == 0 or at + size > len(content):
            raise CannotDecompress("a snappy block runs past the end")
        block = _snappy_block(content[at : at + size], left)
        out.append(block)
        left -= len(block)
        at += size
    return b"".join(out)


def _snappy_block(block: bytes, limit: int) -> bytes:
    try:
        size = cramjam.snappy.decompress_raw_len(block)
        if size > limit:
            raise CannotDecompress(f"{size} bytes announced, {limit} allowed")
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise CannotDecompress(str(error)) from None
