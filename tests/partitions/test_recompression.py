"""Batches that wait for another codec (partitions/recompression.py): their order, and that each is answered once."""

import errno
from collections.abc import Callable

import pytest
from journal_bench import Bench

from barnabas import errors
from barnabas.partitions.partition import Appended, Partition, Pending, Refused
from barnabas.partitions.recompression import INLINE_BYTES_MAX
from barnabas.records.batch import CODECS, HEADER_BYTES, seal
from barnabas.records.record import Record, batches, build_batch, records_of

SMALL = b"small"
LARGE = b"large" * INLINE_BYTES_MAX
MINUTE_MS = 60_000
BODY_AT = 21
"""Behind what the leader writes into a batch: offset, epoch and, unchanged here, the checksum."""


class Sending:
    """One producer of a topic with a codec; what it was told of each batch, in the order in which it was told."""

    def __init__(self, codec: str = "zstd") -> None:
        self.bench = Bench()
        self.bench.set("a", compression_type=codec)
        self.told: list[tuple[int, int, int]] = []
        self.sent = 0

    @property
    def partition(self) -> Partition:
        return self.bench.partition("a")

    def send(self, value: bytes, sequence: int | None = None) -> Appended:
        fields = (
            {} if sequence is None else {"producer_id": 9, "producer_epoch": 0, "base_sequence": sequence}
        )
        return self.append(build_batch([Record(None, value, self.bench.time.wall_ms())], **fields))

    def append(self, batch: bytes) -> Appended:
        number, self.sent = self.sent, self.sent + 1
        now_ms = self.bench.time.wall_ms()
        appended = self.partition.append(batch, 0, len(batch), 12, now_ms)
        if isinstance(appended, Pending):
            appended.then(lambda later: self._tell(number, later))
        else:
            self._tell(number, appended)
        return appended

    def _tell(self, number: int, appended: Appended) -> None:
        if appended.code:
            self.told.append((number, appended.code, -1))
            return
        offset = appended.base_offset
        self.partition.when_committed(
            appended.end_offset, lambda code: self.told.append((number, code, offset))
        )

    def settle(self, count: int) -> None:
        self.bench.time.run_until(lambda: len(self.told) == count)
        assert self.bench.machine.node.partitions.uncommitted.bytes == 0

    def kept(self) -> list[tuple[str, bytes]]:
        """Codec and value of each batch but the first, which the bench wrote."""
        found: list[tuple[str, bytes]] = []
        offset = 1
        while offset < self.partition.high_watermark:
            content = self.partition.read_bytes(offset, 1)
            ((header, at),) = batches(content)
            (record,) = records_of(content, header, at)
            found.append((CODECS[header.codec], bytes(record.value or b"")))
            offset += 1
        return found


def test_a_small_batch_needs_no_thread_and_a_large_one_does() -> None:
    it = Sending()
    assert not isinstance(it.send(SMALL), Pending)
    assert isinstance(it.send(LARGE), Pending)
    assert it.partition.is_committing
    it.settle(2)
    assert it.kept() == [("zstd", SMALL), ("zstd", LARGE)]


def test_what_is_of_the_codec_already_goes_as_it_came() -> None:
    it = Sending("uncompressed")
    assert not isinstance(it.send(LARGE), Pending)
    it.settle(1)
    assert it.kept() == [("none", LARGE)]


def keyed(it: Sending, value: bytes, codec: str) -> bytes:
    return build_batch([Record(b"k", value, it.bench.time.wall_ms())], codec=codec)


@pytest.mark.parametrize("topics_codec", ["producer", "gzip"])
@pytest.mark.parametrize("why", [{"cleanup_policy": "compact"}, {"barnabas_validate": "records"}])
def test_what_is_opened_to_be_checked_alone_is_opened_by_a_thread_too(
    topics_codec: str, why: dict[str, str]
) -> None:
    """Of the topic's codec already: a hundred bytes may open to megabytes. Then it goes as it came."""
    it = Sending()
    it.bench.set("a", compression_type=topics_codec, **why)
    large, small = keyed(it, LARGE, "gzip"), keyed(it, SMALL, "gzip")
    assert len(large) < INLINE_BYTES_MAX
    assert isinstance(it.append(large), Pending)
    assert isinstance(it.append(small), Pending), "it waits behind the large one"
    it.settle(2)
    assert it.told == [(0, 0, 1), (1, 0, 2)]
    assert not isinstance(it.append(small), Pending)
    it.settle(3)
    assert [it.partition.read_bytes(offset, 1)[BODY_AT:] for offset in (1, 2, 3)] == [
        each[BODY_AT:] for each in (large, small, small)
    ]


def test_what_came_plain_and_stays_so_is_checked_at_once() -> None:
    it = Sending()
    it.bench.set("a", compression_type="producer", cleanup_policy="compact")
    assert not isinstance(it.append(keyed(it, LARGE, "none")), Pending)


def test_a_thread_finds_that_what_stays_as_it_came_does_not_open() -> None:
    it = Sending()
    it.bench.set("a", compression_type="producer", cleanup_policy="compact")
    batch = bytearray(keyed(it, LARGE, "gzip"))
    batch[HEADER_BYTES + 20] ^= 0xFF
    seal(batch)
    assert isinstance(it.append(bytes(batch)), Pending)
    it.settle(1)
    assert it.told == [(0, errors.INVALID_RECORD, -1)]


def test_the_order_of_arrival_is_the_order_of_offsets() -> None:
    it = Sending()
    for turn in range(4):
        it.send(LARGE, 2 * turn)
        assert isinstance(it.send(SMALL, 2 * turn + 1), Pending), "it waits behind a large one"
    it.settle(8)
    assert it.told == [(number, 0, 1 + number) for number in range(8)]
    assert it.kept() == [("zstd", LARGE), ("zstd", SMALL)] * 4
    assert not isinstance(it.send(SMALL, 8), Pending)


def test_sequences_are_checked_in_order_and_a_retry_meets_what_it_repeats() -> None:
    it = Sending()
    for sequence in (0, 1, 0, 5, 2):
        it.send(LARGE, sequence)
    it.settle(5)
    gap = errors.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert sorted(it.told) == [(0, 0, 1), (1, 0, 2), (2, 0, 1), (3, gap, -1), (4, 0, 3)]


def test_after_the_option_is_gone_nothing_overtakes_what_waits() -> None:
    it = Sending()
    it.send(LARGE)
    it.send(LARGE)
    it.bench.set("a", compression_type="producer")
    assert isinstance(it.send(SMALL), Pending)
    it.settle(3)
    assert it.told == [(0, 0, 1), (1, 0, 2), (2, 0, 3)]
    assert it.kept() == [("zstd", LARGE), ("none", LARGE), ("none", SMALL)]
    assert not it.partition.recompresses, "nothing stands before it any more"


def test_the_option_may_go_and_come_back_while_nothing_waits() -> None:
    it = Sending()
    it.bench.set("a", compression_type="producer")
    assert not it.partition.recompresses
    it.send(LARGE)
    it.bench.set("a", compression_type="lz4")
    it.send(LARGE)
    it.settle(2)
    assert it.kept() == [("none", LARGE), ("lz4", LARGE)]


def test_a_refused_batch_lets_the_next_one_go_on() -> None:
    it = Sending()
    it.bench.set("a", compression_type="zstd", max_message_bytes="100000")
    for value in (LARGE, b"x" * 200_000, LARGE):
        it.send(value)
    it.settle(3)
    assert it.told == [(0, 0, 1), (1, errors.MESSAGE_TOO_LARGE, -1), (2, 0, 2)]


def test_the_thread_that_refuses_a_batch_has_found_the_records_at_fault() -> None:
    it = Sending()
    it.bench.set("a", compression_type="zstd", cleanup_policy="compact")
    now_ms = it.bench.time.wall_ms()
    keyed, keyless = Record(b"k", LARGE, now_ms), Record(None, LARGE, now_ms)
    batch = build_batch([keyed, keyless, keyed, keyless], codec=1)
    appended = it.partition.append(batch, 0, len(batch), 12, now_ms)
    assert isinstance(appended, Pending)
    told: list[Appended] = []
    appended.then(told.append)
    it.bench.time.run_until(lambda: bool(told))
    (refused,) = told
    assert isinstance(refused, Refused)
    assert refused.code == errors.INVALID_RECORD
    assert [index for index, _ in refused.faults] == [1, 3]


def test_a_folder_that_is_being_removed_holds_up_no_codec_and_no_codec_holds_it_up() -> None:
    it = Sending()
    machine, time = it.bench.machine, it.bench.time
    it.bench.put("b", "c")

    def folders() -> set[str]:
        return {name[:1] for name in machine.disk.list(machine.node.partitions.folder.root) if "-0." in name}

    machine.loop.slow("compress", 100 * MINUTE_MS)
    it.send(LARGE)
    delete(it.bench, "b")
    assert folders() == {"b"}
    time.run_for(MINUTE_MS + 1_000)
    assert folders() == set() and it.told == []
    time.run_until(lambda: len(it.told) == 1, 100 * MINUTE_MS)

    machine.loop.slow("compress", None)
    machine.loop.slow("upkeep", 100 * MINUTE_MS)
    delete(it.bench, "c")
    time.run_for(MINUTE_MS + 1_000)
    it.send(LARGE)
    time.run_for(1_000)
    assert folders() == {"c"} and len(it.told) == 2


def delete(bench: Bench, topic: str) -> None:
    for _ in bench.machine.node.partitions.closing(topic, bench.partition(topic).topic_id):
        pass


def closed(it: Sending) -> None:
    it.partition.close()


def failed_write(it: Sending) -> None:
    it.bench.machine.disk.fail("write", errno.EIO)
    it.bench.put("a")


@pytest.mark.parametrize(
    ("end", "code"),
    [(closed, errors.NOT_LEADER_OR_FOLLOWER), (failed_write, errors.KAFKA_STORAGE_ERROR)],
)
def test_whoever_waits_when_the_partition_is_given_up_is_told_at_once_and_once(
    end: Callable[[Sending], None], code: int
) -> None:
    it = Sending()
    for _ in range(3):
        it.send(LARGE)
    it.bench.machine.loop.slow("compress", 10_000)
    end_offset = it.partition.log.end_offset
    end(it)
    assert [(number, told) for number, told, _ in it.told[-3:]] == [(number, code) for number in range(3)]
    it.bench.time.run_for(500)
    assert len(it.told) == 3
    assert it.partition.log.end_offset <= end_offset + 1, "what the thread made is dropped"
    assert it.bench.machine.node.partitions.uncommitted.bytes == 0


def test_after_a_failed_write_it_goes_on_with_the_codec() -> None:
    it = Sending()
    it.send(LARGE)
    it.settle(1)
    failed_write(it)
    it.bench.time.run_until(lambda: not it.partition.offline)
    it.send(LARGE)
    it.send(SMALL)
    it.settle(3)
    assert it.kept()[-2:] == [("zstd", LARGE), ("zstd", SMALL)]


def test_a_clean_stop_waits_for_what_waits() -> None:
    it = Sending()
    for _ in range(3):
        it.send(LARGE)
    assert it.bench.machine.stop()
    assert it.told == [(0, 0, 1), (1, 0, 2), (2, 0, 3)]
