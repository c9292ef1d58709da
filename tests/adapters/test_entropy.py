"""The system's randomness."""

import uuid

from barnabas.adapters.entropy import SystemEntropy


def test_an_id_is_a_uuid_of_version_4_and_never_the_same() -> None:
    made = [uuid.UUID(bytes=SystemEntropy().uuid()) for _ in range(64)]
    assert {(each.version, each.variant) for each in made} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == 64
