"""What the tests of real sockets share."""

import asyncio
from collections.abc import Iterator

import pytest
from socket_server import Server

from barnabas.adapters.loop import AsyncLoop, new_event_loop


@pytest.fixture(params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    loop = AsyncLoop(new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop())
    made = Server(loop)
    yield made
    made.listening.close()
    made.network.close()
    for peer in made.peers:
        peer.close()
    made.turn_until(lambda: not made.network._connections)
    loop.close()
    loop.asyncio.close()
