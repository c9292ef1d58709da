"""FindCoordinator, field by field, as Apache Kafka 4.3 answers; but for transactions and share groups, which we do not have."""

from typing import Any

import pytest
from administering import broken_store
from covers import covers
from rawclient import RawClient

import barnabas
from barnabas import errors
from barnabas.wire.messages import find_coordinator

GROUP, TRANSACTION, SHARE = 0, 1, 2
Place = tuple[int, int, str, int]
NOWHERE = (-1, "", -1)


def one(client: RawClient, key: str, kind: int = GROUP, version: int = 3) -> Any:
    ask = find_coordinator.FindCoordinatorRequest(key=key, key_type=kind)
    return client.call(find_coordinator, ask, version)


def several(client: RawClient, *keys: str, kind: int = GROUP, version: int = 6) -> list[Any]:
    ask = find_coordinator.FindCoordinatorRequest(key_type=kind, coordinator_keys=list(keys))
    answer = client.call(find_coordinator, ask, version)
    assert answer.throttle_time_ms == 0
    found: list[Any] = answer.coordinators
    assert [each.key for each in found] == list(keys)
    return found


def place(answer: Any) -> Place:
    return answer.error_code, answer.node_id, answer.host, answer.port


def here(broker: barnabas.Broker) -> Place:
    host, _, port = broker.bootstrap.rpartition(":")
    return 0, 1, host, int(port)


@covers(
    "FindCoordinator",
    "request.key",
    "request.key_type=default",
    "response.throttle_time_ms=default",
    "response.node_id",
    "response.host",
    "response.port",
    "response.error_message",
)
def test_the_coordinator_of_a_group_is_this_broker(client: RawClient, broker: barnabas.Broker) -> None:
    """Up to v3 a success has the message NONE."""
    for version in range(4):
        answer = one(client, "any", version=version)
        assert place(answer) == here(broker)
        if version >= 1:
            assert (answer.throttle_time_ms, answer.error_message) == (0, "NONE")


@covers(
    "FindCoordinator",
    "request.coordinator_keys",
    "response.coordinators.key",
    "response.coordinators.node_id",
    "response.coordinators.host",
    "response.coordinators.port",
)
def test_several_groups_are_looked_up_at_once(client: RawClient, broker: barnabas.Broker) -> None:
    """In their order, also what is named twice; a group without a name can have offsets, so it has a coordinator."""
    for version in (4, 5, 6):
        found = several(client, "a", "b", "a", "", version=version)
        assert [place(each) for each in found] == [here(broker)] * 4
        assert {each.error_message for each in found} == {""}
    assert several(client) == []


@covers(
    "FindCoordinator",
    "UNSUPPORTED_VERSION",
    "request.key_type",
    "response.error_code",
    "response.error_message",
    "response.coordinators.error_code",
    "response.coordinators.error_message",
)
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (TRANSACTION, "Transactions are not served by this broker."),
        (SHARE, "Share groups are not served by this broker."),
    ],
)
def test_what_is_not_served_is_refused_for_good(client: RawClient, kind: int, text: str) -> None:
    """A retriable code would make the client ask for ever."""
    for answer in several(client, "a", "b", kind=kind):
        assert (place(answer), answer.error_message) == ((errors.UNSUPPORTED_VERSION, *NOWHERE), text)
    transaction = one(client, "a", TRANSACTION)
    assert place(transaction) == (errors.UNSUPPORTED_VERSION, *NOWHERE)
    assert transaction.error_message == "Transactions are not served by this broker."


@covers("FindCoordinator", "INVALID_REQUEST")
def test_a_kind_that_the_version_does_not_know_is_refused(client: RawClient) -> None:
    """Share groups are known since v6."""
    assert place(one(client, "a", SHARE)) == (errors.INVALID_REQUEST, *NOWHERE)
    for kind, version in ((SHARE, 5), (3, 6), (-1, 6)):
        (answer,) = several(client, "a", kind=kind, version=version)
        assert (place(answer), answer.error_message) == (
            (errors.INVALID_REQUEST, *NOWHERE),
            "Unknown coordinator type.",
        )


@covers("FindCoordinator", "COORDINATOR_NOT_AVAILABLE", "response.error_code")
def test_without_the_topic_of_offsets_there_is_no_coordinator() -> None:
    """It is made when it is first needed; a client may ask again until that succeeds."""
    with barnabas.Broker() as broker, RawClient(broker.bootstrap) as client:
        with broken_store(broker):
            assert place(one(client, "a")) == (errors.COORDINATOR_NOT_AVAILABLE, *NOWHERE)
            assert [place(each) for each in several(client, "a", "b")] == [
                (errors.COORDINATOR_NOT_AVAILABLE, *NOWHERE)
            ] * 2
        assert place(one(client, "a")) == here(broker)
