"""A broker in a process of its own, and what it costs: CPU, memory, time to start and to stop."""

import collections
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

from barnabas.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest
from barnabas.wire.messages.delete_topics import DeleteTopicsRequest
from barnabas.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from barnabas.wire.messages.metadata import MetadataRequest, MetadataRequestTopic

from . import processes, requests

START_S = STOP_S = 300.0
DELETE_DELAY_MS = 1000
"""log.segment.delete.delay.ms of all contenders, whose default is a minute: files go before the next line is measured."""
DELETED_S = 120.0
DELETED_POLL_S = 0.05
POLL_S = 0.002
KEPT_LINES = 30
LAST_WORDS_S = 2.0
PAGE_S = 30.0
COMPILED_PYTHON = Path(".venv-compiled/bin/python")


class BrokerFailed(Exception):
    """It did not start, or refused what the bench needs."""


class Running(ABC):
    """started_ms: from the start of the process to its first answer to Metadata. stopped_ms: from SIGTERM to its end."""

    process: "subprocess.Popen[str]"
    port: int
    workers = 1
    started_ms = stopped_ms = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pids(self) -> tuple[int, ...]:
        """With its workers."""
        return processes.with_descendants(self.pid)

    def cpu_us(self) -> float:
        return processes.cpu_us(self.pids)

    def resident_bytes(self) -> int:
        return sum(processes.resident_bytes(pid) for pid in self.pids)

    @abstractmethod
    def last_words(self) -> str:
        """The end of what it wrote."""

    def metrics_pages(self) -> list[str]:
        """Of each of its processes, in Prometheus' text format; none for a broker without such a page."""
        return []

    @abstractmethod
    def data_folder(self) -> Path:
        """Which holds a folder for each partition."""

    def how_it_ended(self) -> str:
        """Empty while it runs."""
        status = self.process.poll()
        return "" if status is None else f"the broker ended with status {status}: {self.last_words()}"

    def wait_until_it_answers(self, begun: float) -> None:
        try:
            self._wait_for_an_answer(begun)
        except BaseException:  # also Ctrl-C: nobody else knows of the process yet
            self.interrupt()
            raise
        self.started_ms = (time.perf_counter() - begun) * 1000

    def _wait_for_an_answer(self, begun: float) -> None:
        question = MetadataRequest([], False)
        while True:
            try:
                if requests.ask(self.port, requests.METADATA, question, START_S).brokers:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise BrokerFailed(f"at its start {self.how_it_ended()}")
            if time.perf_counter() - begun > START_S:
                raise BrokerFailed(f"{type(self).__name__} did not answer in {START_S:.0f} s")
            time.sleep(POLL_S)

    def create(self, names: list[str], partitions: int) -> None:
        """Returns when all of them serve."""
        self.create_with_leaders(names, partitions)
        self.wait_until_served(names, partitions)

    def wait_until_served(self, names: list[str], partitions: int) -> None:
        """Metadata may name a leader a moment before that leader knows of it."""
        questions: dict[int, ListOffsetsRequest] = {}
        for name, ports in self.leaders(names).items():
            for port in set(ports):
                led = [number for number in range(partitions) if ports[number] == port]
                topic = ListOffsetsTopic(name, [ListOffsetsPartition(each, timestamp=-1) for each in led])
                questions.setdefault(port, ListOffsetsRequest(topics=[])).topics.append(topic)
        for port, question in questions.items():
            _wait_until_answered(port, question)

    def leaders(self, names: list[str]) -> dict[str, list[int]]:
        """The ports of the leaders, by topic and number of the partition."""
        question = MetadataRequest([MetadataRequestTopic(name=name) for name in names], False)
        return requests.ports_of_leaders(requests.ask(self.port, requests.METADATA, question))

    def ports_of(self, topic: str) -> list[int]:
        """Of the leaders of its partitions. Raises AssertionError when some worker leads none: it would only look on."""
        ports = self.leaders([topic])[topic]
        assert len(set(ports)) == self.workers, f"{len(set(ports))} of {self.workers} workers lead partitions"
        return ports

    def create_with_leaders(self, names: list[str], partitions: int) -> None:
        """Returns when Metadata names a leader for all of them; nothing has asked their logs for anything."""
        message = CreateTopicsRequest([CreatableTopic(name, partitions, 1) for name in names], 60_000, False)
        answer = requests.ask(self.port, requests.CREATE_TOPICS, message)
        bad = [topic.error_message or topic.error_code for topic in answer.topics if topic.error_code]
        if bad:
            raise BrokerFailed(f"{type(self).__name__} makes no topic: {bad[0]}")
        self.wait_for_leaders(names, partitions)

    def wait_for_leaders(self, names: list[str], partitions: int) -> None:
        question = MetadataRequest([MetadataRequestTopic(name=name) for name in names], False)
        wanted = len(names) * partitions
        while True:
            asked_at = time.perf_counter()
            answer = requests.ask(self.port, requests.METADATA, question)
            led = [part for topic in answer.topics for part in topic.partitions if part.error_code == 0]
            if len(led) == wanted:
                return
            # An answer about 10,000 partitions costs the broker more than the pause: its start is measured, not our asking.
            time.sleep(max(POLL_S, time.perf_counter() - asked_at))

    def delete(self, names: list[str]) -> None:
        """Returns when their files are gone, too."""
        requests.ask(
            self.port, requests.DELETE_TOPICS, DeleteTopicsRequest(topic_names=names, timeout_ms=60_000)
        )
        topics = tuple(f"{name}-" for name in names)
        end = time.monotonic() + DELETED_S
        while any(name.startswith(topics) for name in os.listdir(self.data_folder())):
            if time.monotonic() > end:
                raise BrokerFailed(f"{type(self).__name__} keeps the files of a deleted topic")
            time.sleep(DELETED_POLL_S)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """SIGKILL follows when it does not end."""
        begun = time.perf_counter()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stopped_ms = (time.perf_counter() - begun) * 1000

    def stand_still(self) -> None:
        """It and its workers, in the middle of whatever they do, until they are told to go on."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        if self.process.poll() is None:  # else its pid may be somebody else's
            for pid in self.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def interrupt(self) -> None:
        """For the end of an interrupted run: it has little time to end as it likes."""
        self.go_on()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _wait_until_answered(port: int, question: ListOffsetsRequest) -> None:
    while True:
        answer = requests.ask(port, requests.LIST_OFFSETS, question)
        if not any(part.error_code for topic in answer.topics for part in topic.partitions):
            return
        time.sleep(POLL_S)


class RunningBroker(Running):
    """`barnabas serve` on a free port. python: the interpreter, by default that of the bench."""

    def __init__(self, folder: Path, durability: str, python: Path | None = None, workers: int = 1) -> None:
        self.folder = folder
        self.workers = workers
        self._reader: threading.Thread | None = None
        self._words: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        if python is not None:  # its barnabas is installed, not that of a checkout
            environment.pop("PYTHONPATH", None)
        begun = time.perf_counter()
        command = [str(python or sys.executable), "-m", "barnabas.cli.main", "serve", "--port", "0"]
        command += ["--data", str(folder), "--set", f"barnabas.durability={durability}"]
        command += ["--set", "barnabas.metrics.port=0", "--set", "group.initial.rebalance.delay.ms=0"]
        command += ["--set", f"log.segment.delete.delay.ms={DELETE_DELAY_MS}"]
        command += ["--workers", str(workers), "--set", "barnabas.workers.port=0"] if workers > 1 else []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self._words.append(text)
            found = re.search(r"listeners=PLAINTEXT://127\.0\.0\.1:(\d+).* metrics=(?P<metrics>[\d,]+)", text)
            if found:
                break
        else:
            raise BrokerFailed("the broker did not start: " + self.last_words())
        self.port = int(found[1])
        self._metrics_ports = [int(port) for port in found["metrics"].split(",")]
        self._reader = threading.Thread(target=self._words.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        self.wait_until_it_answers(begun)

    def data_folder(self) -> Path:
        return self.folder

    def metrics_pages(self) -> list[str]:
        pages = []
        for port in self._metrics_ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PAGE_S) as answer:
                pages.append(answer.read().decode())
        return pages

    def last_words(self) -> str:
        if self.process.poll() is not None and self._reader is not None:
            self._reader.join(LAST_WORDS_S)
        return "".join(self._words).strip()


def compiled_python() -> Path | None:
    """The interpreter of the environment that holds the compiled wheel (`make compiled`), if it is there.

    Raises SystemExit when the wheel was made from other sources than those of the checkout.
    """
    if not COMPILED_PYTHON.exists():
        return None
    question = "import barnabas.records.record as module; print(module.__file__)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [COMPILED_PYTHON.absolute(), "-c", question],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    module = Path(done.stdout.strip())
    if module.suffix != ".so":
        return None
    installed, sources = module.parent.parent, Path("src/barnabas")
    for source in sources.rglob("*.py"):
        copy = installed / source.relative_to(sources)
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            raise SystemExit(
                f"the compiled wheel has another {source.relative_to('src')}: make compiled, or --pure"
            )
    return COMPILED_PYTHON.absolute()
