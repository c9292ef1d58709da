"""A produce load at a steady rate while a consumer reads a log that is in no page cache: who waits for the disk?"""

import errno
import os
import threading
from pathlib import Path

from . import requests
from .drive import drive
from .lag import lag_of
from .load import NOTHING, Limits, Load, LoadFailed, Taken
from .raw import KB, PARTITIONS, now_ms, with_topic
from .site import Figures, Measure, Site

BATCH_BYTES = 1_000_000
FETCH_BYTES = 1 << 20
RATE = 1000
PROBES = 64
GIVE_UP_S = 300.0


def _produce_beside_cold_reads(site: Site) -> Figures:
    """The load lasts as long as the reading of the whole log. alone_p99_us: the same load with nobody reading. cold_share:
    of the probed pages, those not in memory beforehand."""
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
        with lag_of(site.broker) as lag:
            reader.start()
            until = Limits(seconds=GIVE_UP_S, until=lambda: not reader.is_alive())
            try:
                beside = drive(site.broker, load, until)
            finally:
                reader.join()
        taken = reader.taken()
        return {
            "p50_us": beside.p50_us,
            "p99_us": beside.p99_us,
            "p999_us": beside.p999_us,
            "alone_p99_us": alone.p99_us,
            "read_gb": taken.answer_bytes / 1e9,
            "read_mb_s": taken.answer_bytes / 1e6 / taken.seconds,
            "cold_share": reader.cold_share,
            **lag.figures(),
        }

    return with_topic(site, PARTITIONS, body)


produce_beside_cold_reads = Measure(_produce_beside_cold_reads, seconds=16.0, kafka_seconds=18.0)


class Reader(threading.Thread):
    """Reads the topic once, from its beginning, after its pages have been dropped."""

    def __init__(self, site: Site, topic: str, batches: int) -> None:
        super().__init__(daemon=True)
        self._broker = site.broker
        files = list(site.broker.data_folder().glob(f"{topic}-*/*.log"))
        assert files, "the files of the cold log are not where they are looked for"
        content = b"".join(requests.fetch_request(topic, 0, FETCH_BYTES, offset) for offset in range(batches))
        self._load = Load([content], 1, requests.fetch_codes(topic), once=True)
        self._taken: Taken | LoadFailed = LoadFailed("the log was not read")
        os.sync()
        self.cold_share = make_cold(files)

    def run(self) -> None:
        try:
            self._taken = drive(self._broker, self._load, NOTHING)
        except LoadFailed as failure:
            self._taken = failure

    def taken(self) -> Taken:
        """After its end. Raises LoadFailed."""
        if isinstance(self._taken, LoadFailed):
            raise self._taken
        return self._taken


def make_cold(files: list[Path]) -> float:
    """Drops their pages, and the share of the probed ones that are not in memory then."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    shares = [cold_share(path) for path in files if path.stat().st_size]
    return sum(shares) / len(shares)


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
