"""What tests of the administrative APIs ask again and again."""

from typing import Any

from rawclient import RawClient

from barnabas.wire.messages import metadata


def topic_of(client: RawClient, name: str) -> Any:
    """The topic as Metadata shows it; asking does not make it."""
    ask = metadata.MetadataRequest(
        topics=[metadata.MetadataRequestTopic(name=name)], allow_auto_topic_creation=False
    )
    return client.call(metadata, ask, 12).topics[0]
