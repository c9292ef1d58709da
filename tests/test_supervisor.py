"""The supervisor on virtual time, with virtual processes: who is started, buried and waited for, and when."""

import itertools

import pytest

from barnabas.ports import WorldError
from barnabas.supervisor import (
    BURYING_TOLD_MS,
    CRASHES_MS,
    ENDS_MAX,
    HOPELESS_MS,
    PROVEN_MS,
    RETURNS_MS,
    STARTING_SILENT_MS,
    STILL_BURYING,
    STOP_MS,
)
from supervisor_stage import (
    BURIAL_MS,
    HEARTBEAT_MS,
    RESTART_MS,
    SESSION_MS,
    Act,
    Stage,
    crash,
    fail_to_load,
    never,
    ready_after_work,
    ready_in,
    refuse,
    serve_for,
)


def test_all_serve_then_all_stop() -> None:
    stage = Stage().begin()
    assert stage.started == [None] and stage.states() == "serving serving serving"
    assert stage.supervisor.workers[2].bound == {"PLAINTEXT": ("h", stage.live[2].pid)}
    stage.time.run_for(10 * RETURNS_MS[-1])
    assert len(stage.starts) == 3 and not stage.burials
    assert stage.end() is True


def test_a_first_start_may_take_long() -> None:
    stage = Stage()
    stage.acts[2] = [ready_in(120_000)]
    stage.begin()
    assert stage.started == [None] and len(stage.starts) == 3
    assert stage.end() is True


@pytest.mark.parametrize(
    ("act", "told"),
    [(refuse, "worker 2: the port is taken"), (crash, "worker 2: it was killed by signal 11")],
)
def test_one_that_does_not_come_up_ends_the_start(act: Act, told: str) -> None:
    stage = Stage()
    stage.acts[2] = [act]
    stage.acts[3] = [never]
    stage.begin()
    assert str(stage.started[0]) == told
    assert not stage.live and len(stage.starts) == 3


def test_one_that_dies_is_back_at_once_and_nobody_is_buried() -> None:
    stage = Stage().begin()
    before_ms = stage.time.mono_ms()
    stage.kill(2)
    stage.time.run_for(RESTART_MS + 1_000)
    assert stage.states() == "serving serving serving" and not stage.burials
    assert stage.starts_of(2)[1] - before_ms < 10
    assert stage.end() is True


def test_one_that_is_late_is_killed_and_buried_and_comes_back() -> None:
    stage = Stage().begin()
    stage.acts[2] = [never]
    died_ms = stage.time.mono_ms()
    stage.kill(2)
    stage.time.run_for(RESTART_MS + 2 * BURIAL_MS)
    assert stage.states() == "serving waiting serving"
    ((node, at),) = stage.burials
    assert node == 2 and RESTART_MS <= at - died_ms < RESTART_MS + 50
    stage.time.run_for(RETURNS_MS[0])
    assert stage.states() == "serving serving serving" and len(stage.burials) == 1
    assert stage.end() is True


def test_three_crashes_in_a_minute_are_a_burial_and_two_are_not() -> None:
    stage = Stage().begin()
    for _ in range(2):
        stage.kill(1)
        stage.time.run_for(1_000)
    assert stage.states() == "serving serving serving"
    stage.time.run_for(CRASHES_MS)
    stage.kill(1)
    stage.time.run_for(1_000)
    assert not stage.burials, "the first two are forgotten"
    for _ in range(2):
        stage.kill(1)
        stage.time.run_for(1_000)
    assert [node for node, _ in stage.burials] == [1] and stage.states() == "waiting serving serving"
    assert stage.end() is True, "buried is as good as cleanly stopped"


def test_one_that_keeps_crashing_is_tried_more_and_more_rarely() -> None:
    stage = Stage().begin()
    stage.acts[1] = [crash] * 100
    stage.kill(1)
    stage.time.run_for(2 * sum(RETURNS_MS))
    buried_ms = [at for _, at in stage.burials]
    gaps = [later - earlier for earlier, later in itertools.pairwise(buried_ms)]
    assert len(gaps) >= 6
    for gap, wanted in zip(gaps, (*RETURNS_MS, *[RETURNS_MS[-1]] * len(gaps)), strict=False):
        assert wanted < gap < wanted + 1_000
    stage.acts[1] = []
    stage.time.run_for(RETURNS_MS[-1] + CRASHES_MS + 1_000)
    assert stage.states() == "serving serving serving"
    stage.acts[1] = [crash] * 2
    stage.kill(1)
    count = len(stage.starts)
    stage.time.run_for(RETURNS_MS[0] + 2_000)
    assert stage.states() == "serving serving serving", (
        "after a minute of service the first delay counts again"
    )
    assert len(stage.starts) > count


def test_without_a_second_chance_one_is_buried_at_once() -> None:
    stage = Stage(restart_ms=0).begin()
    stage.kill(3)
    stage.time.run_for(2 * BURIAL_MS)
    assert [node for node, _ in stage.burials] == [3] and stage.states() == "serving serving waiting"


def test_two_that_die_at_once_are_buried_one_after_the_other() -> None:
    stage = Stage(restart_ms=0).begin()
    stage.kill(1)
    stage.kill(3)
    stage.time.run_for(3 * BURIAL_MS)
    (first, at), (second, later) = stage.burials
    assert {first, second} == {1, 3} and later - at >= BURIAL_MS
    assert stage.states() == "waiting serving waiting"
    stage.time.run_for(RETURNS_MS[0] + 1_000)
    assert stage.states() == "serving serving serving"


def test_when_none_is_left_to_take_over_all_go_on_trying() -> None:
    stage = Stage(2).begin()
    stage.acts = {1: [crash] * 100, 2: [never, ready_in(5_000)]}
    stage.kill(1)
    stage.kill(2)
    stage.time.run_for(10_000)
    assert not stage.burials and len(stage.starts_of(2)) == 2, "who starts is left alone"
    assert len(stage.starts_of(1)) == 6, "twice at once, then after 1, 2, 4 s"
    stage.kill(2)
    stage.time.run_until(lambda: stage.supervisor.workers[2].state == "serving")
    stage.time.run_for(2 * BURIAL_MS)
    assert [node for node, _ in stage.burials] == [1], "now there is somebody to take over"
    stage.acts[1] = []
    stage.time.run_for(RETURNS_MS[0] + 1_000)
    assert stage.states() == "serving serving"


def test_a_single_worker_is_restarted_and_never_buried() -> None:
    stage = Stage(1, restart_ms=0).begin()
    stage.acts[1] = [crash] * 5
    stage.kill(1)
    stage.time.run_for(CRASHES_MS)
    assert stage.states() == "serving" and not stage.burials
    assert stage.end() is True


def test_a_burial_that_lasts_is_told_each_minute_and_waited_for() -> None:
    """Whether its disk hangs or there is much to recover: nobody but the kernel can end it."""
    stage = Stage()
    stage.burial_ms = 3 * BURYING_TOLD_MS + BURYING_TOLD_MS // 2
    stage.acts[1] = [ready_in(100), never]
    stage.begin()
    stage.kill(1)
    stage.time.run_until(lambda: stage.states() == "waiting serving serving")
    told = [line for line in stage.lines if line.startswith(STILL_BURYING)]
    assert told == [
        f"{STILL_BURYING} {{'worker': 1, 'for_ms': {count * BURYING_TOLD_MS}}}" for count in (1, 2, 3)
    ]
    stage.time.run_for(2 * BURYING_TOLD_MS)
    assert sum(line.startswith(STILL_BURYING) for line in stage.lines) == 3


def test_a_stop_waits_for_a_burial_that_lasts_and_says_for_what() -> None:
    stage = Stage()
    stage.burial_ms = 3 * BURYING_TOLD_MS
    stage.acts[1] = [ready_in(100), never]
    stage.begin()
    stage.kill(1)
    stage.time.run_until(lambda: bool(stage.burying))
    assert stage.end() is True
    assert not any("are killed" in line for line in stage.lines), "there is none to be killed"
    assert sum(line.startswith(STILL_BURYING) for line in stage.lines) == 2


def test_after_a_failed_burial_it_is_started_again() -> None:
    stage = Stage(restart_ms=0).begin()
    stage.burial_errors = [WorldError("the disk is full")]
    stage.kill(2)
    stage.time.run_for(BURIAL_MS + 3_000)
    assert stage.states() == "serving serving serving" and len(stage.burials) == 1
    assert any("the disk is full" in line for line in stage.lines)
    assert stage.end() is True


def test_a_restart_that_is_refused_is_told_and_counts_as_a_crash() -> None:
    stage = Stage().begin()
    stage.acts[2] = [refuse, refuse]
    stage.kill(2)
    stage.time.run_for(1_000)
    assert sum("the port is taken" in line for line in stage.lines) == 2
    assert [node for node, _ in stage.burials] == [2]


def test_a_process_that_cannot_be_made_is_tried_again_later_and_ends_a_first_start() -> None:
    stage = Stage().begin()
    stage.refused_starts = 1
    stage.kill(2)
    stage.time.run_for(2_000)
    assert stage.states() == "serving serving serving" and not stage.burials
    first, _, third = stage.starts_of(2)
    assert third - first > 1_000 and any("no memory" in line for line in stage.lines)
    stage = Stage()
    stage.refused_starts = 1
    stage.begin()
    assert str(stage.started[0]) == "worker 1: no memory for a process" and not stage.live


def test_a_stop_while_one_restarts_and_one_is_buried() -> None:
    stage = Stage().begin()
    stage.acts = {1: [never], 2: [crash, crash], 3: []}
    stage.kill(1)
    stage.kill(2)
    stage.time.run_until(lambda: bool(stage.burying))
    assert stage.states() == "starting burying serving"
    assert stage.end() is True, "one was asked while it started, one was buried to the end, one served"


def test_a_stop_before_a_burial_is_not_clean() -> None:
    stage = Stage(restart_ms=0).begin()
    stage.kill(1)
    stage.kill(2)
    stage.time.run_until(lambda: bool(stage.burying))
    assert stage.end() is False and len(stage.burials) == 1


def test_what_does_not_stop_is_killed() -> None:
    stage = Stage().begin()
    stage.live[2].on_input_closed = lambda: None
    before_ms = stage.time.mono_ms()
    stage.supervisor.stop(stage.stopped.append)
    stage.time.run_until(lambda: bool(stage.stopped))
    assert stage.stopped == [False] and stage.time.mono_ms() - before_ms >= STOP_MS


def test_a_second_thought_kills_at_once() -> None:
    stage = Stage().begin()
    for child in stage.live.values():
        child.on_input_closed = lambda: None
    stage.supervisor.stop(stage.stopped.append)
    stage.time.run_for(10)
    stage.supervisor.kill()
    stage.time.run_for(10)
    assert stage.stopped == [False]


def test_one_that_hangs_is_killed_and_back_at_once() -> None:
    stage = Stage()
    stage.acts[2] = [ready_in(100, silent_after_ms=60_000)]
    stage.begin()
    stage.time.run_for(59_000)
    assert len(stage.starts) == 3
    stage.time.run_for(1_000 + SESSION_MS + 2 * HEARTBEAT_MS)
    assert len(stage.starts_of(2)) == 2 and len(stage.starts) == 4 and not stage.burials
    assert any("hangs" in line and "'worker': 2" in line for line in stage.lines)
    stage.time.run_for(1_000)
    assert stage.states() == "serving serving serving"
    assert stage.end() is True


def test_one_that_hangs_again_and_again_is_buried() -> None:
    stage = Stage()
    stage.acts[2] = [ready_in(100, silent_after_ms=1)] * 3
    stage.begin()
    stage.time.run_for(20_000)
    assert [node for node, _ in stage.burials] == [2]
    assert stage.end() is True


@pytest.mark.parametrize("seed", range(8))
def test_a_machine_that_slept_finds_nobody_hanging(seed: int) -> None:
    """Parent and workers were stopped together, and the clock went on."""
    stage = Stage(seed=seed).begin()
    for _ in range(5):
        stage.loop.freeze()
        stage.time.run_for(10 * SESSION_MS)
        stage.loop.thaw()
        stage.time.run_for(HEARTBEAT_MS)
    stage.time.run_for(SESSION_MS)
    assert len(stage.starts) == 3 and stage.states() == "serving serving serving"
    assert stage.end() is True


def test_a_start_that_takes_long_is_no_silence() -> None:
    stage = Stage()
    stage.acts[1] = [ready_in(20 * SESSION_MS)]
    stage.begin()
    assert len(stage.starts) == 3
    assert stage.end() is True


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_all_serve_once_it_stops_happening(seed: int) -> None:
    """W1 and W2 are asserted by the stage all the while."""
    stage = Stage(seed % 4 + 1, seed, restart_ms=(0, 500, RESTART_MS)[seed % 3]).begin()
    draw = stage.time.random
    for _ in range(60):
        node = draw.choice(list(stage.acts))
        stage.acts[node] = draw.choices(
            [crash, never, refuse, ready_in(draw.randint(0, 5_000))], k=draw.randint(0, 4)
        )
        if node in stage.live and draw.random() < 0.7:
            stage.kill(node)
        if draw.random() < 0.2:
            stage.burial_errors = [WorldError("no")]
        stage.time.run_for(draw.choice([1, 50, 1_000, 40_000]))
    for acts in stage.acts.values():
        acts.clear()
    stage.time.run_for(STARTING_SILENT_MS + 2 * RETURNS_MS[-1])
    assert set(stage.states().split()) == {"serving"} and not stage.hopeless
    assert stage.end() is True


def test_one_that_hangs_in_the_first_start_ends_it() -> None:
    stage = Stage()
    stage.acts[2] = [never]
    stage.begin()
    assert "worker 2: it hung while it started" in str(stage.started[0])
    assert not stage.live and len(stage.starts) == 3


def test_one_that_hangs_as_it_comes_back_with_nobody_to_take_over_is_tried_again() -> None:
    stage = Stage(1).begin()
    stage.acts[1] = [never]
    stage.kill(1)
    stage.time.run_for(STARTING_SILENT_MS)
    assert len(stage.starts) == 2, "it has that long"
    stage.time.run_for(10_000)
    assert stage.states() == "serving" and len(stage.starts) == 3
    assert any("it hung while it started" in line for line in stage.lines), "it counts as an end"
    assert stage.end() is True


@pytest.mark.parametrize("is_first", [True, False])
def test_a_start_that_goes_on_may_take_as_long_as_it_needs(is_first: bool) -> None:
    stage = Stage(1)
    act = ready_after_work(10 * STARTING_SILENT_MS)
    if is_first:
        stage.acts[1] = [act]
    stage.supervisor.start(stage.started.append)
    if not is_first:
        stage.time.run_for(1_000)
        stage.acts[1] = [act]
        stage.kill(1)
    stage.time.run_for(11 * STARTING_SILENT_MS)
    assert stage.started == [None] and stage.states() == "serving" and len(stage.starts) == 2 - is_first
    assert stage.end() is True


@pytest.mark.parametrize("act", [crash, refuse, fail_to_load, serve_for(50), serve_for(PROVEN_MS - 1_000)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_when_all_end_again_and_again_it_is_told_why_and_nobody_is_started_any_more(
    act: Act, count: int
) -> None:
    stage = Stage(count).begin()
    began_ms = stage.time.mono_ms()
    for node in list(stage.live):
        stage.acts[node] = [act] * 1_000
        stage.kill(node)
    stage.time.run_until(lambda: bool(stage.hopeless), limit_ms=3_600_000)
    assert HOPELESS_MS <= stage.time.mono_ms() - began_ms < HOPELESS_MS + 60_000, (
        "a cause that passes within minutes ends nothing"
    )
    assert all(len(stage.starts_of(node)) >= ENDS_MAX for node in stage.acts)
    last_ms = max(at for _, at in stage.starts)
    assert stage.time.mono_ms() - last_ms < PROVEN_MS, "as soon as the last one has ended"
    (told,) = stage.hopeless
    reasons = {
        crash: "killed by signal 11",
        refuse: "the port is taken",
        fail_to_load: "exit code 1: ModuleNotFoundError: No module named 'lost'.",
    }
    nodes = ", ".join(map(str, stage.acts))
    assert f"Worker{'s' if count > 1 else ''} {nodes}: " in told, told
    assert reasons.get(act, "exit code 1") in told and told.endswith("start again.")
    starts = len(stage.starts)
    stage.time.run_for(10 * RETURNS_MS[-1])
    assert len(stage.starts) == starts and len(stage.hopeless) == 1 and not stage.live
    assert stage.end() is False


def test_all_that_die_together_are_back_at_once_also_one_that_was_buried_before() -> None:
    stage = Stage(2).begin()
    stage.acts[1] = [crash] * 2
    stage.kill(1)
    stage.time.run_for(CRASHES_MS + 5_000)
    assert stage.states() == "serving serving" and len(stage.burials) == 1
    died_ms = stage.time.mono_ms()
    stage.kill(2)
    stage.time.run_for(5)
    stage.kill(1)
    stage.time.run_for(1_000)
    assert stage.states() == "serving serving" and len(stage.burials) == 1
    assert all(stage.starts_of(node)[-1] - died_ms < 10 for node in (1, 2))


def test_hope_stays_while_one_serves_at_times() -> None:
    stage = Stage(2).begin()
    stage.acts = {1: [crash] * 1_000, 2: [serve_for(PROVEN_MS + 1_000)] * 1_000}
    stage.kill(1)
    stage.kill(2)
    stage.time.run_for(3_600_000)
    assert not stage.hopeless and len(stage.starts_of(1)) > ENDS_MAX < len(stage.starts_of(2))
    stage.acts = {1: [], 2: []}
    stage.time.run_for(2 * RETURNS_MS[-1])
    assert stage.states() == "serving serving"


def test_one_that_served_long_begins_the_count_anew_for_all() -> None:
    stage = Stage(2).begin()
    stage.acts[1] = [crash] * 1_000
    stage.kill(1)
    stage.time.run_for(3_600_000)
    assert len(stage.starts_of(1)) > ENDS_MAX
    stage.acts[2] = [crash] * (ENDS_MAX - 1)
    died_ms = stage.time.mono_ms()
    stage.kill(2)
    stage.time.run_for(240_000)
    again = [at for at in stage.starts_of(1) if at > died_ms]
    assert len(again) > 8, "who was buried is tried as often when nobody serves"
    assert not stage.hopeless
    stage.acts[1] = []
    stage.time.run_for(2 * RETURNS_MS[-1])
    assert stage.states() == "serving serving" and stage.end() is True


@pytest.mark.parametrize("serves", [True, False])
def test_who_still_starts_when_there_is_no_hope_may_serve_and_all_goes_on(serves: bool) -> None:
    stage = Stage(3).begin()
    stage.acts = {1: [crash] * 1_000, 2: [crash] * 1_000, 3: [crash] * ENDS_MAX + [ready_after_work(600_000)]}
    for node in list(stage.live):
        stage.kill(node)
    stage.time.run_for(400_000)
    starts = len(stage.starts)
    stage.acts = {1: [], 2: [], 3: []}  # they would serve at the next try
    stage.time.run_for(190_000)
    assert stage.states() == "waiting waiting starting" and not stage.hopeless
    assert len(stage.starts) == starts
    if serves:
        stage.time.run_for(600_000)
        assert stage.states() == "serving serving serving" and not stage.hopeless
        assert stage.end() is True
    else:
        stage.kill(3)
        stage.time.run_for(600_000)
        assert len(stage.hopeless) == 1 and len(stage.starts) == starts
