"""The rules of idempotence, case by case, and Kafka's snapshot of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas import errors
from barnabas.log.producer_state import BATCHES_KEPT, Duplicate, Kept, ProducerState
from barnabas.records.batch import BatchHeader, read_header
from barnabas.records.record import Record, build_batch
from barnabas.wire.primitives import field_names

SEQUENCE_MAX = 2**31 - 1
NOW_MS = 1_700_000_000_000


def batch(
    first: int, count: int = 1, *, epoch: int = 0, producer_id: int = 1, offset: int = 0
) -> BatchHeader:
    content = build_batch(
        [Record(None, b"", NOW_MS)] * count,
        base_offset=offset,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=first,
    )
    return read_header(content, 0)


def after(*batches: tuple[int, int], epoch: int = 0) -> ProducerState:
    state, offset = ProducerState(), 100
    for first, count in batches:
        state.update(batch(first, count, epoch=epoch), offset, NOW_MS)
        offset += count
    return state


@pytest.mark.parametrize(
    ("first", "count", "epoch", "verdict"),
    [
        (6, 1, 3, None),  # follows
        (3, 3, 3, (103, 106)),  # the last one again
        (0, 3, 3, (100, 103)),  # the one before
        (0, 2, 3, errors.OUT_OF_ORDER_SEQUENCE_NUMBER),  # other bounds than any batch had
        (7, 1, 3, errors.OUT_OF_ORDER_SEQUENCE_NUMBER),  # a gap
        (6, 1, 2, errors.INVALID_PRODUCER_EPOCH),  # a zombie
        (0, 1, 4, None),  # a new epoch begins at 0
        (6, 1, 4, errors.OUT_OF_ORDER_SEQUENCE_NUMBER),  # and nowhere else
        (-1, 1, 3, errors.INVALID_RECORD),
        (6, 1, -1, errors.INVALID_RECORD),
    ],
)
def test_a_batch_of_a_known_producer(
    first: int, count: int, epoch: int, verdict: tuple[int, int] | int | None
) -> None:
    checked = after((0, 3), (3, 3), epoch=3).check(batch(first, count, epoch=epoch))
    if isinstance(checked, Duplicate):
        assert (checked.base_offset, checked.end_offset) == verdict
        assert checked.log_append_time == NOW_MS
    else:
        assert checked == verdict


def test_a_producer_nobody_knows_may_begin_anywhere() -> None:
    assert ProducerState().check(batch(77)) is None


def test_a_retry_older_than_the_last_five_is_out_of_order() -> None:
    state = after(*[(number, 1) for number in range(BATCHES_KEPT + 1)])
    assert state.check(batch(0)) == errors.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert isinstance(state.check(batch(1)), Duplicate)


def test_the_sequence_wraps_to_zero_also_inside_a_batch() -> None:
    state = after((SEQUENCE_MAX - 1, 2))
    assert state.check(batch(0)) is None
    state = after((SEQUENCE_MAX - 1, 4))
    assert state.by_id[1].last_sequence == 1
    assert state.check(batch(2)) is None
    assert isinstance(state.check(batch(SEQUENCE_MAX - 1, 4)), Duplicate)


def test_a_new_epoch_forgets_the_batches_of_the_old() -> None:
    state = after((0, 2))
    state.update(batch(0, 2, epoch=1), 102, NOW_MS)
    checked = state.check(batch(0, 2, epoch=1))
    assert isinstance(checked, Duplicate) and checked.base_offset == 102


def test_unused_producers_expire() -> None:
    state = after((0, 1))
    assert state.expire(NOW_MS + 1000, 1000) == 0
    assert state.expire(NOW_MS + 1001, 1000) == 1
    assert state.by_id == {}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**62), st.integers(0, 32766), st.integers(0, SEQUENCE_MAX), st.integers(1, 5)
        ),
        max_size=8,
    )
)
def test_a_snapshot_brings_back_all_that_is_known_of_each_producer(
    producers: list[tuple[int, int, int, int]],
) -> None:
    state = ProducerState()
    for at, (producer_id, epoch, first, count) in enumerate(producers):
        state.update(batch(first, count, epoch=epoch, producer_id=producer_id), at * 10, NOW_MS)
    again = ProducerState.load(state.to_bytes(), NOW_MS)
    assert again is not None and again.by_id.keys() == state.by_id.keys()
    for producer_id, producer in state.by_id.items():
        read = again.by_id[producer_id].batches
        assert [[getattr(kept, name) for name in field_names(Kept)] for kept in read] == [
            [getattr(kept, name) for name in field_names(Kept)] for kept in producer.batches
        ]
        assert producer.epoch == again.by_id[producer_id].epoch


def test_a_retry_of_several_batches_in_flight_is_known_after_a_restart() -> None:
    again = ProducerState.load(after((0, 3), (3, 1), (4, 2)).to_bytes(), NOW_MS)
    assert again is not None
    assert [type(again.check(batch(first, count))) for first, count in ((0, 3), (3, 1), (4, 2))] == [
        Duplicate
    ] * 3


def test_every_damaged_byte_of_a_snapshot_is_noticed() -> None:
    content = after((0, 3)).to_bytes()
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0x10
        assert ProducerState.load(bytes(flipped), NOW_MS) is None
        assert ProducerState.load(content[:at], NOW_MS) is None
