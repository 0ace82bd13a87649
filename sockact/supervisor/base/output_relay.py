"""A relay for a process's output: passes it on unchanged and keeps the last lines.

The first generation writes straight to the supervisor's own outputs. Those of a successor go
through relays, because its last lines tell the operator why it failed; that of a hook does
likewise. The relay reads at most every PAUSE seconds, so that a program that logs each request
wakes the supervisor a few times a second and not for each line, and more often only if the pipe
would be full before. When it is full, the program blocks, just as it would without sockact. Half a
line waits for its end as long as the program writes on: the line of another process would tear it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from sockact.supervisor.base.loop import READ
from sockact.supervisor.base.nonblocking import CHUNK, write_now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.records.carried_state import CarriedRelay

PAUSE = 0.05
"""Seconds."""
TAIL_LINES = 200
_TAIL_BYTES = 32768
_READ = 1 << 16
_BLOCKED_PAUSE = 0.2
_BUSY_PAUSE = 0.01
"""After a read of a part of the pipe: one in _OFTEN."""
_OFTEN = 4
_SIZE = 1 << 18
"""Bytes in the pipe."""
_LONGEST = 1 << 16
"""Bytes of a line that waits for its end."""
# A program that writes all the time must not keep the loop from its other work.
_MOST_READS = 16


def joined(tails: Sequence[list[str]]) -> list[str]:
    """Return the last lines of several outputs, one after the other: TAIL_LINES at most, and no
    output takes the place of another.
    """
    found = [tail for tail in tails if tail]
    share = TAIL_LINES // max(1, len(found))
    return [line for tail in found for line in tail[-share:]]


class OutputRelay:
    """A pipe from a process to the descriptor `target`."""

    def __init__(self, loop: Loop, target: int = 2, carried: CarriedRelay | None = None) -> None:
        self._loop = loop
        self._target = target
        self.write_end: int | None = None
        self.lines = 0
        """Lines that were read, by this version of sockact."""
        self._rest = b""
        self._tail = b""
        if carried is None:
            self._read, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            # The program's end blocks like any stderr; each end has its own O_NONBLOCK flag.
            os.set_blocking(self.write_end, True)
            # Beyond fs.pipe-user-pages-soft the pipe keeps its default size.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._read, fcntl.F_SETPIPE_SZ, _SIZE)
        else:
            self._read = carried.fd
            self._rest, self._tail = (x.encode("latin-1") for x in (carried.rest, carried.tail))
        self._much = fcntl.fcntl(self._read, fcntl.F_GETPIPE_SZ) // _OFTEN
        self._moved = 0
        """Bytes that were read at once."""
        self._timer: Timer | None = None
        self._open = True
        loop.watch(self._read, READ, self._readable)

    def launched(self) -> None:
        """Close the write end, which the program has by now, so that its end of file is seen."""
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    def tail(self) -> list[str]:
        """Return the last lines, the newest last."""
        self._move()
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return lines[-TAIL_LINES:]

    def carried(self) -> CarriedRelay | None:
        """Return the state to carry over an upgrade; None at the end of file."""
        from sockact.supervisor.records.carried_state import CarriedRelay

        if not self._open:
            return None
        return CarriedRelay(self._read, self._rest.decode("latin-1"), self._tail.decode("latin-1"))

    def close(self) -> None:
        """Pass on what is left, then close the pipe."""
        self._move()
        self._pass_on(half=True)
        self.launched()
        self._end()

    def _readable(self, _mask: int) -> None:
        taken = self._move()
        if self._open:
            self._unwatch()
            self._wait(taken)

    def _resume(self) -> None:
        if self._rest:
            taken = self._move()
            if taken and not self._moved:
                taken = self._pass_on(half=True)
            if self._rest:
                self._wait(taken)
        if self._open and not self._rest:
            self._loop.watch(self._read, READ, self._readable)

    def _wait(self, taken: bool) -> None:
        """Read again after a pause; `taken`: the target takes more."""
        pause = _BUSY_PAUSE if self._moved > self._much else PAUSE
        when = time.monotonic() + (pause if taken else _BLOCKED_PAUSE)
        self._timer = self._loop.at(when, self._resume)

    def _unwatch(self) -> None:
        if self._loop.watched(self._read):
            self._loop.unwatch(self._read)

    def _move(self) -> bool:
        """Pass on what there is; return False if the target takes no more."""
        self._moved = 0
        if not self._open:
            return True
        for _ in range(_MOST_READS):
            if not self._pass_on():
                return False
            try:
                data = os.read(self._read, _READ)
            except BlockingIOError:
                return True
            if not data:
                if not self._pass_on(half=True):
                    return False
                self._end()
                return True
            self._moved += len(data)
            self.lines += data.count(b"\n")
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            self._rest += data
            if len(data) < CHUNK:
                break
        return self._pass_on()

    def _pass_on(self, *, half: bool = False) -> bool:
        """Pass on whole lines, with `half` also the beginning of one; return False if the target
        takes no more.
        """
        end = self._rest.rfind(b"\n") + 1
        if half or (not end and len(self._rest) > _LONGEST):
            end = len(self._rest)
        taken = write_now(self._target, self._rest[:end])
        self._rest = self._rest[taken:]
        return taken == end

    def _end(self) -> None:
        """Close the pipe, at its end of file or earlier."""
        if not self._open:
            return
        if self._timer:
            self._timer.cancel()
        self._unwatch()
        os.close(self._read)
        self._open = False
