"""`consume`: forms of output, what a terminal is spared, groups of several members, and brokers and readers that go away."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import COMMAND, HASTY, Rows, Run, Terminal, environment, invoked, piped

import barnabas
from barnabas.cli.formats import moment, pretty
from barnabas.records.record import Record

ALL = ("-o", "start", "-e")
BYTES = bytes(range(256))


@pytest.fixture
def broker() -> Iterator[barnabas.Broker]:
    with barnabas.Broker() as broker:
        yield broker


def test_bytes_go_out_as_they_came_in(run: Run, topic: str, bootstrap: str) -> None:
    import base64

    row = {"key": {"base64": base64.b64encode(BYTES).decode()}, "headers": [["h", "1"], ["n", None]]}
    run("produce", topic, stdin=json.dumps({**row, "value": row["key"]}))
    ended = piped(bootstrap, "consume", topic, *ALL, "-f", r"%k\0%v\t%h\\%%")
    assert (ended.returncode, ended.stdout) == (0, BYTES + b"\0" + BYTES + b"\th=1,n=\\%")


def test_jsonl_and_pretty_by_name(run: Run, rows: Rows, topic: str) -> None:
    run(
        "produce",
        topic,
        stdin='{"key": "k", "value": "v", "timestamp": 1769850000123, "headers": [["h", "1"]]}',
    )
    assert rows("consume", topic, *ALL, "-f", "jsonl") == rows("consume", topic, *ALL)
    shown = run("consume", topic, *ALL, "-f", "pretty").stdout
    assert shown == f"{topic}[0]@0 2026-01-31 09:00:00.123 k v h=1\n"


def test_keys_and_values_decoded(run: Run, rows: Rows, topic: str) -> None:
    lines = [
        {"key": "7", "value": '{"a": [1]}'},
        {"key": "NaN", "value": "text"},
        {"value": {"base64": "/w=="}},
    ]
    run("produce", topic, stdin="".join(json.dumps(row) + "\n" for row in lines))

    def decoded(how: str) -> list[tuple[object, object]]:
        return [(row["key"], row["value"]) for row in rows("consume", topic, *ALL, "--decode", how)]

    assert decoded("text") == [("7", '{"a": [1]}'), ("NaN", "text"), (None, {"base64": "/w=="})]
    assert decoded("json") == [(7, {"a": [1]}), ("NaN", "text"), (None, {"base64": "/w=="})]
    assert decoded("hex") == [("37", b'{"a": [1]}'.hex()), (b"NaN".hex(), b"text".hex()), (None, "ff")]
    assert run("consume", topic, *ALL, "--decode", "json", "-f", "%v").exit_code == 2


def test_nothing_of_a_record_commands_the_terminal(bootstrap: str, run: Run, topic: str) -> None:
    wild = "\x1b[2J\x07\r\n\u202e"
    run(
        "produce",
        topic,
        stdin=json.dumps({"key": wild, "value": wild, "headers": [[wild, wild]], "timestamp": 0}),
    )
    tamed = r"\x1b[2J\x07\r\n\u202e"
    expected = f"{topic}[0]@0 1970-01-01 00:00:00.000 {tamed} {tamed} {tamed}={tamed}\n"
    with Terminal(bootstrap, "consume", topic, *ALL, more={"NO_COLOR": "1"}) as terminal:
        code, _ = terminal.end()
        assert (code, terminal.seen) == (0, expected)
    with Terminal(bootstrap, "consume", topic, *ALL) as terminal:
        assert terminal.end() == (0, expected)
        assert "\x1b[36m" in terminal.seen, "keys are coloured"
    assert pretty("t", 0, Record(None, None, 1 << 62)) == b"t[0]@-1 4611686018427387904 null\n"
    assert moment(-1) == "1969-12-31 23:59:59.999"


def test_an_offset_that_is_not_there_is_an_error_and_one_that_was_is_not(run: Run, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="a\nb\nc\n")
    run("topic", "trim", topic, "--to", "1", "--yes")
    assert run("consume", topic, "-o", "0", "-e", "-f", "%v").stdout == "bc"
    assert run("consume", topic, "-o", "3", "-e", "-f", "%v").exit_code == 0
    ended = run("consume", topic, "-o", "4", "-e")
    assert ended.exit_code == 3 and "no offset 4: the next record to come has 3" in ended.stderr


def test_a_time_out_ends_it_and_is_an_error_below_the_count(run: Run, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="a\n")
    ended = run("consume", topic, "-o", "start", "-n", "2", "--timeout", "1ms", "-f", "%v")
    assert ended.exit_code == 1 and "of 2 records came in time" in ended.stderr
    assert run("consume", topic, "-o", "start", "-n", "1", "--timeout", "30s", "-f", "%v").stdout == "a"
    assert run("consume", topic, "--timeout", "1ms").exit_code == 0
    assert run("consume", topic, "--timeout", "soon").exit_code == 2


def test_two_topics_and_one_named_twice(run: Run, rows: Rows) -> None:
    for name in ("one", "two"):
        run("topic", "create", name, "-p", "2")
        run("produce", name, "--format", "raw", stdin=f"{name}\n")
    assert sorted(row["value"] for row in rows("consume", "one", "two", "one", *ALL)) == ["one", "two"]


@pytest.mark.parametrize("more", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_reader_behind_the_pipe_that_goes_ends_it_quietly(
    run: Run, topic: str, bootstrap: str, more: dict[str, str]
) -> None:
    run("produce", topic, "--format", "raw", stdin="x" * 100 + "\n" + "y\n" * 100_000)
    command = [*COMMAND, "consume", topic, *ALL, "-f", r"%v\n", "-g", topic]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(bootstrap, more)
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"x" * 100 + b"\n"
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (0, b"")
    assert run("group", "lag", topic).stdout == "", "what nobody took is not committed"
    assert "Empty" in run("group", "describe", topic).stderr


def test_a_member_commits_what_it_printed_and_no_more(run: Run, rows: Rows, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="0\n1\n2\n3\n")
    group = f"{topic}-group"
    first = run("consume", topic, "-g", group, "-o", "start", "-n", "3", "-f", "%v")
    assert first.stdout == "012"
    assert [(row["committed"], row["lag"]) for row in rows("group", "lag", group)] == [(3, 1)]
    assert run("consume", topic, "-g", group, "-o", "start", "-e", "-f", "%v").stdout == "3"
    assert [row["lag"] for row in rows("group", "lag", group)] == [0]


def test_a_member_that_finds_nothing_new_commits_where_it_began(run: Run, rows: Rows, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="0\n1\n")
    assert run("consume", topic, "-g", f"{topic}-group", "-e").stdout == ""
    assert [(row["committed"], row["lag"]) for row in rows("group", "lag", f"{topic}-group")] == [(2, 0)]


def test_members_share_and_take_over(broker: barnabas.Broker) -> None:
    broker.create_topic("shared", 4)
    env = environment(broker.bootstrap)
    command = [*HASTY, "consume", "shared", "-g", "team", "-o", "start", "-f", r"%p %v\n"]
    printed: dict[str, list[str]] = {"first": [], "second": []}
    processes: dict[str, subprocess.Popen[str]] = {}
    came = threading.Condition()

    def start(name: str) -> None:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
        )
        processes[name] = process

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                with came:
                    printed[name].append(line.strip())
                    came.notify()

        threading.Thread(target=read, daemon=True).start()

    def send(value: str) -> None:
        for partition in range(4):
            broker.produce("shared", value, partition=partition)

    def wait(count: int) -> None:
        with came:
            assert came.wait_for(lambda: sum(map(len, printed.values())) >= count, 60), printed

    def rows(*args: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in piped(broker.bootstrap, *args).stdout.splitlines()]

    try:
        start("first")
        send("alone")
        wait(4)
        start("second")
        while len([row for row in rows("group", "describe", "team") if row["reads"]]) < 2:
            pass
        send("both")
        wait(8)
        assert {line.split()[1] for line in printed["second"]} == {"both"}
        assert len(printed["second"]) == 2 and len(printed["first"]) == 6
        while any(row["lag"] for row in rows("group", "lag", "team")):
            pass
        processes["second"].send_signal(2)
        assert processes["second"].wait(30) == 130
        send("after")
        wait(12)
        assert sorted(printed["first"] + printed["second"]) == sorted(
            f"{partition} {value}" for partition in range(4) for value in ("alone", "both", "after")
        ), "each record once"
    finally:
        for process in processes.values():
            process.send_signal(2)
            _, told = process.communicate(timeout=30)
            assert told == ""


@pytest.mark.parametrize("options", [(), ("-g", "steady")])
def test_a_restarted_broker_is_found_again(options: tuple[str, ...], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    broker = barnabas.Broker(tmp_path, port=port, topics={"t": 1})
    command = [*COMMAND, "consume", "t", "-o", "start", "-n", "2", "-f", r"%v\n", *options]
    with broker:
        broker.produce("t", "before")
        env = environment(broker.bootstrap)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "before\n"
    with broker:
        broker.produce("t", "after")
        assert process.communicate(timeout=60) == ("after\n", "")
        assert process.returncode == 0


def test_a_broker_that_stays_away_is_an_error_after_what_came(broker: barnabas.Broker) -> None:
    broker.produce("t", "before")
    command = [*HASTY, "consume", "t", "-o", "start", "-f", r"%v\n"]
    env = environment(broker.bootstrap)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "before\n"
        broker.stop()
        told = process.stderr.read()
        assert (process.wait(30), process.stdout.read()) == (1, "")
    assert told.startswith("barnabas: no answer from 127.0.0.1:") and "barnabas dev" in told


@pytest.mark.parametrize("options", [(), ("-g", "growing")])
def test_a_partition_that_is_added_is_read(broker: barnabas.Broker, options: tuple[str, ...]) -> None:
    broker.produce("t", "old")
    env = environment(broker.bootstrap)
    command = [*HASTY, "consume", "t", "-o", "start", "-n", "2", "-f", r"%p%v\n", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "0old\n"
        assert invoked(broker.bootstrap, ["topic", "add-partitions", "t", "--total", "2"]).exit_code == 0
        broker.produce("t", "new", partition=1)
        assert process.communicate(timeout=60) == ("1new\n", "")
        assert process.returncode == 0


def test_a_group_whose_next_record_was_deleted_goes_on_behind_it(run: Run, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="0\n1\n2\n3\n")
    group = ("-g", f"{topic}-group", "-o", "start")
    assert run("consume", topic, *group, "-n", "1", "-f", "%v").stdout == "0"
    run("topic", "trim", topic, "--to", "3", "--yes")
    assert run("consume", topic, *group, "-e", "-f", "%v").stdout == "3"


def test_a_topic_removed_under_a_reader_is_an_error(broker: barnabas.Broker) -> None:
    broker.produce("t", "before")
    env = environment(broker.bootstrap)
    command = [*COMMAND, "consume", "t", "-o", "start", "-f", r"%v\n"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "before\n"
        piped(broker.bootstrap, "topic", "rm", "t", "--yes")
        assert "barnabas topic ls" in process.stderr.read()
        assert process.wait(30) == 3


def test_a_closed_stdout_is_no_traceback(run: Run, topic: str, bootstrap: str) -> None:
    run("produce", topic, "--format", "raw", stdin="x\n")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*COMMAND, "consume", topic, *ALL],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(bootstrap),
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == b"barnabas: stdout: No space left on device", ended.stderr
