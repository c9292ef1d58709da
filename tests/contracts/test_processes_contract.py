"""What every Processes holds: real children of this Python, and virtual ones."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import pytest

from barnabas.adapters.loop import AsyncLoop
from barnabas.adapters.processes import OsProcesses
from barnabas.ports import Child, Clock, Event, Loop, Processes, WorldError
from barnabas.testing.processes import VirtualChild, VirtualProcesses
from barnabas.testing.virtual import VirtualLoop

ECHO = """
import json, sys
heard = json.loads(sys.stdin.readline())
for number in range(heard["times"]):
    print(json.dumps({"event": "echo", "number": number, "said": heard["say"]}), flush=True)
rest = sys.stdin.read()
print(json.dumps({"event": "end", "rest": rest}), flush=True)
sys.exit(3)
"""


def echo(child: VirtualChild, arguments: Sequence[str]) -> None:
    """ECHO, on virtual time."""
    heard = json.loads(child.first_line)

    def ended() -> None:
        child.say({"event": "end", "rest": ""})
        child.end(3)

    child.on_input_closed = ended
    for number in range(heard["times"]):
        child.say({"event": "echo", "number": number, "said": heard["say"]})


class Driver(Protocol):
    clock: Clock
    loop: Loop

    def run_until(self, reached: Callable[[], bool]) -> None: ...


class Family:
    """A parent that keeps what it is told."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.events: list[Event] = []
        self.statuses: list[int] = []
        self.words: list[str] = []
        loop = driver.loop
        self.processes: Processes
        if isinstance(loop, VirtualLoop):
            self.processes = VirtualProcesses(loop, echo)
        else:
            assert isinstance(loop, AsyncLoop)
            self.processes = OsProcesses(loop, os.environ)

    def start(self, times: int = 1, say: str = "hello", code: str = ECHO) -> Child:
        line = json.dumps({"times": times, "say": say})
        child = self.processes.start(["-c", code], line, self._heard, self._ended)
        assert not self.events and not self.statuses, "nothing is told inside the call"
        return child

    def _heard(self, event: Event) -> None:
        assert not self.statuses, "the end comes last"
        self.events.append(event)

    def _ended(self, status: int, words: str) -> None:
        self.statuses.append(status)
        self.words.append(words)

    def until_ended(self) -> None:
        self.driver.run_until(lambda: bool(self.statuses))


@pytest.fixture
def family(driver: Driver) -> Family:
    return Family(driver)


def test_a_child_hears_its_line_and_says_lines_until_its_input_ends(family: Family) -> None:
    child = family.start(times=3)
    family.driver.run_until(lambda: len(family.events) == 3)
    assert [event["number"] for event in family.events] == [0, 1, 2]
    assert {event["said"] for event in family.events} == {"hello"}
    assert not family.statuses and child.pid > 0
    child.close_input()
    child.close_input()
    family.until_ended()
    assert family.events[-1] == {"event": "end", "rest": ""}
    assert family.statuses == [3]
    child.close_input()
    child.kill()


def test_an_input_may_end_before_the_child_has_read_it(family: Family) -> None:
    family.start(times=0, say="x" * 300_000).close_input()
    family.until_ended()
    assert family.statuses == [3] and [event["event"] for event in family.events] == ["end"]


def test_a_killed_child_ends_by_the_signal(family: Family) -> None:
    child = family.start()
    family.driver.run_until(lambda: bool(family.events))
    child.kill()
    child.kill()
    family.until_ended()
    assert family.statuses == [-9] and len(family.events) == 1 and family.words == [""]


def test_a_child_that_ends_at_once_and_one_that_says_no_json(drive: Callable[[str], Driver]) -> None:
    family = Family(drive("uvloop"))
    family.start(code="import sys; sys.exit(7)")
    family.until_ended()
    assert family.statuses == [7] and not family.events
    family = Family(drive("asyncio"))
    family.start(code="print('no json'); print(1); print('{\"event\": \"only\"}'); print('{\"half')")
    family.until_ended()
    assert family.statuses == [0] and family.events == [{"event": "only"}]


def test_a_program_that_cannot_be_loaded_leaves_its_last_words(
    drive: Callable[[str], Driver], capfd: pytest.CaptureFixture[str]
) -> None:
    family = Family(drive("uvloop"))
    family.start(code="import sys\nimport no_such_module")
    family.until_ended()
    assert family.statuses == [1] and family.words == [
        "ModuleNotFoundError: No module named 'no_such_module'"
    ]
    assert "Traceback" in capfd.readouterr().err, "all of it stands where this process writes"


def test_a_child_that_cannot_be_started_leaves_no_descriptor_open(
    drive: Callable[[str], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = Family(drive("uvloop"))
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(WorldError, match="/no/such/python"):
        family.start()
    assert os.listdir("/proc/self/fd") == before


def test_a_program_that_runs_writes_where_its_parent_does(
    drive: Callable[[str], Driver], capfd: pytest.CaptureFixture[str]
) -> None:
    family = Family(drive("uvloop"))
    code = (
        "import sys\nfrom barnabas.adapters.processes import claim_error_output\nclaim_error_output()\n"
        "print('its line', file=sys.stderr, flush=True)\nprint('{\"event\": \"up\"}', flush=True)\nsys.stdin.read()\n"
    )
    child = family.start(code=code)
    family.driver.run_until(lambda: bool(family.events))
    assert capfd.readouterr().err == "its line\n"
    child.close_input()
    family.until_ended()
    assert family.words == [""]


def test_the_input_of_a_child_ends_with_its_parent_and_ctrl_c_does_not_reach_it(
    drive: Callable[[str], Driver], tmp_path: object
) -> None:
    """A parent that is killed, with a child of its own: the grandchild says into a file how its input ended."""
    told = f"{tmp_path}/told"
    child = (
        "import os, sys\nsys.stdin.readline()\n"
        'print(\'{"event": "up", "session": %d}\' % os.getsid(0), flush=True)\n'
        f"sys.stdin.read()\nopen({told!r}, 'w').write('input ended')\n"
    )
    parent = (
        "import asyncio, os, sys, json\n"
        "from barnabas.adapters.loop import AsyncLoop\nfrom barnabas.adapters.processes import OsProcesses\n"
        "loop = asyncio.new_event_loop()\n"
        "def up(event):\n    print(json.dumps({**event, 'own': os.getsid(0)}), flush=True)\n"
        f"OsProcesses(AsyncLoop(loop), os.environ).start(['-c', {child!r}], 'x', up, print)\n"
        "loop.run_forever()\n"
    )
    family = Family(drive("uvloop"))
    started = family.start(code=parent)
    family.driver.run_until(lambda: bool(family.events))
    assert family.events[0]["session"] != family.events[0]["own"]
    started.kill()
    family.driver.run_until(lambda: os.path.exists(told))
