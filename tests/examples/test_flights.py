"""The demo as a test: once plain, once with SIGKILL of the broker in the middle of the writing."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
sys.path.insert(0, str(EXAMPLE))

pytest.importorskip("kafka")
import brokers  # noqa: E402
import demo  # noqa: E402
import flights as real  # noqa: E402
import readers  # noqa: E402

FLIGHTS = 30_000
pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def sample() -> list[real.Flight]:
    try:
        return real.load_flights(FLIGHTS)
    except real.NoFlights as error:
        pytest.skip(str(error))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.BrokerProcess]:
    process = brokers.BrokerProcess(tmp_path)
    process.start()
    yield process
    process.stop()


def assert_log_is_what_was_acknowledged(
    bootstrap: str, acknowledged: readers.Acknowledged, sample: list[real.Flight]
) -> None:
    log = readers.read_log(bootstrap)
    assert {
        (partition, offset): value for partition, rows in log.items() for offset, value in rows
    } == acknowledged
    for rows in log.values():
        assert [offset for offset, _ in rows] == list(range(len(rows)))
    by_carrier: dict[str, list[bytes]] = {}
    for flight in sample:
        by_carrier.setdefault(flight["carrier"], []).append(real.encode(flight))
    in_log: dict[str, list[bytes]] = {}
    for rows in log.values():
        for _, value in rows:
            in_log.setdefault(real.decode(value)["carrier"], []).append(value)
    assert in_log == by_carrier


def test_every_figure_equals_that_of_the_file(
    broker: brokers.BrokerProcess, sample: list[real.Flight]
) -> None:
    outcome = demo.run(broker.bootstrap, sample, lambda _: None, lambda _: None)
    assert outcome.differences == []
    assert len(outcome.rows) > 15
    assert {what: read for what, read, _ in outcome.rows}["replayed of one hour"] > 0
    assert_log_is_what_was_acknowledged(broker.bootstrap, outcome.acknowledged, sample)


@pytest.mark.faults
def test_nothing_is_missing_doubled_or_out_of_order_after_sigkill(
    broker: brokers.BrokerProcess, sample: list[real.Flight]
) -> None:
    killed = []

    def kill_in_the_middle(number: int) -> None:
        if number == FLIGHTS // 2:
            broker.kill()
            broker.start()
            killed.append(number)

    outcome = demo.run(broker.bootstrap, sample, lambda _: None, kill_in_the_middle)
    assert killed == [FLIGHTS // 2]
    assert outcome.differences == []
    assert_log_is_what_was_acknowledged(broker.bootstrap, outcome.acknowledged, sample)
