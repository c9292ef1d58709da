"""What the log hands to a committer: bytes that have offsets and a place, and are not in the file yet."""

from mypy_extensions import i64

from barnabas.ports import File


class Write:
    """One batch: head (21 new bytes) and body (the untouched rest) go to file at position."""

    __slots__ = ("body", "end_offset", "file", "head", "position", "size")

    position: i64
    size: i64
    end_offset: i64

    def __init__(
        self, file: File, position: i64, head: bytes, body: bytes | memoryview, size: i64, end_offset: i64
    ) -> None:
        self.file = file
        self.position = position
        self.head = head
        self.body = body
        self.size = size
        self.end_offset = end_offset
