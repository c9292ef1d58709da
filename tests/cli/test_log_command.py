"""`barnabas log` on the folder of a broker that has stopped, and on one that runs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from terminal import Terminal

import barnabas
from barnabas.adapters.files import OsFiles
from barnabas.cli.main import main
from barnabas.embedded import BrokerError
from barnabas.log import folder as names
from barnabas.log.checkpoints import LEADER_EPOCHS, RECOVERY_POINTS, TOPIC_IDS
from barnabas.log.journal import JOURNAL, Round, entry_head
from barnabas.log.journal import header as journal_header
from barnabas.log.take_up import KEPT
from barnabas.log.write import Write
from barnabas.records.batch import HEADER_BYTES
from barnabas.records.record import batches

LOG = "00000000000000000000.log"


def run(*args: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["log", *map(str, args)], input=stdin)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Topics a (four records, one a batch) and b, synced and stopped."""
    with barnabas.Broker(data=tmp_path, topics={"a": 1, "b": 1}) as broker:
        for number in range(4):
            broker.produce("a", {"n": number}, key=f"k{number}", headers=[("h", b"\xff")])
        broker.produce("b", "b")
    yield tmp_path


def damage(data: Path) -> bytes:
    """The second batch of a gets a wrong checksum; its bytes then."""
    path = data / "a-0" / LOG
    content = bytearray(path.read_bytes())
    header, at = list(batches(bytes(content)))[1]
    content[at + HEADER_BYTES] ^= 1
    path.write_bytes(content)
    return bytes(content[at : at + header.size])


def test_verify_tells_each_partition(data: Path) -> None:
    told = run("verify", data)
    assert told.exit_code == 0, told.stderr
    rows = lines(told.stdout)
    assert [(row["partition"], row["end"], row["state"]) for row in rows] == [
        ("a-0", 4, "whole"),
        ("b-0", 1, "whole"),
    ]
    assert lines(run("verify", data / "b-0").stdout) == [rows[1]]
    table = run("verify", data, "-o", "table").stdout.splitlines()
    assert table[0].split() == [
        "PARTITION",
        "SEGMENTS",
        "BATCHES",
        "RECORDS",
        "BYTES",
        "START",
        "END",
        "LOST",
        "STATE",
    ]


def test_a_damaged_partition_comes_back_without_the_lost_record(data: Path) -> None:
    cut = damage(data)
    (data / ".kafka_cleanshutdown").unlink()  # as after a crash
    with barnabas.Broker(data=data) as broker, pytest.raises(BrokerError, match="KAFKA_STORAGE_ERROR"):
        broker.produce("a", "refused")
    told = run("verify", data)
    assert told.exit_code == 1
    assert "a wrong checksum" in told.stderr and "1 of 2 partitions is damaged" in told.stderr
    assert "barnabas log repair" in told.stderr
    assert [(row["partition"], row["lost"], row["state"]) for row in lines(told.stdout)] == [
        ("a-0", 1, "damaged"),
        ("b-0", 0, "whole"),
    ]
    before = (data / "a-0" / LOG).read_bytes()
    planned = run("repair", data, "--dry-run")
    assert planned.exit_code == 0
    assert f"take out {len(cut)} bytes" in planned.stderr
    assert "offset 1 is lost" in planned.stderr
    refused = run("repair", data)
    assert refused.exit_code == 1 and "--yes" in refused.stderr
    assert (data / "a-0" / LOG).read_bytes() == before
    repaired = run("repair", data, "--yes")
    assert repaired.exit_code == 0, repaired.stderr
    assert "a-0: whole, offsets 0 to 4" in repaired.stderr
    (kept,) = (data / "a-0").glob(f"{LOG}.cut-*")
    assert kept.read_bytes() == cut
    assert run("verify", data).exit_code == 0
    with barnabas.Broker(data=data) as broker:
        assert [(message.offset, message.key) for message in broker.records("a")] == [
            (0, "k0"),
            (2, "k2"),
            (3, "k3"),
        ]
        assert broker.produce("a", "new") == 4
        read = CliRunner().invoke(
            main, ["consume", "a", "-b", broker.bootstrap, "-o", "start", "-e", "-f", "%o "]
        )
        assert read.stdout == "0 2 3 4 "


@pytest.mark.parametrize(("answer", "code", "is_repaired"), [("n\n", 1, False), ("y\n", 0, True)])
def test_repair_shows_its_plan_and_asks(data: Path, answer: str, code: int, is_repaired: bool) -> None:
    damage(data)
    with Terminal("127.0.0.1:1", "log", "repair", str(data)) as terminal:
        assert "offset 1 is lost" in terminal.until("Repair?")
        terminal.write(answer)
        ended, _ = terminal.end()
    assert ended == code
    assert bool(list((data / "a-0").glob("*.cut-*"))) == is_repaired
    assert run("verify", data).exit_code == (0 if is_repaired else 1)


def test_a_sound_folder_needs_no_repair(data: Path) -> None:
    told = run("repair", data, "--yes")
    assert (told.exit_code, told.stderr) == (0, "nothing is damaged\n")


def test_a_folder_in_use_is_looked_at_but_not_repaired(data: Path) -> None:
    with barnabas.Broker(data=data):
        assert run("verify", data).exit_code == 0
        assert run("dump", data / "a-0").exit_code == 0
        told = run("repair", data, "--yes")
        assert told.exit_code == 1
        assert "is in use" in told.stderr and "stop the broker" in told.stderr
    assert run("repair", data, "--dry-run").exit_code == 0, "the lock was given back"


def test_only_our_own_folders_are_repaired(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    damage(data)
    copy = tmp_path_factory.mktemp("copy") / "a-0"
    shutil.copytree(data / "a-0", copy)
    told = run("repair", copy, "--yes")
    assert told.exit_code == 1 and "no data folder" in told.stderr
    assert not list(copy.glob("*.cut-*"))
    assert run("dump", copy).exit_code == 1, "but looked at"


def test_dump_prints_batches_or_records(data: Path) -> None:
    rows = lines(run("dump", data / "a-0").stdout)
    assert [(row["first"], row["last"], row["records"], row["codec"], row["kind"]) for row in rows] == [
        (number, number, 1, "none", "data") for number in range(4)
    ]
    assert [row["position"] for row in rows] == [at for _, at in batches((data / "a-0" / LOG).read_bytes())]
    some = lines(run("dump", data / "a-0", "--from", "1", "--to", "3").stdout)
    assert some == rows[1:3]
    assert json.loads(run("dump", data / "a-0", "-o", "json").stdout) == rows
    assert run("dump", data / "a-0", "-o", "table").stdout.splitlines()[0].split()[:2] == [
        "SEGMENT",
        "POSITION",
    ]


def test_what_dump_saves_from_a_damaged_partition_produce_takes(data: Path) -> None:
    damage(data)
    told = run("dump", data / "a-0", "--records")
    assert told.exit_code == 1
    assert "a wrong checksum" in told.stderr and "barnabas log repair" in told.stderr
    assert [row["offset"] for row in lines(told.stdout)] == [0, 2, 3]
    assert (
        lines(run("dump", data / "a-0", "--records", "--from", "2", "--to", "3").stdout)
        == lines(told.stdout)[1:2]
    )
    with barnabas.Broker() as broker:
        sent = CliRunner().invoke(main, ["produce", "saved", "-b", broker.bootstrap], input=told.stdout)
        assert sent.exit_code == 0, sent.stderr
        saved = broker.records("saved")
    assert [(message.key, message.value, message.headers) for message in saved] == [
        (f"k{number}", {"n": number}, {"h": b"\xff"}) for number in (0, 2, 3)
    ]


def test_a_wrong_index_is_removed_and_made_anew(data: Path) -> None:
    index = data / "b-0" / f"{0:020}.index"
    index.write_bytes(b"\0\0\0\1\0\0\0\1")
    told = run("verify", data)
    assert told.exit_code == 0 and "contradicts its log" in told.stderr
    assert "remove it" in run("repair", data, "--yes").stderr
    assert not index.exists()
    with barnabas.Broker(data=data) as broker:
        assert [message.value for message in broker.records("b")] == ["b"]


@pytest.mark.parametrize("command", ["dump", "verify", "repair"])
def test_no_partition_is_said_with_the_remedy(tmp_path: Path, command: str) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        told = run(command, path)
        assert told.exit_code == 3
        assert "data/clicks-0" in told.stderr


def test_dump_takes_one_partition(data: Path) -> None:
    told = run("dump", data)
    assert told.exit_code == 1
    assert "2 partitions" in told.stderr and str(data / "a-0") in told.stderr


def journal_of_the_last_batch(data: Path) -> tuple[bytes, int]:
    """A whole journal with the last batch of a, which goes from its segment; the segment as it was, and the batch's size."""
    path = data / "a-0" / LOG
    content = path.read_bytes()
    header, at = list(batches(content))[-1]
    taken = Round()
    write = Write(
        OsFiles().open(str(path)), at, content[at : at + 16], memoryview(content)[at + 16 :], header.size, 4
    )
    topic_id = names.read_topic_id(OsFiles(), str(data / "a-0"))
    assert topic_id is not None
    taken.add(entry_head(topic_id, f"a-0/{LOG}"), [write])
    rounds = b"".join(taken.to_chunks(bytes(16), 0))
    (data / JOURNAL).write_bytes(
        journal_header(bytes(16), 3 * len(rounds)) + rounds.ljust(3 * len(rounds), b"\0")
    )
    path.write_bytes(content[:at])
    (data / names.CLEAN_MARK).unlink()
    (data / RECOVERY_POINTS).unlink()
    return content, header.size


@pytest.mark.parametrize("state", [".", "owners/2"])
def test_records_that_a_crash_left_in_the_journal_come_first(data: Path, state: str) -> None:
    """The last batch of a is in the journal alone, the broker's or a worker's."""
    content, size = journal_of_the_last_batch(data)
    path = data / "a-0" / LOG
    (data / state).mkdir(parents=True, exist_ok=True)
    (data / JOURNAL).rename(data / state / JOURNAL)
    told = run("repair", data, "--dry-run")
    assert "has records for these logs" in told.stderr and path.read_bytes() == content[:-size]
    told = run("repair", data, "--yes")
    assert f"took up {size} bytes" in told.stderr, told.stderr
    assert path.read_bytes() == content
    assert "took up" not in run("repair", data, "--yes").stderr


def test_records_that_an_earlier_start_kept_come_first(data: Path) -> None:
    content, _ = journal_of_the_last_batch(data)
    path, epochs = data / "a-0" / LOG, data / "a-0" / LEADER_EPOCHS
    good = epochs.read_bytes()
    epochs.write_bytes(b"?")
    told = run("repair", data, "--yes")
    assert f"kept in {data / KEPT}" in told.stderr and told.exit_code == 1
    assert "remove" in told.stderr, "what to do"
    epochs.write_bytes(good)
    assert "has records for these logs" in run("repair", data, "--dry-run").stderr
    assert "took up" in run("repair", data / "a-0", "--yes").stderr
    assert path.read_bytes() == content
    assert not list((data / KEPT).iterdir())


def test_what_a_worker_says_was_synced_counts(data: Path) -> None:
    """Its parent was killed, so all that the folder itself knows is older."""
    (data / names.CLEAN_MARK).unlink()
    state = data / "owners" / "1"
    state.mkdir(parents=True)
    for name in (RECOVERY_POINTS, TOPIC_IDS):
        (data / name).rename(state / name)
    damage(data)
    told = run("verify", data)
    assert told.exit_code == 1 and [row["state"] for row in lines(told.stdout)] == ["damaged", "whole"]
    assert run("repair", data, "--yes").exit_code == 0
    with barnabas.Broker(data=data) as broker:
        assert [record.value for record in broker.records("a")] == [{"n": 0}, {"n": 2}, {"n": 3}]


def test_a_worker_that_outlived_its_parent_is_waited_for(data: Path) -> None:
    state = data / "owners" / "1"
    state.mkdir(parents=True)
    release = OsFiles().lock(f"{state}/{names.LOCK}")
    assert release is not None
    told = run("repair", data, "--yes")
    assert told.exit_code == 1 and f"{state} is in use" in told.stderr
    release()
    assert run("repair", data, "--yes").exit_code == 0
