"""The commands against a broker: what they print, and how they end."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest
from click.testing import CliRunner
from terminal import Run, environment

from barnabas import errors
from barnabas.cli import transport
from barnabas.cli.output import guarded, parse_address
from barnabas.client.cluster import Refused, Unreachable


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


@pytest.mark.parametrize(
    ("error", "code", "step"),
    [
        (Refused(errors.TOPIC_AUTHORIZATION_FAILED, "topic t"), 4, "ask whoever runs the broker"),
        (Refused(errors.GROUP_AUTHORIZATION_FAILED, "group g"), 4, "ask whoever runs the broker"),
        (Refused(errors.UNKNOWN_TOPIC_OR_PARTITION, "topic t"), 3, "barnabas topic ls"),
        (Refused(errors.NON_EMPTY_GROUP, "group my group"), 1, "barnabas group describe 'my group'"),
        (Refused(errors.OFFSET_OUT_OF_RANGE, "t[3]"), 1, "barnabas topic describe t\n"),
        (Refused(errors.UNKNOWN_SERVER_ERROR, "topic t"), 1, "barnabas topic describe t\n"),
        (Refused(errors.UNKNOWN_SERVER_ERROR, "group g"), 1, "barnabas group describe g\n"),
        (Refused(errors.UNKNOWN_SERVER_ERROR, "no producer id"), 1, "the broker's log says more"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
        (FileNotFoundError(2, "No such file", "x"), 3, "there is no file x"),
        (OSError(28, "No space left on device"), 1, "stdout: No space left"),
    ],
    ids=str,
)
def test_each_way_to_end_has_its_code_and_the_next_step(error: BaseException, code: int, step: str) -> None:
    @click.command()
    @guarded
    def fails() -> None:
        raise error

    ended = CliRunner().invoke(fails)
    assert (ended.exit_code, ended.stdout) == (code, "") and step in ended.stderr, ended.stderr
    assert ended.stderr.count("\n") == (2 if step else 0), "a sentence and a step, or nothing"


@contextmanager
def answering(*answers: bytes | None) -> Iterator[str]:
    """Something that listens: to each connection in turn it says this and closes, None: it waits for the peer to go."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                peer, _ = server.accept()
                with peer:
                    peer.recv(1000)
                    if answer is None:
                        peer.recv(1000)
                    else:
                        peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "the broker closed the connection"),
        (b"\0\0\0\x08abc", "the broker closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is it a Kafka broker?"),
        (b"\0\0\0\x02ab", "another request"),
        (b"\0\0\0\x06\0\0\0\x01ab", "is it a Kafka broker?"),
        (None, "it says nothing"),
    ],
)
def test_what_is_no_broker_is_said_to_be_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, told: str
) -> None:
    monkeypatch.setattr(transport, "FIRST_ANSWER_TIMEOUT_S", 0.01)
    with answering(answer) as address:
        ended = run("topic", "ls", "-b", address)
    assert ended.exit_code == 1 and f"no answer from {address}: " in ended.stderr and told in ended.stderr


def test_no_broker_is_said_with_the_remedy_and_the_next_address_is_tried(run: Run, bootstrap: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("topic", "ls", "-b", nobody)
        assert (
            ended.exit_code == 1 and "Connection refused" in ended.stderr and "barnabas dev" in ended.stderr
        )
        assert run("topic", "ls", "-b", f"{nobody},{bootstrap}").exit_code == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a:1", ("a", 1)),
        ("a", ("a", 9092)),
        (":1", ("127.0.0.1", 1)),
        ("[::1]:1", ("::1", 1)),
        (" a.b:1 ", ("a.b", 1)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert "no answer from [::1]:1: " in str(Unreachable(("::1", 1), "x"))


@pytest.mark.parametrize("text", ["", ",", "a:0", "a:65536", "a:b"])
def test_what_is_no_address(run: Run, text: str) -> None:
    ended = run("topic", "ls", "-b", text)
    assert ended.exit_code == 2 and "HOST:PORT" in ended.stderr


def test_ctrl_c_ends_a_live_reader_with_130_and_no_traceback(run: Run, bootstrap: str) -> None:
    run("topic", "create", "live", "-p", "1")
    run("produce", "live", "--format", "raw", stdin="x\n")
    command = [sys.executable, "-m", "barnabas.cli.main", "consume", "live", "-o", "start", "-b", bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b'"x"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr.read()) == (130, b"")


SLOW = {
    "asyncio",
    "concurrent.futures",
    "email",
    "http",
    "logging",
    "rich",
    "sqlite3",
    "ssl",
    "urllib",
    "uvloop",
    "barnabas.adapters",
    "barnabas.config",
    "barnabas.coordinators",
    "barnabas.embedded",
    "barnabas.node",
    "barnabas.server",
}
"""Each of them costs a command that does not need it more than the command itself."""


def modules_of(args: list[str], stdin: bytes, bootstrap: str) -> set[str]:
    script = (
        "import sys\nfrom barnabas.cli.main import main\n"
        "try: main(args=sys.argv[1:])\n"
        "finally: print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *args],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env=environment(bootstrap),
    )
    assert ended.returncode == 0, ended.stderr
    return {name for name in ended.stderr.decode().split("\n") if not name.startswith("click.")}


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["topic", "--help"],
        ["consume", "--help"],
        ["produce", "--help"],
        ["group", "--help"],
        ["topic", "ls"],
        ["topic", "describe", "fast"],
        ["consume", "fast", "-o", "start", "-e"],
        ["consume", "fast", "-g", "g", "-o", "start", "-e"],
        ["produce", "fast"],
        ["group", "ls"],
    ],
)
def test_a_command_imports_nothing_slow(run: Run, bootstrap: str, args: list[str]) -> None:
    run("topic", "create", "fast", "-p", "1", "--if-absent")
    loaded = modules_of(args, b'{"a": 1}\n', bootstrap)
    assert {name for name in loaded if name in SLOW or name.partition(".")[0] in SLOW} == set()
    if args[0].startswith("--"):
        assert not [name for name in loaded if name.startswith(("barnabas.wire", "barnabas.records"))]


def test_help_of_commands_that_read_files_imports_no_loop(bootstrap: str) -> None:
    loaded = modules_of(["log", "--help"], b"", bootstrap)
    assert not loaded & {"rich", "asyncio", "uvloop", "sqlite3", "barnabas.node", "barnabas.server"}
