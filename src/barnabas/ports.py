"""The outside world, as Protocols. Each port speaks the outside's language, never Kafka's.

Only `adapters/` (real) and `testing/` (virtual) implement these, and only `node.py` and tests choose one.
All callbacks run on the loop that owns the state: one thread, one turn at a time (decision: threads).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from mypy_extensions import i64, mypyc_attr


class WorldError(Exception):
    """The outside failed: a disk, a socket, a store. `errno` is the system's number, 0 when there is none.

    There is one path for it: the operation is retried or the partition goes offline.
    """

    def __init__(self, what: str, errno: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.errno = errno


# -- time ------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Two clocks: wall for timestamps and retention, monotonic for sessions and waits."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may step."""

    def mono_ms(self) -> int:
        """Milliseconds since some start; never goes back."""

    def mono_us(self) -> int:
        """Microseconds since the same start: mono_ms is this, cut to whole milliseconds."""


Pool: TypeAlias = Literal[
    "commit", "sync", "checkpoint", "write-back", "read", "compress", "upkeep", "metadata"
]
"""commit: what somebody waits for on disk; sync: syncs that nobody waits for, of a gigabyte perhaps; checkpoint: those
before which a half of the journal is not used again; compress: batches of producers that wait for another codec; upkeep:
compaction, renames and unlinks, one after the other, for which nobody waits.
"""
Work: TypeAlias = Callable[[], object]
Done: TypeAlias = Callable[[object | None, BaseException | None], None]
"""What is told of a pool's work: done(its result, None), or done(None, what it raised)."""


class Loop(Protocol):
    """The one thread that owns all state, and the pools that do slow work for it."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Run callback once the current event has been handled, before the loop sleeps again."""

    def wake_at(self, mono_ms: int | None, callback: Callable[[], None]) -> None:
        """Arm the one timer (or disarm it with None): a later call replaces an earlier one."""

    def run_in(self, pool: Pool, work: Work, done: Done) -> None:
        """Run work in a named pool's thread; done comes back on the loop."""

    def write_ring(
        self, ring: "RingFile", position: int, chunks: Sequence[bytes | memoryview], done: Done
    ) -> None:
        """What run_in("commit", lambda: ring.write(position, chunks), done) does, without a thread where the system can.

        A ring has one write under way at a time: until done comes nobody else writes it. The chunks stay as they are.
        """

    def from_thread(self, callback: Callable[[], None]) -> None:
        """Run callback on the loop; the only method another thread may call."""


# -- files -----------------------------------------------------------------------------------------


class Cold(Exception):
    """It is not in memory, and who asked must not wait for the disk. After work(), in a thread, it is: ask again."""

    def __init__(self, work: Work) -> None:
        self.work = work
        """Raises WorldError."""


class File(Protocol):
    """One open file. Positions and sizes are bytes. Every method may raise WorldError."""

    path: str

    def fileno(self) -> int:
        """The descriptor for sendfile, or -1 where there is none (RAM)."""

    def write(self, position: int, chunks: Sequence[bytes | memoryview]) -> int:
        """Write all chunks one behind the other from position on; returns the bytes written (all of them)."""

    def read(self, position: int, size: int) -> bytes:
        """Up to size bytes from position; fewer only at the end of the file."""

    def read_now(self, position: int, size: int) -> bytes | None:
        """What read() gives, unless that would wait for the disk: then None. Where that cannot be told it reads."""

    def size(self) -> int: ...
    def truncate(self, size: int) -> None: ...
    def write_back(self, position: int, size: int) -> None:
        """Begin to bring that range to the disk, where the system has a call for it. A hint: nothing is durable by it, and
        nothing is raised. It may wait for the disk.
        """

    def sync(self) -> None:
        """Data and size are durable when this returns. Once it has failed, nothing unsynced of this file may be believed:
        open it anew, write it anew.
        """

    def close(self) -> None: ...


class RingFile(File, Protocol):
    """A file whose writes are durable when they return."""

    def is_quick(self) -> bool:
        """Whether write() has lately taken so little time that the loop may wait for it: by its own measure, and never
        where Loop.write_ring needs no thread.
        """


class Files(Protocol):
    """A file system below one root. Paths are relative to nothing: whatever the caller got from its folder."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing; create makes it when absent, else absence is a WorldError(ENOENT)."""

    def open_ring(self, path: str, size: int) -> RingFile | None:
        """A file of size bytes, all of them written once, for content that goes round in it: a write is durable when
        it returns. Positions and sizes of writes are multiples of 4,096. What the file held of that size stays. None
        where the system has no such thing; slow when the file must be made.
        """

    def exists(self, path: str) -> bool:
        """False only when there is no such name; WorldError when that cannot be told."""

    def list(self, folder: str) -> list[str]:
        """Names in folder, sorted; [] when it does not exist."""

    def make_folder(self, folder: str) -> None:
        """Make it and its parents; no error when it exists."""

    def rename(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None:
        """No error when it is absent."""

    def remove_folder(self, folder: str) -> None:
        """With all it holds; no error when it is absent."""

    def sync_folder(self, folder: str) -> None:
        """Names made, renamed or unlinked in folder are durable when this returns."""

    def read_all(self, path: str) -> bytes: ...
    def write_atomic(self, path: str, content: bytes) -> None:
        """Old content or new, never a mixture, and durable: file beside it, sync, rename, sync of the folder."""

    def free_bytes(self, folder: str) -> int: ...
    def total_bytes(self, folder: str) -> int:
        """Size of the disk that folder is on, free or not."""

    def lock(self, path: str) -> "Callable[[], None] | None":
        """Take the exclusive lock of path; returns the release, or None when another process holds it."""


@mypyc_attr(free_list_len=1)
class FileRange:
    """Bytes of a file, named but not read: what sendfile is given."""

    __slots__ = ("file", "position", "size")

    position: i64
    size: i64

    def __init__(self, file: File, position: i64, size: i64) -> None:
        self.file = file
        self.position = position
        self.size = size

    def __repr__(self) -> str:
        return f"FileRange({self.file.path}, {self.position}, {self.size})"


Piece: TypeAlias = bytes | FileRange
"""A reply is a plan: a list of these, in order."""


# -- network ---------------------------------------------------------------------------------------


class Receiver(Protocol):
    """What the server gives for each connection; the connection calls it."""

    def received(self, content: memoryview) -> None:
        """Bytes came. content is valid during the call only; its owner may be kept where that is bytes."""

    def closed(self, reason: str) -> None:
        """The last call: the peer closed, the network failed, or our own close finished."""


class Connection(Protocol):
    """One stream to a peer."""

    peer_host: str
    peer_port: int
    local_host: str
    local_port: int

    def send(self, pieces: Sequence[Piece]) -> None:
        """Queue the pieces in order; they go out at the end of this turn at the latest, as fast as the peer reads."""

    def unsent_bytes(self) -> int: ...
    def expect(self, size: int) -> None:
        """From now on received() gets at most size bytes at a time, and owned ones; 0: again as many as there are."""

    def pause(self) -> None:
        """Stop reading from the peer."""

    def resume(self) -> None: ...
    def close(self, *, after_sending: bool = True) -> None:
        """Close once what is queued is sent, or at once."""


class Listening(Protocol):
    """A listening socket."""

    host: str
    port: int

    def close(self) -> None: ...


class Network(Protocol):
    def listen(
        self, host: str, port: int, on_connect: Callable[[Connection], Receiver], *, shared: bool = False
    ) -> Listening:
        """Listen on host:port (0: any free port). WorldError(EADDRINUSE) when it is taken.

        shared: others who share it too may listen on the same address, in this process or in another of this user; each
        new connection comes to one of them. WorldError(ENOPROTOOPT) where the system lacks that.
        """

    def reserve(self, host: str, port: int) -> Listening:
        """Keep host:port (0: any free port) for shared listeners, without listening there. WorldError(EADDRINUSE) when
        somebody listens there already, shared or not.
        """

    def connect(
        self,
        host: str,
        port: int,
        on_connect: Callable[[Connection | None, WorldError | None], "Receiver | None"],
    ) -> None:
        """Open a stream to host:port; on_connect gets it, or the reason why not."""


# -- processes -------------------------------------------------------------------------------------

Event: TypeAlias = Mapping[str, Any]
"""What a child process says: one JSON object, under "event" its kind."""
OnEvent: TypeAlias = Callable[[Event], None]
OnExit: TypeAlias = Callable[[int, str], None]
"""on_exit(status, last words)."""


class Child(Protocol):
    """A process that was started and has, as far as we were told, not ended."""

    pid: int

    def close_input(self) -> None:
        """The child reads the end of its input: it is asked to end. No error when it has ended."""

    def kill(self) -> None:
        """SIGKILL. No error when it has ended."""


class Processes(Protocol):
    """Children of this process. Their input ends when this process ends, however it ends."""

    def start(self, arguments: Sequence[str], first_line: str, on_event: OnEvent, on_exit: OnExit) -> Child:
        """Run this Python with these arguments, in a session of its own: a terminal's Ctrl-C does not reach it.

        The child reads first_line from its input, and nothing more. on_event(object) for each line of JSON that it
        writes, then once on_exit(status, last words): its exit code, or minus the signal that ended it, and the last line of
        its error output from before its program began, when it comes no further than that. Never inside this call. Raises
        WorldError when it cannot be started.
        """


# -- metadata store --------------------------------------------------------------------------------


class Compare:
    """A condition of a transaction: key is at version (0: absent)."""

    __slots__ = ("key", "version")

    def __init__(self, key: str, version: int) -> None:
        self.key = key
        self.version = version


class Versioned:
    """A value and its version: 1 when made, one more at each put; a deleted key starts again at 1."""

    __slots__ = ("value", "version")

    def __init__(self, value: bytes, version: int) -> None:
        self.value = value
        self.version = version


MetaChanges: TypeAlias = Sequence[tuple[str, Versioned | None]]
"""Keys that changed, each once, and what they hold now: None when they were deleted. One that came and went between two
tellings may be told as deleted, though nobody heard that it was there."""


class MetaStore(Protocol):
    """A small ordered map with transactions, as etcd or SQLite give it. Keys are strings, values bytes.

    Others may have the same map open: other nodes, in processes of their own.
    """

    def txn(
        self,
        compares: Sequence[Compare],
        puts: Mapping[str, bytes],
        deletes: Sequence[str],
        done: Callable[[bool, WorldError | None], None],
        lease: int = 0,
        durable: bool = True,
    ) -> None:
        """If every compare holds, all puts and deletes happen at once. done(succeeded, error).

        Not durable: a power failure may undo it, a process that dies does not. Nothing durable is ever undone with it:
        what is committed durably makes all before it durable.
        """

    def range(self, prefix: str, done: Callable[[dict[str, Versioned], WorldError | None], None]) -> None:
        """All keys that begin with prefix, in order, as of one moment."""

    def watch(self, prefix: str, on_change: Callable[[MetaChanges], None]) -> Callable[[], None]:
        """on_change(what changed below prefix) after each commit, whoever made it; returns what ends the watch.

        In the order of the commits, each once. Never for part of a transaction, but several of others may come in one
        call. A transaction of our own is told after its done(). What others committed before our transaction was
        decided, or before our range was read, is told before its done(): who lost a race has heard of the winner.
        """

    def grant(self, ttl_ms: int, done: Callable[[int, WorldError | None], None]) -> None:
        """A lease: keys put with it vanish when it is not kept alive for ttl_ms."""

    def keep_alive(self, lease: int) -> None: ...
    def revoke(self, lease: int) -> None: ...
    def close(self) -> None: ...


# -- chance ----------------------------------------------------------------------------------------


class Entropy(Protocol):
    def uuid(self) -> bytes:
        """16 random bytes shaped as a version 4 UUID (RFC 9562)."""

    def below(self, limit: int) -> int:
        """A random integer in [0, limit)."""


class World:
    """All ports of one node."""

    def __init__(
        self, clock: Clock, loop: Loop, files: Files, network: Network, meta: MetaStore, entropy: Entropy
    ):
        self.clock = clock
        self.loop = loop
        self.files = files
        self.network = network
        self.meta = meta
        self.entropy = entropy
