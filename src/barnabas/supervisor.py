"""Keeps one process going for each node id of a data folder, and has the partitions of a dead one taken over.

    starting ──ready──▶ serving ──ends──▶ starting          restarted at once
        │ ends, late         │ ends for the third time in a minute
        ▼                    ▼
    burying ──taken over──▶ waiting ──time──▶ starting      the others lead what it led; it comes back with nothing

W1  A node id has one process at most: the next is started only when the end of the one before was told.
W2  A worker is buried only while it has no process, and gets none until the burial has ended, well or not. Burials come one
    after the other: they write the same checkpoints. Nothing bounds one but its end, or this process's: it is told (0009).
W3  A worker that dies is restarted at once. One that is not ready restart_ms after it died, or that dies CRASHES_MAX times
    in CRASHES_MS, is buried if another one serves. With nobody to take over, it may take as long as it needs, and is
    started more and more rarely if it keeps dying.
W4  After a burial it is started again in 30, 60, 120, 240, 300, 300 … s; from the first when it has served for CRASHES_MS.
W5  After a failed burial it is started again: its folder is as a crash left it, which a start mends as well.
W6  The first start is all or nothing: one that does not come up ends the others, and its reason is told. It may take
    as long as it needs, while it goes on (W8): nobody waits for its partitions yet.
W7  A stop asks all that run to end, waits, and kills what is left after STOP_MS. It is clean when each worker ended cleanly
    or was buried.
W8  A worker says each heartbeat that it lives: its loop once it serves, before that only while its start uses processor or
    disk (worker.py). One that says nothing for the time of a session, or, while it starts, for STARTING_SILENT_MS, is killed, and is
    then as any that died. That time is counted in looks of this process, one a heartbeat: where all of them are stopped and go on
    together (a container that is paused, a laptop's lid), it has not looked meanwhile.
W9  When no worker serves, those that were buried are tried as often as the others. There is no hope left when a worker ends, none
    serves, and each has ended ENDS_MAX times since any of them last served for PROVEN_MS, the first time HOPELESS_MS ago. Then
    nobody is started any more: whoever still starts may yet serve, and all goes on; when all have ended, that is told with
    their reasons, and the owner stops.
Crash   of this process: the input of each worker ends, and it stops by itself (worker.py).
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, TypeAlias

from barnabas.config.effective import BrokerOptions
from barnabas.node import StartFailed
from barnabas.partitions.waits import Timer, Waits
from barnabas.ports import Child, Clock, Event, Processes, WorldError
from barnabas.telemetry import Log

ARGUMENTS: Final = ("-m", "barnabas.worker")
CRASHES_MAX: Final = 3
CRASHES_MS: Final = 60_000
RETURNS_MS: Final = (30_000, 60_000, 120_000, 240_000, 300_000)
ALONE_MS: Final = (1_000, 2_000, 4_000, 8_000, 16_000, 30_000)
RETURN_READY_MS: Final = 30_000
"""A worker that comes back after a burial has nothing that anybody waits for: it may take longer than a restarted one."""
AGAIN_MS: Final = 1_000
REMEDY: Final = "Mend the cause (the workers' own lines above say more), then start again."
STOP_MS: Final = 30_000
BURYING_TOLD_MS: Final = 60_000
STILL_BURYING: Final = "a dead worker's logs are still being recovered, and nobody leads them until then (does the disk of the data folder answer?)"
STARTING_SILENT_MS: Final = 180_000
"""Without any work on its start. A worker that waits for one sync of gigabytes does none: this must be long."""
KILLED: Final = -9
ENDS_MAX: Final = 10
HOPELESS_MS: Final = 300_000
PROVEN_MS: Final = 10_000
HEARTBEAT_MS_MIN: Final = 100
LOOKS_MIN: Final = 3
"""A heartbeat may come just after a look: fewer would kill workers that live."""

State: TypeAlias = Literal["starting", "serving", "burying", "waiting", "ended"]
TakeOver: TypeAlias = Callable[[int, Callable[[WorldError | None], None]], None]
"""take_over(node id, done): its folder is fenced and recovered, and others lead what it led. done(None), or why not."""


class Worker:
    """One node id and its process, if it has one."""

    def __init__(self, node_id: int, setup: Mapping[str, object]) -> None:
        """setup: what its process is told first (worker.py)."""
        self.node_id = node_id
        self.setup = setup
        self.state: State = "starting"
        self.child: Child | None = None
        self.bound: dict[str, tuple[str, int]] = {}
        self.metrics_port = -1
        self.is_buried = False
        self.is_clean = False
        self.silent_looks = 0
        """How often it was looked at since it said anything."""
        self.crashes_ms: list[int] = []
        self.serving_since_ms = 0
        self.down_since_ms = 0
        self.tries = 0
        self.heard_ms = 0
        self.ends = 0
        """W9."""
        self.refusal = ""
        self.reason = ""
        """Why it ended last."""
        self.timer: Timer | None = None

    def take(self, event: Event) -> None:
        """What it says of itself as it begins to serve."""
        self.bound = {name: (str(host), int(port)) for name, (host, port) in event["bound"].items()}
        self.metrics_port = int(event["metrics_port"])

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Supervisor:
    """`start`, then `stop`. All calls on its loop."""

    def __init__(
        self,
        clock: Clock,
        waits: Waits,
        processes: Processes,
        take_over: TakeOver,
        setups: Mapping[int, Mapping[str, object]],
        options: BrokerOptions,
        log: Log,
        on_hopeless: Callable[[str], None],
    ) -> None:
        """on_hopeless(why): W9. No process is left, and none will be started; `stop` ends it as ever."""
        self.workers = {node_id: Worker(node_id, setup) for node_id, setup in setups.items()}
        self._clock = clock
        self._waits = waits
        self._processes = processes
        self._take_over = take_over
        self._restart_ms = options.get_int("barnabas.workers.restart.ms")
        self._heartbeat_ms = heartbeat_ms(options)
        self._looks_max = max(options.get_int("broker.session.timeout.ms") // self._heartbeat_ms, LOOKS_MIN)
        self._starting_looks_max = max(STARTING_SILENT_MS // self._heartbeat_ms, self._looks_max)
        self._log = log
        self._on_hopeless = on_hopeless
        self._counting_from_ms = 0
        self._no_hope = False
        self._graves: list[Worker] = []
        self._burying: Worker | None = None
        self._burying_since_ms = 0
        self._burying_timer: Timer | None = None
        self._on_started: Callable[[StartFailed | None], None] | None = None
        self._on_stopped: Callable[[bool], None] | None = None
        self._kill_timer: Timer | None = None

    # -- start and stop

    def start(self, done: Callable[[StartFailed | None], None]) -> None:
        """done(None) when all serve. W6."""
        self._on_started = done
        for worker in self.workers.values():
            self._launch(worker)
        self._waits.call_after(self._heartbeat_ms, self._look)

    def stop(self, done: Callable[[bool], None]) -> None:
        """done(clean) when no process is left. W7. Never inside this call."""
        if self._on_stopped is not None:
            return
        self._on_stopped = done
        self._graves.clear()
        for worker in self.workers.values():
            worker.cancel()
            if worker.child is not None:
                worker.child.close_input()
            elif worker is not self._burying:
                self._end(worker, worker.is_buried)
        self._kill_timer = self._waits.call_after(STOP_MS, self._kill_late)
        self._waits.call_after(0, self._finish)

    def kill(self) -> None:
        """All processes, now."""
        for worker in self.workers.values():
            if worker.child is not None:
                worker.child.kill()

    def _kill_late(self) -> None:
        if any(worker.child is not None for worker in self.workers.values()):
            self._log.error("workers did not stop in time and are killed", after_ms=STOP_MS)
            self.kill()

    def _end(self, worker: Worker, clean: bool) -> None:
        worker.state = "ended"
        worker.is_clean = clean

    def _finish(self) -> None:
        if self._on_stopped is None or any(worker.state != "ended" for worker in self.workers.values()):
            return
        if self._kill_timer is not None:
            self._kill_timer.cancel()
            self._kill_timer = None
            self._on_stopped(all(worker.is_clean for worker in self.workers.values()))

    # -- one process

    def _launch(self, worker: Worker, ready_ms: int | None = None) -> None:
        """W1. ready_ms: when it must be ready; None: no matter when."""
        assert worker.child is None and worker is not self._burying
        worker.cancel()
        worker.state = "starting"
        worker.silent_looks = 0
        worker.refusal = ""
        worker.is_clean = worker.is_buried = False
        try:
            worker.child = self._processes.start(
                ARGUMENTS,
                json.dumps({**worker.setup, "peers": list(self.workers) if self._on_started else []}),
                partial(self._heard, worker),
                partial(self._ended, worker),
            )
        except WorldError as error:
            worker.refusal = error.what
            worker.timer = self._waits.call_after(AGAIN_MS, lambda: self._ended(worker, -1, ""))
            return
        if ready_ms is not None:
            worker.timer = self._waits.call_at(ready_ms, lambda: self._late(worker))

    def _heard(self, worker: Worker, event: Event) -> None:
        worker.silent_looks = 0
        worker.heard_ms = self._clock.mono_ms()
        kind = event.get("event")
        if kind == "ready" and worker.state == "starting":
            self._ready(worker, event)
        elif kind == "refused":
            worker.refusal = str(event["reason"])
        elif kind == "stopped":
            worker.is_clean = bool(event["clean"])

    def _ready(self, worker: Worker, event: Event) -> None:
        worker.cancel()
        worker.take(event)
        worker.state = "serving"
        worker.serving_since_ms = self._clock.mono_ms()
        self._no_hope = False
        if self._on_started is not None:
            if all(each.state == "serving" for each in self.workers.values()):
                done, self._on_started = self._on_started, None
                done(None)
            return
        self._log.info("a worker serves again", worker=worker.node_id)
        for other in self.workers.values():
            if other.state == "waiting" and not other.is_buried:
                other.tries = 0
                self._bury(other)  # now there is somebody to take over
            elif other.state == "waiting" and other.timer is None:
                self._wait(other, RETURNS_MS)  # W9: there was no hope for it

    def _ended(self, worker: Worker, status: int, words: str) -> None:
        worker.child = None
        worker.cancel()
        worker.reason = reason = worker.refusal or told_status(status, words)
        if self._on_stopped is not None:
            self._end(worker, worker.is_clean and status == 0)
            self._finish()
        elif self._on_started is not None:
            self._give_up(f"worker {worker.node_id}: {reason}")
        else:
            self._count_end(worker)
            if worker.state == "burying":
                self._bury(worker)  # killed, for it was late
            else:
                self._log.warning("a worker ended", worker=worker.node_id, reason=reason)
                self._died(worker)

    def _give_up(self, text: str) -> None:
        """W6."""
        done, self._on_started = self._on_started, None
        assert done is not None
        self.stop(lambda _: done(StartFailed(text)))

    # -- W8

    def _look(self) -> None:
        if self._on_stopped is not None:
            return
        self._waits.call_after(self._heartbeat_ms, self._look)
        for worker in self.workers.values():
            if worker.child is not None and worker.state in ("starting", "serving"):
                worker.silent_looks += 1
                is_starting = worker.state == "starting"
                looks_max = self._starting_looks_max if is_starting else self._looks_max
                if worker.silent_looks > looks_max:
                    self._end_silent(worker, worker.child, looks_max * self._heartbeat_ms)

    def _end_silent(self, worker: Worker, child: Child, silent_ms: int) -> None:
        worker.silent_looks = 0
        if worker.state == "starting":
            worker.refusal = (
                f"it hung while it started and was killed: for {silent_ms // 1000} s its process did next to nothing "
                "(does the disk of the data folder answer?)"
            )
            text = "a worker hangs while it starts and is killed"
        else:
            worker.refusal = f"it hung and was killed: nothing was heard of it for {silent_ms // 1000} s"
            text = "a worker hangs and is killed"
        self._log.error(text, worker=worker.node_id, silent_ms=silent_ms)
        child.kill()

    # -- W3

    def _died(self, worker: Worker) -> None:
        now_ms = self._clock.mono_ms()
        has_proven = self._has_proven(worker)
        if worker.state == "serving":
            worker.down_since_ms = now_ms
            if now_ms - worker.serving_since_ms >= CRASHES_MS:
                worker.tries = 0
        worker.crashes_ms = [at for at in worker.crashes_ms if now_ms - at < CRASHES_MS] + [now_ms]
        has_others = self._has_others(worker)
        # Alone, what was waited for once is waited for longer and longer: the waits soon pass a minute together.
        too_often = len(worker.crashes_ms) >= CRASHES_MAX or (
            worker.tries > 0 and not has_others and not has_proven
        )
        if self._no_hope:
            self._wait_for(worker, AGAIN_MS)
        elif not too_often and now_ms < worker.down_since_ms + self._restart_ms:
            self._launch(worker, worker.down_since_ms + self._restart_ms)
        elif has_others:
            self._bury(worker)
        else:
            self._hasten_buried()
            if too_often:
                self._wait(worker, ALONE_MS)
            else:
                self._launch(worker, now_ms + AGAIN_MS)

    def _late(self, worker: Worker) -> None:
        worker.timer = None
        if self._has_others(worker) and worker.child is not None:
            self._log.warning("a worker does not come back in time", worker=worker.node_id)
            worker.state = "burying"
            worker.child.kill()
        else:
            worker.timer = self._waits.call_after(AGAIN_MS, lambda: self._late(worker))

    def _has_others(self, worker: Worker) -> bool:
        return any(other.state == "serving" for other in self.workers.values() if other is not worker)

    def _wait(self, worker: Worker, delays_ms: tuple[int, ...]) -> None:
        delay_ms = delays_ms[min(worker.tries, len(delays_ms) - 1)]
        worker.tries += 1
        self._wait_for(worker, delay_ms)

    def _wait_for(self, worker: Worker, delay_ms: int) -> None:
        worker.cancel()
        worker.state = "waiting"
        if self._no_hope:
            self._end_if_all_have()
        else:
            worker.timer = self._waits.call_after(delay_ms, lambda: self._return(worker))

    def _return(self, worker: Worker) -> None:
        worker.timer = None
        if self._no_hope:
            return
        worker.down_since_ms = self._clock.mono_ms()
        self._log.info("a worker is started again", worker=worker.node_id)
        self._launch(worker, worker.down_since_ms + RETURN_READY_MS)

    # -- W9

    def _count_end(self, worker: Worker) -> None:
        now_ms = self._clock.mono_ms()
        workers = self.workers.values()
        if self._has_proven(worker):
            for each in workers:
                each.ends = 0
        if not any(each.ends for each in workers):
            self._counting_from_ms = now_ms
        worker.ends += 1
        self._no_hope = (
            not self._has_others(worker)
            and all(each.ends >= ENDS_MAX for each in workers)
            and now_ms - self._counting_from_ms >= HOPELESS_MS
        )

    def _has_proven(self, worker: Worker) -> bool:
        return worker.state == "serving" and worker.heard_ms - worker.serving_since_ms >= PROVEN_MS

    def _hasten_buried(self) -> None:
        """Their long waits were for a whole that serves."""
        soon_ms = self._clock.mono_ms() + ALONE_MS[0]
        for worker in self.workers.values():
            if worker.is_buried and worker.timer is not None and worker.timer.deadline_ms > soon_ms:
                worker.tries = 0
                self._wait(worker, ALONE_MS)

    def _end_if_all_have(self) -> None:
        if all(worker.state == "waiting" for worker in self.workers.values()):
            for worker in self.workers.values():
                worker.cancel()
            self._on_hopeless(self._told_reasons())

    def _told_reasons(self) -> str:
        by_reason: dict[str, list[str]] = {}
        for worker in self.workers.values():
            by_reason.setdefault(worker.reason, []).append(str(worker.node_id))
        reasons = " ".join(
            f"Worker{'s' * (len(nodes) > 1)} {', '.join(nodes)}: {reason.rstrip('.')}."
            for reason, nodes in by_reason.items()
        )
        return (
            f"no worker comes up: for {HOPELESS_MS // 60_000} minutes none has served for {PROVEN_MS // 1000} s, and each has "
            f"ended {ENDS_MAX} times or more. {reasons} {REMEDY}"
        )

    # -- W2

    def _bury(self, worker: Worker) -> None:
        worker.cancel()
        worker.state = "burying"
        self._graves.append(worker)
        self._next_burial()

    def _next_burial(self) -> None:
        if self._burying is not None or not self._graves:
            return
        worker = self._graves.pop(0)
        if not self._has_others(worker):
            self._start_again(worker)
            self._next_burial()
            return
        self._burying = worker
        self._log.warning("the others take over from a worker", worker=worker.node_id)
        self._burying_since_ms = self._clock.mono_ms()
        self._burying_timer = self._waits.call_after(BURYING_TOLD_MS, self._still_burying)
        self._take_over(worker.node_id, lambda error: self._buried(worker, error))

    def _still_burying(self) -> None:
        assert self._burying is not None
        for_ms = self._clock.mono_ms() - self._burying_since_ms
        self._log.warning(STILL_BURYING, worker=self._burying.node_id, for_ms=for_ms)
        self._burying_timer = self._waits.call_after(BURYING_TOLD_MS, self._still_burying)

    def _buried(self, worker: Worker, error: WorldError | None) -> None:
        self._burying = None
        if self._burying_timer is not None:
            self._burying_timer.cancel()
        worker.is_buried = error is None
        if self._on_stopped is not None:
            self._end(worker, worker.is_buried)
            self._finish()
            return
        if error is None:
            self._log.info("a worker's partitions have been taken over", worker=worker.node_id)
            self._wait(worker, RETURNS_MS)
        else:
            self._log.error(
                "a worker's partitions could not be taken over", worker=worker.node_id, reason=error.what
            )
            self._start_again(worker)
        self._next_burial()

    def _start_again(self, worker: Worker) -> None:
        """W5."""
        self._wait_for(worker, AGAIN_MS)


def heartbeat_ms(options: BrokerOptions) -> int:
    """Between two words of a worker that serves."""
    return max(options.get_int("broker.heartbeat.interval.ms"), HEARTBEAT_MS_MIN)


def told_status(status: int, words: str) -> str:
    """words: the last of its error output from before it could say anything else."""
    told = f"it was killed by signal {-status}" if status < 0 else f"it ended with exit code {status}"
    if status == KILLED:
        told += ", as by hand or for lack of memory"
    return f"{told}: {words}" if words else told
