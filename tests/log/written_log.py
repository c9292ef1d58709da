"""Logs on both kinds of files, written as a committer would."""

from collections.abc import Sequence

from barnabas.config.effective import BrokerOptions, topic_options
from barnabas.log.log import Log
from barnabas.log.segment import OpenFiles
from barnabas.log.times import Found, Search
from barnabas.ports import Files
from barnabas.records.batch import read_header
from barnabas.records.record import Record, build_batch
from barnabas.wire.primitives import join

TOPIC_ID = bytes(range(16))
NOW_MS = 1_700_000_000_000


class Disk:
    """One data folder, and logs in it that may be opened again and again."""

    def __init__(self, files: Files, root: str) -> None:
        self.files = files
        self.root = root
        self.files.make_folder(root)

    def log(
        self,
        *,
        clean: bool = False,
        recovery_point: int = 0,
        log_start_offset: int = 0,
        **overrides: object,
    ) -> Log:
        options = topic_options(
            {name.replace("_", "."): str(value) for name, value in overrides.items()}, BrokerOptions({})
        )
        log = Log(OpenFiles(self.files, 8), f"{self.root}/t-0", "t", 0, TOPIC_ID, options)
        log.load(NOW_MS, clean=clean, recovery_point=recovery_point, log_start_offset=log_start_offset)
        return log

    def path(self, name: str) -> str:
        return f"{self.root}/t-0/{name}"

    def content(self, name: str = "00000000000000000000.log") -> bytes:
        return self.files.read_all(self.path(name))

    def overwrite(self, content: bytes, name: str = "00000000000000000000.log") -> None:
        file = self.files.open(self.path(name))
        file.truncate(0)
        file.write(0, [content])
        file.close()


def append(
    log: Log, values: Sequence[bytes], *, epoch: int = 1, timestamp: int = NOW_MS, **batch: object
) -> int:
    """One batch of these values, written at once; returns its base offset."""
    content = build_batch([Record(None, value, timestamp) for value in values], **batch)  # type: ignore[arg-type]
    base_offset = log.end_offset
    write = log.append(read_header(content, 0), content, 0, epoch, NOW_MS)
    log.do_chores()
    write.file.write(write.position, [write.head, write.body])
    return base_offset


def rolled(log: Log) -> None:
    """A new file begins, under the epoch that there is."""
    log.begin_anew(NOW_MS, -1)
    log.do_chores()


def located(log: Log, offset: int, max_bytes: int, upto: int, *, min_one: bool = True) -> bytes:
    """What a reader of that offset gets."""
    piece = log.locate(offset, max_bytes, upto_offset=upto, min_one=min_one)
    return b"" if piece is None else join([piece])


def searched(search: Search) -> Found | None:
    """Its threads' work done here."""
    try:
        look = next(search)
        while True:
            look = search.send(look())
    except StopIteration as end:
        found: Found | None = end.value
        return found


def everything(log: Log, upto: int | None = None) -> bytes:
    """All bytes a reader gets, fetch by fetch."""
    upto = log.end_offset if upto is None else upto
    parts, offset = [], log.log_start_offset
    while offset < upto:
        content = located(log, offset, 1 << 20, upto)
        assert content, f"nothing at {offset}"
        parts.append(content)
        at = 0
        while at < len(content):
            header = read_header(content, at)
            offset = header.next_offset
            at += header.size
    return b"".join(parts)
