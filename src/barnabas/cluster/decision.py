"""What a function that decides gives back: a reply, and the facts that must be durable before it is given (store.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from barnabas.cluster.image import Fact

Reply = TypeVar("Reply", covariant=True)


@dataclass(slots=True)
class Decision(Generic[Reply]):
    """What to answer once the facts are durable."""

    reply: Reply
    facts: Sequence[Fact] = ()
