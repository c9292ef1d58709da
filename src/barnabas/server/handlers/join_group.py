"""JoinGroup (11), v0-9. Enters a group, or begins its next generation. Rules: coordinators/group/classic.py. Parks until the rebalance completes."""

from barnabas.partitions.waits import Parked
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import join_group as message
from barnabas.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse


def handle(broker: Broker, ask: JoinGroupRequest, version: int, caller: Caller) -> JoinGroupResponse | Parked:
    return broker.groups.join_group(ask, version, caller)


API = Api(11, message, handle)
