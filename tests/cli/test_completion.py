"""What a shell is told: commands, options, topics and groups; and what is said of a command that does not exist."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import SOURCE, Run, environment, piped


def offered(bootstrap: str, line: str) -> list[str]:
    words = line.split(" ")
    more = {
        "_BARNABAS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = piped(bootstrap, more=more)
    assert (ended.returncode, ended.stderr) == (0, b"")
    return [row.partition(",")[2] for row in ended.stdout.decode().splitlines() if row]


def test_commands_options_and_names(bootstrap: str, run: Run, topic: str) -> None:
    run("consume", topic, "-g", "crew", "-e")
    assert offered(bootstrap, "barnabas gr") == ["group"]
    assert offered(bootstrap, "barnabas topic add") == ["add-partitions"]
    assert offered(bootstrap, "barnabas produce --key-f") == ["--key-field"]
    assert offered(bootstrap, "barnabas produce --format c") == ["csv"]
    assert offered(bootstrap, f"barnabas topic describe {topic[:10]}") == [topic]
    assert offered(bootstrap, f"barnabas consume {topic} {topic[:10]}") == [topic]
    assert offered(bootstrap, "barnabas group lag cr") == ["crew"]
    assert offered(bootstrap, "barnabas consume -g cr") == ["crew"]
    assert offered("127.0.0.1:1", f"barnabas topic describe -b {bootstrap} {topic[:10]}") == [topic]


def test_without_a_broker_names_are_not_offered() -> None:
    assert offered("127.0.0.1:1", "barnabas topic describe ") == []
    assert offered("nonsense:port", "barnabas group lag ") == []


def test_bash_takes_the_script(bootstrap: str, topic: str, tmp_path: Path) -> None:
    command = tmp_path / "barnabas"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m barnabas.cli.main "$@"\n')
    command.chmod(0o755)
    script = f"""
        source <(barnabas completion bash)
        complete -p barnabas > /dev/null || exit 9
        COMP_WORDS=(barnabas topic describe {topic[:10]}) COMP_CWORD=3
        _barnabas_completion barnabas
        echo "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    bash = shutil.which("bash")
    assert bash is not None
    ended = subprocess.run(
        [bash, "-c", script],
        capture_output=True,
        check=True,
        text=True,
        env={**environment(bootstrap), "PATH": path, "PYTHONPATH": SOURCE},
    )
    assert ended.stdout == f"{topic}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_that_asks_us(run: Run, shell: str) -> None:
    ended = run("completion", shell)
    assert ended.exit_code == 0 and f"_BARNABAS_COMPLETE={shell}_complete" in ended.stdout


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("tpoic",), "topic"),
        (("topics",), "topic"),
        (("cat",), "consume"),
        (("topic", "list"), "ls"),
        (("topic", "delete"), "rm"),
        (("topic", "descirbe"), "describe"),
        (("group", "reset"), "seek"),
    ],
)
def test_a_command_that_does_not_exist_names_the_one_that_was_meant(
    run: Run, words: tuple[str, ...], meant: str
) -> None:
    ended = run(*words)
    assert ended.exit_code == 2 and f"did you mean {meant!r}?" in ended.stderr
    far = run(*words[:-1], "xyzzy")
    assert far.exit_code == 2 and "there is no command 'xyzzy'\n" in far.stderr


def test_tail_is_consume(run: Run, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="x\n")
    assert run("tail", topic, "-o", "start", "-e", "-f", "%v").stdout == "x"
