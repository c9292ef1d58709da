"""Faults planted into what workers and their parent do together, one rule each, as in planted.py."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from barnabas import parent
from barnabas.cluster import changes, placing
from barnabas.cluster.image import PartitionImage
from barnabas.coordinators.runtime import Shard
from barnabas.log import folder, recovery
from barnabas.log.checkpoints import Offsets
from barnabas.log.producer_state import ProducerState
from barnabas.log.take_up import Taken
from barnabas.node import Node
from barnabas.parent import Parent
from barnabas.partitions import owners
from barnabas.partitions.data_folder import DataFolder
from barnabas.partitions.fetch_session import Wanted
from barnabas.partitions.open import Partitions
from barnabas.partitions.partition import Partition
from barnabas.ports import WorldError
from barnabas.server.topics import TopicChanges
from barnabas.supervisor import Supervisor, Worker
from barnabas.testing.disk import VirtualDisk, VirtualFile
from simulation.planted import LOSES, Patch, Planted, caught_by

WORKERS_PLANTED: Final[list[Planted]] = []
caught = partial(caught_by, among=WORKERS_PLANTED)


@caught("two writers", *LOSES, focus=("kill parent", "freeze"))
def locks_of_the_living_are_free(patch: Patch) -> None:
    """The fence: orphans of a killed parent are not waited for."""
    patch.setattr(VirtualDisk, "lock", lambda self, path: lambda: None)


@caught("two writers", *LOSES, focus=("slow",), first=11)
def a_late_worker_is_buried_alive(patch: Patch) -> None:
    def late(self: Supervisor, worker: Worker) -> None:
        worker.child = None
        self._bury(worker)

    patch.setattr(Supervisor, "_late", late)
    patch.setattr(parent, "try_lock", lambda files, root, node: lambda: None)


@caught(*LOSES, focus=("power",))
def rings_of_workers_are_not_taken_up(patch: Patch) -> None:
    real = owners.take_up

    def take_up(files: Any, state: str, root: str, offsets: Any) -> Any:
        return real(files, state if state == root else "/nowhere", root, offsets)

    patch.setattr(owners, "take_up", take_up)


@caught(*LOSES, focus=("sync", "disk", "crash loop", "slow", "power"), rare=True)
def burial_believes_the_page_cache(patch: Patch) -> None:
    """The ring has what a failed sync lost, and so has the cache until the power fails."""
    real = parent.bury

    def bury(*rest: Any) -> None:
        with patch.context() as there:
            there.setattr(owners, "take_up", lambda files, state, root, offsets: Taken())
            there.setattr(recovery, "write_again", lambda segment, position: None)
            real(*rest)

    patch.setattr(parent, "bury", bury)


@caught("log start", focus=("delete", "kill", "crash loop"), first=7)
def checkpoints_are_merged_by_their_least(patch: Patch) -> None:
    def log_start(self: Offsets, topic: str, index: int, topic_id: bytes) -> int:
        return min(each.starts.get((topic, index), 0) for each in self._sets)

    patch.setattr(Offsets, "log_start", log_start)


@caught("log start", focus=("delete", "crash loop", "slow"), first=10)
def survivors_do_not_read_the_checkpoints_again(patch: Patch) -> None:
    patch.setattr(DataFolder, "reread", lambda self: None)


@caught("log start", focus=("delete", "crash loop", "slow"), rare=True)
def burial_writes_no_checkpoints(patch: Patch) -> None:
    real = parent.bury

    def bury(*rest: Any) -> None:
        with patch.context() as there:
            there.setattr(owners, "_write", lambda files, root, merged, ids: None)
            real(*rest)

    patch.setattr(parent, "bury", bury)


@caught("one leader", "epochs", focus=("crash loop", "slow"), first=3)
def a_new_leader_has_no_new_epoch(patch: Patch) -> None:
    def led_by(old: PartitionImage, node_id: int, *_: Any) -> PartitionImage:
        return PartitionImage(node_id, old.leader_epoch, (node_id,), (node_id,))

    patch.setattr(placing, "led_by", led_by)


@caught("one leader", "epochs", focus=("kill", "kill parent", "restart"))
def a_start_takes_no_new_reign(patch: Patch) -> None:
    for module in (placing, changes):
        patch.setattr(module, "next_reign", lambda image: max(image.reign, 1))


@caught("two writers", *LOSES, focus=("kill", "restart"))
def a_broker_opens_what_others_lead(patch: Patch) -> None:
    real = Partitions.opening

    def opening(self: Partitions, topic: Any) -> Iterator[None]:
        mine = tuple(
            PartitionImage(self._node_id, each.leader_epoch, each.replicas, each.isr)
            for each in topic.partitions
        )
        return real(self, replace(topic, partitions=mine))

    patch.setattr(Partitions, "opening", opening)


@caught("settled", "two writers", focus=("make",), first=6)
def a_topic_is_answered_before_all_serve_it(patch: Patch) -> None:
    """Nor has who led its deleted namesake heard of that: it may write there still."""
    patch.setattr(TopicChanges, "when_settled", lambda self, names, timeout_ms, done: True)


@caught(*LOSES, focus=("power",), rare=True)
def every_start_of_workers_is_taken_for_clean(patch: Patch) -> None:
    real: Callable[[Parent, int, bool], None] = Parent._make_state_folder

    def make(self: Parent, node_id: int, was_clean: bool) -> None:
        real(self, node_id, True)

    patch.setattr(Parent, "_make_state_folder", make)


# -- what changes while it runs


@caught("settled", "lost", focus=("change",))
def options_are_answered_before_all_brokers_have_them(patch: Patch) -> None:
    patch.setattr(TopicChanges, "when_all_settled", lambda self, timeout_ms, done: True)


@caught("lost", focus=("change", "change", "power"), rare=True, first=141)
def what_was_answered_from_the_cache_is_not_synced_first(patch: Patch) -> None:
    """A topic goes from `cache` to `sync`: a crash leaves a hole before what is durable."""

    def switch(self: Partition, _: int) -> None:
        self._committer = self._wanted

    patch.setattr(Partition, "_switch", switch)


@caught("settled", "waits", focus=("change",), first=7)
def a_topic_that_grows_is_not_opened_further(patch: Patch) -> None:
    real = Partitions.opening

    def opening(self: Partitions, topic: Any) -> Iterator[None]:
        known = self.by_name(topic.name)
        if known:
            return real(self, replace(topic, partitions=topic.partitions[: len(known)]))
        return real(self, topic)

    patch.setattr(Partitions, "opening", opening)


@caught("namesake", "two writers", *LOSES, focus=("make", "crash loop", "freeze", "slow", "kill"), first=13)
def any_folder_of_that_name_is_taken(patch: Patch) -> None:
    """A topic that was deleted while its leader was away, and made anew."""
    patch.setattr(folder, "is_of", lambda files, path, topic_id: True)


@caught("damaged", *LOSES, focus=("full",), first=4)
def what_did_not_fit_is_answered(patch: Patch) -> None:
    real = VirtualFile.write

    def write(self: VirtualFile, position: int, chunks: Any) -> int:
        try:
            return real(self, position, chunks)
        except WorldError as error:
            if error.errno == errno.ENOSPC and self.path.endswith(".log"):
                return sum(map(len, chunks))
            raise

    patch.setattr(VirtualFile, "write", write)


@caught("waits", focus=("cut", "kill"), rare=True)
def a_fetch_session_tells_of_a_partition_once(patch: Patch) -> None:
    def is_news(self: Wanted, *_: Any) -> bool:
        was_told, self.told = self.told, True
        return not was_told

    patch.setattr(Wanted, "is_news", is_news)


@caught("twice", "order", "refused", focus=("crash loop", "slow"), first=33)
def heirs_forget_producers(patch: Patch) -> None:
    real = Partitions._open

    def opened(self: Partitions, *rest: Any) -> Partition:
        partition = real(self, *rest)
        if self.taken_up:
            partition.log.producers = ProducerState()
        return partition

    patch.setattr(Partitions, "_open", opened)


@caught(
    "committed",
    "generation",
    "one owner",
    "waits",
    "skipped",
    "fenced",
    focus=("crash loop", "slow", "kill"),
    first=12,
)
def heirs_take_groups_for_empty(patch: Patch) -> None:
    """The coordinator of a group died, and another broker has its log by now."""

    def load(self: Shard) -> None:
        self.loaded = True
        self._seen_offset = self.partition.high_watermark
        self.on_loaded()

    real = Node._opened

    def opened(self: Node, partition: Partition) -> None:
        with patch.context() as there:
            if self.partitions.taken_up:
                there.setattr(Shard, "load", load)
            real(self, partition)

    patch.setattr(Node, "_opened", opened)


@caught("waits", focus=("freeze", "suspend"), rare=True, first=93)
def nobody_looks_after_workers_that_hang(patch: Patch) -> None:
    patch.setattr(Supervisor, "_look", lambda self: None)
