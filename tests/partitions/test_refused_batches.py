"""A batch that is refused is opened to say why: a small one at once, a large one by a thread, with the same answer."""

from dataclasses import dataclass
from typing import Final

import pytest
from bench.inprocess import Mute
from journal_bench import Bench
from rawclient import produce_request

from barnabas import errors
from barnabas.partitions import recompression
from barnabas.partitions.waits import Parked
from barnabas.records.record import Record, build_batch
from barnabas.server.caller import Caller, Closed
from barnabas.server.handlers.produce import handle
from barnabas.wire.messages.produce import PartitionProduceResponse, ProduceResponse

SIZES: Final = {
    "small": (b"v" * 20, "gzip"),
    "large": (b"v" * 5_000, "none"),
    "packed": (b"v" * 100_000, "gzip"),
}
"""Value and codec: the packed one is small until it is opened."""

LARGE: Final = [size for size in SIZES if size != "small"]
OLD_MS: Final = 1
CHECKSUM_AT: Final = 17
GOOD: Final = ((b"k", 0), (b"k", 0))
KEYLESS: Final = ((b"k", 0), (None, 0))
TRANSACTION: Final = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0, "transactional": True}


@dataclass
class Kind:
    """What is wrong with a batch, its code, and how many records are named."""

    code: int
    named: list[int]
    records: tuple[tuple[bytes | None, int], ...] = GOOD
    transaction: bool = False
    transactional_id: str | None = None
    is_damaged: bool = False


KINDS: Final = {
    "no key": Kind(errors.INVALID_RECORD, [1], KEYLESS),
    "too old": Kind(errors.INVALID_TIMESTAMP, [1], ((b"k", 0), (b"k", OLD_MS))),
    "transaction": Kind(errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, [], transaction=True),
    "named transaction": Kind(errors.INVALID_TXN_STATE, [], transaction=True, transactional_id="tx"),
    "transaction without key": Kind(errors.INVALID_RECORD, [1], KEYLESS, True, "tx"),
    "damaged transaction": Kind(errors.CORRUPT_MESSAGE, [], GOOD, True, "tx", True),
}


class Asking:
    """A broker on virtual time, whose topic wants keys and records of the last second."""

    def __init__(self) -> None:
        self.bench = Bench(topics=("a",))
        self.bench.set("a", cleanup_policy="compact", message_timestamp_before_max_ms="1000")
        self.caller = Caller(Mute(), "PLAINTEXT")
        self.broker = self.bench.machine.node.broker

    def begin(self, kind: Kind, size: str, acks: int = -1) -> ProduceResponse | Parked | None:
        value, codec = SIZES[size]
        now_ms = self.bench.time.wall_ms()
        records = [Record(key, value, stamp or now_ms) for key, stamp in kind.records]
        batch = bytearray(build_batch(records, codec=codec, **(TRANSACTION if kind.transaction else {})))  # type: ignore[arg-type]
        batch[CHECKSUM_AT] ^= kind.is_damaged
        ask = produce_request("a", bytes(batch), acks=acks)
        ask.transactional_id = kind.transactional_id
        return handle(self.broker, ask, 12, self.caller)

    def end(self, begun: ProduceResponse | Parked | None) -> PartitionProduceResponse:
        if isinstance(begun, Parked):
            self.bench.time.run_until(lambda: begun.reply is not None)
            begun = begun.reply  # type: ignore[assignment]
        assert isinstance(begun, ProduceResponse)
        assert self.waiting_bytes == 0
        return begun.responses[0].partition_responses[0]

    @property
    def waiting_bytes(self) -> int:
        return self.broker.partitions.uncommitted.bytes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_the_answer_is_the_same_whoever_opened_the_batch(name: str, size: str) -> None:
    it, kind = Asking(), KINDS[name]
    answer = it.end(it.begin(kind, size))
    assert answer.error_code == kind.code
    assert [each.batch_index for each in answer.record_errors] == kind.named
    assert all(each.batch_index_error_message for each in answer.record_errors)
    assert (answer.base_offset, answer.log_append_time_ms) == (-1, -1)
    assert answer.log_start_offset == (0 if kind.named else -1)
    assert (answer.error_message is None) == (name in ("transaction", "damaged transaction"))


@pytest.mark.parametrize("name", KINDS)
def test_a_large_one_is_opened_by_a_thread_and_counts_as_long_as_it_waits(name: str) -> None:
    it = Asking()
    assert isinstance(it.begin(KINDS[name], "small"), ProduceResponse)
    for size in LARGE:
        begun = it.begin(KINDS[name], size)
        assert isinstance(begun, Parked) and begun.reply is None
        assert it.waiting_bytes > 0
        it.end(begun)


def test_so_is_one_of_a_topic_that_opens_none_when_its_header_is_refused() -> None:
    it = Asking()
    it.bench.set("a", message_timestamp_before_max_ms="1000")
    begun = it.begin(Kind(errors.INVALID_TIMESTAMP, [0], ((b"k", OLD_MS), (b"k", 0))), "packed")
    assert isinstance(begun, Parked)
    answer = it.end(begun)
    assert answer.error_code == errors.INVALID_TIMESTAMP
    assert [each.batch_index for each in answer.record_errors] == [0]


def test_what_comes_behind_it_is_appended_at_once() -> None:
    it = Asking()
    it.bench.machine.loop.slow("compress", 10_000)
    refused = it.begin(KINDS["transaction"], "packed")
    good = it.begin(Kind(0, []), "small")
    assert isinstance(good, Parked)
    it.bench.time.run_until(lambda: good.reply is not None)
    assert isinstance(refused, Parked) and refused.reply is None
    assert it.end(refused).error_code == KINDS["transaction"].code


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["transaction", "damaged transaction"])
def test_without_an_answer_nothing_is_opened(name: str, size: str) -> None:
    """The connection ends whatever is found."""
    it = Asking()
    with pytest.raises(Closed):
        it.begin(KINDS[name], size, acks=0)
    assert it.waiting_bytes == 0


@pytest.mark.patches
def test_a_thread_without_memory_has_the_producer_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    it = Asking()
    begun = it.begin(KINDS["transaction without key"], "large")
    monkeypatch.setattr(recompression, "record_faults", none_left)
    assert it.end(begun).error_code == errors.KAFKA_STORAGE_ERROR
