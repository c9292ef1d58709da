"""`with barnabas.Cluster(brokers=3) as cluster:` — several real brokers for a test, each a process, under this process.

The brokers are the workers of `serve --workers` (running_workers.py) with ports that are free. Without `data` they work in a
temporary folder that goes at the end, and nothing waits for the disk. Not fork-safe, as Broker() is not.
"""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple, Self, TypeVar

from barnabas.adapters.loop import new_event_loop
from barnabas.embedded import DEFAULTS, BrokerError, bracketed, checked, creatable, option_text
from barnabas.node import StartFailed
from barnabas.running_workers import RunningWorkers
from barnabas.telemetry import silent

Result = TypeVar("Result")
TEMPORARY: Final[Mapping[str, str]] = {**DEFAULTS, "barnabas.durability": "cache"}
CHECK_S: Final = 0.005
CALL_TIMEOUT_S: Final = 60.0


class ClusterBroker(NamedTuple):
    """One broker that serves: where clients reach it (host:port), and its process."""

    address: str
    pid: int


class Cluster:
    """Brokers in processes of their own. Use it in a `with` or an `async with`; they serve from entering to leaving."""

    def __init__(
        self,
        brokers: int = 3,
        data: str | os.PathLike[str] | None = None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        config: Mapping[str, object] | None = None,
        topics: Mapping[str, int] | None = None,
    ) -> None:
        """config: broker options by name, the same for all. topics: name → partitions, made before entering returns unless
        they are there.

        Raises BrokerError on entering when an option has a value it does not take, the port is taken, the folder is in
        use or a topic cannot be made. An option that nobody knows gets a UserWarning.
        """
        self._data = None if data is None else os.fspath(data)
        self._static = {
            "listeners": f"PLAINTEXT://{bracketed(host)}:{port}",
            "barnabas.workers": str(brokers),
            "barnabas.workers.port": "0",
        }
        self._static.update({name: option_text(value) for name, value in (config or {}).items()})
        self._topics = dict(topics or {})
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._running: RunningWorkers | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- life

    def start(self) -> Self:
        if self._thread is not None:
            raise BrokerError("this cluster runs already")
        loaded = checked(self._static)
        folder = self._data
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="barnabas-", ignore_cleanup_errors=True)
            folder = self._temporary.name
        defaults = TEMPORARY if self._data is None else DEFAULTS
        self._loop = loop = new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="barnabas-cluster", daemon=True)
        self._thread.start()
        running = RunningWorkers(loop, folder, loaded.values, defaults, silent, log_form=None)
        starting = asyncio.run_coroutine_threadsafe(running.started(), loop)
        try:
            starting.result()
        except StartFailed as error:
            self._end()
            raise BrokerError(str(error)) from error
        except BaseException:  # Ctrl-C while it starts
            starting.cancel()
            self._await(running.stopped(), timeout=None)
            self._end()
            raise
        self._running = running
        try:
            for name, partitions in self._topics.items():
                if name not in running.cluster.image.topics:
                    self.create_topic(name, partitions)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """No process is left when it returns; with data, everything is on disk."""
        running, self._running = self._running, None
        if running is not None:
            self._await(running.stopped(), timeout=None)
            self._end()

    def _end(self) -> None:
        assert self._loop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None
        self._loop.close()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> "AsyncCluster":
        await asyncio.to_thread(self.start)
        return AsyncCluster(self)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    # -- what a test wants

    @property
    def bootstrap(self) -> str:
        """Where clients connect first, host:port: any of the brokers answers there."""
        host, port = next(iter(self._workers.bound.values()))
        return f"{bracketed(host)}:{port}"

    @property
    def brokers(self) -> dict[int, ClusterBroker]:
        """The brokers that serve now, by node id."""
        found = {}
        for worker in self._workers.supervisor.workers.values():
            child = worker.child
            if worker.state == "serving" and child is not None:
                host, port = next(iter(worker.bound.values()))
                found[worker.node_id] = ClusterBroker(f"{bracketed(host)}:{port}", child.pid)
        return found

    def leader(self, topic: str, partition: int) -> int:
        """Node id of the broker that leads it. Raises BrokerError for a topic or partition that is not there."""
        image = self._await(self._workers.fresh_image())
        found = image.topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            raise BrokerError(f"there is no partition {partition} of {topic}")
        return found.partitions[partition].leader

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, object] | None = None
    ) -> None:
        """Made and served by all when it returns. Raises BrokerError as CreateTopics would refuse."""
        (result,) = self._await(self._workers.create_topics([creatable(name, partitions, config)]))
        if result.code:
            raise BrokerError(result.message or f"error {result.code}")

    def kill(self, node_id: int) -> None:
        """SIGKILL; its process has ended when this returns. It is started again at once, as after any crash."""
        workers = self._workers.supervisor.workers
        if node_id not in workers:
            raise BrokerError(f"there is no broker {node_id}: there are {', '.join(map(str, workers))}")
        self._await(self._killed(node_id))

    async def _killed(self, node_id: int) -> None:
        worker = self._workers.supervisor.workers[node_id]
        child = worker.child
        if child is not None:
            child.kill()
            while worker.child is child:
                await asyncio.sleep(CHECK_S)

    def wait_until(self, reached: Callable[["Cluster"], bool], timeout: float = 30.0) -> None:
        """Until reached(cluster) holds, such as `lambda cluster: len(cluster.brokers) == 3`. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not reached(self):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not reached within {timeout} s; these brokers serve: {self.brokers}")
            time.sleep(CHECK_S)

    # -- inside

    @property
    def _workers(self) -> RunningWorkers:
        if self._running is None:
            raise BrokerError("the cluster does not run: use it inside its with block")
        if self._running.failure is not None:
            raise BrokerError(str(self._running.failure))
        return self._running

    def _await(self, work: Coroutine[Any, Any, Result], timeout: float | None = CALL_TIMEOUT_S) -> Result:
        """On the cluster's thread; what it gives comes back here."""
        assert self._loop is not None
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(timeout)
        except TimeoutError:
            asked.cancel()
            raise BrokerError(f"the cluster did not answer within {timeout} s") from None


class AsyncCluster:
    """What `async with Cluster() as cluster` gives: the same calls, which leave the caller's loop free while they wait."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def bootstrap(self) -> str:
        """Where clients connect first, host:port: any of the brokers answers there."""
        return self._cluster.bootstrap

    @property
    def brokers(self) -> dict[int, ClusterBroker]:
        """The brokers that serve now, by node id."""
        return self._cluster.brokers

    async def leader(self, topic: str, partition: int) -> int:
        return await asyncio.to_thread(self._cluster.leader, topic, partition)

    async def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, object] | None = None
    ) -> None:
        await asyncio.to_thread(self._cluster.create_topic, name, partitions, config)

    async def kill(self, node_id: int) -> None:
        await asyncio.to_thread(self._cluster.kill, node_id)

    async def wait_until(self, reached: Callable[[Cluster], bool], timeout: float = 30.0) -> None:
        """reached is called in another thread."""
        await asyncio.to_thread(self._cluster.wait_until, reached, timeout)
