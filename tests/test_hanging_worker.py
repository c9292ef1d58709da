"""A worker that a signal has stopped, under a real parent; and a worker whose parent hangs."""

import os
import signal
from pathlib import Path

import pytest
from rawclient import RawClient, batch_of

import barnabas
from barnabas.worker import ALIVE, _say

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
