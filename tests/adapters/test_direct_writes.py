"""Writes of a ring that no thread waits for: by the kernel itself, and by one whose answers are scripted."""

import asyncio
import errno
import gc
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barnabas.adapters.direct_writes import (
    BY_THREAD_AFTER_SLOW,
    IOCB,
    IOCB_CMD_PWRITE,
    IOCB_FLAG_RESFD,
    NOT_SUPPORTED,
    SLOW_NS,
    VAIN_IN_A_ROW,
    Aio,
    Chunks,
    DirectWrites,
    Kernel,
)
from barnabas.adapters.files import QUICK_WRITES, RING_WRITE_BYTES, OsFiles, OsRing
from barnabas.adapters.loop import AsyncLoop, new_event_loop
from barnabas.ports import Done, WorldError
from direct_probe import BLOCK_BYTES, open_ring_or_skip, skip_without_direct_writes
from real_loop import turn_until

RING_BYTES = 4 * RING_WRITE_BYTES
Answer = tuple[object | None, BaseException | None]


class ScriptedKernel:
    """Writes nothing. refusals: of submit, one each; result: of the writes that it took."""

    def __init__(self) -> None:
        self.eventfd = -1
        self.made = 0
        self.asked = 0
        self.refusals: list[int] = []
        self.results: list[int] = []
        self.taken: list[tuple[int, int, int]] = []
        self.is_closed = False

    def open(self, eventfd: int) -> Kernel:
        self.eventfd = eventfd
        self.made += 1
        return self

    def submit(self, fd: int, address: int, size: int, position: int) -> int:
        self.asked += 1
        refused = self.refusals.pop(0) if self.refusals else 0
        if not refused:
            self.taken.append((fd, size, position))
        return refused

    def end(self, result: int) -> None:
        """The write under way."""
        self.results.append(result)
        os.eventfd_write(self.eventfd, 1)

    def result(self) -> int:
        return self.results.pop(0)

    def close(self) -> None:
        self.is_closed = True


class Bench:
    """A loop whose thread is played: it writes at once and answers in the loop's next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: OsRing, new_kernel: Callable[[int], Kernel]):
        self.loop = loop
        self.ring = ring
        self.by_thread: list[int] = []
        self.answers: list[Answer] = []
        self.now_ns = 0
        self.direct = DirectWrites(loop, self._write_by_thread, new_kernel, lambda: self.now_ns)

    def _write_by_thread(self, ring: OsRing, position: int, chunks: Chunks, done: Done) -> None:
        self.by_thread.append(position)
        try:
            self.loop.call_soon(done, ring.write(position, chunks), None)
        except WorldError as error:
            self.loop.call_soon(done, None, error)

    def begin(self, position: int, content: bytes) -> None:
        self.direct.write(self.ring, position, [content], lambda *answer: self.answers.append(answer))

    def until_answers(self, count: int) -> None:
        turn_until(self.loop, lambda: len(self.answers) >= count)

    def write(self, position: int, content: bytes) -> Answer:
        count = len(self.answers)
        self.begin(position, content)
        assert len(self.answers) == count, "it was answered within the call"
        self.until_answers(count + 1)
        return self.answers[-1]

    def content(self, position: int, size: int) -> bytes:
        return OsFiles().open(self.ring.path).read(position, size)


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def ring(tmp_path: Path) -> OsRing:
    return open_ring_or_skip(f"{tmp_path}/ring", RING_BYTES)


@pytest.fixture
def bench(loop: asyncio.AbstractEventLoop, ring: OsRing) -> Iterator[Bench]:
    """With the kernel of this machine."""
    skip_without_direct_writes(ring)
    made = Bench(loop, ring, Aio)
    yield made
    made.direct.close()


@pytest.fixture
def kernel() -> ScriptedKernel:
    return ScriptedKernel()


@pytest.fixture
def scripted(loop: asyncio.AbstractEventLoop, ring: OsRing, kernel: ScriptedKernel) -> Iterator[Bench]:
    made = Bench(loop, ring, kernel.open)
    yield made
    made.direct.close()


# -- by the kernel of this machine


def test_writes_of_all_sizes_are_where_they_belong(bench: Bench) -> None:
    at = 0
    sizes = (BLOCK_BYTES, 64 * 1024, RING_WRITE_BYTES, 2 * RING_WRITE_BYTES, 2 * BLOCK_BYTES)
    whole = b""
    for number, size in enumerate(sizes):
        content = bytes(range(256)) * (size // 512) + bytes([number]) * (size // 2)
        assert bench.write(at, content) == (size, None)
        at += size
        whole += content
    assert bench.content(0, at) == whole


def test_a_new_ring_is_written_without_a_thread(bench: Bench) -> None:
    """What made it leaves it in the page cache, and a write that had to throw that out would wait. A busy disk may make one wait."""
    for at in range(RING_WRITE_BYTES, RING_BYTES, RING_WRITE_BYTES):
        assert bench.write(at, bytes(BLOCK_BYTES)) == (BLOCK_BYTES, None)
    assert len(bench.by_thread) <= 1


def test_what_the_kernel_is_asked_for_is_durable_and_does_not_wait() -> None:
    eventfd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        aio = Aio(eventfd)
    except OSError as error:
        pytest.skip(f"no io_setup here: {error}")
    assert aio.submit(-1, 1 << 40, 8192, 1 << 35) == errno.EBADF
    aio.close()
    os.close(eventfd)
    _, _, flags, command, _, fd, address, size, position, _, tells, told = IOCB.unpack(aio._iocb.raw)
    assert IOCB.size == 64
    assert (flags, command, tells, told) == (
        os.RWF_DSYNC | os.RWF_NOWAIT,
        IOCB_CMD_PWRITE,
        IOCB_FLAG_RESFD,
        eventfd,
    )
    assert (fd, address, size, position) == (-1, 1 << 40, 8192, 1 << 35)


def test_what_the_system_refuses_is_told_as_it_is(bench: Bench) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    bench.write(0, bytes(BLOCK_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK_BYTES, before[1]))
    try:
        result, error = bench.write(BLOCK_BYTES, bytes(BLOCK_BYTES))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result is None and isinstance(error, WorldError)
    assert error.errno == errno.EFBIG and bench.ring.path in error.what
    assert BLOCK_BYTES not in bench.by_thread
    assert bench.write(BLOCK_BYTES, b"x" * BLOCK_BYTES) == (BLOCK_BYTES, None)


def test_a_ring_that_is_let_go_of_is_written_all_the_same(bench: Bench, tmp_path: Path) -> None:
    path, content = bench.ring.path, os.urandom(16 * BLOCK_BYTES)
    bench.begin(BLOCK_BYTES, content)
    bench.ring.close()
    del bench.ring
    gc.collect()
    others = [OsFiles().open(f"{tmp_path}/{name}", create=True) for name in "abc"]
    bench.until_answers(1)
    if not bench.by_thread:  # a thread would find it closed
        assert bench.answers == [(len(content), None)]
        assert OsFiles().open(path).read(BLOCK_BYTES, len(content)) == content
    assert [other.size() for other in others] == [0, 0, 0]


def test_close_waits_for_the_kernel_and_hands_out_its_answer(bench: Bench) -> None:
    content = os.urandom(16 * BLOCK_BYTES)
    bench.begin(0, content)
    bench.direct.close()
    if not bench.by_thread:  # whose answer the loop has still to hand out
        assert bench.answers == [(len(content), None)]
    assert bench.content(0, len(content)) == content


# -- by one whose answers are scripted


@pytest.mark.parametrize("result", [-errno.EAGAIN, 0, BLOCK_BYTES])
def test_what_would_wait_or_was_cut_short_is_written_by_a_thread(
    scripted: Bench, kernel: ScriptedKernel, result: int
) -> None:
    content = b"x" * 2 * BLOCK_BYTES
    for at in (0, 2 * BLOCK_BYTES):
        scripted.begin(at, content)
        kernel.end(result)
        scripted.until_answers(1 if at == 0 else 2)
    assert scripted.by_thread == [0, 2 * BLOCK_BYTES]
    assert scripted.answers == [(len(content), None)] * 2
    assert scripted.content(0, 2 * len(content)) == 2 * content


@pytest.mark.parametrize("number", NOT_SUPPORTED)
@pytest.mark.parametrize("how", ["submit", "result"])
def test_a_system_without_it_is_not_asked_again(
    scripted: Bench, kernel: ScriptedKernel, how: str, number: int
) -> None:
    if how == "submit":
        kernel.refusals = [number]
    scripted.begin(0, b"x" * BLOCK_BYTES)
    if how == "result":
        kernel.end(-number)
    scripted.until_answers(1)
    taken = len(kernel.taken)
    scripted.write(BLOCK_BYTES, b"y" * BLOCK_BYTES)
    assert scripted.by_thread == [0, BLOCK_BYTES]
    assert len(kernel.taken) == taken
    assert scripted.content(0, 2 * BLOCK_BYTES) == b"x" * BLOCK_BYTES + b"y" * BLOCK_BYTES


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EBADF])
def test_what_the_kernel_does_not_take_this_time_goes_to_a_thread(
    scripted: Bench, kernel: ScriptedKernel, number: int
) -> None:
    kernel.refusals = [number]
    assert scripted.write(0, b"x" * BLOCK_BYTES) == (BLOCK_BYTES, None)
    assert scripted.by_thread == [0]
    scripted.begin(BLOCK_BYTES, bytes(BLOCK_BYTES))
    kernel.end(BLOCK_BYTES)
    assert kernel.taken == [(scripted.ring.fileno(), BLOCK_BYTES, BLOCK_BYTES)]


def test_an_error_of_the_disk_is_told_and_the_write_not_tried_again(
    scripted: Bench, kernel: ScriptedKernel
) -> None:
    scripted.begin(0, bytes(BLOCK_BYTES))
    kernel.end(-errno.EIO)
    scripted.until_answers(1)
    result, error = scripted.answers[0]
    assert result is None and isinstance(error, WorldError)
    assert error.errno == errno.EIO and error.what.startswith(scripted.ring.path)
    assert scripted.by_thread == []


def test_after_a_slow_write_threads_do_the_next_ones(scripted: Bench, kernel: ScriptedKernel) -> None:
    write_by_kernel(scripted, kernel, SLOW_NS - 1)
    write_by_kernel(scripted, kernel, SLOW_NS)
    assert len(kernel.taken) == 2 and scripted.by_thread == []
    for _ in range(BY_THREAD_AFTER_SLOW):
        scripted.write(0, bytes(BLOCK_BYTES))
    assert len(kernel.taken) == 2 and len(scripted.by_thread) == BY_THREAD_AFTER_SLOW
    write_by_kernel(scripted, kernel)
    assert len(kernel.taken) == 3 and len(scripted.by_thread) == BY_THREAD_AFTER_SLOW


@pytest.mark.parametrize("how", ["submit", "result"])
def test_a_file_system_that_never_writes_without_waiting_is_seldom_asked(
    scripted: Bench, kernel: ScriptedKernel, how: str
) -> None:
    for _ in range(VAIN_IN_A_ROW):
        write_in_vain(scripted, kernel, how)
    assert kernel.asked == VAIN_IN_A_ROW
    for _ in range(BY_THREAD_AFTER_SLOW):
        scripted.write(0, bytes(BLOCK_BYTES))
    assert kernel.asked == VAIN_IN_A_ROW
    write_in_vain(scripted, kernel, how)
    assert kernel.asked == VAIN_IN_A_ROW + 1
    scripted.write(0, bytes(BLOCK_BYTES))
    assert kernel.asked == VAIN_IN_A_ROW + 1


@pytest.mark.parametrize("how", ["submit", "result"])
def test_one_that_now_and_then_would_have_to_wait_is_asked_each_time(
    scripted: Bench, kernel: ScriptedKernel, how: str
) -> None:
    for _ in range(3):
        for _ in range(VAIN_IN_A_ROW - 1):
            write_in_vain(scripted, kernel, how)
        write_by_kernel(scripted, kernel)
    assert kernel.asked == 3 * VAIN_IN_A_ROW


def write_by_kernel(scripted: Bench, kernel: ScriptedKernel, takes_ns: int = 0) -> None:
    count = len(scripted.answers)
    scripted.begin(0, bytes(BLOCK_BYTES))
    scripted.now_ns += takes_ns
    kernel.end(BLOCK_BYTES)
    scripted.until_answers(count + 1)


def write_in_vain(scripted: Bench, kernel: ScriptedKernel, how: str) -> None:
    """The kernel is asked, and says that it would have to wait: a thread writes."""
    count, by_thread = len(scripted.answers), len(scripted.by_thread)
    if how == "submit":
        kernel.refusals = [errno.EAGAIN]
    scripted.begin(0, bytes(BLOCK_BYTES))
    if how == "result":
        kernel.end(-errno.EAGAIN)
    scripted.until_answers(count + 1)
    assert len(scripted.by_thread) == by_thread + 1


# -- one that does not end


def is_late(bench: Bench, position: int, content: bytes) -> None:
    """It is given to the kernel, which does not end it, and answered by a thread."""
    count = len(bench.answers)
    bench.begin(position, content)
    bench.now_ns += SLOW_NS
    bench.until_answers(count + 1)
    assert bench.by_thread[-1] == position and bench.answers[-1] == (len(content), None)


def end_late(bench: Bench, kernel: ScriptedKernel, result: int) -> None:
    kernel.end(result)
    turn_until(bench.loop, lambda: bench.direct._under_way is None)


def test_one_that_does_not_end_is_answered_by_a_thread_and_once(
    scripted: Bench, kernel: ScriptedKernel
) -> None:
    content, memory = os.urandom(BLOCK_BYTES), scripted.ring.gathered
    is_late(scripted, 0, content)
    assert len(kernel.taken) == 1 and scripted.content(0, BLOCK_BYTES) == content
    scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES))
    assert memory[:BLOCK_BYTES] == content, "the kernel may still write it"
    end_late(scripted, kernel, BLOCK_BYTES)
    for at in range(1, BY_THREAD_AFTER_SLOW):
        scripted.write(at % 2 * BLOCK_BYTES, bytes(BLOCK_BYTES))
    assert len(scripted.answers) == BY_THREAD_AFTER_SLOW + 1 == len(scripted.by_thread)
    scripted.begin(0, bytes(BLOCK_BYTES))
    kernel.end(BLOCK_BYTES)
    scripted.until_answers(BY_THREAD_AFTER_SLOW + 2)
    assert len(kernel.taken) == 2 and len(scripted.by_thread) == BY_THREAD_AFTER_SLOW + 1


def test_one_that_is_younger_than_that_is_waited_for(scripted: Bench, kernel: ScriptedKernel) -> None:
    scripted.begin(0, bytes(BLOCK_BYTES))
    scripted.now_ns += SLOW_NS - 1
    scripted.loop.run_until_complete(asyncio.sleep(3 * SLOW_NS / 1e9))
    assert scripted.by_thread == []
    kernel.end(BLOCK_BYTES)
    scripted.until_answers(1)
    assert scripted.by_thread == []


def test_one_that_has_ended_when_the_loop_looks_is_no_late_one(
    scripted: Bench, kernel: ScriptedKernel
) -> None:
    scripted.begin(0, bytes(BLOCK_BYTES))
    scripted.now_ns += SLOW_NS
    kernel.end(BLOCK_BYTES)
    scripted.direct._look()
    assert scripted.answers == [(BLOCK_BYTES, None)] and scripted.by_thread == []


@pytest.mark.parametrize("position", [0, BLOCK_BYTES, 2 * BLOCK_BYTES])
def test_nothing_is_written_where_a_late_one_may_still_write(
    scripted: Bench, kernel: ScriptedKernel, position: int
) -> None:
    is_late(scripted, BLOCK_BYTES, b"x" * 2 * BLOCK_BYTES)
    scripted.begin(position, b"y" * 2 * BLOCK_BYTES)
    scripted.loop.run_until_complete(asyncio.sleep(0.01))
    assert scripted.by_thread == [BLOCK_BYTES] and len(scripted.answers) == 1
    end_late(scripted, kernel, 2 * BLOCK_BYTES)
    scripted.until_answers(2)
    assert scripted.by_thread == [BLOCK_BYTES, position]
    assert scripted.content(position, 2 * BLOCK_BYTES) == b"y" * 2 * BLOCK_BYTES


def test_beside_a_late_one_the_loop_writes_nothing_itself(scripted: Bench, kernel: ScriptedKernel) -> None:
    is_late(scripted, 0, bytes(BLOCK_BYTES))
    scripted.ring.quick_writes = QUICK_WRITES
    scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES))
    assert not scripted.ring.is_quick()
    end_late(scripted, kernel, BLOCK_BYTES)
    scripted.ring.quick_writes = QUICK_WRITES
    scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES))
    scripted.ring.quick_writes = QUICK_WRITES
    assert scripted.ring.is_quick()


def test_nor_where_the_file_was_opened_anew(scripted: Bench, kernel: ScriptedKernel) -> None:
    """A journal that thaws: its new rounds begin where those before may still be written."""
    is_late(scripted, 0, b"x" * BLOCK_BYTES)
    scripted.ring.close()
    again = OsFiles().open_ring(scripted.ring.path, RING_BYTES)
    assert isinstance(again, OsRing)
    scripted.ring = again
    again.quick_writes = QUICK_WRITES
    scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES))
    assert not again.is_quick()
    scripted.begin(0, b"y" * BLOCK_BYTES)
    scripted.loop.run_until_complete(asyncio.sleep(0.01))
    assert scripted.by_thread == [0, BLOCK_BYTES]
    end_late(scripted, kernel, BLOCK_BYTES)
    scripted.until_answers(3)
    assert scripted.content(0, BLOCK_BYTES) == b"y" * BLOCK_BYTES


def test_what_a_late_one_fails_with_is_told_with_the_next_write_and_once(
    scripted: Bench, kernel: ScriptedKernel
) -> None:
    is_late(scripted, 0, bytes(BLOCK_BYTES))
    end_late(scripted, kernel, -errno.EIO)
    result, error = scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES))
    assert result is None and isinstance(error, WorldError) and error.errno == errno.EIO
    assert scripted.by_thread == [0]
    assert scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES)) == (BLOCK_BYTES, None)


@pytest.mark.parametrize("result", [0, -errno.EAGAIN])
def test_a_late_one_that_a_thread_would_have_done_anyway_has_not_failed(
    scripted: Bench, kernel: ScriptedKernel, result: int
) -> None:
    is_late(scripted, 0, bytes(BLOCK_BYTES))
    end_late(scripted, kernel, result)
    assert scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES)) == (BLOCK_BYTES, None)


def test_close_waits_for_a_late_one_and_for_who_waits_for_it(scripted: Bench, kernel: ScriptedKernel) -> None:
    is_late(scripted, 0, b"x" * BLOCK_BYTES)
    scripted.begin(0, b"y" * BLOCK_BYTES)
    disk = threading.Timer(0.05, kernel.end, (BLOCK_BYTES,))
    disk.start()
    scripted.direct.close()
    disk.join()
    scripted.until_answers(2)
    assert scripted.by_thread == [0, 0] and scripted.content(0, BLOCK_BYTES) == b"y" * BLOCK_BYTES


def test_where_no_context_is_to_be_had_threads_write_for_good(
    loop: asyncio.AbstractEventLoop, ring: OsRing
) -> None:
    asked: list[int] = []

    def refuse(eventfd: int) -> Kernel:
        asked.append(eventfd)
        raise OSError(errno.EAGAIN, "fs.aio-max-nr")

    bench = Bench(loop, ring, refuse)
    for at in (0, BLOCK_BYTES):
        assert bench.write(at, b"x" * BLOCK_BYTES) == (BLOCK_BYTES, None)
    assert bench.by_thread == [0, BLOCK_BYTES]
    assert len(asked) == 1
    with pytest.raises(OSError):
        os.eventfd_read(asked[0])
    bench.direct.close()


def test_of_two_rings_at_once_one_is_written_by_a_thread(
    scripted: Bench, kernel: ScriptedKernel, tmp_path: Path
) -> None:
    first = scripted.ring
    scripted.begin(0, bytes(BLOCK_BYTES))
    other = OsFiles().open_ring(f"{tmp_path}/other", RING_BYTES)
    assert isinstance(other, OsRing)
    scripted.ring = other
    assert scripted.write(BLOCK_BYTES, bytes(BLOCK_BYTES)) == (BLOCK_BYTES, None)
    assert scripted.by_thread == [BLOCK_BYTES]
    assert kernel.taken == [(first.fileno(), BLOCK_BYTES, 0)]
    kernel.end(BLOCK_BYTES)
    scripted.until_answers(2)


def test_an_answer_that_raises_does_not_hold_up_the_next_write(
    scripted: Bench, kernel: ScriptedKernel
) -> None:
    complaints: list[object] = []
    scripted.loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    bug = RuntimeError("a bug of ours")

    def answer(result: object | None, error: BaseException | None) -> None:
        raise bug

    scripted.direct.write(scripted.ring, 0, [bytes(BLOCK_BYTES)], answer)
    kernel.end(BLOCK_BYTES)
    turn_until(scripted.loop, lambda: bool(complaints))
    assert complaints == [bug]
    scripted.begin(0, bytes(BLOCK_BYTES))
    kernel.end(BLOCK_BYTES)
    scripted.until_answers(1)
    assert scripted.by_thread == []


def test_close_waits_until_the_kernel_tells_and_what_comes_then_is_for_threads(
    scripted: Bench, kernel: ScriptedKernel
) -> None:
    told: list[object] = []

    def answer(result: object | None, error: BaseException | None) -> None:
        told.append(result)
        scripted.begin(BLOCK_BYTES, bytes(BLOCK_BYTES))

    scripted.direct.write(scripted.ring, 0, [bytes(BLOCK_BYTES)], answer)
    disk = threading.Timer(0.05, kernel.end, (BLOCK_BYTES,))
    disk.start()
    scripted.direct.close()
    disk.join()
    assert told == [BLOCK_BYTES] and kernel.is_closed
    scripted.until_answers(1)
    assert scripted.by_thread == [BLOCK_BYTES]
    scripted.write(0, bytes(BLOCK_BYTES))
    assert kernel.made == 1


def test_a_ring_that_the_kernel_writes_is_not_called_quick(scripted: Bench, kernel: ScriptedKernel) -> None:
    scripted.ring.quick_writes = QUICK_WRITES
    assert scripted.ring.is_quick()
    scripted.begin(0, bytes(BLOCK_BYTES))
    kernel.end(BLOCK_BYTES)
    scripted.until_answers(1)
    assert not scripted.ring.is_quick()


def test_the_loop_of_a_node_writes_rings_so_and_closes_them_with_it(
    loop: asyncio.AbstractEventLoop, ring: OsRing
) -> None:
    """Whatever this machine has: the kernel's way or a thread."""
    node_loop = AsyncLoop(loop)
    answers: list[Answer] = []
    for at in (0, BLOCK_BYTES):
        node_loop.write_ring(ring, at, [b"x" * BLOCK_BYTES], lambda *answer: answers.append(answer))
        if at == 0:
            turn_until(loop, lambda: bool(answers))
    node_loop.close()
    assert answers == [(BLOCK_BYTES, None)] * 2
    assert OsFiles().open(ring.path).read(0, 2 * BLOCK_BYTES) == b"x" * 2 * BLOCK_BYTES
