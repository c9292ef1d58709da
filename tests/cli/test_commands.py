"""The commands against a broker: what they print, and how they end."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from conftest import Run


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_consume_writes_produce_takes_back(run: Run) -> None:
    rows = [
        {"key": "k", "value": "text", "headers": [["a", "1"], ["a", None]], "timestamp": 1000},
        {"key": {"base64": "/wA="}, "value": {"base64": "gIE="}, "timestamp": 1001},
        {"key": None, "value": None, "timestamp": 1002},
        {"key": "", "value": "", "timestamp": 1003},
    ]
    run("topic", "create", "first", "-p", "1")
    run("topic", "create", "second", "-p", "1")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert run("produce", "first", "--compression", "lz4", stdin=text).exit_code == 0
    first = run("consume", "first", "-o", "start", "-e").stdout
    assert run("produce", "second", stdin=first).exit_code == 0
    second = run("consume", "second", "-o", "start", "-e").stdout
    assert lines(second) == [{**row, "topic": "second"} for row in lines(first)]
    assert [{name: row.get(name) for name in rows[0]} for row in lines(second)] == [
        {"headers": None, **row} for row in rows
    ]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_there_and_back(run: Run, codec: str) -> None:
    text = "".join(f"line {number}\n" for number in range(500))
    topic = f"codec-{codec}"
    run("topic", "create", topic, "-p", "1")
    assert run("produce", topic, "--format", "raw", "--compression", codec, stdin=text).exit_code == 0
    assert run("consume", topic, "-o", "start", "-e", "-f", "%v\\n").stdout == text


def test_ranges_counts_and_filters(run: Run) -> None:
    run("topic", "create", "ranged", "-p", "1")
    rows = [
        {"key": f"k{number % 2}", "value": str(number), "timestamp": 1000 + number} for number in range(10)
    ]
    rows[7]["headers"] = [["colour", "red"]]
    run("produce", "ranged", stdin="".join(json.dumps(row) + "\n" for row in rows))

    def values(*options: str) -> str:
        return run("consume", "ranged", "-f", "%v", *options).stdout

    assert values("-o", "start", "-e") == "0123456789"
    assert values("-o", "-3", "-e") == "789"
    assert values("-o", "2:5") == "234"
    assert values("-o", "@1004:@1006") == "45"
    assert values("-o", "8:end") == "89"
    assert values("-o", "start", "-n", "4") == "0123"
    assert values("-o", "start", "-e", "--key", "*1") == "13579"
    assert values("-o", "start", "-e", "--header", "colour=red") == "7"
    assert values("-o", "start", "-e", "--header", "colour=blue") == ""


def test_csv_rows_become_objects_with_a_key(run: Run) -> None:
    run("topic", "create", "rows", "-p", "1")
    run(
        "produce", "rows", "--format", "csv", "--key-field", "id", "--header", "h=1", stdin="id,name\n7,Ann\n"
    )
    assert (
        run("consume", "rows", "-o", "start", "-e", "-f", "%k %v %h").stdout
        == '7 {"id":"7","name":"Ann"} h=1'
    )


def test_a_bad_line_names_its_number_and_keeps_what_came_before(run: Run) -> None:
    run("topic", "create", "bad", "-p", "1")
    told = run("produce", "bad", stdin='{"a": 1}\n{"a": \n')
    assert told.exit_code == 1
    assert "line 2" in told.stderr and "1 record written" in told.stderr
    assert run("consume", "bad", "-o", "start", "-e", "-f", "%v").stdout == '{"a": 1}'


@pytest.mark.parametrize(
    ("args", "code", "hint"),
    [
        (("consume", "nowhere", "-e"), 3, "barnabas topic ls"),
        (("group", "lag", "nobody"), 3, "barnabas group ls"),
        (("consume", "x", "-o", "soon"), 2, "@TIME"),
        (("consume", "x", "-f", "%q"), 2, "%t"),
        (("topic", "create", "ok", "--set", "retention"), 2, "retention.ms=3600000"),
        (("group", "seek", "g"), 2, "--to"),
        (("topic", "ls", "-b", "nonsense:port"), 2, "HOST:PORT"),
    ],
)
def test_an_error_has_its_code_and_the_next_thing_to_try(
    run: Run, args: tuple[str, ...], code: int, hint: str
) -> None:
    told = run(*args)
    assert (told.exit_code, hint in told.stderr) == (code, True), told.stderr


def test_no_broker_is_said_with_the_remedy(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told = run("topic", "ls", "-b", f"127.0.0.1:{taken.getsockname()[1]}")
    assert told.exit_code == 1
    assert "barnabas dev" in told.stderr


def test_ctrl_c_ends_a_live_reader_with_130_and_no_traceback(run: Run, bootstrap: str) -> None:
    run("topic", "create", "live", "-p", "1")
    run("produce", "live", "--format", "raw", stdin="x\n")
    command = [sys.executable, "-m", "barnabas.cli.main", "consume", "live", "-o", "start", "-b", bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b'"x"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr.read()) == (130, b"")


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["topic", "--help"], ["consume", "--help"], ["log", "--help"]]
)
def test_help_imports_nothing_slow(args: list[str]) -> None:
    script = (
        "import sys\nfrom barnabas.cli.main import main\n"
        f"sys.argv = ['barnabas', *{args!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ended.stderr.split())
    slow = {"rich", "asyncio", "uvloop", "sqlite3", "barnabas.node", "barnabas.embedded", "barnabas.server"}
    assert ended.stdout and not loaded & slow
    if args[0] in ("--help", "--version"):
        assert not [name for name in loaded if name.startswith(("barnabas.wire", "barnabas.records"))]
