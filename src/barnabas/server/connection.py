"""One client connection: frames in, replies out, in the order of the requests.

Q1  Replies leave in the order in which their requests came.
Q2  Requests start in order. One may start while earlier ones are parked only if all the parked ones are Produce and it
    is itself one of STARTS_BEHIND_PRODUCE, or all of them and itself are OffsetCommit: those that come together are written
    together. Every other request waits, as everything does in Kafka.
Q3  A request that is read is answered, or the connection closes.
Q4  Nothing a peer sends costs more memory than it has sent.
"""

from typing import Any, Final, Protocol

from barnabas.partitions.turn import Turn
from barnabas.partitions.waits import Asker, Parked
from barnabas.ports import Connection, FileRange, Piece
from barnabas.server.caller import Caller, Closed
from barnabas.server.dispatch import Dispatch, Request
from barnabas.wire.frame import FrameError, FrameReader

PRODUCE: Final = 0
OFFSET_COMMIT: Final = 8
STARTS_BEHIND_PRODUCE: Final = 0x4100F
"""Produce, Fetch, ListOffsets, Metadata, Heartbeat, ApiVersions (0, 1, 2, 3, 12, 18): a bit for each."""

FRAMES_PER_TURN_MAX: Final = 64
"""Requests one connection may start in one go: the others of this loop get their turn."""

UNSTARTED_BYTES_MAX: Final = 256 * 1024
"""Of whole frames that wait for a request before them; beyond it the socket is not read."""

UNANSWERED_MAX: Final = 1000
"""Requests one connection may have begun behind a parked Produce or OffsetCommit; the others wait."""


def starts_behind_produce(frame: bytes) -> bool:
    """A frame too short for an API key waits: it will close the connection, and the answers before it go first."""
    return len(frame) > 1 and frame[0] == 0 and frame[1] < 32 and STARTS_BEHIND_PRODUCE >> frame[1] & 1 == 1


def is_commit(frame: bytes) -> bool:
    return len(frame) > 1 and frame[0] == 0 and frame[1] == OFFSET_COMMIT


class Owner(Protocol):
    """Who keeps the connections and looks after the memory they hold."""

    def watch(self, served: "ServerConnection") -> None:
        """It holds part of a frame, or a reply, from now on: look at it until it holds nothing."""

    def forget(self, served: "ServerConnection") -> None:
        """It has ended."""


class ServerConnection(Asker):
    """The Receiver of one client's bytes. Thousands of them are idle: slots, and no deque (600 bytes when empty)."""

    __slots__ = (
        "_closed",
        "_connection",
        "_dispatch",
        "_expected",
        "_frames",
        "_heard",
        "_owner",
        "_parked_commits",
        "_parked_other",
        "_parked_produce",
        "_paused",
        "_refused",
        "_sending",
        "_slots",
        "_starting",
        "_turn",
        "_unstarted",
        "_unstarted_bytes",
        "caller",
        "held",
        "last_active_ms",
        "watched",
    )

    def __init__(
        self,
        dispatch: Dispatch,
        connection: Connection,
        listener: str,
        frame_bytes_max: int,
        turn: Turn,
        owner: Owner,
    ) -> None:
        self._dispatch = dispatch
        self._connection = connection
        self._turn = turn
        self._owner = owner
        self._frames = FrameReader(frame_bytes_max)
        self._expected = 0
        self._unstarted: list[bytes] = []
        """The next to start is the last."""
        self._unstarted_bytes = 0
        self._slots: list[Request] = []
        """Begun and not answered, in order."""
        self._parked_produce = 0
        self._parked_commits = 0
        self._parked_other = 0
        self._sending = False
        self._starting = False
        self._paused = False
        self._closed = False
        self._refused = False
        self._heard = False
        self.held = False
        self.watched = False
        self.caller = Caller(connection, listener)
        self.last_active_ms = dispatch.clock.mono_ms()

    def is_idle_since(self, mono_ms: int) -> bool:
        """No request came after that time and none is unanswered."""
        if self._heard:
            self._heard = False
            self.last_active_ms = self._dispatch.clock.mono_ms()
        return self.last_active_ms < mono_ms and not self._slots

    def unsent_bytes(self) -> int:
        """Bytes of replies that their reader has not taken, and of those that wait for a reply before them or for a commit."""
        size = self._connection.unsent_bytes()
        for request in self._slots:
            if request.pieces is not None:
                for piece in request.pieces:
                    size += piece.size if isinstance(piece, FileRange) else len(piece)
            elif request.parked is not None:
                size += request.parked.held_bytes()
        return size

    @property
    def frame_bytes(self) -> int:
        """Bytes held of requests that are not begun: of a frame that is not whole yet, and of whole ones that wait."""
        return self._frames.held_bytes + self._unstarted_bytes

    @property
    def is_blocked(self) -> bool:
        """Nothing may begin before a wait has ended that is not for a disk."""
        return self._parked_other > 0

    @property
    def missing_bytes(self) -> int:
        """Bytes that the frame which is not whole yet still lacks."""
        return self._frames.missing_bytes

    def received(self, content: memoryview) -> None:
        if self._refused:
            return
        try:
            frames = self._frames.feed(content)
        except FrameError as error:
            self._take(error.frames)
            self._refuse(str(error))
            return
        expected = self._frames.expected
        if expected != self._expected:
            self._expected = expected
            self._connection.expect(expected)
        if frames:
            self._heard = True
            self._take(frames)
        if not self.watched and self.frame_bytes:
            self._be_watched()

    def _be_watched(self) -> None:
        self.watched = True
        self._owner.watch(self)

    def _take(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._unstarted_bytes += len(frame)
        frames.reverse()
        self._unstarted = frames + self._unstarted if self._unstarted else frames
        self._start_what_may()

    def closed(self, reason: str) -> None:
        self._closed = True
        self._drop_unstarted()
        slots, self._slots = self._slots, []
        for request in slots:
            if request.parked is not None:
                request.parked.abandon()
        self._owner.forget(self)

    def _drop_unstarted(self) -> None:
        self._unstarted.clear()
        self._unstarted_bytes = 0

    def close(self) -> None:
        """Our side ends it, after what is answered has been sent."""
        self._connection.close(after_sending=True)

    def hold(self, held: bool) -> None:
        """A memory budget of the node is used up (or free again): do not read this socket, and begin nothing that was read.

        256 KiB of small requests may wait here, and the reply to each may be large.
        """
        self.held = held
        self._adjust_reading()
        if not held and self._unstarted:
            self._turn.send(self._start_what_may)

    # -- starting requests

    def _start_what_may(self) -> None:
        if self._starting:
            return
        self._starting = True
        started = 0
        unstarted = self._unstarted
        while unstarted and not self._closed and self._may_start(unstarted[-1]):
            if started == FRAMES_PER_TURN_MAX:
                self._turn.send(self._start_what_may)
                break
            started += 1
            frame = unstarted.pop()
            self._unstarted_bytes -= len(frame)
            self._start(frame)
        self._starting = False
        if self._unstarted or self._paused:
            self._adjust_reading()
        if self._slots and self._slots[0].ready:
            self._flush()

    def _may_start(self, frame: bytes) -> bool:
        if self.held or self._parked_other:
            return False
        if self._parked_commits:
            return len(self._slots) < UNANSWERED_MAX and is_commit(frame)
        if self._parked_produce:
            return len(self._slots) < UNANSWERED_MAX and starts_behind_produce(frame)
        return True

    def _start(self, frame: bytes) -> None:
        try:
            request = self._dispatch.open(frame, self.caller)
            reply = self._dispatch.answer(request, frame, self.caller)
        except Closed as refusal:
            self._refuse(refusal.reason)
            return
        if reply is None:
            return
        self._slots.append(request)
        if isinstance(reply, Parked):
            if request.key == PRODUCE:
                self._parked_produce += 1
                if not self.watched:
                    self._be_watched()
            elif request.key == OFFSET_COMMIT:
                self._parked_commits += 1
            else:
                self._parked_other += 1
            request.parked = reply
            reply.tell(self, request)
        else:
            self._ready(request, reply)

    def _ready(self, request: Request, pieces: list[Piece] | None) -> None:
        request.pieces = pieces
        request.ready = True
        if not self.watched:
            self._be_watched()

    def replied(self, subject: Any, reply: object) -> None:
        request: Request = subject
        if request.key == PRODUCE:
            self._parked_produce -= 1
        elif request.key == OFFSET_COMMIT:
            self._parked_commits -= 1
        else:
            self._parked_other -= 1
        if self._closed:
            return
        if request.route.api.is_written:
            self._ready(request, None)
        else:
            try:
                self._ready(request, self._dispatch.encode(request, reply))
            except Closed as refusal:
                self._refuse(refusal.reason)
                return
        if not self._sending:
            self._sending = True
            self._turn.send(self._after_parked)

    def _after_parked(self) -> None:
        self._sending = False
        if not self._closed:
            self._flush()
            if self._unstarted:
                self._start_what_may()

    # -- replies and reading

    def _flush(self) -> None:
        """Replies that were parked are written here, all that are sent together into one run."""
        slots = self._slots
        dispatch = self._dispatch
        pieces: list[Piece] = []
        answered = 0
        unsaid = ""
        for request in slots:
            if not request.ready:
                break
            if request.pieces is None:
                assert request.parked is not None, "whose reply it is"
                try:
                    dispatch.write(dispatch.out, request, request.parked.reply)
                except Closed as refusal:
                    request.ready = False
                    unsaid = refusal.reason
                    break
            else:
                if len(dispatch.out):
                    pieces.append(dispatch.take_out())
                pieces += request.pieces
            answered += 1
        if len(dispatch.out):
            pieces.append(dispatch.take_out())
        if answered:
            self._slots = slots[answered:]
            self._connection.send(pieces)
        if unsaid and not self._refused:
            self._refuse(unsaid)
        elif self._refused:
            self._close_when_answered()

    def _adjust_reading(self) -> None:
        """Frames that wait for their turn are enough: leave the rest of the stream with the peer."""
        pause = (
            self.held
            or len(self._unstarted) >= FRAMES_PER_TURN_MAX
            or self._unstarted_bytes >= UNSTARTED_BYTES_MAX
        )
        if pause and not self._paused:
            self._paused = True
            self._connection.pause()
        elif not pause and self._paused:
            self._paused = False
            self._connection.resume()

    def _refuse(self, reason: str) -> None:
        """What came before is answered where that is a matter of a disk; other waits may be long and are dropped."""
        if not self._refused:
            self._refused = True
            self._dispatch.log.warning("connection closed", peer=self.caller.host, reason=reason)
            self._drop_unstarted()
        self._flush()

    def _close_when_answered(self) -> None:
        if self._parked_other or not (self._parked_produce or self._parked_commits):
            self._connection.close(after_sending=True)
