"""`produce`: what each form of input becomes, what is said of bad input, and how it ends when the world does not help."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from terminal import COMMAND, HASTY, Rows, Run, Terminal, environment, piped

import barnabas
from barnabas.cli.produce import Rate, Rated, Replay
from barnabas.records.record import Record

ALL = ("-o", "start", "-e")


def values(run: Run, topic: str, pattern: str = "%k|%v;") -> str:
    return run("consume", topic, *ALL, "-f", pattern).stdout


def test_a_csv_row_gives_key_time_partition_and_headers(run: Run, rows: Rows) -> None:
    run("topic", "create", "columns", "-p", "3")
    text = "id,at,part,colour\n7,1970-01-01T00:00:01,2,red\n8,2500,0,\n"
    fields = ("--key-field", "id", "--timestamp-field", "at", "--partition-field", "part")
    made = run("produce", "columns", "--format", "csv", *fields, "--header-field", "colour", stdin=text)
    assert (made.exit_code, made.stderr) == (0, "2 records written to columns\n")
    found = sorted(rows("consume", "columns", *ALL), key=lambda row: row["timestamp"])
    assert found == [
        {
            "topic": "columns",
            "partition": 2,
            "offset": 0,
            "timestamp": 1000,
            "key": "7",
            "value": '{"id":"7","at":"1970-01-01T00:00:01","part":"2","colour":"red"}',
            "headers": [["colour", "red"]],
        },
        {
            "topic": "columns",
            "partition": 0,
            "offset": 0,
            "timestamp": 2500,
            "key": "8",
            "value": '{"id":"8","at":"2500","part":"0","colour":""}',
            "headers": [["colour", ""]],
        },
    ]


def test_the_fields_of_json_lines(run: Run, rows: Rows, topic: str) -> None:
    text = '{"k": [1], "v": {"a": null}, "at": "1970-01-01T00:00:02Z", "p": "0"}\n\n{"k": null, "v": null, "at": 3, "p": 0}\n'
    fields = ("--key-field", "k", "--value-field", "v", "--timestamp-field", "at", "--partition-field", "p")
    assert run("produce", topic, *fields, stdin=text).exit_code == 0
    found = [(row["key"], row["value"], row["timestamp"]) for row in rows("consume", topic, *ALL)]
    assert found == [("[1]", '{"a":null}', 2000), (None, None, 3)]


def test_the_partition_of_what_consume_wrote_is_kept_when_it_is_asked_for(run: Run, rows: Rows) -> None:
    for name in ("spread", "kept"):
        run("topic", "create", name, "-p", "4")
    text = "".join(json.dumps({"value": str(part), "to": part}) + "\n" for part in (3, 0, 2, 2))
    run("produce", "spread", "--value-field", "value", "--partition-field", "to", stdin=text)
    written = run("consume", "spread", *ALL).stdout
    assert run("produce", "kept", "--partition-field", "partition", stdin=written).exit_code == 0
    assert {(row["partition"], row["value"]) for row in rows("consume", "kept", *ALL)} == {
        (3, "3"),
        (0, "0"),
        (2, "2"),
    }


@pytest.mark.parametrize(
    ("options", "text", "shown"),
    [
        (("--format", "raw"), "a\r\n\nb", "|a;|;|b;"),
        (("--format", "raw", "--key-separator", "::"), "k::v::w\n::v\n", "k|v::w;|v;"),
        (("--format", "csv"), '\ufeffa,b\n"1\n2","x ""y"""\n', '|{"a":"1\\n2","b":"x \\"y\\""};'),
        (("--format", "csv", "--value-field", "b"), "a,b\n1,2\n", "|2;"),
        ((), '{"a": 1}\n  \n7\n"x"\nnull', '|{"a": 1};|7;|"x";|null;'),
        (("--header", "h=1"), '{"value": "v", "headers": {"own": "0"}}', "|v;"),
    ],
)
def test_what_becomes_of_lines(run: Run, topic: str, options: tuple[str, ...], text: str, shown: str) -> None:
    assert run("produce", topic, *options, stdin=text).exit_code == 0
    assert values(run, topic) == shown


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--format", "raw"), "gone\n"),
        (("--format", "raw", "--key-separator", ":"), "gone:whatever\n"),
        (("--format", "csv", "--key-field", "id"), "id,name\ngone,Ann\n"),
        (("--key-field", "id"), '{"id": "gone", "name": "Ann"}\n'),
        ((), '{"key": "gone"}\n'),
        ((), '{"key": "gone", "value": "there", "offset": 3}\n'),
    ],
)
def test_a_tombstone_has_the_key_and_null(
    run: Run, rows: Rows, topic: str, options: tuple[str, ...], text: str
) -> None:
    assert run("produce", topic, "--tombstone", *options, stdin=text).exit_code == 0
    assert [(row["key"], row["value"]) for row in rows("consume", topic, *ALL)] == [("gone", None)]


@pytest.mark.parametrize(
    ("options", "text", "told"),
    [
        ((), b'{"a": 1}\n{"a": \n', "line 2: this is not JSON"),
        ((), b'{"a": 1}\n[1' + b"[" * 200_000, "line 2: this is not JSON"),
        ((), b'{"a": 1}\nNaN\n', "line 2: this is not JSON"),
        ((), b'{"a": 1}\n[1e999]\n', "line 2: this is not JSON"),
        ((), b'{"a": 1}\n\xff\n', "line 2: this is not UTF-8"),
        ((), b'{"a": 1}\n{"value": 1, "timestamp": "noon"}\n', "line 2: timestamp"),
        ((), b'{"a": 1}\n{"value": "\\ud800"}\n', "line 2: half of a surrogate"),
        ((), b'{"a": 1}\n{"value": {"base64": "?"}}\n', "line 2: base64"),
        ((), b'{"a": 1}\n{"value": 1, "headers": [["a"]]}\n', "line 2: headers"),
        (("--key-field", "a"), b'{"a": 1}\n{"b": 1}\n', "line 2: no field 'a': b"),
        (("--key-field", "a"), b'{"a": 1}\n[1]\n', "line 2: no field 'a': not an object"),
        (("--timestamp-field", "a"), b'{"a": 1}\n{"a": "noon"}\n', "line 2: 'noon' is no time"),
        (("--partition-field", "a"), b'{"a": 0}\n{"a": -1}\n', "line 2: -1 is no partition"),
        (
            ("--tombstone", "--key-field", "a"),
            b'{"a": 1}\n{"a": null}\n',
            "line 2: a tombstone without a key",
        ),
        (("--format", "csv"), b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells, and the first row has 2 names"),
        (("--format", "csv"), b"a,b\n1,2\n\xff,2\n", "line 3: this is not UTF-8"),
        (("--format", "csv"), b'a,b\n1,2\n"1,2\n', "line 3: unexpected end"),
        (("--format", "csv", "--key-field", "c"), b"a,b\n1,2\n", "line 2: no field 'c': a, b"),
        (("--format", "csv"), b"a,a\n1,2\n", "line 1: two columns are called 'a'"),
        (("--format", "raw", "--key-separator", ":"), b"k:v\nkv\n", "line 2: there is no ':' behind a key"),
    ],
)
def test_bad_input_is_named_by_its_line_and_what_came_before_is_kept(
    run: Run, topic: str, options: tuple[str, ...], text: bytes, told: str
) -> None:
    ended = run("produce", topic, *options, stdin=text)
    good = 0 if "csv" in options and "line 3" not in told else 1
    assert ended.exit_code == 1 and f"stdin: {told}" in ended.stderr, ended.stderr
    assert f"{good} record{'' if good == 1 else 's'} written to {topic}\n" in ended.stderr
    assert values(run, topic, "x") == "x" * good


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    run: Run, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barnabas.cli.inputs.LINE_BYTES_MAX", 1 << 20)
    ended = run("produce", topic, "--format", "raw", stdin=b"x" * (2 << 20))
    assert ended.exit_code == 1 and "line 1: longer than 1 MiB" in ended.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--format", "raw", "--key-field", "a"), "--key-field"),
        (("--key-separator", ":"), "--format raw"),
        (("--format", "raw", "--key-separator", ""), "at least one character"),
        (("--tombstone", "--value-field", "a"), "leave --value-field out"),
        (("--rate", "fast"), "100/s"),
        (("--rate", "0"), "100/s"),
        (("--acks", "2"), "'all', '1', '0'"),
    ],
)
def test_what_does_not_go_together_is_said(run: Run, options: tuple[str, ...], told: str) -> None:
    ended = run("produce", "any", *options, stdin="")
    assert ended.exit_code == 2 and told in ended.stderr, ended.stderr


def test_files_are_looked_at_before_anything_is_sent(run: Run, topic: str, tmp_path: Path) -> None:
    good, lacking = tmp_path / "good", tmp_path / "lacking"
    good.write_text("a\n")
    ended = run("produce", topic, "--format", "raw", str(good), str(lacking))
    assert ended.exit_code == 3 and f"there is no file {lacking}" in ended.stderr
    ended = run("produce", topic, "--format", "raw", str(good), str(tmp_path))
    assert ended.exit_code == 1 and f"{tmp_path} cannot be read" in ended.stderr
    assert values(run, topic) == ""
    good.write_text("a\n{")
    ended = run("produce", topic, str(good))
    assert ended.exit_code == 1 and f"{good}: line 1" in ended.stderr
    assert run("produce", topic, "--format", "raw", str(good), "-", str(good), stdin="in\n").exit_code == 0
    assert values(run, topic, "%v;") == "a;{;in;a;{;"


def test_a_batch_above_the_limit_of_the_topic_goes_in_parts(run: Run) -> None:
    run("topic", "create", "narrow", "-p", "1", "--set", "max.message.bytes=2000")
    ended = run("produce", "narrow", "--format", "raw", stdin="".join(f"{n:0500}\n" for n in range(50)))
    assert (ended.exit_code, ended.stderr) == (0, "50 records written to narrow\n")
    assert values(run, "narrow", "%v,") == "".join(f"{n:0500}," for n in range(50))
    ended = run("produce", "narrow", "--format", "raw", stdin="small\n" + "x" * 3000)
    assert ended.exit_code == 1 and "max.message.bytes" in ended.stderr
    assert "1 record written" in ended.stderr


@pytest.mark.parametrize("text", ["100", "100/s", "6000/m", "360000/h"])
def test_rates(text: str) -> None:
    assert Rate().convert(text, None, None) == 100
    with pytest.raises(click.BadParameter):
        Rate().convert("100/fortnight", None, None)


class Clock:
    """Moves by sleeping. told: what was done, in order."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.told: list[object] = []

    def sleep(self, span_s: float) -> None:
        self.told.append(round(span_s, 3))
        self.now_s += span_s

    def flush(self) -> None:
        self.told.append("sent")


def test_a_rate_is_kept_and_what_was_late_is_made_up_for() -> None:
    clock = Clock()
    pace = Rated(4.0, clock.flush, lambda: clock.now_s, clock.sleep)
    for _ in range(3):
        pace.step(Record(None, b""))
    assert clock.told == ["sent", 0.25, "sent", 0.25]
    clock.now_s += 1.0
    clock.told.clear()
    for _ in range(5):
        pace.step(Record(None, b""))
    assert clock.told == ["sent", 0.25] and clock.now_s == 101.75


def test_a_replay_waits_as_the_timestamps_do() -> None:
    clock = Clock()
    pace = Replay(clock.flush, lambda: clock.now_s, clock.sleep)
    for timestamp in (5000, 6500, 6500, 6000, 6510, 7000):
        pace.step(Record(None, b"", timestamp))
    assert clock.told == ["sent", 1.5, "sent", 0.5]


def test_a_rate_and_a_replay_hold_records_back_and_lose_none(run: Run, topic: str) -> None:
    text = "".join(json.dumps({"value": str(at), "timestamp": 1000 + at}) + "\n" for at in range(5))
    assert run("produce", topic, "--rate", "1000000/s", stdin=text).exit_code == 0
    assert run("produce", topic, "--replay-original-speed", stdin=text).exit_code == 0
    assert values(run, topic, "%v") == "0123401234"
    assert run("produce", topic, "--replay-original-speed", "--rate", "1", stdin="").exit_code == 2


def test_what_kcat_wrote_is_taken(run: Run, rows: Rows, topic: str) -> None:
    line = '{"topic":"x","partition":3,"offset":9,"tstype":"create","ts":1000,"broker":0,"headers":["a","1","b",null],"key":"k","payload":"v"}'
    bare = '{"topic":"x","partition":3,"offset":9,"tstype":"create","ts":1001,"broker":0,"key":null,"payload":null}'
    assert run("produce", topic, "--format", "kcat", stdin=f"{line}\n{bare}\n").exit_code == 0
    assert [
        (row["key"], row["value"], row["timestamp"], row.get("headers"))
        for row in rows("consume", topic, *ALL)
    ] == [
        ("k", "v", 1000, [["a", "1"], ["b", None]]),
        (None, None, 1001, None),
    ]
    for wrong in (
        "[]",
        '{"key": 1}',
        '{"payload": "x", "headers": ["a"]}',
        '{"payload": "x", "headers": [1, "a"]}',
    ):
        ended = run("produce", topic, "--format", "kcat", stdin=wrong)
        assert ended.exit_code == 1 and "line 1: " in ended.stderr


def test_a_slow_writer_behind_a_pipe_does_not_hold_its_records_back(run: Run, bootstrap: str) -> None:
    run("topic", "create", "slow", "-p", "1")
    with subprocess.Popen(
        [*COMMAND, "produce", "slow", "--format", "raw"], stdin=subprocess.PIPE, env=environment(bootstrap)
    ) as process:
        assert process.stdin is not None
        for number in range(2):
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
            read = run(
                "consume", "slow", "-o", "start", "-n", str(number + 1), "-f", "%v,", "--timeout", "30s"
            )
            assert read.stdout == "0,1,"[: 2 * number + 2], "while the pipe is open"
        process.stdin.close()
        assert process.wait(30) == 0


PEAK = """
import re, sys
from barnabas.cli.main import main
try: main(args=sys.argv[1:])
finally: print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def test_a_big_file_is_read_and_printed_in_bounded_memory(tmp_path: Path) -> None:
    lines, line_bytes = 100_000, 500
    path = tmp_path / "big"
    with path.open("w") as file:
        for number in range(lines):
            file.write(f"{number:0{line_bytes - 1}}\n")
    with barnabas.Broker(data=tmp_path / "data", config={"barnabas.durability": "cache"}) as broker:
        broker.create_topic("big", 3)
        env = environment(broker.bootstrap)

        def peak_bytes(*args: str, stdout: int) -> tuple[str, int]:
            command = [sys.executable, "-c", PEAK, *args]
            ended = subprocess.run(
                command, stdout=stdout, stderr=subprocess.PIPE, check=True, env=env, text=True
            )
            *told, kilobytes = ended.stderr.splitlines()
            return "\n".join(told), int(kilobytes) * 1024

        told, peak = peak_bytes("produce", "big", "--format", "raw", str(path), stdout=subprocess.DEVNULL)
        assert told == f"{lines} records written to big"
        assert peak < lines * line_bytes * 3 // 4
        out = tmp_path / "out"
        with out.open("wb") as file:
            _, peak = peak_bytes("consume", "big", *ALL, "-f", r"%v\n", stdout=file.fileno())
        assert peak < lines * line_bytes * 3 // 4
        with out.open("rb") as file:
            assert sorted(map(int, file)) == list(range(lines))


def test_a_bar_on_a_terminal_and_none_in_a_pipe(bootstrap: str, run: Run, topic: str, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("x\n" * 3000)
    with Terminal(bootstrap, "produce", topic, "--format", "raw", str(path)) as terminal:
        code, shown = terminal.end()
    assert code == 0
    assert "3000 records" in shown and "6.0/6.0 kB" in shown and f"3000 records written to {topic}" in shown
    quiet = piped(bootstrap, "produce", topic, "--format", "raw", str(path))
    assert quiet.stderr.decode() == f"3000 records written to {topic}\n"
    with Terminal(
        bootstrap, "produce", topic, "--format", "raw", "--progress", "none", str(path)
    ) as terminal:
        assert terminal.end() == (0, f"3000 records written to {topic}\n")


def test_progress_for_machines(run: Run, topic: str, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("x\n" * 5)
    ended = run("produce", topic, "--format", "raw", "--progress", "json", str(path), str(path))
    *_, last, _ = ended.stderr.splitlines()
    assert json.loads(last) == {"records": 10, "bytes": 20, "total_bytes": 20}


def test_lines_typed_on_a_terminal_are_sent_one_by_one_until_ctrl_d(
    bootstrap: str, run: Run, topic: str
) -> None:
    with Terminal(bootstrap, "produce", topic, "--format", "raw") as terminal:
        terminal.write("typed\n")
        read = run("consume", topic, "-o", "start", "-n", "1", "-f", "%v", "--timeout", "30s")
        assert read.stdout == "typed"
        terminal.write("\x04")
        code, shown = terminal.end()
    assert (code, shown) == (0, f"typed\n1 record written to {topic}\n")


def test_ctrl_c_sends_what_was_read_and_says_how_much(bootstrap: str, run: Run, topic: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "produce", topic, "--format", "raw"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(bootstrap),
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"one\ntwo\nhalf")
        process.stdin.flush()
        assert run("consume", topic, "-o", "start", "-n", "2", "--timeout", "30s").exit_code == 0
        process.send_signal(2)
        assert (process.wait(30), process.stderr.read()) == (130, f"2 records written to {topic}\n".encode())


@pytest.mark.parametrize("acks", ["all", "1"])
def test_a_broker_that_dies_meanwhile_leaves_an_exact_count(acks: str, tmp_path: Path) -> None:
    broker = barnabas.Broker(topics={"t": 1})
    with broker:
        env = environment(broker.bootstrap)
        command = [*HASTY, "produce", "t", "--format", "raw", "--acks", acks]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
        ) as process:
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write("one\ntwo\n")
            process.stdin.flush()
            assert broker.wait_for("t", lambda found: found.value == "two", timeout=30)
            broker.stop()
            process.stdin.write("three\n")
            process.stdin.close()
            told = process.stderr.read()
            assert process.wait(30) == 1
    first, *rest = told.splitlines()
    lost = "1 record read and not sent", "1 record more went out without an answer and may be there too"
    assert first in [f"2 records written to t; {text}" for text in lost]
    assert rest[0].startswith("barnabas: no answer from 127.0.0.1:") and "barnabas dev" in rest[1]
