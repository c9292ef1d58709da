"""`topic`: what is printed in which form, plans, questions, and what is refused."""

import json

import pytest
from terminal import Rows, Run, Terminal, piped

import barnabas


def test_a_topic_from_making_to_removing(run: Run, rows: Rows) -> None:
    made = run("topic", "create", "clicks", "-p", "3", "--set", "max.message.bytes=2000")
    assert (made.exit_code, made.stdout, made.stderr) == (0, "", "clicks is made\n")
    assert {"topic": "clicks", "partitions": 3, "replicas": 1} in rows("topic", "ls")
    options = {row["option"]: row for row in rows("topic", "describe", "clicks", "--options")}
    assert options["max.message.bytes"] == {"option": "max.message.bytes", "value": "2000", "set_by": "topic"}
    changed = rows("topic", "alter", "clicks", "--unset", "max.message.bytes", "--set", "retention.ms=5")
    assert changed == [
        {"option": "retention.ms", "before": "-1", "after": "5"},
        {"option": "max.message.bytes", "before": "2000", "after": "(default)"},
    ]
    options = {row["option"]: row for row in rows("topic", "describe", "clicks", "--options")}
    assert options["max.message.bytes"]["set_by"] == "default" and options["retention.ms"]["value"] == "5"
    assert (
        run("topic", "add-partitions", "clicks", "--total", "4").stderr
        == "clicks: 3 partitions before, 4 then\n"
    )
    assert len(rows("topic", "describe", "clicks")) == 4
    assert rows("topic", "rm", "clicks", "--yes") == [{"topic": "clicks", "partitions": 4, "offsets": 0}]
    assert run("topic", "describe", "clicks").exit_code == 3


def test_dry_runs_change_nothing(run: Run, rows: Rows, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="a\nb\n")
    before = rows("topic", "describe", topic), rows("topic", "describe", topic, "--options")
    assert run("topic", "create", "never", "--dry-run").stderr == "never could be made\n"
    assert run("topic", "describe", "never").exit_code == 3
    assert run("topic", "alter", topic, "--set", "retention.ms=5", "--dry-run").exit_code == 0
    assert run("topic", "alter", topic, "--set", "retention.ms=soon", "--dry-run").exit_code == 1
    assert run("topic", "add-partitions", topic, "--total", "9", "--dry-run").exit_code == 0
    assert rows("topic", "trim", topic, "--to", "end", "--dry-run") == [
        {"partition": 0, "start": 0, "new_start": 2, "end": 2}
    ]
    assert run("topic", "rm", topic, "--dry-run").exit_code == 0
    assert (rows("topic", "describe", topic), rows("topic", "describe", topic, "--options")) == before


def test_the_three_forms(run: Run, topic: str) -> None:
    run("topic", "create", "forms", "-p", "2")
    run("produce", "forms", "--format", "raw", "-p", "1", stdin="a\nb\n")
    args = "topic", "describe", "forms"
    rows = [
        {"partition": 0, "leader": 1, "replicas": [1], "in_sync": [1], "start": 0, "end": 0},
        {"partition": 1, "leader": 1, "replicas": [1], "in_sync": [1], "start": 0, "end": 2},
    ]
    assert run(*args, "-o", "jsonl").stdout == "".join(json.dumps(row) + "\n" for row in rows)
    assert run(*args).stdout == run(*args, "-o", "jsonl").stdout, "in a pipe"
    assert json.loads(run(*args, "-o", "json").stdout) == rows
    assert run(*args, "-o", "table").stdout == (
        "PARTITION  LEADER  REPLICAS  IN_SYNC  START  END\n"
        "        0       1  1         1            0    0\n"
        "        1       1  1         1            0    2\n"
    )
    assert run("topic", "rm", "--help").stdout.count("Examples:") == 1


def test_a_terminal_gets_a_table_with_a_bold_head_unless_it_wants_no_colour(
    bootstrap: str, topic: str
) -> None:
    with Terminal(bootstrap, "topic", "describe", topic) as terminal:
        code, shown = terminal.end()
    assert code == 0 and shown.splitlines()[0].split() == [
        "PARTITION",
        "LEADER",
        "REPLICAS",
        "IN_SYNC",
        "START",
        "END",
    ]
    assert terminal.seen.startswith("\x1b[1m")
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal(bootstrap, "topic", "describe", topic, more=more) as terminal:
            assert terminal.end() == (0, terminal.seen), "no style in it"


def test_a_terminal_is_asked_and_its_answer_counts(bootstrap: str, run: Run, topic: str) -> None:
    for answer, code, last, there in [
        ("n\n", 1, "see the plan only with --dry-run", 0),
        ("\n", 1, "see the plan only with --dry-run", 0),
        ("perhaps\nn\n", 1, "see the plan only with --dry-run", 0),
        ("\x03", 130, "nothing was changed", 0),
        ("\x04", 130, "nothing was changed", 0),
        ("y\n", 0, "1 topic removed", 3),
    ]:
        with Terminal(bootstrap, "topic", "rm", topic) as terminal:
            terminal.until(f"Remove {topic}? [y/N]")
            if answer == "\x03":
                terminal.interrupt_question()  # the terminal would, were it the process's own
            else:
                terminal.write(answer)
            ended, shown = terminal.end()
        assert (ended, shown.splitlines()[-1].strip()) == (code, last), shown
        assert run("topic", "describe", topic).exit_code == there


def test_where_nobody_can_answer_nothing_is_asked(bootstrap: str, run: Run, topic: str) -> None:
    ended = piped(bootstrap, "topic", "rm", topic, stdin=b"y\n")
    assert ended.returncode == 1 and b"add --yes" in ended.stderr
    assert json.loads(ended.stdout) == {"topic": topic, "partitions": 1, "offsets": 0}
    assert run("topic", "describe", topic).exit_code == 0


def test_trim_moves_the_start_to_an_offset_a_time_or_the_end(run: Run, rows: Rows, topic: str) -> None:
    text = "".join(json.dumps({"value": str(at), "timestamp": 1000 + at}) + "\n" for at in range(5))
    run("produce", topic, stdin=text)

    def trim(to: str) -> list[dict[str, int]]:
        return rows("topic", "trim", topic, "--to", to, "--yes", "--partition", "0")

    assert trim("1") == [{"partition": 0, "start": 0, "new_start": 1, "end": 5}]
    assert trim("@1003") == [{"partition": 0, "start": 1, "new_start": 3, "end": 5}]
    assert trim("2") == [], "never backward"
    assert run("consume", topic, "-o", "start", "-e", "-f", "%o%v ").stdout == "33 44 "
    assert trim("end")[0]["new_start"] == 5
    assert run("topic", "trim", topic, "--to", "6", "--yes").exit_code == 3
    assert run("topic", "trim", topic, "--to", "0", "--partition", "1", "--yes").exit_code == 3


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("create", "{topic}"), 1, "barnabas topic describe {topic}"),
        (("create", "no spaces"), 1, "at most 249"),
        (("create", "x" * 250), 1, "at most 249"),
        (("create", "other", "--set", "retention.ms=soon"), 1, "--options"),
        (("create", "other", "-p", "0"), 2, "x>=1"),
        (("alter", "{topic}"), 2, "--set NAME=VALUE"),
        (("alter", "{topic}", "--set", "a=1", "--unset", "a"), 2, "either --set or --unset"),
        (("alter", "nowhere", "--set", "retention.ms=1"), 3, "barnabas topic ls"),
        (("add-partitions", "{topic}", "--total", "1"), 1, "barnabas topic describe {topic}"),
        (("add-partitions", "{topic}"), 2, "--total"),
        (("trim", "{topic}", "--to", "start"), 2, "`end` or @TIME"),
        (("rm", "nowhere", "--yes"), 3, "barnabas topic ls"),
    ],
)
def test_what_is_refused_names_the_next_thing_to_try(
    run: Run, topic: str, args: tuple[str, ...], code: int, told: str
) -> None:
    ended = run("topic", *[arg.format(topic=topic) for arg in args])
    assert ended.exit_code == code and told.format(topic=topic) in ended.stderr, ended.stderr


def test_a_topic_that_is_there_is_no_error_where_that_is_said(run: Run, topic: str) -> None:
    ended = run("topic", "create", topic, "--if-absent")
    assert (ended.exit_code, ended.stderr) == (0, f"{topic} exists already\n")


def test_the_brokers_own_topics_are_listed_on_request(run: Run, rows: Rows, topic: str) -> None:
    run("consume", topic, "-g", "any", "-e")
    names = {row["topic"] for row in rows("topic", "ls", "--internal")}
    assert names - {row["topic"] for row in rows("topic", "ls")} == {"__consumer_offsets"}


def test_a_copy_has_all_that_a_record_has(run: Run, rows: Rows) -> None:
    run("topic", "create", "origin", "-p", "3", "--set", "cleanup.policy=compact")
    text = "".join(
        json.dumps({"key": f"k{at}", "value": str(at), "timestamp": 1000 + at, "headers": [["h", str(at)]]})
        + "\n"
        for at in range(50)
    )
    run("produce", "origin", stdin=text)
    ended = run("topic", "copy", "origin", "copied", "--compression", "zstd")
    assert (ended.exit_code, ended.stderr) == (0, "50 records copied to copied\n")

    def content(topic: str) -> list[dict[str, object]]:
        found = rows("consume", topic, "-o", "start", "-e")
        return sorted(({**row, "topic": "t"} for row in found), key=str)

    assert content("copied") == content("origin")
    options = {row["option"]: row for row in rows("topic", "describe", "copied", "--options")}
    assert options["cleanup.policy"] == {"option": "cleanup.policy", "value": "compact", "set_by": "topic"}
    run("topic", "create", "narrower", "-p", "1")
    assert run("topic", "copy", "origin", "narrower", "-o", "@1010:@1020").exit_code == 0
    assert sorted(int(str(row["value"])) for row in content("narrower")) == list(range(10, 20))


def test_a_copy_goes_to_another_cluster(run: Run, topic: str) -> None:
    run("produce", topic, "--format", "raw", stdin="a\nb\n")
    with barnabas.Broker() as other:
        assert run("topic", "copy", topic, topic, "--to-bootstrap", other.bootstrap).exit_code == 0
        assert [found.value for found in other.records(topic)] == ["a", "b"]
    assert run("topic", "copy", topic, topic).exit_code == 2
    assert run("topic", "copy", "nowhere", "copy").exit_code == 3


def test_analyze_and_skew(run: Run, rows: Rows) -> None:
    run("topic", "create", "looked-at", "-p", "2")
    text = [{"key": f"k{at % 2}", "value": "{}" if at else None, "timestamp": 1000 * at} for at in range(5)]
    lines = "".join(json.dumps(row) + "\n" for row in text)
    run("produce", "looked-at", "-p", "1", "--compression", "lz4", stdin=lines)
    run("produce", "looked-at", "-p", "1", "--format", "raw", stdin="text\n")
    empty, full = rows("topic", "analyze", "looked-at")
    assert (empty["records"], empty["per_second"], empty["codecs"]) == (0, None, [])
    per_second = full.pop("per_second")
    assert 0 <= per_second < 1, "the last one has the time of now"
    assert full == {
        "partition": 1,
        "records": 6,
        "batch_records": 3.0,
        "codecs": ["lz4", "none"],
        "key_bytes": 2.0,
        "value_bytes": 2.4,
        "keys": 2,
        "null_keys": 1,
        "null_values": 1,
        "json_values": 4,
    }
    assert rows("topic", "analyze", "looked-at", "-n", "1")[1]["records"] == 1
    assert rows("topic", "skew", "looked-at") == [
        {"partition": 1, "offsets": 6, "percent": 100.0, "of_average": 2.0},
        {"partition": 0, "offsets": 0, "percent": 0.0, "of_average": 0.0},
    ]
