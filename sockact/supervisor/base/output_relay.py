"""The stderr of a successor: passed on as it is, its last lines kept for the reason of a failure.

The first generation writes straight to the supervisor's own stderr. A successor's goes through a
pipe, because what it wrote last is what the operator wants to read when it fails. The pump looks at
most every PAUSE seconds, so that a program that logs each request wakes the supervisor a few times
a second and not for each line. What the pipe and the reader do not take, the program waits for,
just as it would without us.
"""

from __future__ import annotations

import os
import time

from sockact.supervisor.base.loop import READ
from sockact.supervisor.base.nonblocking import CHUNK, writable, write_now
from sockact.supervisor.records.carried_state import CarriedRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.base.loop import Loop, Timer

PAUSE = 0.05
TAIL_LINES = 40
_TAIL_BYTES = 16384
_READ = 1 << 16
_BLOCKED_PAUSE = 0.2
# A program that writes without end does not keep the loop from its other work.
_MOST_READS = 16


class OutputRelay:
    """A pipe from a generation's stderr to ours."""

    def __init__(self, loop: Loop, target: int = 2, carried: CarriedRelay | None = None) -> None:
        self._loop = loop
        self._target = target
        self.write_end: int | None = None
        self._rest = b""
        self._tail = b""
        if carried is None:
            self._read, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            # The program's end blocks like any stderr; the flag is of each end's own description.
            os.set_blocking(self.write_end, True)
        else:
            self._read = carried.fd
            self._rest, self._tail = (x.encode("latin-1") for x in (carried.rest, carried.tail))
        self._timer: Timer | None = None
        self._open = True
        loop.watch(self._read, READ, self._readable)

    def launched(self) -> None:
        """The program has its end: close ours, so that we see the end of file."""
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    def tail(self) -> list[str]:
        """The last lines, the newest last."""
        self._move()
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return lines[-TAIL_LINES:]

    def carried(self) -> CarriedRelay | None:
        """For the supervisor that takes our place; None when there is nothing left to pass on."""
        if not self._open:
            return None
        return CarriedRelay(self._read, self._rest.decode("latin-1"), self._tail.decode("latin-1"))

    def close(self) -> None:
        """Pass on what is left, then let go."""
        self._move()
        self.launched()
        self._end()

    def _readable(self, _mask: int) -> None:
        blocked = not self._move()
        if not self._open:
            return
        self._unwatch()
        pause = _BLOCKED_PAUSE if blocked else PAUSE
        self._timer = self._loop.at(time.monotonic() + pause, self._resume)

    def _resume(self) -> None:
        if self._rest and not writable(self._target):
            self._timer = self._loop.at(time.monotonic() + _BLOCKED_PAUSE, self._resume)
        else:
            self._loop.watch(self._read, READ, self._readable)

    def _unwatch(self) -> None:
        if self._loop.watched(self._read):
            self._loop.unwatch(self._read)

    def _move(self) -> bool:
        """Pass on what is there; False when our own stderr takes no more."""
        if not self._open:
            return True
        for _ in range(_MOST_READS):
            self._rest = self._rest[write_now(self._target, self._rest) :]
            if self._rest:
                return False
            try:
                data = os.read(self._read, _READ)
            except BlockingIOError:
                return True
            if not data:
                self._end()
                return True
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            self._rest = data
            if len(data) < CHUNK:
                self._rest = self._rest[write_now(self._target, self._rest) :]
                return not self._rest
        return True

    def _end(self) -> None:
        """Every writer has ended, or nobody cares any more."""
        if not self._open:
            return
        if self._timer:
            self._timer.cancel()
        self._unwatch()
        os.close(self._read)
        self._open = False
