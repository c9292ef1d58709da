"""A worker that a signal has stopped, under a real parent; and a worker whose parent hangs."""

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rawclient import RawClient, batch_of

import barnabas
from barnabas import supervisor, worker
from barnabas.adapters.processes import OsChild, OsProcesses
from barnabas.worker import ALIVE, WORK_MIN, Work, _say, work_done_s

PATIENCE = {"broker.heartbeat.interval.ms": 100, "broker.session.timeout.ms": 1_000}


def test_a_worker_that_is_stopped_is_replaced_and_its_records_are_there(tmp_path: Path) -> None:
    with barnabas.Cluster(2, tmp_path, config=PATIENCE, topics={"t": 2}) as cluster:
        leader = cluster.leader("t", 0)
        with RawClient(cluster.brokers[leader].address) as client:
            assert client.produce("t", batch_of([b"before"])).error_code == 0
        pid = cluster.brokers[leader].pid
        os.kill(pid, signal.SIGSTOP)
        cluster.wait_until(lambda cluster: leader in cluster.brokers and cluster.brokers[leader].pid != pid)
        with RawClient(cluster.brokers[leader].address) as client:
            assert client.produce("t", batch_of([b"after"])).base_offset == 1


def test_a_worker_goes_on_when_nobody_reads_what_it_says() -> None:
    heard, said = os.pipe()
    try:
        os.set_blocking(said, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(said, b"x" * 4096)
        os.set_blocking(said, True)
        _say(said, ALIVE)
        assert set(os.read(heard, 1 << 20)) == {ord("x")}
        _say(said, ALIVE)
        assert os.read(heard, 1 << 20) == b'{"event": "alive"}\n'
    finally:
        os.close(heard)
        os.close(said)


def test_a_start_says_that_it_goes_on_while_the_process_works_for_it() -> None:
    said: list[object] = []
    looks = [0.0, WORK_MIN, WORK_MIN * 1.5, WORK_MIN * 3]
    work = Work(1_000, said.append, lambda: looks.pop(0))

    class Passing(threading.Event):
        """Time passes at once, until nobody has looked for a while."""

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 1.0
            return not looks

    work._is_over = Passing()
    work._run()
    assert said == [ALIVE, ALIVE], "in the first second and in the third"


def test_a_slow_disk_is_work_though_the_processor_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 MB/s is."""
    usage = SimpleNamespace(ru_utime=1.0, ru_stime=0.5, ru_inblock=0, ru_oublock=0)
    monkeypatch.setattr(worker.resource, "getrusage", lambda who: usage)
    before_s = work_done_s()
    assert before_s == 1.5
    for name in ("ru_inblock", "ru_oublock"):
        setattr(usage, name, 1_000_000 // 512 + 50)
        assert work_done_s() - before_s >= WORK_MIN
        before_s = work_done_s()


def test_a_worker_that_works_for_its_start_says_so_and_says_it_no_more_once_it_is_over() -> None:
    said: list[object] = []
    work = Work(10, said.append)
    work.begin()
    while not said:
        sum(range(10_000))
    work.end()
    assert said == [ALIVE] * len(said)
    (thread,) = [each for each in threading.enumerate() if each.name == "barnabas-start"] or [None]
    if thread is not None:
        thread.join()


def test_a_worker_that_is_stopped_while_it_starts_is_killed_and_its_start_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP at once, long before it serves."""
    monkeypatch.setattr(supervisor, "STARTING_SILENT_MS", 1_000)
    start = OsProcesses.start

    def start_stopped(self: OsProcesses, *args: Any) -> OsChild:
        child = start(self, *args)
        os.kill(child.pid, signal.SIGSTOP)
        return child

    monkeypatch.setattr(OsProcesses, "start", start_stopped)
    with (
        pytest.raises(barnabas.BrokerError, match="it hung while it started"),
        barnabas.Cluster(2, tmp_path, config=PATIENCE),
    ):
        pass
