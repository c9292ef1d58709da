"""Disks that fail or fill up under a running broker.

Whatever breaks: the error is KAFKA_STORAGE_ERROR, the broker and its other partitions go on, the partition comes back
by itself, a producer that repeats its batch loses and doubles nothing, and a restart finds what was acknowledged. Where only the
journal cannot be written, nobody is told of an error: the files are synced themselves.
"""

import errno
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process import BrokerProcess
from rawclient import RawClient, batch_of
from test_kill import read_all

from barnabas.adapters.files import RING_WRITE_BYTES, OsFiles
from barnabas.log.journal import JOURNAL, read_rounds
from barnabas.wire.messages import init_producer_id
from direct_probe import open_ring_or_skip, skip_without_direct_writes

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

STORAGE_ERROR = 56
TRIES = 400
VALUES = 30
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the shim cannot be built")
    built = tmp_path_factory.mktemp("shim") / f"shim{sysconfig.get_config_var('SHLIB_SUFFIX')}"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(
        [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True
    )
    return built


def shimmed(shim: Path, *plans: str) -> dict[str, str]:
    return {"LD_PRELOAD": str(shim), "BARNABAS_SHIM": " ".join(plans)}


def failures(broker: BrokerProcess) -> list[str]:
    """The kind of each, as the shim tells them."""
    return [line.split()[1] for line in broker.lines if line.startswith("shim:")]


class Persistent:
    """An idempotent producer by hand that repeats each batch until it is acknowledged. records: in each batch."""

    def __init__(self, client: RawClient, topic: str, records: int = 1) -> None:
        self.client = client
        self.topic = topic
        self.records = records
        self.refused: list[int] = []
        self.offsets: list[int] = []
        ask = init_producer_id.InitProducerIdRequest(transactional_id=None, producer_id=-1, producer_epoch=-1)
        answer = client.call(init_producer_id, ask, 4)
        assert answer.error_code == 0
        self._id, self._epoch = answer.producer_id, answer.producer_epoch

    def batch(self, number: int) -> bytes:
        return batch_of(
            [number.to_bytes(8, "big")] * self.records,
            producer_id=self._id,
            producer_epoch=self._epoch,
            base_sequence=number * self.records,
        )

    def send(self, number: int) -> None:
        for _ in range(TRIES):
            answer = self.client.produce(self.topic, self.batch(number))
            if answer.error_code == 0:
                self.offsets.append(answer.base_offset)
                return
            self.refused.append(answer.error_code)
            time.sleep(0.02)
        raise AssertionError(f"the partition stays offline: {self.refused[-1]}")

    def send_until(self, reached: Callable[[], bool]) -> None:
        for _ in range(TRIES):
            if reached():
                return
            self.send(len(self.offsets))
            time.sleep(0.01)
        raise AssertionError("not reached")

    def expected(self) -> list[tuple[int, int]]:
        """(offset, value) of all that the log should have, and where each was said to be."""
        end = len(self.offsets) * self.records
        assert self.offsets == list(range(0, end, self.records))
        return [(at, at // self.records) for at in range(end)]


def log_of(bootstrap: str, topic: str) -> list[tuple[int, int]]:
    return read_all(bootstrap, topic, 0)


PLANS = [
    (durability, kind, code, first, times)
    for durability, kind in (("cache", "write"), ("sync", "write"), ("sync", "sync"), ("sync", "rename"))
    for code in (errno.EIO, errno.ENOSPC)
    for first, times in ((1, 1), (3, 3))
    if kind != "rename" or first == 1
]


@pytest.mark.parametrize(("durability", "kind", "code", "first", "times"), PLANS)
def test_the_nth_call_fails(
    tmp_path: Path, shim: Path, durability: str, kind: str, code: int, first: int, times: int
) -> None:
    environment = shimmed(shim, f"{kind}:{code}:{first}:{times}:{tmp_path}/broken-0")
    setting = f"barnabas.durability={durability}"
    with BrokerProcess(tmp_path, setting, environment=environment) as broker:
        with RawClient(broker.bootstrap) as client:
            client.create_topic("whole")
            assert client.produce("whole", batch_of([bytes(8)])).error_code == 0
            client.create_topic("broken")
            producer = Persistent(client, "broken")
            for number in range(VALUES):
                refused = len(producer.refused)
                producer.send(number)
                if len(producer.refused) > refused:
                    assert client.produce("whole", batch_of([bytes(8)])).error_code == 0
                    assert log_of(broker.bootstrap, "whole")
            assert broker.lives()
            assert failures(broker), "nothing was broken"
            assert set(producer.refused) <= {STORAGE_ERROR}
            assert producer.refused or kind == "rename", "a failed write or sync was acknowledged"
            expected = producer.expected()
            assert log_of(broker.bootstrap, "broken") == expected
        broker.kill()
    with BrokerProcess(tmp_path, setting) as again:
        assert log_of(again.bootstrap, "broken") == expected


# -- a journal that cannot be written, where the kernel does that for no thread (direct_writes.py)
#
# Always the first round: after it, a slow disk may send the next ones to threads.

FROZEN = "the journal is frozen"
THAWED = "the journal is in use again"


@pytest.fixture(scope="module")
def direct_writes(tmp_path_factory: pytest.TempPathFactory) -> None:
    ring = open_ring_or_skip(str(tmp_path_factory.mktemp("probe") / JOURNAL), RING_WRITE_BYTES)
    skip_without_direct_writes(ring)


def synced(folder: Path, *plans: str, shim: Path) -> BrokerProcess:
    """A broker whose journal is made after its first sync."""
    return BrokerProcess(
        folder,
        "barnabas.durability=sync",
        "barnabas.journal.bytes=1048576",
        environment=shimmed(shim, *plans),
    )


def has_told(broker: BrokerProcess, sentence: str) -> bool:
    return any(sentence in line for line in broker.lines)


def cut_off_the_power(broker: BrokerProcess, folder: Path) -> None:
    """A SIGKILL, and what no file had been synced for is lost: all that came since the first entry that the journal has of it.
    There was no checkpoint: the journal has room for more.
    """
    broker.kill()
    begins: dict[str, int] = {}
    for entries in read_rounds(OsFiles().open(str(folder / JOURNAL))):
        for entry in entries:
            begins.setdefault(entry.path, entry.position)
    assert any(path.startswith("broken-0/") for path in begins), "nothing went by the journal"
    for path, begin in begins.items():
        os.truncate(folder / path, begin)


@pytest.mark.usefixtures("direct_writes")
@pytest.mark.parametrize("records", [1, 600])
@pytest.mark.parametrize(
    ("kind", "code"), [("submit", errno.EAGAIN), ("submit", errno.EINVAL), ("end", errno.EAGAIN), ("end", 0)]
)
def test_a_write_that_the_kernel_did_not_do_is_done_by_a_thread(
    tmp_path: Path, shim: Path, kind: str, code: int, records: int
) -> None:
    """Refused as it is given, or later, or cut short: of 600 records, in three blocks, after the first."""
    with synced(tmp_path, f"{kind}:{code}:1:1:{tmp_path}/{JOURNAL}", shim=shim) as broker:
        with RawClient(broker.bootstrap) as client:
            client.create_topic("broken")
            producer = Persistent(client, "broken", records)
            producer.send_until(lambda: failures(broker) == [kind])
            for _ in range(5):
                producer.send(len(producer.offsets))
            assert producer.refused == []
            assert not has_told(broker, FROZEN)
        cut_off_the_power(broker, tmp_path)
    with synced(tmp_path, shim=shim) as again:
        assert log_of(again.bootstrap, "broken") == producer.expected()


@pytest.mark.usefixtures("direct_writes")
@pytest.mark.parametrize("records", [1, 600])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_write_of_the_journal_that_fails_is_made_good_by_syncs(
    tmp_path: Path, shim: Path, code: int, records: int
) -> None:
    with synced(tmp_path, f"end:{code}:1:1:{tmp_path}/{JOURNAL}", shim=shim) as broker:
        with RawClient(broker.bootstrap) as client:
            client.create_topic("broken")
            producer = Persistent(client, "broken", records)
            producer.send_until(lambda: has_told(broker, FROZEN))
            assert failures(broker) == ["end"]
            producer.send_until(lambda: has_told(broker, THAWED))
            for _ in range(5):
                producer.send(len(producer.offsets))
            assert producer.refused == []
            assert log_of(broker.bootstrap, "broken") == producer.expected()
        cut_off_the_power(broker, tmp_path)
    with synced(tmp_path, shim=shim) as again:
        assert log_of(again.bootstrap, "broken") == producer.expected()


@pytest.mark.usefixtures("direct_writes")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_write_of_the_journal_that_fails_and_the_sync_instead_of_it_are_told(
    tmp_path: Path, shim: Path, code: int
) -> None:
    plans = f"end:{code}:1:1:{tmp_path}/{JOURNAL}", f"sync:{code}:1:1:{tmp_path}/broken-0"
    with synced(tmp_path, *plans, shim=shim) as broker:
        with RawClient(broker.bootstrap) as client:
            client.create_topic("whole")
            client.create_topic("broken")
            producer = Persistent(client, "broken")
            producer.send_until(lambda: bool(producer.refused))
            assert failures(broker) == ["end", "sync"]
            assert client.produce("whole", batch_of([bytes(8)])).error_code == 0
            producer.send(len(producer.offsets))
            assert set(producer.refused) == {STORAGE_ERROR}
            assert log_of(broker.bootstrap, "broken") == producer.expected()
        broker.kill()
    with synced(tmp_path, shim=shim) as again:
        assert log_of(again.bootstrap, "broken") == producer.expected()


# -- a file system that is really full


class SmallDisk:
    """A tmpfs in a mount namespace of its own, held open by a process that does nothing."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        script = f'mount -t tmpfs -o size={mebibytes}m tmpfs "$0" && echo mounted && exec sleep 170'
        self._holder = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", script, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        self.mounted = self._holder.stdout.readline().strip() == "mounted"
        self.prefix = ["nsenter", "-t", str(self._holder.pid), "-U", "-m", "--preserve-credentials"]
        self._filler = Path(f"/proc/{self._holder.pid}/root{folder}/filler")

    def fill(self) -> None:
        """Take every byte that is left."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (MEBIBYTE, 4096):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self) -> None:
        self._filler.unlink()

    def release(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("no unshare and nsenter: a small file system cannot be made")
    disk = SmallDisk(tmp_path, 96)
    try:
        if not disk.mounted:
            pytest.skip("user namespaces may not mount here")
        yield disk
    finally:
        disk.release()


@pytest.mark.parametrize("durability", ["cache", "sync"])
def test_a_full_disk_refuses_writes_and_serves_reads(
    tmp_path: Path, small_disk: SmallDisk, durability: str
) -> None:
    setting = f"barnabas.durability={durability}"
    acknowledged: list[int] = []
    with BrokerProcess(tmp_path, setting, prefix=small_disk.prefix) as broker:
        with RawClient(broker.bootstrap) as client:
            client.create_topic("filled")
            for number in range(5):
                assert client.produce("filled", batch_of([number.to_bytes(8, "big")])).error_code == 0
                acknowledged.append(number)
            small_disk.fill()
            number, code = until_refused(client, small_disk, acknowledged)
            assert code == STORAGE_ERROR
            assert broker.lives()
            until_readable(broker.bootstrap, acknowledged)
            small_disk.free()
            answer = until_taken(client, number)
            acknowledged.append(number)
            assert answer == len(acknowledged) - 1
            assert log_of(broker.bootstrap, "filled") == list(enumerate(acknowledged))
        broker.kill()
    with BrokerProcess(tmp_path, setting, prefix=small_disk.prefix) as again:
        assert log_of(again.bootstrap, "filled") == list(enumerate(acknowledged))


def until_refused(client: RawClient, disk: SmallDisk, acknowledged: list[int]) -> tuple[int, int]:
    """Write on until the page that is begun and the ballast that is dropped are used up."""
    for _ in range(TRIES * 10):
        number = len(acknowledged)
        answer = client.produce("filled", batch_of([number.to_bytes(8, "big")]))
        if answer.error_code:
            disk.fill()
            return number, answer.error_code
        acknowledged.append(number)
    raise AssertionError("a full disk takes everything")


def until_readable(bootstrap: str, acknowledged: list[int]) -> None:
    """The partition may be offline for the moment of its re-opening."""
    for _ in range(TRIES):
        try:
            assert log_of(bootstrap, "filled") == list(enumerate(acknowledged))
            return
        except AssertionError:
            time.sleep(0.05)
    assert log_of(bootstrap, "filled") == list(enumerate(acknowledged))


def until_taken(client: RawClient, number: int) -> int:
    for _ in range(TRIES):
        answer = client.produce("filled", batch_of([number.to_bytes(8, "big")]))
        if answer.error_code == 0:
            offset: int = answer.base_offset
            return offset
        assert answer.error_code == STORAGE_ERROR
        time.sleep(0.05)
    raise AssertionError("space is free again and the partition stays offline")
