"""What the log hands to a committer: bytes that have offsets and a place, and are not in the file yet."""

from barnabas.ports import File


class Write:
    """One batch: head (21 new bytes) and body (the untouched rest) go to file at position."""

    __slots__ = ("body", "end_offset", "file", "head", "position", "size")

    def __init__(
        self, file: File, position: int, head: bytes, body: bytes | memoryview, size: int, end_offset: int
    ) -> None:
        self.file = file
        self.position = position
        self.head = head
        self.body = body
        self.size = size
        self.end_offset = end_offset
