"""A broker that is killed in the middle of `produce`: what the last line says is what a restart finds."""

import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from terminal import COMMAND, HASTY, environment, invoked

TOLD = re.compile(
    r"(\d+) records? written to t(?:; (\d+) records? more went out without an answer and may be there too)?"
)


def served(folder: Path) -> tuple[subprocess.Popen[str], str]:
    command = [*COMMAND, "serve", "--data", str(folder), "--port", "0", "--set", "barnabas.metrics.port=-1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(""))
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"PLAINTEXT://(\S+)", line):
            return process, found[1]
    raise AssertionError("the broker did not start")


@pytest.mark.faults
@pytest.mark.parametrize("acks", ["all", "1"])
def test_all_that_was_acknowledged_is_there_and_no_more_than_went_out(acks: str, tmp_path: Path) -> None:
    broker, bootstrap = served(tmp_path)
    invoked(bootstrap, ["topic", "create", "t", "-p", "1"])
    command = [*HASTY, "produce", "t", "--format", "raw", "--acks", acks]
    writer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(bootstrap)
    )
    assert writer.stdin is not None and writer.stderr is not None

    def feed() -> None:
        with suppress(BrokenPipeError):
            for number in range(100_000_000):
                writer.stdin.write(b"%d\n" % number)  # type: ignore[union-attr]

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    assert (
        invoked(bootstrap, ["consume", "t", "-o", "start", "-n", "1000", "--timeout", "60s"]).exit_code == 0
    )
    broker.send_signal(signal.SIGKILL)
    broker.communicate()
    told = writer.stderr.read().decode()
    assert writer.wait(60) == 1 and "no answer from" in told
    feeder.join()
    with suppress(BrokenPipeError):
        writer.stdin.close()
    found = TOLD.search(told)
    assert found, told
    acknowledged, unanswered = int(found[1]), int(found[2] or 0)
    broker, bootstrap = served(tmp_path)
    try:
        values = invoked(bootstrap, ["consume", "t", "-o", "start", "-e", "-f", r"%v\n"]).stdout.split()
        assert acknowledged <= len(values) <= acknowledged + unanswered
        assert values == [str(number) for number in range(len(values))], "in order, none twice"
    finally:
        broker.terminate()
        broker.communicate()
