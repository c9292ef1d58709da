"""`python -m bench.inprocess [produce|fetch|...] [--turns N]`: what a request costs in Python. -h names the kinds.

A whole node on RAM files and a loop turned by hand; connections are fed whole frames and their replies thrown away, so
neither sockets nor the kernel are in the figure. bench.instructions counts the instructions of the same work.

one, wide: 64 connections with one Produce each, on one partition or on one each, in `sync` durability: a turn is a round of the
journal. Segments and ring are the real classes over /dev/null, for in a round they are most of the work.

fetch100, idle100: an incremental Fetch of a session of 100 partitions, where each has 1 KB or only one has.
"""

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.entropy import SystemEntropy
from barnabas.adapters.files import OsFile, OsRing
from barnabas.adapters.meta.ram import RamMetaStore
from barnabas.adapters.ram_files import RamFiles
from barnabas.config.effective import BrokerOptions
from barnabas.node import Node
from barnabas.partitions.data_folder import DataFolder
from barnabas.ports import Connection, Done, File, Listening, Piece, Receiver, RingFile, World
from barnabas.telemetry import Log, Telemetry, silent
from barnabas.wire.frame import SIZE_BYTES, request_head
from barnabas.wire.messages import create_topics
from barnabas.wire.primitives import join

from .requests import (
    FETCH,
    PRODUCE,
    commit_request,
    decode,
    encode,
    fetch_message,
    fetch_request,
    produce_message,
    produce_request,
)

FRAMES_A_TURN = 8
CONNECTIONS = 4
READS = {"fetch": (1024, 200, range(0, 800, 8)), "fetch64": (65536, 20, range(1))}
"""Bytes of a Fetch, turns of producing before it, and the offsets it reads one after the other: for 1 KB all over the half
of the log whose batches the broker has no memory of."""
ROUNDS = {"one": 1, "wide": 64}
"""Partitions of a round's requests."""
REQUESTS_OF_A_ROUND = 64
SESSIONS = {"fetch100": 100, "idle100": 1}
"""How many partitions have something for their reader."""
PARTITIONS_OF_A_SESSION = 100
FILLED_TURNS = 20


class HandLoop:
    """A Loop whose turns are made by `run`; work for a pool is done at once, there and then."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def wake_at(self, mono_ms: int | None, callback: Callable[[], None]) -> None:
        return

    def run_in(self, pool: str, work: Callable[[], object], done: Callable[..., None]) -> None:
        result = work()
        self._soon.append(lambda: done(result, None))

    def write_ring(
        self, ring: RingFile, position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        self.run_in("commit", lambda: ring.write(position, chunks), done)

    def from_thread(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def run(self) -> None:
        while self._soon:
            turn, self._soon = self._soon, []
            for callback in turn:
                callback()


class Mute:
    """A Connection whose peer reads at once and says nothing."""

    peer_host, peer_port, local_host, local_port = "127.0.0.1", 1, "127.0.0.1", 9092
    sent = 0

    def send(self, pieces: Sequence[Piece]) -> None:
        self.sent += 1

    def unsent_bytes(self) -> int:
        return 0

    def expect(self, size: int) -> None:
        return

    def pause(self) -> None:
        return

    def resume(self) -> None:
        return

    def close(self, *, after_sending: bool = True) -> None:
        return


class Heard(Mute):
    """Knows what it was sent last."""

    answer: Sequence[Piece] = ()

    def send(self, pieces: Sequence[Piece]) -> None:
        self.answer = pieces


class HandNetwork:
    """Listens nowhere; `connect_in` plays a peer that comes in."""

    host, port = "127.0.0.1", 9092

    def __init__(self) -> None:
        self._on_connect: list[Callable[[Connection], Receiver]] = []

    def listen(
        self, host: str, port: int, on_connect: Callable[[Connection], Receiver], *, shared: bool = False
    ) -> Listening:
        self._on_connect.append(on_connect)
        return self

    def reserve(self, host: str, port: int) -> Listening:
        raise AssertionError("a node without workers reserves nothing")

    def connect(self, host: str, port: int, on_connect: Callable[..., object]) -> None:
        raise AssertionError("a node without a cluster dials nobody")

    def connect_in(self, peer: Connection | None = None) -> Receiver:
        return self._on_connect[0](peer or Mute())

    def close(self) -> None:
        return


class NullFiles(RamFiles):
    """Whose segments and ring go to /dev/null, by the classes that write to a disk."""

    def open(self, path: str, *, create: bool = False) -> File:
        if path.endswith(".log"):
            return OsFile(path, os.open(os.devnull, os.O_RDWR))
        return super().open(path, create=create)

    def open_ring(self, path: str, size: int) -> RingFile | None:
        return OsRing(path, os.open(os.devnull, os.O_RDWR))


def start(network: HandNetwork, loop: HandLoop, *, sync: bool) -> Node:
    clock = SystemClock()
    files = NullFiles() if sync else RamFiles()
    log = Log(silent, clock.mono_ms)
    folder = DataFolder(files, "/ram", log)
    folder.open()
    world = World(clock, loop, files, network, RamMetaStore(loop, clock), SystemEntropy())
    options = BrokerOptions({"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1"})
    node = Node(world, folder, options, Telemetry(), log, durable=sync)
    node.start(lambda error: print(error) if error else None)
    loop.run()
    if sync:
        os.fdatasync = lambda fd: None  # the first write of a partition syncs its file, and /dev/null refuses
        node.partitions.journal.prepare()
        loop.run()
    return node


def create(peer: Receiver, loop: HandLoop, name: str, partitions: int) -> None:
    topic = create_topics.CreatableTopic(name, partitions, 1)
    ask = create_topics.CreateTopicsRequest([topic], 60_000, False)
    body = create_topics.encode_request(ask, 5)
    peer.received(memoryview(request_head(19, 5, 1, "bench", len(body)) + body))
    loop.run()


def served(code: int) -> None:
    assert code == 0, f"__consumer_offsets was not made: error {code}"


class Work:
    """One kind of request over some connections: a turn is what the loop takes up at once."""

    def __init__(self, kind: str) -> None:
        self._loop, network = HandLoop(), HandNetwork()
        sync = kind in ROUNDS
        partitions = ROUNDS.get(kind, CONNECTIONS)
        connections, frames = (REQUESTS_OF_A_ROUND, 1) if sync else (CONNECTIONS, FRAMES_A_TURN)
        node = start(network, self._loop, sync=sync)
        self._peers = [network.connect_in() for _ in range(connections)]
        create(self._peers[0], self._loop, "bench", partitions)
        self._now_ms = int(time.time() * 1000)
        self._sequence = 0
        self._idempotent = kind == "idempotent"
        self.per_turn = connections * frames
        produced = [
            produce_request("bench", number % partitions, 1024, self._now_ms) * frames
            for number in range(connections)
        ]
        self._round = [produced]
        self._session = 0
        if kind in SESSIONS:
            self._open_session(network, SESSIONS[kind])
            return
        size, written, offsets = READS.get(kind, (0, FILLED_TURNS, range(0)))
        self.take(self.prepared(0 if self._idempotent else written))
        if size:
            self.per_turn = CONNECTIONS
            self._round = [
                [fetch_request("bench", number, size, offset) for number in range(CONNECTIONS)]
                for offset in offsets
            ]
        if kind == "commit":
            node.topics.ensure_offsets_topic(served)
            asked = [commit_request(f"commits-{number}", "bench", 0) for number in range(CONNECTIONS)]
            self._round = [[content * FRAMES_A_TURN for content in asked]]
        self.take(self.prepared(20))

    def _open_session(self, network: HandNetwork, with_news: int) -> None:
        """One connection, whose first fetch names the partitions; most are at their end already."""
        all_of_them = range(PARTITIONS_OF_A_SESSION)
        create(self._peers[0], self._loop, "wide", len(all_of_them))
        heard = Heard()
        self._peers, self.per_turn = [network.connect_in(heard)], 1
        content = encode(PRODUCE, produce_message("wide", all_of_them, 1024, self._now_ms))
        self.take([[memoryview(content)]] * FILLED_TURNS)
        first = fetch_message("wide", all_of_them, 1024, session=(0, 0))
        for asked in first.topics[0].partitions[with_news:]:
            asked.fetch_offset = FILLED_TURNS
        self.take([[memoryview(encode(FETCH, first))]])
        answer = join(list(heard.answer))
        self._session = decode(FETCH, answer[SIZE_BYTES:]).session_id
        self.take(self.prepared(20))

    def prepared(self, turns: int) -> list[list[memoryview]]:
        """What the connections will receive in each turn; those of an idempotent producer and of a session are all different."""
        if self._session:
            return [[self._next_epoch()] for _ in range(turns)]
        if not self._idempotent:
            views = [[memoryview(content) for content in turn] for turn in self._round]
            return [views[at % len(views)] for at in range(turns)]
        return [self._next_sequences() for _ in range(turns)]

    def _next_epoch(self) -> memoryview:
        self._sequence += 1
        return memoryview(
            encode(FETCH, fetch_message("wide", [], 0, session=(self._session, self._sequence)))
        )

    def _next_sequences(self) -> list[memoryview]:
        first = self._sequence
        self._sequence += FRAMES_A_TURN
        return [
            memoryview(
                b"".join(
                    produce_request(
                        "bench",
                        number,
                        1024,
                        self._now_ms,
                        producer_id=1000 + number,
                        producer_epoch=0,
                        base_sequence=sequence,
                    )
                    for sequence in range(first, self._sequence)
                )
            )
            for number in range(CONNECTIONS)
        ]

    def take(self, turns: list[list[memoryview]]) -> None:
        for turn in turns:
            for peer, content in zip(self._peers, turn, strict=True):
                peer.received(content)
            self._loop.run()


KINDS = ("produce", "idempotent", "fetch", "fetch64", "commit", "one", "wide", "fetch100", "idle100")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", default=["produce"], metavar="|".join(KINDS))
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for kind in given.kinds:
        work = Work(kind)
        gc.collect()
        best = float("inf")
        for _ in range(given.rounds):
            prepared = work.prepared(given.turns)
            begun = time.process_time()
            work.take(prepared)
            best = min(best, (time.process_time() - begun) / (given.turns * work.per_turn))
        print(f"{kind}: {best * 1e6:.2f} us a request")


if __name__ == "__main__":
    main()
