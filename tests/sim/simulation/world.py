"""The world of one seed: a machine, its clients, and what goes wrong. `World(seed).run()` is one history."""

import errno
from collections.abc import Callable
from typing import Any, Final, Protocol

from barnabas import errors
from barnabas.log.journal import JOURNAL
from barnabas.node import Node, StartFailed
from barnabas.partitions.data_folder import FolderRefused
from barnabas.ports import WorldError
from barnabas.records.record import Record
from barnabas.testing.disk import Kind, VirtualDisk
from barnabas.testing.machine import VirtualMachine
from barnabas.testing.network import Wire
from barnabas.testing.virtual import VirtualTime
from barnabas.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest
from simulation.history import Broken, History
from simulation.log_clients import TOPIC, Deleter, Fetched, Producer, Reader, fetch, find_start
from simulation.member import GROUP, SOLO, Member, OffsetClient, Solo
from simulation.plan import LONG_MS, Plan, plan_of
from simulation.process import Client, Process

LIMIT_MS: Final = 400_000
"""After the last fault: longer than a partition stays closed (60 s) and a join may wait (300 s)."""
PAUSES_MS: Final = (5, 30, 30, 300, 1_500)
"""Between two faults: most of what goes wrong needs the second while work of the first is under way."""
CALM_MS: Final = 3_500
"""A journal that is frozen has thawed by then, if nothing else is wrong."""
SYNC_MS: Final = (50, 300, 3_000)
THAW_STEP_MS: Final = 30_000
THAW_TAKES_MS: Final = 30
DISK_FAULTS: Final[tuple[tuple[Kind, int], ...]] = (
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("sync", errno.EIO),
    ("sync", errno.EIO),
    ("sync_folder", errno.EIO),
    ("open", errno.ENOSPC),
    ("open", errno.EMFILE),
    ("rename", errno.EIO),
    ("read", errno.EIO),
    ("unlink", errno.EIO),
    ("truncate", errno.EIO),
)


class Machine(Protocol):
    """What a world does with its computer, whatever runs on it."""

    host: str

    def crash(self) -> None: ...
    def kill(self) -> None: ...
    def stop(self) -> bool: ...


class World:
    """One history."""

    HOW = ""
    """The options with which soak.py runs such a world."""

    def __init__(self, seed: int, focus: tuple[str, ...] = ()) -> None:
        self.seed = seed
        self.time = VirtualTime(seed)
        self.plan = self._draw(focus)
        self.versions = self.plan.versions
        self.wire = Wire(self.time, cut_one_in=self.plan.cut_one_in)
        self.machine = self._make_machine()
        self.history = History(seed, self.plan.partitions, self.plan.has_retention, self.HOW)
        self.may_be_mute = False
        """Somebody was held up once, so a request may be left without an answer."""
        self.is_over = False
        """No more faults come: now all must get what is due to them."""
        self.members: list[Member] = []
        self._producers: list[Producer] = []
        self._solos: list[Solo] = []
        self._names = 0
        self._instances: dict[str, int] = {}
        self._deleter = Deleter(self, "deleter")
        self._faults: dict[str, Callable[[], None]] = {
            "power": lambda: self._restart(self._crash),
            "kill": lambda: self._restart(self.machine.kill),
            "restart": lambda: self._restart(self._stop),
            "cut": self.wire.cut,
            "disk": self._fail_disk,
            "sync": lambda: self._some_disk().fail("sync", errno.EIO, after=self.time.random.randint(0, 2)),
            "ring": lambda: self._some_disk().fail("write", errno.EIO, path=f"/{JOURNAL}"),
            "calm": lambda: self.time.run_for(CALM_MS),
            "thaw": self._thaw,
            "slow syncs": self._slow_syncs,
            "stall": self._stall,
            "clock": lambda: self.time.step_wall(self.time.random.choice((-600_000, 600_000))),
            "pause": lambda: self._some_member(self._pause),
            "die": lambda: self._some_member(lambda it: it.process.kill()),
            "leave": lambda: self._some_member(Member.leave),
            "enter": lambda: self._enter(None),
            "replace": lambda: self._some_member(self._replace),
            "delete": lambda: self._deleter.delete(self.time.random.randrange(self.plan.partitions)),
        }

    # -- what runs in it

    def _draw(self, focus: tuple[str, ...]) -> Plan:
        return plan_of(self.time.random, focus)

    def _make_machine(self) -> Machine:
        self._node = VirtualMachine(self.time, self.wire, self.plan.options)
        return self._node

    def _disks(self) -> list[VirtualDisk]:
        """Of the processes that run."""
        return [self._node.disk]

    def _nodes(self) -> list[Node]:
        """Those that serve, and do not hang."""
        return [self._node.node]

    def _some_disk(self) -> VirtualDisk:
        return self.time.random.choice(self._disks())

    def run(self) -> None:
        plan = self.plan
        self._boot()
        self._make_topic()
        self._make_clients()
        for fault in plan.faults:
            self.time.run_for(self.time.random.randint(0, self.time.random.choice(PAUSES_MS)))
            self._faults[fault]()
        self.is_over = True
        self._heal()
        self._wait(self._is_settled)
        self.time.run_for(self.time.random.choice((0, 2_500)))  # time for retention and compaction
        self._restart(self.time.random.choice((self._crash, self.machine.kill, self._stop)))
        self._check_all()

    def _make_clients(self) -> None:
        plan = self.plan
        for number in range(plan.producers):
            partition = number % plan.partitions
            self._producers.append(Producer(self, f"p{number}", partition, plan.batches, plan.window))
        for number in range(plan.readers):
            Reader(self, f"r{number}", number % plan.partitions)
        for number in range(plan.members):
            self._enter(f"i{number}" if number < plan.instances else None)
        if plan.solo_commits:
            self._solos.append(Solo(self, "solo", plan.solo_commits))

    # -- faults

    def _boot(self) -> None:
        """With a disk that works, at the latest at the second time."""
        try:
            self._node.boot()
        except (FolderRefused, StartFailed, WorldError):
            self._node.disk.lose_process()
            self._node.disk.heal()
            self._node.boot()

    def _restart(self, end: Callable[[], object]) -> None:
        end()
        self.time.run_for(self.time.random.choice((0, 200, LONG_MS)))
        if self.time.random.random() < 0.7:
            self._heal_disks()
        self._boot()

    def _heal_disks(self) -> None:
        for disk in self._disks():
            disk.heal()

    def _stop(self) -> None:
        self.machine.stop()

    def _crash(self) -> None:
        self.machine.crash()

    def _fail_disk(self) -> None:
        random = self.time.random
        kind, number = random.choice(DISK_FAULTS)
        path = random.choice(("", "", TOPIC, "__consumer_offsets"))
        self._some_disk().fail(
            kind, number, after=random.randint(0, 4), times=random.choice((1, 1, 2, 20)), path=path
        )

    def _thaw(self) -> None:
        """What the next seconds bring to a frozen journal, while its clients have not come far: three steps of it."""
        for step in range(1, 4):
            for node in self._nodes():
                node.partitions.thaw_journal(self.time.mono_ms() + step * THAW_STEP_MS)
            self.time.run_for(THAW_TAKES_MS)

    def _slow_syncs(self) -> None:
        """Of the journal's checkpoints, until the next start: rounds find no room, or files that are being synced."""
        self._node.loop.slow("checkpoint", self.time.random.choice(SYNC_MS))

    def _stall(self) -> None:
        """Nothing passes between the machine and one client for a while."""
        self.may_be_mute = True
        hosts = [member.process.host for member in self.members if member.alive]
        host = self.time.random.choice([*hosts, "host-p0", "host-solo"])
        self.wire.stall(host, self.machine.host)
        self.time.after(self._long_or_short_ms(), self.wire.unstall)

    def _long_or_short_ms(self) -> int:
        return self.time.random.choice((100, LONG_MS))

    def _some_member(self, change: Callable[[Member], None]) -> None:
        living = [member for member in self.members if member.alive]
        if living:
            change(self.time.random.choice(living))

    def _enter(self, instance: str | None) -> None:
        self._names += 1
        if instance is not None:
            self._instances[instance] = self._instances.get(instance, 0) + 1
        self.members.append(Member(self, f"m{self._names}", instance))

    def has_rivals(self, instance: str | None) -> bool:
        return self._instances.get(instance or "", 0) > 1

    def _pause(self, member: Member) -> None:
        self.may_be_mute = True
        member.process.pause(self._long_or_short_ms())

    def _replace(self, member: Member) -> None:
        """Another process comes with the same group.instance.id while the old one hangs, as an orchestrator does it."""
        self._pause(member)
        self._enter(member.instance)

    def _heal(self) -> None:
        self.wire.heal()
        self._heal_disks()
        for member in self.members:
            member.process.resume()
        if self.plan.members and not any(member.alive for member in self.members):
            self._enter(None)

    # -- the end

    def _wait(self, reached: Callable[[], bool]) -> None:
        try:
            self.time.run_until(reached, LIMIT_MS)
        except Broken:
            raise
        except AssertionError as error:
            self.history.require(False, "waits", f"{error}: {self._told()}")

    def _told(self) -> str:
        members = [
            f"{member.process.name} {member.generation} {member.partitions} {member.running}"
            for member in self.members
            if member.alive
        ]
        waiting = [actor.name for actor in self._producers if not actor.done]
        return f"producers {waiting}, members {members}, log ends {self.history.high_watermark}"

    def _is_settled(self) -> bool:
        if self._deleter.busy or not all(actor.done for actor in (*self._producers, *self._solos)):
            return False
        living = [member for member in self.members if member.alive]
        if not living:
            return True
        if len({member.generation for member in living}) > 1:
            return False
        if not all(member.has_committed_all for member in living):
            return False
        owned = sorted(index for member in living for index in member.partitions)
        return owned == list(self.history.partitions)

    def _make_topic(self) -> None:
        made: list[bool] = []
        client = Client(Process(self, "maker"))
        message = CreateTopicsRequest([CreatableTopic(TOPIC, self.plan.partitions, 1)], 1000)

        def answered(response: Any) -> None:
            code = None if response is None else response.topics[0].error_code
            if code in (0, errors.TOPIC_ALREADY_EXISTS):
                made.append(True)
            else:
                client.ask(19, message, answered)

        client.ask(19, message, answered)
        self._wait(lambda: bool(made))

    def _check_all(self) -> None:
        """After one more restart: everything is read back, and so is what was committed."""
        for partition in self.history.partitions:
            log_start, records = self._read_all(partition)
            self.history.check_log(partition, log_start, records)
            if self.plan.members:
                self.history.check_handled(GROUP, partition, log_start)
        self._read_committed(GROUP)
        self._read_committed(SOLO)

    def _read_all(self, partition: int) -> tuple[int, list[Record]]:
        """From the log start to the high watermark."""
        client = Client(Process(self, f"check{partition}"))
        records: list[Record] = []
        starts: list[int] = []
        ends: list[bool] = []

        def begin(offset: int | None = None) -> None:
            if offset is None:
                find_start(self, client, partition, begin)
            else:
                starts.append(offset)
                read(offset)

        def read(offset: int) -> None:
            fetch(self, client, {partition: offset}, lambda found: have_read(offset, found))

        def have_read(offset: int, found: list[Fetched]) -> None:
            if not found or found[0].code:
                begin() if not records else read(offset)
            elif found[0].records:
                records.extend(found[0].records)
                read(found[0].records[-1].offset + 1)
            else:
                ends.append(True)

        begin()
        self._wait(lambda: bool(ends))
        return starts[-1], records

    def _read_committed(self, group: str) -> None:
        """offset_shown compares."""
        have: list[dict[int, int]] = []
        asker = OffsetClient(self, f"check-{group}", group)

        def ask() -> None:
            asker.read_offsets(list(self.history.partitions), have.append, lambda: asker.find(ask))

        asker.find(ask)
        self._wait(lambda: bool(have))
