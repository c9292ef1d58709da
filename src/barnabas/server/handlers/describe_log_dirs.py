"""DescribeLogDirs (35), v1-5. The data folder, its partitions and their sizes; null topics: all.

Behaviour  What does not exist is left out. Of large requests a slice a turn. A disk that cannot be asked: KAFKA_STORAGE_ERROR for the folder, and no topics.
Versions   v3: top-level error. v4: total and usable bytes of the disk (KIP-827). v5: cordoned (never here).
"""

from collections.abc import Generator, Sequence

from barnabas import errors
from barnabas.partitions.partition import Partition
from barnabas.ports import WorldError
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.server.stepwise import ITEMS_A_STEP, Steps
from barnabas.wire.messages import describe_log_dirs as message
from barnabas.wire.messages.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)


def handle(broker: Broker, ask: DescribeLogDirsRequest, version: int, caller: Caller) -> Steps:
    result = DescribeLogDirsResult(log_dir=broker.partitions.folder.root)
    try:
        result.total_bytes, result.usable_bytes = broker.disk_bytes()
    except WorldError:
        result.error_code = errors.KAFKA_STORAGE_ERROR
        return DescribeLogDirsResponse(results=[result])
    wanted: dict[str, set[int] | None]
    if ask.topics is None:
        wanted = dict.fromkeys(broker.image.topics)
    else:
        wanted = yield from asked(ask.topics)
    for name, indexes in wanted.items():
        yield None
        described: list[DescribeLogDirsPartition] = []
        for at, partition in enumerate(broker.partitions.of_topic(name), 1):
            if indexes is None or partition.index in indexes:
                described.append(describe(partition))
            if not at % ITEMS_A_STEP:
                yield None
        if described:
            result.topics.append(DescribeLogDirsTopic(name=name, partitions=described))
    return DescribeLogDirsResponse(results=[result])


def asked(topics: Sequence[DescribableLogDirTopic]) -> Generator[None, None, dict[str, set[int] | None]]:
    """Partition indexes by topic; a topic may be named more than once."""
    found: dict[str, set[int] | None] = {}
    for topic in topics:
        indexes = found.setdefault(topic.topic, set())
        assert indexes is not None
        indexes.update(topic.partitions)
        yield
    return found


def describe(partition: Partition) -> DescribeLogDirsPartition:
    return DescribeLogDirsPartition(partition_index=partition.index, partition_size=partition.log.size_bytes)


API = Api(35, message, handle, codes=(errors.KAFKA_STORAGE_ERROR,))
