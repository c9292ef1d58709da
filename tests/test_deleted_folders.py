"""Topics that are deleted while a worker that led them is dead: their folders go while the others serve."""

from collections.abc import Callable

import pytest

from barnabas.cluster import changes
from barnabas.config.effective import BrokerOptions
from barnabas.records.record import Record, build_batch
from barnabas.server.topics import rules_of
from barnabas.testing.machine import ROOT
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime
from barnabas.testing.workers import VirtualWorkers
from barnabas.wire.messages.create_topics import CreatableTopic
from barnabas.wire.messages.delete_topics import DeleteTopicState

DELAY_MS = 2_000
LONG_MS = 200_000


def machine(seed: int, restart_ms: int) -> VirtualWorkers:
    time = VirtualTime(seed)
    found = VirtualWorkers(
        time,
        Wire(time),
        {
            "listeners": "PLAINTEXT://127.0.0.1:9092",
            "barnabas.metrics.port": "-1",
            "barnabas.workers.restart.ms": str(restart_ms),
            "log.segment.delete.delay.ms": str(DELAY_MS),
        },
    )
    found.boot(2)
    return found


def ask(found: VirtualWorkers, begin: Callable[[Callable[..., None]], None]) -> None:
    told: list[object] = []
    begin(lambda *answer: told.append(answer))
    found.time.run_until(lambda: bool(told))


def make(found: VirtualWorkers) -> None:
    """Two partitions, one for each worker, with a record in each."""
    assert found.parent is not None
    parent = found.parent
    ask(found, lambda done: parent.create_topics([CreatableTopic("t", 2, 1)], done))
    for node_id in found.living():
        node = found.workers[node_id].process.node
        assert node is not None
        for partition in node.partitions.of_topic("t"):
            partition.append_own(build_batch([Record(None, b"value", 1)]), 1)
    found.time.run_for(100)


def delete(found: VirtualWorkers) -> None:
    assert found.parent is not None
    cluster, rules = found.parent.cluster, rules_of(BrokerOptions({}))
    state = DeleteTopicState(name="t")
    ask(
        found,
        lambda done: cluster.submit(lambda image: changes.delete_topics(image, [state], rules, 6), done),
    )


def deleted_behind_a_dead_worker(seed: int, restart_ms: int) -> VirtualWorkers:
    """Worker 1 led some of the topic; it is away for five seconds."""
    found = machine(seed, restart_ms)
    make(found)
    found.delay_start(1, [5_000])
    found.kill_worker(1)
    found.time.run_for(100)
    delete(found)
    return found


def folders(found: VirtualWorkers) -> list[str]:
    return [name for name in found.disk.list(ROOT) if name.startswith("t-")]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("restart_ms", [0, 60_000])
def test_what_a_dead_worker_led_is_removed_too(seed: int, restart_ms: int) -> None:
    """Whether others take over from it or it comes back: none of them hears of the topic."""
    found = deleted_behind_a_dead_worker(seed, restart_ms)
    found.time.run_for(1_000)
    assert folders(found)
    found.time.run_for(LONG_MS)
    assert found.all_serve and not folders(found) and not found.disk.platter.breaches


def test_what_it_had_renamed_only_goes_as_well() -> None:
    found = machine(0, 60_000)
    make(found)
    delete(found)
    found.time.run_for(DELAY_MS // 2)
    assert len(folders(found)) == 2 and all(name.endswith("-delete") for name in folders(found))
    found.kill_worker(2)
    found.time.run_for(LONG_MS)
    assert not folders(found) and not found.disk.platter.breaches


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("restart_ms", [0, 60_000])
def test_a_topic_made_anew_keeps_its_folders(seed: int, restart_ms: int) -> None:
    found = deleted_behind_a_dead_worker(seed, restart_ms)
    make(found)
    found.time.run_for(LONG_MS)
    for node_id in found.living():
        node = found.workers[node_id].process.node
        assert node is not None
        assert not any(partition.offline for partition in node.partitions.of_topic("t"))
    assert not [name for name in folders(found) if name.endswith(("-stray", "-delete"))]
    assert folders(found) and not found.disk.platter.breaches


def test_a_worker_that_hangs_keeps_its_folder_until_it_is_dead() -> None:
    found = machine(0, 60_000)
    make(found)
    found.freeze(1)
    delete(found)
    found.time.run_for(DELAY_MS + 5_000)
    assert folders(found) and not found.disk.platter.breaches
    found.time.run_for(LONG_MS)
    assert not folders(found) and not found.disk.platter.breaches
