"""`group`: who is in it, how far it is behind, and moving it."""

import json
import subprocess
from pathlib import Path

import pytest
from terminal import COMMAND, Rows, Run, Terminal, environment


@pytest.fixture
def group(run: Run, topic: str) -> str:
    """A group that has read five of the five records of the topic."""
    run("produce", topic, "--format", "raw", stdin="0\n1\n2\n3\n4\n")
    assert run("consume", topic, "-g", f"{topic}-group", "-o", "start", "-e").exit_code == 0
    return f"{topic}-group"


def test_a_group_from_reading_to_removing(run: Run, rows: Rows, topic: str, group: str) -> None:
    assert {"group": group, "state": "Empty", "protocol": "consumer"} in rows("group", "ls")
    assert run("consume", topic, "-g", group, "-o", "start", "-e").stdout == "", "it reads once"
    row = {"topic": topic, "partition": 0, "committed": 5, "end": 5, "lag": 0, "reader": None}
    assert rows("group", "lag", group) == [row]
    assert run("group", "lag", group).stderr == f"{group}: Empty, 0 behind\n"
    assert rows("group", "describe", group) == []
    assert rows("group", "rm", group, "--dry-run") == [{"topic": topic, "partition": 0, "committed": 5}]
    assert run("group", "rm", group, "--yes").stderr == f"{group} is removed\n"
    for verb in ("describe", "lag", "offsets"):
        ended = run("group", verb, group)
        assert ended.exit_code == 3 and "barnabas group ls" in ended.stderr


@pytest.mark.parametrize(
    ("options", "new"),
    [
        (("--to", "start"), 0),
        (("--to", "end"), 5),
        (("--to", "-2"), 3),
        (("--to", "@0"), 0),
        (("--to-offset", "4"), 4),
        (("--shift", "-2"), 3),
        (("--shift", "-9"), 0),
        (("--shift", "1"), 5),
    ],
)
def test_seek_shows_its_plan_and_does_it(
    run: Run, rows: Rows, topic: str, group: str, options: tuple[str, ...], new: int
) -> None:
    plan = [{"topic": topic, "partition": 0, "committed": 5, "new": new}]
    assert rows("group", "seek", group, *options, "--dry-run") == plan
    assert rows("group", "lag", group)[0]["committed"] == 5
    assert rows("group", "seek", group, *options, "--yes") == plan
    assert rows("group", "lag", group)[0]["committed"] == new
    assert run("consume", topic, "-g", group, "-e", "-f", "%v").stdout == "01234"[new:]


def test_offsets_travel_by_file_and_from_group_to_group(
    run: Run, rows: Rows, topic: str, group: str, tmp_path: Path
) -> None:
    run("group", "seek", group, "--to-offset", "2", "--yes")
    kept = run("group", "offsets", group).stdout
    assert [json.loads(line) for line in kept.splitlines()] == [{"topic": topic, "partition": 0, "offset": 2}]
    run("group", "seek", group, "--to", "end", "--yes")
    path = tmp_path / "offsets"
    path.write_text(kept)
    assert rows("group", "seek", group, "--from-file", str(path), "--yes")[0]["new"] == 2
    fresh = rows("group", "seek", f"{group}-fresh", "--from-group", group, "--yes")
    assert fresh == [{"topic": topic, "partition": 0, "committed": None, "new": 2}]
    assert rows("group", "offsets", f"{group}-fresh") == rows("group", "offsets", group)
    assert run("group", "seek", f"{group}-new", "--from-file", "-", "--yes", stdin=kept).exit_code == 0
    for text in ("x", "[]", '{"topic": "t"}', '{"topic": 1, "partition": 0, "offset": 0}'):
        ended = run("group", "seek", group, "--from-file", "-", "--yes", stdin=kept + text)
        assert ended.exit_code == 1 and "line 2" in ended.stderr and "group offsets" in ended.stderr
    assert run("group", "seek", group, "--from-file", str(tmp_path / "none"), "--yes").exit_code == 3
    assert run("group", "seek", group, "--from-group", "nobody", "--yes").exit_code == 3


def test_seek_of_a_topic_that_was_never_committed(run: Run, rows: Rows, topic: str) -> None:
    run("topic", "create", f"{topic}-two", "-p", "2")
    made = rows("group", "seek", f"{topic}-ahead", "--topic", f"{topic}-two", "--to", "end", "--yes")
    assert [(row["partition"], row["committed"], row["new"]) for row in made] == [(0, None, 0), (1, None, 0)]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 2, "--from-file"),
        (("--to", "start", "--shift", "1"), 2, "one of"),
        (("--to", "start", "--to-offset", "1"), 2, "either"),
        (("--to", "soon"), 2, "@TIME"),
        (("--to-offset", "6"), 3, "no offset 6"),
        (("--to", "start"), 1, "add --yes"),
        (("--to", "start", "--topic", "nowhere", "--yes"), 3, "barnabas topic ls"),
    ],
)
def test_what_seek_refuses(
    run: Run, rows: Rows, group: str, options: tuple[str, ...], code: int, told: str
) -> None:
    ended = run("group", "seek", group, *options)
    assert ended.exit_code == code and told in ended.stderr, ended.stderr
    assert rows("group", "offsets", group)[0]["offset"] == 5


def test_a_group_with_members_is_not_moved_nor_removed(
    bootstrap: str, run: Run, rows: Rows, group: str, topic: str
) -> None:
    command = [*COMMAND, "consume", topic, "-g", group, "-f", "%v"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(bootstrap)) as process:
        assert process.stdout is not None
        run("produce", topic, "--format", "raw", stdin="x\n")
        assert process.stdout.read(1) == b"x"
        (member,) = rows("group", "describe", group)
        assert member["reads"] == [f"{topic}[0]"] and member["client"] == "barnabas-cli"
        assert rows("group", "lag", group)[0]["reader"] == "barnabas-cli"
        for verb in (("seek", group, "--to", "start"), ("rm", group)):
            ended = run("group", *verb, "--yes")
            assert ended.exit_code == 1 and "stop them first" in ended.stderr
        process.send_signal(2)
        assert process.wait(30) == 130
    assert rows("group", "describe", group) == [], "it has left"


def test_lag_is_watched_until_ctrl_c(bootstrap: str, run: Run, topic: str, group: str) -> None:
    with Terminal(bootstrap, "group", "lag", group, "--watch", "--every", "1ms") as terminal:
        terminal.until("0 behind")
        run("produce", topic, "--format", "raw", stdin="x\n")
        terminal.until("1 behind")
        terminal.interrupt()
        code, _ = terminal.end()
    assert code == 130
