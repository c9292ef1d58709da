"""A parent and its workers on virtual time: started, stopped, killed, frozen and taken over, on one disk."""

import pytest

from barnabas.cluster import formats
from barnabas.log.folder import CLEAN_MARK, METADATA
from barnabas.node import StartFailed
from barnabas.partitions.owners import owner_folder
from barnabas.ports import Versioned, WorldError
from barnabas.testing.machine import ROOT
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime
from barnabas.testing.workers import VirtualWorkers
from barnabas.wire.messages.create_topics import CreatableTopic

STATIC = {"listeners": "PLAINTEXT://127.0.0.1:9092", "barnabas.metrics.port": "-1"}
SEEDS = range(5)


def fresh_machine(seed: int = 0) -> VirtualWorkers:
    time = VirtualTime(seed)
    return VirtualWorkers(time, Wire(time), STATIC)


def machine(seed: int = 0, workers: int = 2) -> VirtualWorkers:
    found = fresh_machine(seed)
    found.boot(workers)
    return found


def states(found: VirtualWorkers) -> dict[int, str]:
    return {node_id: worker.state for node_id, worker in found.supervisor.workers.items()}


def metadata(found: VirtualWorkers) -> dict[str, Versioned]:
    """What all follow."""
    return {key: value for key, value in found.contents.values.items() if key.startswith(formats.PREFIX)}


@pytest.mark.parametrize(("delay_ms", "waits"), [(3_000, True), (60_000, False)])
def test_the_shared_address_opens_when_all_brokers_are_known_or_after_a_while(
    delay_ms: int, waits: bool
) -> None:
    """Else an early client is told of some of them only, and asks no more."""
    found = fresh_machine()
    found.delay_start(2, [delay_ms])
    opened: dict[int, set[int]] = {}

    def look() -> None:
        for node_id, worker in found.workers.items():
            node = worker.process.node
            if node is not None and node.health.ready:
                opened.setdefault(node_id, set(node.cluster.image.brokers))
        found.time.after(10, look)

    look()
    found.boot(2)
    found.time.run_for(100)
    assert opened == {1: {1, 2} if waits else {1}, 2: {1, 2}}
    opened.clear()
    found.fail_start(2, 1)
    found.kill_worker(2)
    found.time.run_for(1_000)
    assert found.all_serve, "who comes back waits for nobody"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stop_is_clean_and_any_number_of_workers_goes_on(seed: int) -> None:
    found = machine(seed)
    for count in (3, 0, 1, 2):
        assert found.stop()
        found.boot(count)
        assert found.living() == list(range(1, count + 1))
        assert found.all_serve and not found.disk.platter.breaches


def test_a_killed_worker_is_back_and_one_that_keeps_dying_is_buried_and_returns() -> None:
    found = machine()
    found.kill_worker(1)
    assert found.living() == [2]
    found.time.run_for(1_000)
    assert found.living() == [1, 2] and found.all_serve
    found.fail_start(1, 1)
    found.kill_worker(1)
    found.time.run_for(2_000)
    assert states(found) == {1: "waiting", 2: "serving"}
    assert found.disk.list(owner_folder(ROOT, 1)) == [CLEAN_MARK], "nothing is left of it"
    found.time.run_for(32_000)
    assert states(found) == {1: "serving", 2: "serving"}


def test_a_worker_that_starts_slowly_is_buried() -> None:
    found = machine()
    found.delay_start(2, [4_000])
    found.kill_worker(2)
    found.time.run_for(3_500)
    assert states(found) == {1: "serving", 2: "waiting"} and found.living() == [1]


def test_orphans_stop_and_the_next_parent_waits_for_them() -> None:
    found = machine()
    found.freeze(2)
    found.kill()
    found.time.after(5_000, lambda: found.thaw(2))
    found.boot(2)
    assert found.time.mono_ms() > 5_000 and found.all_serve


def test_one_node_that_meets_workers_of_an_earlier_run_changes_nothing() -> None:
    """They would follow what the metadata says of their partitions while they still write them."""
    found = machine()
    for node_id in (1, 2):
        found.freeze(node_id)
    found.kill()
    before = metadata(found)
    with pytest.raises(StartFailed, match="in use by a worker of an earlier run"):
        found.boot(0)
    assert metadata(found) == before


def test_a_worker_that_is_late_when_its_parent_dies_does_nothing() -> None:
    found = machine()
    found.delay_start(2, [1_000])
    found.kill_worker(2)
    found.time.run_for(10)
    found.kill()
    found.time.run_for(100)
    found.boot(0)
    before = metadata(found)
    found.time.run_for(2_000)
    assert metadata(found) == before


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("is_first", [True, False])
def test_a_start_goes_on_without_nothing_that_the_metadata_failed_to_take(
    is_first: bool, number: int, count: int
) -> None:
    """One transaction of it fails: the start is refused, or is a whole one."""
    if is_first:
        found = fresh_machine()
    else:
        found = machine(workers=3)
        assert found.stop()
    found.on_store = lambda store: store.fail_next(after=number)
    try:
        found.boot(count)
    except StartFailed:
        found.on_store = lambda store: None
        found.boot(count)
    found.time.run_for(2_000)
    image = formats.decode(metadata(found))
    assert sorted(image.brokers) == list(range(1, max(count, 1) + 1))
    assert f"cluster.id={image.cluster_id}\n" in found.disk.read_all(f"{ROOT}/{METADATA}").decode()


def test_a_power_failure_ends_all() -> None:
    found = machine()
    found.freeze(1)
    found.crash()
    assert not found.living() and not found.processes()
    found.boot(2)
    assert found.all_serve


def test_a_frozen_parent_hears_of_a_death_when_it_goes_on() -> None:
    found = machine()
    found.freeze_parent()
    found.kill_worker(1)
    found.time.run_for(60_000)
    assert found.living() == [2] and not found.all_serve
    found.thaw_parent()
    found.time.run_for(1_000)
    assert found.living() == [1, 2] and found.all_serve


def test_workers_stop_when_a_frozen_parent_is_killed() -> None:
    found = machine()
    found.freeze_parent()
    assert found.parent_is_frozen
    found.kill()
    found.time.run_for(1_000)
    assert found.living() == []
    found.boot(2)
    assert found.all_serve and not found.disk.platter.breaches


def test_a_full_disk_takes_neither_files_nor_metadata_until_there_is_room() -> None:
    found = machine()
    found.fill_disk()
    errors: list[WorldError | None] = []
    topic = CreatableTopic("t", 1, 1)
    assert found.parent is not None
    found.parent.create_topics([topic], lambda _, error: errors.append(error))
    found.time.run_for(1_000)
    assert isinstance(errors[0], WorldError)
    found.free_disk()
    found.parent.create_topics([topic], lambda _, error: errors.append(error))
    found.time.run_for(1_000)
    assert errors[1:] == [None] and found.all_serve


def test_a_cause_that_keeps_all_workers_down_is_told_and_the_next_start_is_right() -> None:
    found = machine()
    found.fill_disk()
    for node_id in (1, 2):
        found.kill_worker(node_id)
    parent = found.parent
    assert parent is not None
    found.time.run_until(lambda: parent.failure is not None)
    assert "Workers 1, 2: " in str(parent.failure) and "a scripted failure" in str(parent.failure)
    assert found.living() == []
    found.free_disk()
    assert found.stop() is False
    found.boot(2)
    assert found.all_serve


def test_a_cause_that_passes_within_five_minutes_is_waited_for() -> None:
    found = machine()
    found.fill_disk()
    for node_id in (1, 2):
        found.kill_worker(node_id)
    found.time.run_for(300_000)
    assert found.living() == [] and found.parent is not None and found.parent.failure is None
    found.free_disk()
    found.time.run_for(120_000)
    assert found.all_serve and states(found) == {1: "serving", 2: "serving"}


@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_that_hangs_as_it_comes_back_is_killed_and_comes_back(others: int) -> None:
    found = machine(workers=1 + others)
    found.slow_start(1, 2_000)
    found.kill_worker(1)
    found.time.run_until(lambda: found.living() == [1, 2][: 1 + others])
    found.freeze(1)
    found.time.run_until(lambda: found.all_serve and states(found)[1] == "serving")
    assert not found.disk.platter.breaches
