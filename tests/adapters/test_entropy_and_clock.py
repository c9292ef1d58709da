"""Shapes of what the system gives."""

import pytest

from barnabas.adapters.clock import SystemClock
from barnabas.adapters.entropy import SystemEntropy
from barnabas.ports import Entropy
from barnabas.testing.entropy import SeededEntropy


@pytest.mark.parametrize("entropy", [SystemEntropy(), SeededEntropy(1)])
def test_ids_are_version_four_uuids(entropy: Entropy) -> None:
    ids = [entropy.uuid() for _ in range(64)]
    assert len(set(ids)) == 64
    assert {len(made) for made in ids} == {16}
    assert {made[6] >> 4 for made in ids} == {4}
    assert {made[8] >> 6 for made in ids} == {2}


@pytest.mark.parametrize("entropy", [SystemEntropy(), SeededEntropy(1)])
def test_below_reaches_all_and_only_what_is_below(entropy: Entropy) -> None:
    assert {entropy.below(3) for _ in range(400)} == {0, 1, 2}
    assert entropy.below(1) == 0


def test_a_seed_gives_the_same_again() -> None:
    one, other = SeededEntropy(5), SeededEntropy(5)
    assert [one.uuid(), one.below(1 << 60)] == [other.uuid(), other.below(1 << 60)]
    assert SeededEntropy(6).uuid() != SeededEntropy(5).uuid()


def test_the_clocks_count_in_milliseconds() -> None:
    clock = SystemClock()
    assert clock.wall_ms() > 1_700_000_000_000
    before = clock.mono_ms()
    assert clock.mono_ms() >= before
