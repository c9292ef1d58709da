"""Requests make no cycles: `serve` lets the collector look rarely, so a cycle would hold megabytes of frames for a long time."""

import gc

from rawclient import RawClient, batch_of

import barnabas
from barnabas.server.dispatch import Request
from barnabas.wire.messages import fetch
from barnabas.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic

REQUESTS = 50


def live() -> int:
    return sum(1 for each in gc.get_objects() if isinstance(each, Request))


def test_nothing_is_left_of_requests_that_were_answered(broker: barnabas.Broker, client: RawClient) -> None:
    """Produce is parked until its batch is committed, this Fetch until its time is over."""
    part = FetchPartition(0, fetch_offset=0, partition_max_bytes=1 << 20)
    waiting = FetchRequest(max_wait_ms=1, min_bytes=1 << 30, topics=[FetchTopic("plain", partitions=[part])])
    assert client.produce("plain", batch_of([b"first"])).error_code == 0
    gc.collect()
    before = live()
    gc.disable()
    try:
        for _ in range(REQUESTS):
            assert client.produce("plain", batch_of([b"x"])).error_code == 0
            client.call(fetch, waiting, 11)
        assert live() - before < 5
    finally:
        gc.enable()
