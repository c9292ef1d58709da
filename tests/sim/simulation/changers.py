"""Somebody whose topic grows and gets other options while it is written to.

What was answered while the topic's durability was `sync` is there in the end, with all before it; what was answered under
`cache` as well, unless the power failed or the disk did. An option that was set is what every broker shows.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from barnabas import errors
from barnabas.server.altering import SETTLE_MS
from barnabas.wire.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from barnabas.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from barnabas.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from simulation.own_topic import KEEPS_ALL, TIMEOUT_MS, OwnTopic
from simulation.process import PATIENCE_MS, RETRY_MS, Client

if TYPE_CHECKING:
    from simulation.workers_world import WorkersWorld

TOPIC_RESOURCE: Final = 2
SET: Final = 0
GROWN_MAX: Final = 7
DURABILITY: Final = "barnabas.durability"
VALUES: Final = {
    DURABILITY: ("sync", "cache"),
    "segment.ms": ("1", "200", "604800000"),
    "segment.bytes": ("1048576", "1073741824"),
    "flush.messages": ("1", "9223372036854775807"),
    "flush.ms": ("100", "9223372036854775807"),
    "max.message.bytes": ("1000", "1048588"),
    "message.timestamp.type": ("CreateTime", "LogAppendTime"),
    "min.insync.replicas": ("1", "2"),
    "cleanup.policy": ("delete", "delete"),
    "index.interval.bytes": ("0", "4096"),
}
SHRINKING: Final = {"retention.ms": ("50", "-1"), "retention.bytes": ("0", "-1")}
"""What takes records away as it should."""


class Changer(OwnTopic):
    """One topic."""

    def __init__(self, world: "WorkersWorld", name: str) -> None:
        super().__init__(world, name)
        random = world.time.random
        self.done = False
        self.partitions = random.randint(1, 2)
        self._options = dict(KEEPS_ALL)
        self._choices = {**VALUES, **(SHRINKING if random.random() < 0.3 else {})}
        self._unsure: set[str] = set()
        """Options of which a change was not answered: it may come to pass at any time."""
        self._may_be_cached = False
        """One of those changes was to answer without a sync."""
        self._rounds = random.choice((2, 4, 8))
        self.make(lambda: self.write_all(self._next))

    def _next(self) -> None:
        if self._rounds == 0:
            self.done = True
            return
        self._rounds -= 1
        random = self.world.time.random
        act = random.choice((self._grow, self._alter, self._alter))
        self.process.after(random.choice((0, 20, 300)), act)

    # -- growing

    def _grow(self) -> None:
        count = min(self.partitions + self.world.time.random.randint(1, 2), GROWN_MAX)
        if count == self.partitions:
            self.write_all(self._next)
        else:
            self._grow_to(count)

    def _grow_to(self, count: int) -> None:
        answered_with = self.changing()

        def answered(response: Any) -> None:
            code = None if response is None else response.results[0].error_code
            if code in (0, errors.INVALID_PARTITIONS):  # by one of our requests that was not answered
                answered_with(code == 0)
                self.partitions = count
                self.write_all(self._next)
                return
            allowed = (None, errors.KAFKA_STORAGE_ERROR, errors.REQUEST_TIMED_OUT)
            self.world.history.require(code in allowed, "refused", f"{self.name} grows with {code}")
            self.process.after(RETRY_MS, lambda: self._grow_to(count))

        ask = CreatePartitionsRequest([CreatePartitionsTopic(self.name, count, None)], TIMEOUT_MS)
        self.client.ask(37, ask, answered, TIMEOUT_MS + PATIENCE_MS)
        if self.world.time.random.random() < 0.2:
            self.world.lose_some_worker()

    # -- options

    def _alter(self) -> None:
        random = self.world.time.random
        name = random.choice([DURABILITY, DURABILITY, *self._choices])
        self._set(name, random.choice(self._choices[name]))

    def _set(self, name: str, value: str) -> None:
        answered_with = self.changing(SETTLE_MS)
        if (name, value) == (DURABILITY, "cache"):
            self.is_synced = False

        def answered(response: Any) -> None:
            code = None if response is None else response.responses[0].error_code
            if code == 0:
                in_time = answered_with(True)
                self._options[name] = value
                if name == DURABILITY:
                    self.is_synced = value == "sync" and in_time and not self._may_be_cached
                self._show(lambda: self.write_all(self._next), self.is_calm)
                return
            allowed = (None, errors.KAFKA_STORAGE_ERROR)
            self.world.history.require(code in allowed, "refused", f"{name}={value} with {code}")
            self._unsure.add(name)
            self._may_be_cached = self._may_be_cached or (name, value) == (DURABILITY, "cache")
            self.process.after(RETRY_MS, lambda: self._set(name, value))

        change = AlterConfigsResource(TOPIC_RESOURCE, self.name, [AlterableConfig(name, SET, value)])
        self.client.ask(44, IncrementalAlterConfigsRequest([change]), answered, TIMEOUT_MS + PATIENCE_MS)

    def _show(self, shown: Callable[[], None], must: bool) -> None:
        """must: whoever answers knows of the last change."""
        asker = Client(self.process, self.world.versions)
        resource = DescribeConfigsResource(
            TOPIC_RESOURCE, self.name, sorted({*self._choices, *self._options})
        )

        def answered(response: Any) -> None:
            result = None if response is None else response.results[0]
            if result is None or (result.error_code and not must):
                self.process.after(RETRY_MS, lambda: self._show(shown, must and self.is_calm))
                return
            history = self.world.history
            history.require(result.error_code == 0, "settled", f"options of {self.name}: {result.error_code}")
            found = {each.name: each.value for each in result.configs}
            for name, value in self._options.items():
                history.require(
                    not must or name in self._unsure or found.get(name) == value,
                    "settled",
                    f"{name} of {self.name} was set to {value} and is {found.get(name)}",
                )
            shown()

        asker.ask(32, DescribeConfigsRequest([resource]), answered)

    def check(self, checked: Callable[[], None]) -> None:
        self._show(lambda: super(Changer, self).check(checked), must=True)
