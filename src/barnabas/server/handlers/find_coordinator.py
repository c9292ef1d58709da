"""FindCoordinator (10), v0-6. Where a group's coordinator is: at the leader of its partition of
__consumer_offsets, once that serves.

Behaviour  Makes __consumer_offsets when it is first needed and answers when it serves, so no client meets
           COORDINATOR_NOT_AVAILABLE on a fresh node. Transactions and share groups are not built: a final
           error, never a retriable one (decision 41). A group without a name has a coordinator, too: offsets
           may be committed for it.
Versions   v1: key type; a success says NONE as its message up to v3, as in Kafka. v3: flexible. v4: several keys
           (KIP-699). v6: share groups (refused).
"""

from typing import Final

from barnabas import errors
from barnabas.ids import ZERO_UUID
from barnabas.partitions.open import OFFSETS_TOPIC
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import find_coordinator as message
from barnabas.wire.messages.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

GROUP: Final = 0
TRANSACTION: Final = 1
SHARE: Final = 2
SHARE_SINCE: Final = 6
REFUSED: Final = {
    TRANSACTION: (errors.UNSUPPORTED_VERSION, "Transactions are not served by this broker."),
    SHARE: (errors.UNSUPPORTED_VERSION, "Share groups are not served by this broker."),
}
UNKNOWN_TYPE: Final = (errors.INVALID_REQUEST, "Unknown coordinator type.")


def handle(
    broker: Broker, ask: FindCoordinatorRequest, version: int, caller: Caller
) -> FindCoordinatorResponse | Parked:
    keys = ask.coordinator_keys if version >= 4 else [ask.key]
    if ask.key_type != GROUP:
        is_known = ask.key_type != SHARE or version >= SHARE_SINCE
        code, text = REFUSED.get(ask.key_type, UNKNOWN_TYPE) if is_known else UNKNOWN_TYPE
        return respond(version, [refused(key, code, text) for key in keys])
    parked = Parked()

    def ready(code: int) -> None:
        brokers = {known.node_id: known for known in broker.topics.advertised(caller.listener)}
        found = []
        for key in keys:
            leader, _ = broker.topics.leader_of(OFFSETS_TOPIC, ZERO_UUID, broker.groups.partition_for(key))
            node = None if code else brokers.get(leader)
            found.append(
                refused(key, errors.COORDINATOR_NOT_AVAILABLE, "")
                if node is None
                else Coordinator(
                    key=key, node_id=node.node_id, host=node.host, port=node.port, error_message=""
                )
            )
        parked.complete(respond(version, found))

    broker.topics.ensure_offsets_topic(ready)
    return parked


def refused(key: str, code: int, text: str) -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=code, error_message=text)


def respond(version: int, found: list[Coordinator]) -> FindCoordinatorResponse:
    if version >= 4:
        return FindCoordinatorResponse(coordinators=found)
    one = found[0]
    return FindCoordinatorResponse(
        error_code=one.error_code,
        error_message=one.error_message if one.error_code else "NONE",
        node_id=one.node_id,
        host=one.host,
        port=one.port,
    )


API = Api(
    10,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNSUPPORTED_VERSION,
        errors.COORDINATOR_NOT_AVAILABLE,
    ),
)
