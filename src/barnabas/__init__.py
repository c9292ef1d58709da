"""Barnabas: an event-streaming platform that speaks the Kafka protocol. `with barnabas.Broker() as broker: ...`"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from barnabas.embedded import Broker as Broker

__version__: Final = "0.1.0"
__all__ = ["Broker", "__version__"]


def __getattr__(name: str) -> object:
    """Broker is imported on first use: `import barnabas` stays instant for the command line."""
    if name == "Broker":
        from barnabas.embedded import Broker

        return Broker
    raise AttributeError(f"module 'barnabas' has no attribute {name!r}")
