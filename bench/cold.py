"""A produce load at a steady rate while a consumer reads a log that is in no page cache: who waits for the disk?"""

import errno
import os
import threading
from pathlib import Path

from . import requests
from .drive import drive
from .load import NOTHING, Limits, Load, LoadFailed
from .raw import KB, PARTITIONS, now_ms, with_topic
from .site import Figures, Site

BATCH_BYTES = 1_000_000
FETCH_BYTES = 1 << 20
RATE = 1000
PROBES = 64


def produce_beside_cold_reads(site: Site) -> Figures:
    """alone_p99_us: the same load with nobody reading. cold_share: of the probed pages, those not in memory beforehand."""
    batches = max(site.scale.cold_bytes // BATCH_BYTES, 8)
    topic = site.topic("cold", 1)
    if site.once("filled cold"):
        filling = Load(
            [requests.produce_request(topic, 0, BATCH_BYTES, now_ms())], 2, requests.produce_codes(topic)
        )
        drive(site.broker, filling, Limits(requests=batches))

    def body(loaded: str) -> Figures:
        contents = [
            requests.produce_request(loaded, number % PARTITIONS, KB, now_ms()) for number in range(4)
        ]
        load = Load(contents, 64, requests.produce_codes(loaded), rate=RATE)
        alone = drive(site.broker, load, site.scale.counted, Limits(seconds=site.scale.warm_seconds))
        reader = Reader(site, topic, batches)
        reader.start()
        try:
            beside = drive(site.broker, load, site.scale.counted, NOTHING)
        finally:
            reader.stop()
        return {
            "p50_us": beside.p50_us,
            "p99_us": beside.p99_us,
            "p999_us": beside.p999_us,
            "alone_p99_us": alone.p99_us,
            "read_mb_s": reader.bytes / 1e6 / reader.seconds,
            "cold_share": reader.cold_share,
        }

    return with_topic(site, PARTITIONS, body)


class Reader(threading.Thread):
    """Reads the topic from its beginning, drops its pages, reads it again, until it is stopped."""

    def __init__(self, site: Site, topic: str, batches: int) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._files = [path for path in site.folder.rglob("*.log") if path.parent.name.startswith(topic)]
        assert self._files, "the files of the cold log are not where they are looked for"
        content = b"".join(requests.fetch_request(topic, 0, FETCH_BYTES, offset) for offset in range(batches))
        self._load = Load([content], 1, requests.fetch_codes(topic), once=True)
        self._stopped = threading.Event()
        self._failure: LoadFailed | None = None
        self.bytes, self.seconds = 0, 0.0
        os.sync()
        self.cold_share = self._make_cold()

    def _make_cold(self) -> float:
        for path in self._files:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        shares = [cold_share(path) for path in self._files if path.stat().st_size]
        return sum(shares) / len(shares)

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                taken = drive(self._site.broker, self._load, NOTHING)
            except LoadFailed as failure:
                self._failure = failure
                return
            self.bytes += taken.answer_bytes
            self.seconds += taken.seconds
            self._make_cold()

    def stop(self) -> None:
        """When the reading under way has ended."""
        self._stopped.set()
        self.join()
        if self._failure is not None:
            raise self._failure


def cold_share(path: Path) -> float:
    """A read that may not wait for the disk fails where a page is not in memory."""
    cold = 0
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        for number in range(PROBES):
            try:
                os.preadv(file.fileno(), [bytearray(1)], size * number // PROBES, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                cold += 1
    return cold / PROBES
