"""Child processes on virtual time: a program is a function that the test gives; nothing runs but what it says.

A child says events, ends, is killed or has its input closed at virtual times; what it said before its end is always told
before its end. A killed child says nothing more.
"""

from collections import deque
from collections.abc import Callable, Sequence

from barnabas.ports import Child, Event, OnEvent, OnExit
from barnabas.testing.virtual import VirtualLoop

KILLED = -9


class VirtualChild:
    """One child: the port's side for who started it, and the program's side."""

    def __init__(
        self,
        loop: VirtualLoop,
        pid: int,
        first_line: str,
        on_event: OnEvent,
        on_exit: OnExit,
    ) -> None:
        self.pid = pid
        self.first_line = first_line
        self.lives = True
        self.is_asked_to_end = False
        self.on_input_closed: Callable[[], None] = lambda: self.end(0)
        self.on_ended: Callable[[], None] = lambda: None
        self._loop = loop
        self._on_event = on_event
        self._on_exit = on_exit
        self._said: deque[Event] = deque()
        self._status: int | None = None
        self._words = ""

    # -- the port

    def close_input(self) -> None:
        if self.lives and not self.is_asked_to_end:
            self.is_asked_to_end = True
            self._loop.after(1, lambda: self.on_input_closed() if self.lives else None)

    def kill(self) -> None:
        self.end(KILLED)

    # -- the system

    def orphan(self) -> None:
        """The parent has died: nobody hears of this child any more, and its input ends."""
        if self.lives and not self.is_asked_to_end:
            self.is_asked_to_end = True
            self.on_input_closed()

    # -- the program

    def after(self, delay_ms: int, act: Callable[[], None]) -> None:
        """act in delay_ms, if the child still lives then."""
        self._loop.after(delay_ms, lambda: act() if self.lives else None)

    def say(self, event: Event) -> None:
        if self.lives:
            self._said.append(event)
            self._loop.after(1, lambda: self._on_event(self._said.popleft()))

    def end(self, status: int, words: str = "") -> None:
        """words: what it wrote last before its program began."""
        if self.lives:
            self.lives = False
            self._status = status
            self._words = words
            self.on_ended()
            self._loop.after(2, self._ended)

    def _ended(self) -> None:
        assert not self._said and self._status is not None
        self._on_exit(self._status, self._words)


class VirtualProcesses:
    """program(child, arguments) is called for each child as it starts."""

    def __init__(self, loop: VirtualLoop, program: Callable[[VirtualChild, Sequence[str]], None]) -> None:
        self.children: list[VirtualChild] = []
        self._loop = loop
        self._program = program

    def start(self, arguments: Sequence[str], first_line: str, on_event: OnEvent, on_exit: OnExit) -> Child:
        child = VirtualChild(self._loop, 1000 + len(self.children), first_line, on_event, on_exit)
        self.children.append(child)
        child.after(0, lambda: self._program(child, arguments))
        return child
