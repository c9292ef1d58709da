"""Somebody who makes a topic, writes to each partition of it at once, perhaps deletes it and makes it anew, and reads it in
the end.
"""

from typing import TYPE_CHECKING, Any

from barnabas import errors
from barnabas.wire.messages.delete_topics import DeleteTopicsRequest
from simulation.own_topic import PARTITIONS_MAX, TIMEOUT_MS, OwnTopic
from simulation.process import RETRY_MS

if TYPE_CHECKING:
    from simulation.workers_world import WorkersWorld


class Maker(OwnTopic):
    """One topic, in one, two or three lives of it."""

    def __init__(self, world: "WorkersWorld", name: str) -> None:
        super().__init__(world, name)
        self.done = False
        self._lives_left = world.time.random.choice((0, 0, 1, 2))
        self._gone: set[bytes] = set()
        """Values of earlier lives that nobody sends any more."""
        self._begin()

    def _begin(self) -> None:
        self.partitions = self.world.time.random.randint(1, PARTITIONS_MAX)
        self.acked = {}
        self.make(lambda: self.write_all(self._have_written))

    def _have_written(self) -> None:
        if self._lives_left:
            self.process.after(self.world.time.random.choice((0, 50, 1_000)), self._begin_to_delete)
        else:
            self.done = True

    def _begin_to_delete(self) -> None:
        """Perhaps while somebody is dead who leads a part of it."""
        if self.world.time.random.random() < 0.4:
            self.world.lose_some_worker()
        self._delete()

    def _delete(self) -> None:
        def answered(response: Any) -> None:
            code = None if response is None else response.responses[0].error_code
            if code in (0, errors.UNKNOWN_TOPIC_OR_PARTITION):
                self._lives_left -= 1
                self._gone |= self.sent_once
                self._begin()
            else:
                self.process.after(RETRY_MS, self._delete)

        self.client.ask(20, DeleteTopicsRequest(topic_names=[self.name], timeout_ms=TIMEOUT_MS), answered)

    def check_partition(self, partition: int, log_start: int, values: list[bytes | None]) -> None:
        super().check_partition(partition, log_start, values)
        foreign = self._gone.intersection(value for value in values if value is not None)
        self.world.history.require(
            not foreign,
            "namesake",
            f"{self.name}-{partition} has {sorted(foreign)} of the deleted topic of that name",
        )
