"""Durable writes of a ring for which no thread waits: Linux's native asynchronous I/O, io_submit(2).

The loop gives the kernel one pwrite at a time and goes on; an eventfd that it watches tells of its end. A thread of a pool would
cost two hand-overs of a core and of the interpreter's lock.

D1  As durable as OsRing.write: O_DIRECT by the file, RWF_DSYNC by the write.
D2  The loop does not wait: RWF_NOWAIT. A write that would have to, and one that was done in part, is done once more as a whole
    by a thread: the same bytes at the same place. A megabyte may have to, if its memory is more pieces than the disk takes at once.
D3  Where the system has none of this, threads write: an older kernel or file system, a sandbox, another processor, a machine
    whose contexts are used up (fs.aio-max-nr).
D4  Ring, memory and bytes are kept until the end, whoever lets go of them. The kernel keeps the file open itself.
D5  Any other failure is told as it is and the write not tried again: an error may be told only once (decision 6).
D6  Such a ring is not called quick: for a write that nobody waits for, the loop need not wait either (docs/decisions/0008).
D7  What ends a durable write without a thread of ours is one of the kernel's that stays on its core, where a busy program may keep it
    waiting for 55 ms; a thread of ours goes to another core. So after a slow write the next BY_THREAD_AFTER_SLOW are done by threads.
    So they are after VAIN_IN_A_ROW that a thread had to do once more (D2), and after each further one, until the kernel does one.
    Lone ones the loop may write itself meanwhile (OsRing.is_quick), and those do not count.
D8  Nor is the slow one waited for: a thread does it, too, the same bytes at the same place, and answers. The kernel keeps the memory of
    its own, others get new memory; no write begins at a place where it may still write, through whichever object of
    the file (a journal that thaws opens it anew), nor does the loop write itself; and if it fails after all, the next write is told so,
    for nobody knows what of the disk the error was about (D5).
Layout (linux/aio_abi.h; both processors are little-endian)
    iocb      data u64, key u32, rw_flags i32, opcode u16, priority i16, fd u32, memory u64, bytes u64, position i64,
              reserved u64, flags u32, eventfd u32
    io_event  data u64, iocb u64, result i64, second result i64
"""

import asyncio
import ctypes
import errno
import mmap
import os
import time
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, Protocol, TypeAlias

from barnabas.adapters.files import OsRing, refusal
from barnabas.ports import Done, WorldError

CALLS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""The numbers of io_setup, io_destroy, io_getevents and io_submit."""
IOCB: Final = Struct("<QIiHhiQQqQII")
IOCB_WRITE: Final = Struct("<iQQq")
"""Of these, what is another one in each write: fd, memory, bytes, position."""
IOCB_WRITE_AT: Final = 20
EVENT_BYTES: Final = 32
EVENT_RESULT: Final = Struct("<q")
EVENT_RESULT_AT: Final = 16
IOCB_CMD_PWRITE: Final = 1
IOCB_FLAG_RESFD: Final = 1
RWF_DSYNC: Final = 2
RWF_NOWAIT: Final = 8
ZERO: Final = ctypes.c_long(0)
ONE: Final = ctypes.c_long(1)
SLOW_NS: Final = 2_000_000
BY_THREAD_AFTER_SLOW: Final = 256
"""However many of the kernel's own are slow, not one in a hundred is then."""
VAIN_IN_A_ROW: Final = 8
"""A file system that never writes without waiting (btrfs) gets there at once; one whose disk is busy now and then does not: six
of 64,000 rounds were refused."""
NOT_SUPPORTED: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)

Chunks: TypeAlias = Sequence[bytes | memoryview]
ByThread: TypeAlias = Callable[[OsRing, int, Chunks, Done], None]


class Kernel(Protocol):
    """Takes one write at a time; its end is told by an eventfd."""

    def submit(self, fd: int, address: int, size: int, position: int) -> int:
        """0, or the system's number for why not: then nothing is written."""

    def result(self) -> int:
        """Of the write that has ended: its bytes, or minus the system's number."""

    def close(self) -> None: ...


class Aio:
    """A context of the kernel's. Raises OSError where there is none to be had.

    The interpreter's lock is kept during its calls: they are short, and to get it back is what costs.
    """

    def __init__(self, eventfd: int) -> None:
        numbers = CALLS.get(os.uname().machine) if ctypes.sizeof(ctypes.c_void_p) == 8 else None
        if numbers is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        setup, self._destroy, self._getevents, self._submit = map(ctypes.c_long, numbers)
        self._syscall = ctypes.PyDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._iocb = ctypes.create_string_buffer(
            IOCB.pack(
                *(0, 0, RWF_DSYNC | RWF_NOWAIT, IOCB_CMD_PWRITE, 0),
                *(-1, 0, 0, 0),
                *(0, IOCB_FLAG_RESFD, eventfd),
            ),
            IOCB.size,
        )
        self._iocbs = (ctypes.c_void_p * 1)(ctypes.addressof(self._iocb))
        self._event = ctypes.create_string_buffer(EVENT_BYTES)
        made = ctypes.c_ulong(0)
        if self._syscall(setup, ONE, ctypes.byref(made)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._context = made

    def submit(self, fd: int, address: int, size: int, position: int) -> int:
        IOCB_WRITE.pack_into(self._iocb, IOCB_WRITE_AT, fd, address, size, position)
        taken = self._syscall(self._submit, self._context, ONE, self._iocbs)
        return 0 if taken == 1 else ctypes.get_errno()

    def result(self) -> int:
        if self._syscall(self._getevents, self._context, ZERO, ONE, self._event, None) != 1:
            return -ctypes.get_errno()
        result: int = EVENT_RESULT.unpack_from(self._event, EVENT_RESULT_AT)[0]
        return result

    def close(self) -> None:
        self._syscall(self._destroy, self._context)


class UnderWay:
    """A write that the kernel has (D4)."""

    __slots__ = ("begun_ns", "chunks", "done", "is_late", "memory", "position", "ring", "size")

    def __init__(
        self, ring: OsRing, position: int, chunks: Chunks, size: int, done: Done, begun_ns: int
    ) -> None:
        self.begun_ns = begun_ns
        self.is_late = False
        """A thread answers (D8)."""
        self.memory = ring.gathered
        self.ring = ring
        self.position = position
        self.chunks = chunks
        self.size = size
        self.done = done

    def meets(self, position: int, size: int) -> bool:
        return position < self.position + self.size and self.position < position + size


def is_refusal(result: int) -> bool:
    """The kernel has written less than all of it, and no disk has failed (D2, D3)."""
    return result >= 0 or -result == errno.EAGAIN or -result in NOT_SUPPORTED


def failure_of(write: UnderWay, result: int) -> WorldError:
    return refusal(write.ring.path, OSError(-result, os.strerror(-result)))


class DirectWrites:
    """Of one loop, on its thread. by_thread does a write in its own way, as ring.write; new_kernel(eventfd) raises OSError."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        by_thread: ByThread,
        new_kernel: Callable[[int], Kernel] = Aio,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._loop = loop
        self._by_thread = by_thread
        self._new_kernel = new_kernel
        self._now_ns = now_ns
        self._for_threads = 0
        """So many of the next writes (D7)."""
        self._vain = 0
        """In a row, up to now, that the kernel did not do as a whole."""
        self._kernel: Kernel | None = None
        self._eventfd = -1
        self._given_up = False
        """D3, or closed."""
        self._under_way: UnderWay | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Set at a write and left alone when it ends: one that is set looks at whatever write it finds."""
        self._held: list[tuple[OsRing, int, Chunks, Done]] = []
        """Which would meet the late one."""
        self._late_failure: tuple[OsRing, WorldError] | None = None
        """To be told."""
        self._memory: mmap.mmap | None = None
        """Where the last write was gathered; kept with its address."""
        self._address = 0

    def write(self, ring: OsRing, position: int, chunks: Chunks, done: Done) -> None:
        """What Loop.write_ring promises. Of two rings at once one is written by a thread."""
        if self._late_failure is not None and self._late_failure[0] is ring:
            self._loop.call_soon(done, None, self._late_failure[1])
            self._late_failure = None
            return
        late = self._under_way
        if late is not None and late.is_late and late.ring.path == ring.path:
            ring.quick_writes = 0
            if late.meets(position, sum(map(len, chunks))):
                self._held.append((ring, position, chunks, done))
                return
        if self._for_threads > 0:
            self._for_threads -= 1
        elif not self._given_up and self._under_way is None and self._submits(ring, position, chunks, done):
            return
        self._by_thread(ring, position, chunks, done)

    def _submits(self, ring: OsRing, position: int, chunks: Chunks, done: Done) -> bool:
        kernel = self._kernel or self._open()
        if kernel is None:
            return False
        size = ring.gather(chunks)
        memory = ring.gathered
        if memory is not self._memory:
            self._memory = memory
            self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        begun_ns = self._now_ns()
        refused = kernel.submit(ring.fileno(), self._address, size, position)
        if refused:
            self._in_vain(refused)
            return False
        self._under_way = UnderWay(ring, position, chunks, size, done, begun_ns)
        ring.quick_writes = 0  # D6
        if self._timer is None:
            self._timer = self._loop.call_later(SLOW_NS / 1e9, self._look)
        return True

    def _open(self) -> Kernel | None:
        """At the first write: most loops write no ring."""
        try:
            self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                self._kernel = self._new_kernel(self._eventfd)
            except OSError:
                os.close(self._eventfd)
                raise
        except OSError:
            self._given_up = True
            return None
        self._loop.add_reader(self._eventfd, self._ended)
        return self._kernel

    def _ended(self) -> None:
        try:
            os.read(self._eventfd, 8)
        except BlockingIOError:
            return
        write, self._under_way = self._under_way, None
        assert write is not None and self._kernel is not None, "it has told of the end of a write"
        result = self._kernel.result()
        if write.is_late:
            self._late_ended(write, result)
            return
        if self._now_ns() - write.begun_ns >= SLOW_NS:
            self._for_threads = BY_THREAD_AFTER_SLOW
        if result == write.size:
            self._vain = 0
            write.done(result, None)
        elif is_refusal(result):
            self._in_vain(-result)
            self._by_thread(write.ring, write.position, write.chunks, write.done)
        else:
            write.done(None, failure_of(write, result))

    def _look(self) -> None:
        """Whether the write under way is slow (D8)."""
        self._timer = None
        self._ended()  # which the loop may not have been told yet
        write = self._under_way
        if write is None or write.is_late or self._timer is not None:
            return
        left_ns = write.begun_ns + SLOW_NS - self._now_ns()
        if left_ns > 0:
            self._timer = self._loop.call_later(left_ns / 1e9, self._look)
            return
        write.is_late = True
        write.ring.take_new_memory()
        self._for_threads = BY_THREAD_AFTER_SLOW
        self._by_thread(write.ring, write.position, write.chunks, write.done)

    def _late_ended(self, write: UnderWay, result: int) -> None:
        if result < 0 and not is_refusal(result):
            self._late_failure = write.ring, failure_of(write, result)
        held, self._held = self._held, []
        for each in held:
            self.write(*each)

    def _in_vain(self, number: int) -> None:
        """A thread does this one (D2, D3). number: of the system, for why not; none of NOT_SUPPORTED where it was cut short."""
        if number in NOT_SUPPORTED:
            self._given_up = True
        self._vain += 1
        if self._vain >= VAIN_IN_A_ROW:
            self._for_threads = BY_THREAD_AFTER_SLOW

    def close(self) -> None:
        """Waits for the write under way and hands out its answer; what comes later is for threads."""
        self._given_up = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._kernel is None:
            return
        self._loop.remove_reader(self._eventfd)
        if self._under_way is not None:
            os.set_blocking(self._eventfd, True)
            self._ended()
        self._kernel.close()
        self._kernel = None
        os.close(self._eventfd)
