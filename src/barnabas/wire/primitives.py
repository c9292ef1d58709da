"""The primitive types of the Kafka protocol over `bytes`.

Integers are big-endian. A classic string or byte run has an int16 or int32 length, -1 for null; a compact one (KIP-482)
an unsigned varint of length + 1, 0 for null; arrays count the same ways. A tagged section is a count of
(tag, size, content) in rising order of tags; a reader skips tags it does not know.

Every reader takes (content, at) and returns (value, next at). Reading past the end raises IndexError, which the
decoder of a whole message turns into Malformed; lengths are checked against what is left before anything is allocated.
Source: the Kafka protocol guide, KIP-482.
"""

from collections.abc import Generator
from typing import Any, Final, TypeVar

from librt.strings import (
    BytesWriter,
    read_i16_be,
    read_i32_be,
    write_i16_be,
    write_i32_be,
)
from mypy_extensions import i64, mypyc_attr

from barnabas.ports import FileRange, Piece

Made = TypeVar("Made")
STRING_BYTES_MAX: Final = 32767
VARINT_BYTES_MAX: Final = 5
UUID_BYTES: Final = 16


class Malformed(ValueError):
    """The peer's bytes are no message of the version they claim to be."""


def field_names(kind: type) -> tuple[str, ...]:
    """The fields of a class of data, in their order; a compiled class keeps no __slots__."""
    slots: tuple[str, ...] | None = kind.__dict__.get("__slots__")
    if slots is not None:
        return slots
    compiled: tuple[str, ...] = kind.__mypyc_attrs__  # type: ignore[attr-defined]
    return tuple([name for name in compiled if not name.startswith("__")])


def at_once(steps: Generator[None, None, Made]) -> Made:
    """What steps make, without the pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Made = end.value
            return made


@mypyc_attr(allow_interpreted_subclasses=True)
class Message:
    """What all generated classes share: equality by fields and a readable form."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in field_names(type(self)))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in field_names(type(self))])
        return f"{type(self).__name__}({fields})"


@mypyc_attr(free_list_len=1)
class Records:
    """A set of record batches: a run of an owned frame, or a range of a file that will be sent."""

    __slots__ = ("content", "planned", "size", "start")

    start: i64
    size: i64

    def __init__(
        self, content: bytes = b"", start: i64 = 0, size: i64 = -1, planned: FileRange | None = None
    ) -> None:
        self.content = content
        self.start = start
        self.size = len(content) - start if size < 0 else size
        self.planned = planned

    def to_bytes(self) -> bytes:
        """All bytes of it; reads files."""
        if self.planned is not None:
            return join([self.planned])
        if self.size == len(self.content):
            return self.content
        return self.content[self.start : self.start + self.size]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Records({self.size} bytes)"


def join(pieces: list[Piece]) -> bytes:
    """What the pieces stand for, as one run of bytes; reads files."""
    return b"".join(
        piece.file.read(piece.position, piece.size) if isinstance(piece, FileRange) else piece
        for piece in pieces
    )


NO_ITEMS: Final[list[Any]] = []
"""Stands for "not given" where None means null, and for a list that most often stays empty. Never changed."""


# -- varints


def read_uvarint(content: bytes, at: i64) -> tuple[i64, i64]:
    """An unsigned varint of at most 32 bits."""
    value: i64 = content[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift: i64 = 7
    for _nth in range(VARINT_BYTES_MAX - 1):
        byte: i64 = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFF, at
        shift += 7
    raise Malformed("a varint is longer than 5 bytes")


def write_uvarint(out: BytesWriter, value: int) -> None:
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)


def read_i8(content: bytes, at: i64) -> int:
    value = content[at]
    return value - 256 if value > 127 else value


def write_i8(out: BytesWriter, value: int) -> None:
    out.append(value & 0xFF)


def read_u16(content: bytes, at: i64) -> int:
    value: int = read_i16_be(content, at)  # an int of its own: the mask does not fit into 16 bits with a sign
    return value & 0xFFFF


def write_u16(out: BytesWriter, value: int) -> None:
    write_i16_be(out, value - 0x10000 if value > 0x7FFF else value)


def read_u32(content: bytes, at: i64) -> int:
    value: int = read_i32_be(content, at)
    return value & 0xFFFFFFFF


def write_u32(out: BytesWriter, value: int) -> None:
    write_i32_be(out, value - 0x100000000 if value > 0x7FFFFFFF else value)


# -- runs of bytes


def slice_of(content: bytes, at: i64, size: i64) -> bytes:
    """size bytes from at; raises Malformed when they are not there."""
    end = at + size
    if end > len(content):
        raise Malformed(f"{size} bytes announced, {len(content) - at} left")
    return content[at:end]


def read_uuid(content: bytes, at: i64) -> tuple[bytes, i64]:
    return slice_of(content, at, UUID_BYTES), at + UUID_BYTES


def write_uuid(out: BytesWriter, value: bytes) -> None:
    if len(value) != UUID_BYTES:
        raise ValueError(f"a uuid has 16 bytes, not {len(value)}")
    out.write(value)


def not_null(size: i64) -> i64:
    if size < 0:
        raise Malformed("null where the protocol has no null")
    return size


def text_of(content: bytes) -> str:
    """UTF-8; what is not becomes replacement characters, as Java reads it."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace")


def read_string(content: bytes, at: i64) -> tuple[str, i64]:
    size: int = read_i16_be(content, at)
    at += 2
    end = at + size
    if size < 0 or end > len(content):
        raise Malformed(f"a string of {size} bytes, {len(content) - at} left")
    return text_of(content[at:end]), end


def read_nullable_string(content: bytes, at: i64) -> tuple[str | None, i64]:
    if content[at] >= 0x80:
        content[at + 1]  # null is any negative length, but both its bytes must be there
        return None, at + 2
    return read_string(content, at)


def read_compact_string(content: bytes, at: i64) -> tuple[str, i64]:
    size: i64 = content[at]
    at += 1
    if size >= 0x80:
        size, at = read_uvarint(content, at - 1)
    end = at + size - 1
    if size == 0 or size > STRING_BYTES_MAX + 1 or end > len(content):
        raise Malformed(f"a string of {size - 1} bytes, {len(content) - at} left")
    return text_of(content[at:end]), end


def read_compact_nullable_string(content: bytes, at: i64) -> tuple[str | None, i64]:
    if content[at] == 0:
        return None, at + 1
    return read_compact_string(content, at)


def encoded(value: str) -> bytes:
    content = value.encode("utf-8")
    if len(content) > STRING_BYTES_MAX:
        raise ValueError(f"a string of {len(content)} bytes; the protocol allows {STRING_BYTES_MAX}")
    return content


def write_string(out: BytesWriter, value: str | None) -> None:
    if value is None:
        write_i16_be(out, -1)
        return
    content = encoded(value)
    write_i16_be(out, len(content))
    out.write(content)


def write_compact_string(out: BytesWriter, value: str | None) -> None:
    if value is None:
        out.append(0)
        return
    content = value.encode()
    size = len(content)
    if size < 0x7F:
        out.append(size + 1)
    else:
        if size > STRING_BYTES_MAX:
            raise ValueError(f"a string of {size} bytes; the protocol allows {STRING_BYTES_MAX}")
        write_uvarint(out, size + 1)
    out.write(content)


def read_bytes(content: bytes, at: i64) -> tuple[bytes, i64]:
    announced: int = read_i32_be(content, at)
    size = not_null(announced)
    at += 4
    return slice_of(content, at, size), at + size


def read_nullable_bytes(content: bytes, at: i64) -> tuple[bytes | None, i64]:
    size: int = read_i32_be(content, at)
    at += 4
    if size < 0:
        return None, at
    return slice_of(content, at, size), at + size


def read_compact_bytes(content: bytes, at: i64) -> tuple[bytes, i64]:
    size, at = read_uvarint(content, at)
    size = not_null(size - 1)
    return slice_of(content, at, size), at + size


def read_compact_nullable_bytes(content: bytes, at: i64) -> tuple[bytes | None, i64]:
    size, at = read_uvarint(content, at)
    if size == 0:
        return None, at
    return slice_of(content, at, size - 1), at + size - 1


def write_bytes(out: BytesWriter, value: bytes | None) -> None:
    if value is None:
        write_i32_be(out, -1)
        return
    write_i32_be(out, len(value))
    out.write(value)


def write_compact_bytes(out: BytesWriter, value: bytes | None) -> None:
    if value is None:
        out.append(0)
        return
    write_uvarint(out, len(value) + 1)
    out.write(value)


# -- records


def read_records(content: bytes, at: i64) -> tuple[Records | None, i64]:
    size: int = read_i32_be(content, at)
    at += 4
    if size < 0:
        return None, at
    if at + size > len(content):
        raise Malformed(f"{size} bytes of records announced, {len(content) - at} left")
    return Records(content, at, size), at + size


def read_compact_records(content: bytes, at: i64) -> tuple[Records | None, i64]:
    size: i64 = content[at]
    at += 1
    if size >= 0x80:
        size, at = read_uvarint(content, at - 1)
    if size == 0:
        return None, at
    end = at + size - 1
    if end > len(content):
        raise Malformed(f"{size - 1} bytes of records announced, {len(content) - at} left")
    return Records(content, at, size - 1), end


def write_records(out: BytesWriter, value: Records | None, parts: list[Piece] | None, compact: bool) -> None:
    """The length goes to out. So do the records, but for a range of a file: there out is cut, and goes to parts with the range
    behind it.
    """
    size: int = -1 if value is None else value.size
    if compact:
        write_uvarint(out, size + 1)
    else:
        write_i32_be(out, size)
    if value is None:
        return
    if parts is None or value.planned is None:
        out.write(value.to_bytes())
    else:
        parts.append(out.getvalue())
        out.truncate(0)
        parts.append(value.planned)


# -- counts of arrays


def read_count(content: bytes, at: i64, item_bytes_min: i64) -> tuple[i64, i64]:
    """The count of an array that may not be null; at most what the bytes left could hold."""
    count, at = read_nullable_count(content, at, item_bytes_min)
    return not_null(count), at


def read_nullable_count(content: bytes, at: i64, item_bytes_min: i64) -> tuple[i64, i64]:
    count: int = read_i32_be(content, at)
    at += 4
    if count * item_bytes_min > len(content) - at:
        raise Malformed(f"{count} items announced, {len(content) - at} bytes left")
    return (count if count > -1 else -1), at


def read_compact_count(content: bytes, at: i64, item_bytes_min: i64) -> tuple[i64, i64]:
    count: i64 = content[at]
    at += 1
    if count >= 0x80:
        count, at = read_uvarint(content, at - 1)
    count -= 1
    if count < 0 or count * item_bytes_min > len(content) - at:
        raise Malformed(f"{count} items announced, {len(content) - at} bytes left")
    return count, at


def read_compact_nullable_count(content: bytes, at: i64, item_bytes_min: i64) -> tuple[i64, i64]:
    count, at = read_uvarint(content, at)
    count -= 1
    if count * item_bytes_min > len(content) - at:
        raise Malformed(f"{count} items announced, {len(content) - at} bytes left")
    return count, at


def write_count(out: BytesWriter, count: int) -> None:
    write_i32_be(out, count)


def write_compact_count(out: BytesWriter, count: int) -> None:
    """count -1 stands for null."""
    if count < 0x7F:
        out.append(count + 1)
    else:
        write_uvarint(out, count + 1)


# -- tagged sections


def skip_tags(content: bytes, at: i64) -> i64:
    """Where the bytes behind a tagged section begin, when none of its tags is known."""
    count, at = read_uvarint(content, at)
    for _nth in range(count):
        _tag, at = read_uvarint(content, at)
        size, at = read_uvarint(content, at)
        at += size
        if at > len(content):
            raise Malformed("a tagged field runs past the end")
    return at


def tag_end(content: bytes, at: i64, size: i64) -> i64:
    """Where a tagged field of size bytes ends."""
    if at + size > len(content):
        raise Malformed("a tagged field runs past the end")
    return at + size


def write_tag(out: BytesWriter, tag: int, content: bytes) -> None:
    write_uvarint(out, tag)
    write_uvarint(out, len(content))
    out.write(content)
