"""The world of one seed with workers: a parent and its brokers on one disk. `WorkersWorld(seed).run()` is one history."""

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from barnabas import supervisor
from barnabas.node import Node, StartFailed
from barnabas.partitions.data_folder import FolderRefused
from barnabas.ports import WorldError
from barnabas.testing.disk import VirtualDisk
from barnabas.testing.workers import VirtualWorkers
from simulation.changers import Changer
from simulation.makers import Maker
from simulation.plan import Plan, workers_plan_of
from simulation.session_reader import SINCE, SessionReader
from simulation.world import Machine, World

COUNTS: Final = (2, 2, 3, 3)
OTHER_COUNTS: Final = (0, 1, 2, 3)
SLOW_START_MS: Final = 5_000
"""Longer than a worker may take to come back before others take over."""
RETURN_MS: Final = 35_000
"""Longer than until a buried worker is started again."""
SLOW_METADATA_MS: Final = 2_000
PATIENCE: Final = 6
"""So often all may end before their parent gives up, where that may come: five minutes are millions of retries."""
ENDS: Final = (1, 3, 2 * PATIENCE)
GIVES_UP_MS: Final = 15_000
SCRIPTED_MS: Final = 100


class WorkersWorld(World):
    """One history."""

    HOW = "--workers "

    def __init__(self, seed: int, focus: tuple[str, ...] = ()) -> None:
        super().__init__(seed, focus)
        self._makers: list[Maker] = []
        self._changers: list[Changer] = []
        self._session_readers: list[SessionReader] = []
        self._impatience = pytest.MonkeyPatch()
        self.disk_failed = False
        """What was answered from the page cache may go at any time."""
        self._faults.update(
            {
                **{name: partial(self._fail_some_disk, self._faults[name]) for name in ("disk", "sync")},
                "kill parent": lambda: self._restart(self._workers.kill),
                "kill": self._kill_one,
                "kill some": self._kill_some,
                "crash loop": self._crash_loop,
                "crash all": self._crash_all,
                "slow": self._start_slowly,
                "freeze": self._freeze,
                "metadata fails": self._fail_metadata,
                "metadata is slow": self._slow_metadata,
                "make": lambda: self._makers.append(Maker(self, f"made{len(self._makers)}")),
                "return": lambda: self.time.run_for(RETURN_MS),
                "change": lambda: self._changers.append(Changer(self, f"changed{len(self._changers)}")),
                "freeze parent": self._freeze_parent,
                "suspend": self._suspend,
                "full": self._fill_disk,
            }
        )

    # -- what runs in it

    def _make_clients(self) -> None:
        super()._make_clients()
        if self.versions[1] >= SINCE:
            for number in range(self.plan.session_readers):
                self._session_readers.append(SessionReader(self, f"s{number}"))

    def _draw(self, focus: tuple[str, ...]) -> Plan:
        return workers_plan_of(self.time.random, focus)

    def _make_machine(self) -> Machine:
        self._workers = VirtualWorkers(self.time, self.wire, self.plan.options)
        self._count = self.time.random.choice(COUNTS)
        return self._workers

    def _disks(self) -> list[VirtualDisk]:
        return [self._workers.disk, *(each.disk for each in self._workers.processes()[1:])]

    def _nodes(self) -> list[Node]:
        living = [each.process for each in self._workers.workers.values() if each.child.lives]
        if self._workers.single is not None:
            living.append(self._workers.single)
        return [each.node for each in living if each.node and each.node.health.ready and not each.loop.frozen]

    def _some_worker(self) -> int:
        return self.time.random.choice(self._workers.living() or [0])

    def _boot(self) -> None:
        """Perhaps with another number of workers; with all in order, at the latest at the second time."""
        fails_after = self.time.random.randrange(40)
        if fails_after < 6:
            self._workers.on_store = lambda store: store.fail_next(after=fails_after)
        try:
            self._workers.boot(self._count)
        except (FolderRefused, StartFailed, WorldError):
            self._crash()
            self._heal()
            self._workers.on_store = lambda store: None
            self._workers.boot(self._count)

    def _restart(self, end: Callable[[], object]) -> None:
        if self.time.random.random() < 0.4:
            self._count = self.time.random.choice(OTHER_COUNTS)
        super()._restart(end)

    def _crash(self) -> None:
        super()._crash()
        for own in self._own_topics():
            own.lose_cache()

    def _fail_some_disk(self, fail: Callable[[], None]) -> None:
        self.disk_failed = True
        fail()

    def calm_at(self) -> int | None:
        """None while a broker that clients are told of does not serve; else a number that another death makes another."""
        return self._workers.deaths if self._workers.all_serve else None

    def lose_some_worker(self) -> None:
        """At a moment that a client chooses, perhaps after all faults: nobody hangs for ever then."""
        if self.calm_at() is None:
            return
        if self.is_over:
            self._kill_one()
            return
        self.time.random.choice((self._crash_loop, self._start_slowly, self._freeze, self._kill_one))()

    # -- faults

    def _kill_one(self) -> None:
        self._workers.kill_worker(self._some_worker())

    def _kill_some(self) -> None:
        for node_id in self._workers.living():
            if self.time.random.random() < 0.7:
                self._workers.kill_worker(node_id)

    def _crash_loop(self) -> None:
        node_id = self._some_worker()
        self._workers.fail_start(node_id, self.time.random.choice((2, 3, 4)))
        self._workers.kill_worker(node_id)

    def _crash_all(self) -> None:
        """Of one cause, which may outlive their parent's patience."""
        ends = self.time.random.choice(ENDS)
        for node_id in self._workers.living():
            self._workers.fail_start(node_id, ends)
            self._workers.kill_worker(node_id)
        if ends == ENDS[-1] and not self._workers.parent_is_frozen:
            self.time.run_for(GIVES_UP_MS)
            self._workers.heal()
            self._start_again_if_given_up()

    def _start_again_if_given_up(self) -> None:
        """As whoever runs `serve` does it."""
        parent = self._workers.parent
        if parent is not None and parent.failure is not None:
            self._restart(self._stop)

    def _start_slowly(self) -> None:
        self.may_be_mute = True
        node_id = self._some_worker()
        if self.time.random.random() < 0.5:
            self._workers.delay_start(node_id, [SLOW_START_MS])
        else:
            self._workers.slow_start(node_id, SLOW_METADATA_MS)
        self._workers.kill_worker(node_id)

    def _freeze(self) -> None:
        """And killed or let go on, some time later, or nobody comes but its parent, if it served."""
        self.may_be_mute = True
        node_id = self._some_worker()
        self._workers.freeze(node_id)
        end = self.time.random.choice((self._workers.kill_worker, self._workers.thaw, None))
        if end is not None:
            self.time.after(self._long_or_short_ms(), lambda: end(node_id))

    def _freeze_parent(self) -> None:
        """Until somebody lets it go on, or kills it."""
        self.may_be_mute = True
        self._workers.freeze_parent()
        if self.time.random.random() < 0.6:
            self.time.after(self._long_or_short_ms(), self._workers.thaw_parent)

    def _suspend(self) -> None:
        """All of them, as with a lid that is closed."""
        self.may_be_mute = True
        living = self._workers.living()
        self._workers.freeze_parent()
        for node_id in living:
            self._workers.freeze(node_id)

        def go_on() -> None:
            for thaw in self.time.random.sample(thaws, len(thaws)):
                thaw()

        thaws: list[Callable[[], None]] = [self._workers.thaw_parent]
        thaws += [partial(self._workers.thaw, node_id) for node_id in living]
        self.time.after(self._long_or_short_ms(), go_on)

    def _fill_disk(self) -> None:
        self.may_be_mute = True
        self._workers.fill_disk()
        if self.time.random.random() < 0.6:
            self.time.after(self._long_or_short_ms(), self._workers.free_disk)

    def _stop(self) -> None:
        """Who stops a parent that hangs kills it."""
        if self._workers.parent_is_frozen:
            self._workers.kill()
        else:
            super()._stop()

    def _fail_metadata(self) -> None:
        store = self.time.random.choice(self._workers.stores())
        for _ in range(self.time.random.choice((1, 1, 3))):
            store.fail_next(happened=self.time.random.random() < 0.5)

    def _slow_metadata(self) -> None:
        self.may_be_mute = True
        loop = self.time.random.choice(self._workers.processes()).loop
        loop.slow("metadata", SLOW_METADATA_MS)
        self.time.after(2 * SLOW_METADATA_MS, lambda: loop.slow("metadata", None) if loop.alive else None)

    def _heal(self) -> None:
        super()._heal()
        self._workers.heal(and_go_on=not self.is_over or self.time.random.random() < 0.5)
        if "crash all" in self.plan.faults:
            self.time.run_for(SCRIPTED_MS)  # who is to end as it starts is on its way
            self._start_again_if_given_up()
            if self.is_over:
                self._impatience.undo()  # clients may still kill one worker after the other

    # -- the end

    def _told(self) -> str:
        waiting = [each.name for each in self._own_topics() if not each.done]
        return f"{super()._told()}, {self._workers.told()}, topics {waiting}"

    def _own_topics(self) -> list[Maker | Changer]:
        return [*self._makers, *self._changers]

    def _is_settled(self) -> bool:
        return (
            all(each.done for each in self._own_topics())
            and super()._is_settled()
            and all(reader.has_read_all for reader in self._session_readers)
        )

    def _check_all(self) -> None:
        super()._check_all()
        for each in self._own_topics():
            checked: list[bool] = []
            each.check(lambda checked=checked: checked.append(True))  # type: ignore[misc]
            self._wait(lambda checked=checked: bool(checked))  # type: ignore[misc]

    def run(self) -> None:
        try:
            with pytest.MonkeyPatch.context() as patch:
                self._impatience = patch
                if "crash all" in self.plan.faults:
                    patch.setattr(supervisor, "ENDS_MAX", PATIENCE)
                    patch.setattr(supervisor, "HOPELESS_MS", 0)
                super().run()
        finally:
            breaches = self._workers.disk.platter.breaches
            self.history.require(not breaches, "two writers", ", ".join(breaches[:3]))
