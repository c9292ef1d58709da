"""What the network in memory adds to the contract: cuts, stalls, lost nodes, and reads that tell who keeps views."""

from barnabas.ports import Connection, WorldError
from barnabas.testing.network import PipeNetwork, Wire
from barnabas.testing.virtual import VirtualLoop, VirtualTime


class Ear:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard: list[bytes] = []
        self.kept: list[memoryview] = []
        self.reasons: list[str] = []

    def received(self, content: memoryview) -> None:
        self.heard.append(bytes(content))
        self.kept.append(content)

    def closed(self, reason: str) -> None:
        self.reasons.append(reason)


class Pair:
    """A client on host "one" and a server on host "two"."""

    def __init__(self, seed: int, *, cut_one_in: int = 0) -> None:
        self.time = VirtualTime(seed)
        self.wire = Wire(self.time, cut_one_in=cut_one_in)
        self.one, self.two = VirtualLoop(self.time), VirtualLoop(self.time)
        self.client_network = PipeNetwork(self.wire, self.one, "one")
        self.servers: list[Ear] = []
        PipeNetwork(self.wire, self.two, "two").listen("two", 9092, self._connected)
        self.client = self.dial()
        self.server = self.servers[0]

    def _connected(self, connection: Connection) -> Ear:
        self.servers.append(Ear(connection))
        return self.servers[-1]

    def dial(self) -> Ear:
        ears: list[Ear] = []

        def dialled(connection: Connection | None, error: WorldError | None) -> Ear:
            assert connection is not None, error
            ears.append(Ear(connection))
            return ears[0]

        self.client_network.connect("two", 9092, dialled)
        self.time.run_until(lambda: bool(ears))
        return ears[0]

    def refusal(self) -> WorldError | None:
        errors: list[WorldError | None] = []
        self.client_network.connect("two", 9092, lambda connection, error: errors.append(error))
        self.time.run_until(lambda: bool(errors))
        return errors[0]


def test_chunks_are_drawn_from_the_seed() -> None:
    def sizes(seed: int) -> list[int]:
        pair = Pair(seed)
        pair.client.connection.send([bytes(2000)])
        pair.time.run_until(lambda: sum(map(len, pair.server.heard)) == 2000)
        return [len(part) for part in pair.server.heard]

    assert sizes(4) == sizes(4)
    assert len({tuple(sizes(seed)) for seed in range(40)}) > 10
    assert any(1 in sizes(seed) for seed in range(20)), "single bytes come too"


def test_a_kept_view_reads_as_nonsense() -> None:
    pair = Pair(0)
    pair.client.connection.send([b"abc"])
    pair.time.run_until(lambda: sum(map(len, pair.server.heard)) == 3)
    assert b"".join(pair.server.heard) == b"abc"
    assert b"".join(bytes(view) for view in pair.server.kept) == b"\xaa\xaa\xaa"


def test_a_cut_loses_what_has_not_arrived_and_tells_both() -> None:
    pair = Pair(0)
    pair.client.connection.send([bytes(100_000)])
    pair.wire.cut("one")
    pair.time.run_for(1000)
    assert pair.client.reasons == pair.server.reasons == ["connection reset by peer"]
    assert sum(map(len, pair.server.heard)) < 100_000
    assert pair.dial().reasons == []


def test_a_wire_that_cuts_at_random_cuts_at_different_points() -> None:
    points = set()
    for seed in range(30):
        pair = Pair(seed, cut_one_in=4)
        pair.client.connection.send([bytes(100_000)])
        pair.time.run_for(100_000)
        assert pair.client.reasons == pair.server.reasons
        points.add(sum(map(len, pair.server.heard)))
    assert len(points) > 10


def test_a_stall_tells_nobody_and_heals() -> None:
    pair = Pair(0)
    pair.wire.stall("two", "one")
    pair.client.connection.send([b"abc"])
    error = pair.refusal()
    assert error is not None and "no connection" in error.what
    pair.time.run_for(60_000)
    assert (pair.server.heard, pair.server.reasons, pair.client.reasons) == ([], [], [])
    pair.wire.heal()
    pair.time.run_until(lambda: sum(map(len, pair.server.heard)) == 3)


def test_a_lost_node_is_heard_of_by_its_peers_only() -> None:
    pair = Pair(0)
    pair.two.kill()
    pair.wire.lose(pair.two)
    pair.time.run_for(1000)
    assert pair.client.reasons == ["connection reset by peer"]
    assert pair.server.reasons == []
    assert pair.refusal() is not None
