"""`serve --workers` and `dev --workers`: what is said, how it ends, and what is left when the parent is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from terminal import COMMAND, environment, invoked, piped

import barnabas

QUIET = ("--set", "barnabas.metrics.port=-1", "--set", "barnabas.workers.port=0")
SERVES = re.compile(r"this worker serves at=(\S+) .*pid=(\d+) worker=(\d+)")
WAIT_S = 30


HASTY = [
    sys.executable,
    "-c",
    """
import sys
from barnabas import supervisor
from barnabas.cli.main import main
supervisor.ENDS_MAX, supervisor.HOPELESS_MS, supervisor.ALONE_MS = 3, 0, (10,)
main(args=sys.argv[1:])
""",
]
"""A parent that soon gives up."""


class Served:
    """Workers under a parent, up to the line that says that all serve."""

    def __init__(self, command: str, folder: Path, *args: str, program: Sequence[str] = COMMAND) -> None:
        self.lines: list[str] = []
        self.pids: dict[int, int] = {}
        self.process = subprocess.Popen(
            [*program, command, "--data", str(folder), "--port", "0", *QUIET, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment("", {"PYTHONUNBUFFERED": "1"}),
        )
        self.bootstrap = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            serves = SERVES.search(line)
            if serves:
                self.pids[int(serves[3])] = int(serves[2])
            found = re.search(r"listeners=PLAINTEXT://(\S+)", line)
            if found:
                self.bootstrap = found[1]
                return
        raise AssertionError("it does not serve: " + "".join(self.lines))

    def ended(self) -> int:
        assert self.process.stdout is not None and self.process.stderr is not None
        code = self.process.wait(WAIT_S)
        until_gone(list(self.pids.values()))  # they have the same error output
        self.lines += self.process.stderr.readlines()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def told(self, *texts: str) -> bool:
        return any(all(text in line for text in texts) for line in self.lines)


def until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.01)


def test_dev_says_where_its_workers_are_and_stops_them_on_ctrl_c(tmp_path: Path) -> None:
    served = Served("dev", tmp_path, "--workers", "2")
    assert set(served.pids) == {1, 2} and served.told("serving", "node=1,2")
    assert served.process.stdout is not None
    welcome = "".join(line for line, _ in zip(served.process.stdout, range(6), strict=False))
    assert f"Kafka protocol on {served.bootstrap}" in welcome
    assert re.search(r"workers +127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+\n", welcome)
    assert piped(served.bootstrap, "topic", "create", "t", "-p", "4").returncode == 0
    assert piped(served.bootstrap, "produce", "t", "--format", "raw", stdin=b"x\ny\nz\n").returncode == 0
    read = piped(served.bootstrap, "consume", "t", "-o", "start", "-e", "-f", "%v\n")
    assert sorted(read.stdout.split()) == [b"x", b"y", b"z"]
    served.process.send_signal(signal.SIGINT)
    assert served.ended() == 0
    assert served.told("stopping signal=SIGINT") and served.told("stopped clean=True")
    assert not served.told("Traceback")
    assert (tmp_path / ".kafka_cleanshutdown").exists() and not (tmp_path / "owners").exists()


def test_json_lines_say_whose_they_are(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--data", str(tmp_path), "--port", "0", "--workers", "2", *QUIET]
    with subprocess.Popen(
        [*command, "--set", "barnabas.log.format=json"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment("", {}),
    ) as process:
        assert process.stderr is not None
        workers = set()
        for line in process.stderr:
            found = re.search(r'"worker": (\d)}', line)
            workers |= {found[1]} if found else set()
            if '"message": "serving"' in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert workers == {"1", "2"}


def test_a_killed_parent_takes_its_workers_along_and_the_next_start_is_right(tmp_path: Path) -> None:
    served = Served("serve", tmp_path, "--workers", "2")
    assert piped(served.bootstrap, "topic", "create", "t", "-p", "4").returncode == 0
    assert piped(served.bootstrap, "produce", "t", "--format", "raw", stdin=b"x\ny\nz\n").returncode == 0
    served.process.kill()
    served.process.wait(WAIT_S)
    with barnabas.Cluster(2, tmp_path) as cluster:  # waits for those who have not ended yet
        read = piped(cluster.bootstrap, "consume", "t", "-o", "start", "-e", "-f", "%v\n")
        assert sorted(read.stdout.split()) == [b"x", b"y", b"z"]
    assert served.ended() == -signal.SIGKILL
    assert served.told("stopping", "parent") and not served.told("Traceback")


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
def test_a_workers_address_of_ipv6_stands_in_brackets(tmp_path: Path) -> None:
    served = Served("serve", tmp_path, "--workers", "2", "--host", "::1")
    assert served.told("this worker serves", "worker=1", "PLAINTEXT://[::1]:")
    served.process.send_signal(signal.SIGTERM)
    assert served.ended() == 0


def test_a_second_ctrl_c_ends_what_does_not_stop(tmp_path: Path) -> None:
    served = Served("serve", tmp_path, "--workers", "2")
    os.kill(served.pids[2], signal.SIGSTOP)
    served.process.send_signal(signal.SIGINT)
    assert served.process.stderr is not None
    while not served.told("stopping signal=SIGINT"):
        served.lines.append(served.process.stderr.readline())
    served.process.send_signal(signal.SIGINT)
    assert served.ended() == 130


def test_a_worker_that_is_killed_is_told_of_and_replaced(tmp_path: Path) -> None:
    served = Served("serve", tmp_path, "--workers", "2")
    os.kill(served.pids[1], signal.SIGKILL)
    assert served.process.stderr is not None
    while not served.told("a worker serves again", "worker=1"):
        served.lines.append(served.process.stderr.readline())
    assert served.told("a worker ended", "worker=1", "killed by signal 9")
    served.process.send_signal(signal.SIGTERM)
    assert served.ended() == 0 and served.told("stopped clean=True")


def test_when_no_worker_comes_up_it_ends_with_the_reason(tmp_path: Path) -> None:
    served = Served("serve", tmp_path, "--workers", "2", program=HASTY)
    (tmp_path / "owners").rename(tmp_path / "lost")
    for pid in served.pids.values():
        os.kill(pid, signal.SIGKILL)
    assert served.ended() == 1
    assert served.lines[-1].startswith("barnabas: no worker comes up: ")
    assert f"Worker 1: There is no folder {tmp_path}/owners/1" in served.lines[-1]
    assert "Mend the cause" in served.lines[-1] and not served.told("Traceback")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("dev", "--memory", "--workers", "2"), "leave out --workers, or leave out --memory"),
        (("dev", "--memory", "--set", "barnabas.workers=2"), "leave out --workers, or leave out --memory"),
        (("serve", "--data", "x", "--workers", "0"), "--workers"),
        (("dev", "--workers", "2", "--port", "19093"), "barnabas.workers.port: the workers' own ports"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(args: tuple[str, ...], told: str) -> None:
    ended = invoked("", args)
    assert ended.exit_code == 2 and told in ended.stderr, ended.stderr


def test_an_address_or_a_folder_in_use_is_said_with_the_remedy(tmp_path: Path) -> None:
    with barnabas.Cluster(1, tmp_path / "used") as cluster:
        port = cluster.bootstrap.rpartition(":")[2]
        own = next(iter(cluster.brokers.values())).address.rpartition(":")[2]
        free = ("serve", "--data", str(tmp_path / "free"), "--workers", "2", *QUIET)
        for args, told in (
            ((*free, "--port", port), "another process listens there"),
            ((*free, "--port", "0", "--set", f"barnabas.workers.port={own}"), "barnabas.workers.port"),
            (("serve", "--data", str(tmp_path / "used"), "--port", "0", "--workers", "2"), "in use by"),
        ):
            ended = piped("", *args)
            assert ended.returncode == 1 and told in ended.stderr.decode(), ended.stderr
            assert b"Traceback" not in ended.stderr
