"""Barnabas: an event-streaming platform that speaks the Kafka protocol. `with barnabas.Broker() as broker: ...`"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from barnabas.embedded import AsyncBroker as AsyncBroker
    from barnabas.embedded import Broker as Broker
    from barnabas.embedded import BrokerError as BrokerError
    from barnabas.embedded import Message as Message
    from barnabas.embedded_cluster import AsyncCluster as AsyncCluster
    from barnabas.embedded_cluster import Cluster as Cluster
    from barnabas.embedded_cluster import ClusterBroker as ClusterBroker

__version__: Final = "0.1.0"
__all__ = [
    "AsyncBroker",
    "AsyncCluster",
    "Broker",
    "BrokerError",
    "Cluster",
    "ClusterBroker",
    "Message",
    "__version__",
]
IN_CLUSTER: Final = ("AsyncCluster", "Cluster", "ClusterBroker")


def __getattr__(name: str) -> object:
    """Imported on first use: `import barnabas` stays instant for the command line."""
    if name in IN_CLUSTER:
        from barnabas import embedded_cluster

        return getattr(embedded_cluster, name)
    if name in __all__:
        from barnabas import embedded

        return getattr(embedded, name)
    raise AttributeError(f"module 'barnabas' has no attribute {name!r}")
