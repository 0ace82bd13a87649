"""Channels to the processes of one generation that have the shim: the fast way to deliver."""

from __future__ import annotations

import time
from functools import partial

from sockact.handover.delivery.channel import TRIED, WINDOW, Channel
from sockact.supervisor.base.loop import READ, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.moving.item import Item, Sender
    from sockact.supervisor.processes.shim_calls import ShimCalls

_MOST = 64
"""Channels of a generation."""
_TRIED_SOON, _TRIED_WITHIN = 0.1, 2.0
"""Seconds for the shim to answer, and for the program to accept what is only a try: until then
connections wait for that; and until the channel is given up.
"""
_LATE = 2
"""How often in a row nothing may be accepted in time, until a channel is given up."""


class _Line:
    """A channel to a process, and what is in it."""

    def __init__(self, pid: int, listener: int) -> None:
        """Raises OSError."""
        self.pid = pid
        self.listener = listener
        self.channel = Channel()
        self.is_open = True
        self.is_ready = False
        self.is_slow = False
        self.items: dict[int, Item] = {}
        """Number → what was sent, and is not confirmed."""
        self.sent = TRIED
        self.late = 0
        self.timer: Timer | None = None

    def fileno(self) -> int | None:
        """Return the end for the process, as what is attached to an order."""
        return self.channel.their_fileno() if self.is_open else None

    def take_back(self) -> tuple[list[Item], list[Item]]:
        """Empty the channel: (what the process has received, what it has not)."""
        back = self.channel.take_back()
        items, self.items = self.items, {}
        taken = [item for number, item in items.items() if number not in back]
        return taken, [item for number, item in items.items() if number in back]


class Channels:
    """The channels to one generation. One at most for each process and listener, and no second one
    where the first has failed.
    """

    def __init__(
        self,
        loop: Loop,
        calls: ShimCalls,
        news: Callable[[], None],
        taken: Callable[[list[Item]], None],
        back: Callable[[list[Item]], None],
    ) -> None:
        """`news` is called when one is ready, has room or has failed; `taken` with what a process
        has accepted, and `back` with what it has not.
        """
        self._loop = loop
        self._calls = calls
        self._news = news
        self._taken = taken
        self._back = back
        self._lines: dict[tuple[int, int], _Line] = {}
        """By process and listener."""

    @property
    def room(self) -> int:
        """How many more connections there is room for."""
        ready = [line for line in self._open() if line.is_ready]
        return WINDOW * len(ready) - sum(len(line.items) for line in ready)

    @property
    def delivers(self) -> bool:
        """Whether a connection is in one."""
        return any(line.items for line in self._lines.values())

    def serves(self, listener: int) -> bool:
        """Whether there is one for a listener, or may be in a moment."""
        return any(line.listener == listener and not line.is_slow for line in self._open())

    def open(self, pids: Iterable[int], listener: int) -> None:
        """Have these processes accept from one what comes for the listener."""
        for pid in pids:
            if len(self._lines) < _MOST and (pid, listener) not in self._lines:
                self._open_one(pid, listener)

    def send(self, item: Item) -> bool:
        """Send a connection to the process that has the fewest, if there is room."""
        lines = [
            line
            for line in self._open()
            if line.is_ready and line.listener == item.listener and len(line.items) < WINDOW
        ]
        for line in sorted(lines, key=lambda line: (len(line.items), line.sent)):
            if line.channel.send(line.sent + 1, item.parcel):
                line.sent += 1
                line.items[line.sent] = item
                if line.timer is None:
                    line.timer = self._loop.at(item.until, partial(self._late, line))
                return True
        return False

    def withdraw(self, sender: Sender) -> None:
        """Take back what is in channels in which this sender has something."""
        for line in self._open():
            if any(item.sender is sender for item in line.items.values()):
                self._empty(line)

    def close(self) -> None:
        """Close all; the processes accept nothing more."""
        for line in self._open():
            self._fail(line)
        self._lines.clear()

    def _open(self) -> list[_Line]:
        return [line for line in self._lines.values() if line.is_open]

    def _open_one(self, pid: int, listener: int) -> None:
        try:
            if not self._calls.reaches(pid):
                return
            line = _Line(pid, listener)
        except OSError:
            return
        self._lines[pid, listener] = line
        self._loop.watch(line.channel.fileno(), READ, partial(self._heard, line))
        line.timer = self._loop.at(time.monotonic() + _TRIED_SOON, partial(self._slow, line))
        self._calls.order(
            pid,
            f"accept {listener}",
            partial(self._ordered, line),
            heard=partial(self._answered, line),
            attached=line,
        )

    def _slow(self, line: _Line) -> None:
        line.is_slow = True
        line.timer = self._loop.at(time.monotonic() + _TRIED_WITHIN, partial(self._untried, line))
        self._news()

    def _ordered(self, line: _Line, error: str) -> None:
        if error:
            self._untried(line)

    def _answered(self, line: _Line, answer: list[str]) -> None:
        if answer[1:] == ["0"]:
            self._untried(line)

    def _untried(self, line: _Line) -> None:
        """It does not wait for clients in epoll, or does not accept them by Python's sockets."""
        if line.is_open and not line.is_ready:
            self._fail(line)
            self._news()

    def _heard(self, line: _Line, _mask: int) -> None:
        taken = []
        for number in line.channel.news():
            if number == TRIED and not line.is_ready:
                line.is_ready, line.is_slow = True, False
                self._wait_no_longer(line)
            elif number in line.items:
                taken.append(line.items.pop(number))
                line.late = 0
            else:  # What it was not asked.
                self._fail(line)
                break
        if line.is_ready and not line.items:
            self._wait_no_longer(line)
        if taken:
            self._taken(taken)
        self._news()

    def _late(self, line: _Line) -> None:
        first = min(item.until for item in line.items.values())
        if first > time.monotonic():
            line.timer = self._loop.at(first, partial(self._late, line))
            return
        line.timer = None
        line.late += 1
        if line.late >= _LATE:
            self._fail(line)
        else:
            self._empty(line)
        self._news()

    def _empty(self, line: _Line) -> None:
        taken, back = line.take_back()
        self._wait_no_longer(line)
        if taken:
            self._taken(taken)
        if back:
            self._back(back)

    def _fail(self, line: _Line) -> None:
        line.is_open = False
        self._loop.unwatch(line.channel.fileno())
        self._empty(line)
        line.channel.close()
        self._calls.order(line.pid, f"refuse {line.listener}", lambda _error: None)

    def _wait_no_longer(self, line: _Line) -> None:
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
