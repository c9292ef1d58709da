"""What a segment remembers of its last batches, against a plain list of them."""

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from barnabas.log.recent import RECENT_MAX, Recent


@given(
    st.integers(0, 2**62),
    st.integers(0, 2**40),
    st.lists(st.tuples(st.integers(1, 100), st.integers(1, 5000)), min_size=1, max_size=40),
    st.integers(0, 3 * RECENT_MAX),
)
def test_every_remembered_batch_is_found(
    base: int, place: int, sizes: list[tuple[int, int]], before: int
) -> None:
    """before: batches of one record and byte that come first, so that old ones are dropped."""
    begins, ends, positions = [], [], []
    recent = None
    for records, size in [(1, 1)] * before + sizes:
        begins.append(base)
        positions.append(place)
        base += records
        ends.append(base)
        if recent is None:
            recent = Recent(base, place)
        else:
            recent.add(base, place)
        place += size
    assert recent is not None
    kept = recent.count
    assert kept == len(ends) if len(ends) <= RECENT_MAX else RECENT_MAX // 2 <= kept <= RECENT_MAX
    begins, ends, positions = begins[-kept:], ends[-kept:], positions[-kept:]
    assert recent.first_position == positions[0]
    for begin, end in zip(begins[-50:], ends[-50:], strict=True):
        for offset in (begin, end - 1):
            at = bisect_right(ends, offset)
            is_known = at > 0 or positions[0] == 0
            behind = positions[at + 1] if at + 1 < kept else -1
            assert recent.find(offset) == ((positions[at], behind) if is_known else (-1, -1))
    if positions[0] > 0:
        assert recent.find(begins[0] - 1) == (-1, -1)
