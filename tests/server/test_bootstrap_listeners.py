"""Addresses that several brokers share: any of them answers there, and tells clients its own address."""

import pytest
from rawclient import RawClient

import barnabas
from barnabas.adapters.loop import AsyncLoop, new_event_loop
from barnabas.adapters.network import SocketNetwork
from barnabas.wire.messages import metadata

TRIES = 200


def advertised(bootstrap: str) -> set[tuple[str, int]]:
    with RawClient(bootstrap) as client:
        answer = client.call(metadata, metadata.MetadataRequest(topics=[]), 12)
        return {(broker.host, broker.port) for broker in answer.brokers}


def test_brokers_share_an_address_and_are_told_by_their_own() -> None:
    loop = AsyncLoop(new_event_loop())
    reserved = SocketNetwork(loop).reserve("127.0.0.1", 0)
    shared = f"127.0.0.1:{reserved.port}"
    config = {"barnabas.bootstrap.listeners": f"PLAINTEXT://{shared}"}
    with barnabas.Broker(config=config) as one, barnabas.Broker(config=config) as other:
        own = {("127.0.0.1", int(broker.bootstrap.rpartition(":")[2])) for broker in (one, other)}
        assert ("127.0.0.1", reserved.port) not in own
        told: set[tuple[str, int]] = set()
        for _ in range(TRIES):
            told |= advertised(shared)
            if told == own:
                break
        assert told == own
    reserved.close()
    loop.asyncio.close()


def test_a_bootstrap_address_that_is_taken_or_has_no_name_of_its_own_ends_the_start() -> None:
    with barnabas.Broker() as taken:
        config = {"barnabas.bootstrap.listeners": f"PLAINTEXT://{taken.bootstrap}"}
        with pytest.raises(barnabas.BrokerError, match="another process listens there"):
            barnabas.Broker(config=config).start()
    config = {
        "barnabas.bootstrap.listeners": "OTHER://127.0.0.1:0",
        "listener.security.protocol.map": "OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    }
    with pytest.raises(barnabas.BrokerError, match="OTHER is not among listeners"):
        barnabas.Broker(config=config).start()
