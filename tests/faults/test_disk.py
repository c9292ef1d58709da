"""Disks that fail or fill up under a running broker.

Whatever breaks: the error is KAFKA_STORAGE_ERROR, the broker and its other partitions go on, the partition comes back
by itself, a producer that repeats its batch loses and doubles nothing, and a restart finds what was acknowledged.
"""

import errno
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from process import BrokerProcess
from rawclient import RawClient, batch_of
from test_kill import read_all

from barnabas.wire.messages import init_producer_id

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


class Persistent:
    """An idempotent producer by hand that repeats each batch until it is acknowledged."""

    def __init__(self, client: RawClient, topic: str) -> None:
        self.client = client
        self.topic = topic
        self.refused: list[int] = []
        self.offsets: list[int] = []
        ask = init_producer_id.InitProducerIdRequest(transactional_id=None, producer_id=-1, producer_epoch=-1)
        answer = client.call(init_producer_id, ask, 4)
        assert answer.error_code == 0
        self._id, self._epoch = answer.producer_id, answer.producer_epoch

    def batch(self, number: int) -> bytes:
        return batch_of(
            [number.to_bytes(8, "big")],
            producer_id=self._id,
            producer_epoch=self._epoch,
            base_sequence=number,
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
    environment = {
        "LD_PRELOAD": str(shim),
        "BARNABAS_SHIM": f"{kind}:{code}:{first}:{times}",
        "BARNABAS_SHIM_FOLDER": str(tmp_path / "broken-0"),
    }
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
            assert any(line.startswith("shim:") for line in broker.lines), "nothing was broken"
            assert set(producer.refused) <= {STORAGE_ERROR}
            assert producer.refused or kind == "rename", "a failed write or sync was acknowledged"
            expected = list(zip(range(VALUES), range(VALUES)))
            assert log_of(broker.bootstrap, "broken") == expected
            assert producer.offsets == list(range(VALUES))
        broker.kill()
    with BrokerProcess(tmp_path, setting) as again:
        assert log_of(again.bootstrap, "broken") == expected


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
