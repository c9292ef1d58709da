"""DescribeLogDirs (35), v1-5. The data folder, its partitions and their sizes; null topics: all.

Behaviour  What does not exist is left out. A disk that cannot be asked: KAFKA_STORAGE_ERROR for the folder, and no topics.
Versions   v3: top-level error. v4: total and usable bytes of the disk (KIP-827). v5: cordoned (never here).
"""

from barnabas import errors
from barnabas.ports import WorldError
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
    result = DescribeLogDirsResult(log_dir=broker.partitions.folder.root)
    try:
        result.total_bytes, result.usable_bytes = broker.disk_bytes()
    except WorldError:
        result.error_code = errors.KAFKA_STORAGE_ERROR
        return DescribeLogDirsResponse(results=[result])
    wanted = asked(ask) if ask.topics is not None else dict.fromkeys(broker.image.topics)
    for name, indexes in wanted.items():
        described = [
            DescribeLogDirsPartition(partition_index=partition.index, partition_size=partition.log.size_bytes)
            for partition in broker.partitions.of_topic(name)
            if indexes is None or partition.index in indexes
        ]
        if described:
            result.topics.append(DescribeLogDirsTopic(name=name, partitions=described))
    return DescribeLogDirsResponse(results=[result])


def asked(ask: DescribeLogDirsRequest) -> dict[str, set[int] | None]:
    """Partition indexes by topic; a topic may be named more than once."""
    found: dict[str, set[int]] = {}
    for topic in ask.topics or ():
        found.setdefault(topic.topic, set()).update(topic.partitions)
    return dict(found)


API = Api(35, message, handle, codes=(errors.KAFKA_STORAGE_ERROR,))
