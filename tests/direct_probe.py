"""Whether this machine writes a ring by native asynchronous I/O. Tests of it are skipped elsewhere."""

import os

import pytest

from barnabas.adapters.direct_writes import RWF_DSYNC, RWF_NOWAIT, Aio
from barnabas.adapters.files import OsFiles, OsRing

BLOCK_BYTES = 4096


def open_ring_or_skip(path: str, size: int) -> OsRing:
    made = OsFiles().open_ring(path, size)
    if made is None:
        pytest.skip("this file system has no O_DIRECT")
    assert isinstance(made, OsRing)
    return made


def skip_without_direct_writes(ring: OsRing) -> None:
    eventfd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        Aio(eventfd).close()
    except OSError as error:
        pytest.skip(f"no io_setup here: {error}")
    finally:
        os.close(eventfd)
    ring.write(0, [bytes(BLOCK_BYTES)])
    try:
        os.pwritev(ring.fileno(), [memoryview(ring.gathered)[:BLOCK_BYTES]], 0, RWF_DSYNC | RWF_NOWAIT)
    except OSError as error:
        pytest.skip(f"this file system writes no ring without waiting: {error}")
