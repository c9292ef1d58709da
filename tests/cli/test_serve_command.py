"""`serve` and `dev`: what is said before they serve, when they cannot, and how they end."""

import asyncio
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from terminal import COMMAND, environment, invoked, piped

import barnabas
from barnabas import running_workers
from barnabas.cli import serving
from barnabas.config.load import load
from barnabas.log.folder import CLEAN_MARK

QUIET = ("--set", "barnabas.metrics.port=-1")


def served(*args: str) -> subprocess.Popen[str]:
    """A broker that is about to serve."""
    return subprocess.Popen(
        [*COMMAND, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment("", {"PYTHONUNBUFFERED": "1"}),
    )


def until(stream: object, pattern: str) -> re.Match[str]:
    for line in stream:  # type: ignore[attr-defined]
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError(f"{pattern} did not come")


def test_dev_says_where_it_is_and_what_to_try_and_what_it_says_works(tmp_path: Path) -> None:
    with served("dev", "--data", str(tmp_path / "data"), "--port", "0", *QUIET) as process:
        bootstrap = until(process.stdout, r"Kafka protocol on (\S+)")[1]
        until(process.stdout, rf"data +{tmp_path}/data")
        until(process.stdout, "metrics +off")
        tried = [until(process.stdout, rf"-b {bootstrap} greetings")[0] for _ in range(2)]
        assert len(tried) == 2
        piped(bootstrap, "produce", "greetings", stdin=b'{"hello": "world"}')
        read = piped(bootstrap, "consume", "greetings", "-o", "start", "-e", "-f", "%v")
        assert read.stdout == b'{"hello": "world"}'
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        told = process.stderr.read() if process.stderr else ""
    assert "stopping signal=SIGINT" in told and "stopped clean=True" in told and "Traceback" not in told


def test_dev_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [*COMMAND, "dev", "--memory", "--port", "0", *QUIET]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment("", {"PYTHONUNBUFFERED": "1"}),
    ) as process:
        bootstrap = until(process.stdout, r"Kafka protocol on (\S+)")[1]
        until(process.stdout, "data +in memory")
        assert piped(bootstrap, "produce", "t", "--format", "raw", stdin=b"x\n").returncode == 0
        assert piped(bootstrap, "consume", "t", "-o", "start", "-e", "-f", "%v").stdout == b"x"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []
    assert invoked("", ["dev", "--memory", "--data", "x"]).exit_code == 2


def test_serve_ends_cleanly_on_sigterm_and_logs_json_if_asked(tmp_path: Path) -> None:
    setting = "barnabas.log.format=json"
    with served("serve", "--data", str(tmp_path), "--port", "0", *QUIET, "--set", setting) as process:
        until(process.stderr, '"message": "serving"')
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None and '"clean": true' in process.stderr.read()


def test_a_kafka_file_with_unknown_and_idle_keys_is_taken_and_both_are_said(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("log.dirs=/nowhere\nnum.network.threads=3\nlog.retention.huors=1\n")
    ended = invoked("", ["serve", "--config", str(path), "--check"])
    assert (ended.exit_code, ended.stdout) == (
        0,
        "The configuration is good: 2 options set, 1 without effect.\n",
    )
    assert (
        ended.stderr
        == f"warning: {path}:3: unknown key log.retention.huors; did you mean log.retention.hours?\n"
    )


def test_all_bad_values_are_named_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text(
        "log.dirs=/nowhere\n\nnum.partitions=zero\nlog.retention.hours=many\nlisteners=SSL://:1\n"
    )
    for more in ((), ("--check",)):
        ended = invoked("", ["serve", "--config", str(path), *more])
        assert ended.exit_code == 2
        first, second, third = ended.stderr.splitlines()
        assert first.startswith(f"barnabas: {path}:3: ") and "num.partitions" in first
        assert second.startswith(f"barnabas: {path}:4: ") and "log.retention.hours" in second
        assert "SSL" in third


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("serve",), 2, "give --data FOLDER"),
        (("serve", "--prot", "1"), 2, "--port"),
        (("serve", "--port", "70000"), 2, "0<=x<=65535"),
        (("serve", "--set", "log.retention.hours"), 2, "--set log.retention.hours=24"),
        (("serve", "--data", "x", "--set", "num.partitions=0"), 2, "num.partitions"),
        (("serve", "--config", "/no/such.properties"), 3, "there is no file /no/such.properties"),
        (("serve", "--config", "/"), 2, "/: Is a directory. Give the path"),
        (("serve", "--config", "/bin/sh"), 2, "/bin/sh: this is not UTF-8"),
        (("dev", "surplus"), 2, "unexpected extra argument"),
        (("dev", "--port", "many"), 2, "--port"),
    ],
)
def test_what_it_cannot_start_with_is_said_with_the_remedy(
    args: tuple[str, ...], code: int, told: str
) -> None:
    ended = invoked("", args)
    assert ended.exit_code == code and told in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr and ended.stdout == ""


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("/dev/null/x", "cannot be made: /dev/null/x"),
        ("/proc/x", "Choose a folder that this user may write to (--data"),
    ],
)
def test_a_folder_that_it_cannot_make_is_said_with_the_remedy(folder: str, told: str) -> None:
    ended = piped("", "serve", "--data", folder, "--port", "0")
    assert ended.returncode == 1 and told in ended.stderr.decode(), ended.stderr
    assert b"Traceback" not in ended.stderr and ended.stdout == b""


def test_a_port_or_a_folder_in_use_is_said_with_the_remedy(tmp_path: Path) -> None:
    with barnabas.Broker(data=tmp_path / "used") as broker:
        host, _, port = broker.bootstrap.rpartition(":")
        ended = piped("", "dev", "--data", str(tmp_path / "free"), "--port", port, *QUIET)
        assert ended.returncode == 1
        assert f"{host}:{port}: another process listens there" in ended.stderr.decode()
        assert b"--port" in ended.stderr
        ended = piped("", "dev", "--data", str(tmp_path / "used"), "--port", "0", *QUIET)
        assert (
            ended.returncode == 1
            and b"in use by another process" in ended.stderr
            and b"--data" in ended.stderr
        )
    for host in ("203.0.113.1", "no.such.host.invalid"):
        ended = piped("", "serve", "--data", str(tmp_path / "free"), "--port", "0", "--host", host, *QUIET)
        assert ended.returncode == 1 and f"{host}:0: " in ended.stderr.decode() and b"--host" in ended.stderr


def test_a_metrics_port_in_use_names_its_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        setting = f"barnabas.metrics.port={taken.getsockname()[1]}"
        ended = piped("", "dev", "--data", str(tmp_path), "--port", "0", "--set", setting)
    assert ended.returncode == 1 and b"barnabas.metrics.port" in ended.stderr


def test_the_options_in_effect_are_a_file_that_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("log.dirs=/nowhere\nlog.retention.hours=3\nssl.key.password=secret\n")
    ended = invoked("", ["serve", "--config", str(path), "--set", "num.partitions=5", "--effective"])
    assert ended.exit_code == 0 and "secret" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "log.dirs=/nowhere",
        "log.retention.hours=3",
        "num.partitions=5",
    ]
    assert "#log.segment.bytes=1073741824" in lines
    assert load("\n".join(line.removeprefix("#") for line in lines)).warnings == []


def test_ctrl_c_before_it_serves_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.RunningNode, "started", interrupted)
    try:
        assert serving.run(load(), str(tmp_path), {}, lambda *_: None) == 130
    finally:
        asyncio.set_event_loop(None)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_that_comes_during_the_start_is_a_clean_stop(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = serving.RunningNode if workers == "1" else running_workers.RunningWorkers
    started = kind.started

    async def signalled(self: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await started(self)

    monkeypatch.setattr(kind, "started", signalled)
    text = f"listeners=PLAINTEXT://127.0.0.1:0\nbarnabas.metrics.port=-1\nbarnabas.workers={workers}\nbarnabas.workers.port=0"
    try:
        assert serving.run(load(text), str(tmp_path), {}, lambda *_: None) == 0
    finally:
        asyncio.set_event_loop(None)
    assert (tmp_path / CLEAN_MARK).exists()


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_help_has_examples(command: str) -> None:
    ended = invoked("", [command, "--help"])
    assert ended.exit_code == 0 and f"barnabas {command}" in ended.stdout.partition("Examples:")[2]


def test_a_variable_for_clients_is_no_option_of_the_broker(tmp_path: Path) -> None:
    ended = piped(
        "somewhere:1", "serve", "--data", str(tmp_path), "--check", more={"BARNABAS_NUM_PARTITIONS": "x"}
    )
    assert b"BARNABAS_NUM_PARTITIONS" in ended.stderr and b"BOOTSTRAP" not in ended.stderr
    assert os.environ.get("BARNABAS_NUM_PARTITIONS") is None
