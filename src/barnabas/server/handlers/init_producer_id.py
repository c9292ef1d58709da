"""InitProducerId (22), v0-5. A producer id and epoch for idempotent producers (KIP-98, KIP-360).

Behaviour  Without a transactional id each call gives a new id with epoch 0, also when the producer names an id it had
           (v3: Kafka bumps epochs only for transactional ids). With one: a final error (decision 41). When the metadata
           store gives no ids: COORDINATOR_LOAD_IN_PROGRESS, as in Kafka, so that the producer asks again.
"""

from barnabas import errors
from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import init_producer_id as message
from barnabas.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse


def handle(
    broker: Broker, ask: InitProducerIdRequest, version: int, caller: Caller
) -> InitProducerIdResponse | Parked:
    if ask.transactional_id is not None:
        code = errors.INVALID_REQUEST if ask.transactional_id == "" else errors.UNSUPPORTED_VERSION
        return refused(code)
    if (ask.producer_id < 0) != (ask.producer_epoch < 0):
        return refused(errors.INVALID_REQUEST)
    parked = Parked()
    broker.producer_ids.next(
        lambda code, producer_id: parked.complete(
            refused(code) if code else InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)
        )
    )
    return parked


def refused(code: int) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)


API = Api(
    22,
    message,
    handle,
    codes=(
        errors.INVALID_REQUEST,
        errors.UNSUPPORTED_VERSION,
        errors.COORDINATOR_LOAD_IN_PROGRESS,
    ),
)
