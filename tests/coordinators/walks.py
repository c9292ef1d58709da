"""Random walks through the requests of a group: what five clients, two of them with one instance id, might send.

The same seed gives the same walk. What Apache Kafka is known to do otherwise is not walked into (see the `ours` lines of
transcripts): a member that waits does not ask again, and nobody leaves while somebody waits for a part.
"""

from collections.abc import Callable
from random import Random

CLIENTS = ("alice", "bob", "carol@a", "dave@b", "erin@a")
VERBS = {
    "join": 30,
    "sync": 25,
    "heartbeat": 8,
    "leave": 8,
    "commit": 10,
    "fetch": 3,
    "forget": 3,
    "describe": 6,
    "list": 2,
    "delete": 2,
}


class Walk:
    """One walk; step() is told who waits for what and says the next command."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def step(self, joining: set[str], syncing: set[str]) -> str:
        (verb,) = self._random.choices([*VERBS], [*VERBS.values()])
        who = self._random.choice(CLIENTS)
        waits = who.partition("@")[0] in joining | syncing
        if (verb in ("join", "sync") and waits) or (verb == "leave" and syncing):
            verb = "heartbeat"
        written: Callable[[str], str] = getattr(self, verb, lambda _: verb)
        return written(who)

    def one(self, *texts: str) -> str:
        return self._random.choice(texts)

    def sometimes(self, one_in: int, text: str) -> str:
        return f" {text}" if self._random.randrange(one_in) == 0 else ""

    # -- commands

    def join(self, who: str) -> str:
        version = self.one(*"56789") if "@" in who else self.one(*"0234599")
        return (
            f"join {who} v={version} session=30s rebalance=30s protocols={self.one('range', 'range,sticky')} "
            f"topics={self.one('t', 't', 't,u')}"
            + self.one("", "", "", " member=", " member=stranger")
            + self.sometimes(20, "type=connect")
        )

    def sync(self, who: str) -> str:
        version = self.one(*"345") if "@" in who else self.one(*"01345")
        names = [each.partition("@")[0] for each in CLIENTS]
        parts = " ".join(f"{name}={self.one('t0', 't1', 'u0')}" for name in names if self.sometimes(2, name))
        named = f" type=consumer protocol={self.one('range', 'range', 'sticky')}" if version == "5" else ""
        return f"sync {who} v={version} {parts}{named}" + self.sometimes(
            10, f"generation={self.one(*'0123')}"
        )

    def heartbeat(self, who: str) -> str:
        return f"heartbeat {who} v={self.one('3', '4')}" + self.sometimes(
            5, f"generation={self.one(*'0123')}"
        )

    def leave(self, who: str) -> str:
        if "@" not in who and self.sometimes(3, who):
            return f"leave {who} v={self.one(*'012')}"
        return f"leave {who} {self.one('', '', '@a', '@b', 'nobody')} v={self.one(*'345')}"

    def commit(self, who: str) -> str:
        name = self.one(who, who, "")
        places = f"t_{self.one(*'0123')}={self.one(*'123456789')} u_0={self.one(*'123456789')}"
        return f"commit {name} {places} v={self.one('7', '8', '9', '10')}" + self.sometimes(
            7, f"generation={self.one('-1', '0', '1', '2')}"
        )

    def fetch(self, who: str) -> str:
        return self.one("fetch", "fetch t_0 u_0 x_0", "fetch v=10", "fetch v=10 t_0 x_1", "fetch v=5")

    def forget(self, who: str) -> str:
        return self.one("forget-offsets t 0 1", "forget-offsets u 0")

    def describe(self, who: str) -> str:
        return f"describe v={self.one(*'0356')}"
