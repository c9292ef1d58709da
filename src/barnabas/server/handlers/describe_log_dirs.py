"""DescribeLogDirs (35), v1-5. The data folder, its partitions and their sizes; null topics: all.

Versions   v3: top-level error. v4: total and usable bytes of the disk (KIP-827). v5: cordoned (never here).
"""

from barnabas import errors
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import describe_log_dirs as message
from barnabas.wire.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)


def handle(
    broker: Broker, ask: DescribeLogDirsRequest, version: int, caller: Caller
) -> DescribeLogDirsResponse:
    total, usable = broker.disk_bytes()
    result = DescribeLogDirsResult(
        error_code=errors.NONE,
        log_dir=broker.partitions.folder.root,
        total_bytes=total,
        usable_bytes=usable,
    )
    names = broker.image.topics if ask.topics is None else [topic.topic for topic in ask.topics]
    wanted = {} if ask.topics is None else {topic.topic: set(topic.partitions) for topic in ask.topics}
    for name in names:
        partitions = broker.partitions.by_name(name)
        if partitions is None:
            continue
        described = [
            DescribeLogDirsPartition(
                partition_index=partition.index, partition_size=partition.log.size_bytes, offset_lag=0
            )
            for partition in partitions
            if ask.topics is None or partition.index in wanted[name]
        ]
        if described:
            result.topics.append(DescribeLogDirsTopic(name=name, partitions=described))
    return DescribeLogDirsResponse(results=[result])


API = Api(35, message, handle, codes=())
