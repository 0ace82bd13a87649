"""The supervisor's only wait: ready file descriptors, signals, children that end, and the next
deadline.

Callbacks must not block. An exception that leaves a callback is a bug of ours, which others may
have provoked. It is reported, and the loop goes on: no program or neighbour can end the supervisor.
The descriptor of that callback is not watched for a moment, so that one which stays ready does not
keep the supervisor busy.

Times are CLOCK_MONOTONIC in seconds, like those of `time.monotonic()`.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import signal
import socket
import time
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.core.lifecycle.model import Exit

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
_FEW_TIMERS = 64
_PAUSE = 0.1
"""Seconds for which a descriptor is not watched after its callback has failed."""


class Timer:
    """A callback that is due at `when`, unless it is cancelled first."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call the callback any more."""
        self.callback = None


class Loop:
    """Watches descriptors, children and deadlines until `stop`; single-threaded, not re-entrant."""

    def __init__(self, failed: Callable[[Exception], None] | None = None) -> None:
        """`failed` is called with each exception that leaves a callback. Without it, `run` raises
        the exception.
        """
        self._failed = failed
        self._paused: dict[int, tuple[int, Callable[[int], None]]] = {}
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._compact_at = _FEW_TIMERS
        self._sequence = itertools.count()
        self._stopped = False
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._on_signal: Callable[[int], None] | None = None
        # A dict, because it keeps the order of the signal numbers.
        self._signals: dict[int, None] = {}
        self._children: dict[int, Callable[[Exit], None]] = {}

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        """Call `callback(ready_mask)` whenever fd is ready to READ or WRITE (level-triggered)."""
        self._paused.pop(fd, None)
        self._selector.register(fd, mask, callback)

    def modify(self, fd: int, mask: int) -> None:
        """Watch fd for other events with the same callback."""
        if fd in self._paused:
            self._paused[fd] = mask, self._paused[fd][1]
            return
        self._selector.modify(fd, mask, self._selector.get_key(fd).data)

    def unwatch(self, fd: int) -> None:
        """Stop watching fd; call this before closing it."""
        if self._paused.pop(fd, None):
            return
        self._selector.unregister(fd)

    def watched(self, fd: int) -> bool:
        """Whether fd is watched."""
        return fd in self._selector.get_map() or fd in self._paused

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback()` once, at or soon after `when`."""
        timer = Timer(when, callback)
        if len(self._timers) >= self._compact_at:
            # Otherwise a cancelled timer would stay until its deadline, hours perhaps.
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._compact_at = max(_FEW_TIMERS, 2 * len(self._timers))
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def watch_child(self, pid: int, ended: Callable[[Exit], None]) -> None:
        """Call `ended(exit)` once, when this child has ended and was reaped."""
        self._children[pid] = ended

    def unwatch_child(self, pid: int) -> None:
        """Do not call `ended` for this child any more, if that was not done yet."""
        self._children.pop(pid, None)

    def child_ended(self, pid: int, exit: Exit) -> None:
        """Report the end of a child, which was reaped, to the one that watches it, if any."""
        if ended := self._children.pop(pid, None):
            self.guard(ended, exit)

    def catch(self, signals: Iterable[signal.Signals], callback: Callable[[int], None]) -> None:
        """Deliver these signals as `callback(number)` from the loop.

        The handlers only note the number; CPython also writes a byte into a socket, which wakes the
        loop. Signals that were blocked are unblocked here, once they can be delivered: before that
        they would kill the supervisor.
        """
        receive, send = socket.socketpair()
        receive.setblocking(False)
        send.setblocking(False)
        self._wakeup = (receive, send)
        self._on_signal = callback
        # A full buffer already wakes the loop, so a lost byte does no harm.
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        numbers = list(signals)
        for number in numbers:
            signal.signal(number, self._note_signal)
        self.watch(receive.fileno(), READ, self._read_signals)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def signalled(self) -> bool:
        """Whether a signal has arrived that is not delivered yet."""
        return bool(self._signals)

    def run(self) -> None:
        """Run until `stop`, even if that was called before. Sleeps in one epoll_wait as long as
        nothing is due.
        """
        while not self._stopped:
            for key, mask in self._selector.select(self._timeout()):
                # An earlier callback of this round may have stopped watching this descriptor.
                if self._is_current(key) and not self.guard(key.data, mask):
                    self._pause(key)
            self._run_due(time.monotonic())
        self._stopped = False

    def guard(self, callback: Callable[..., object], *arguments: object) -> bool:
        """Call the callback as the loop does; return whether it returned, and raised nothing."""
        try:
            callback(*arguments)
        except Exception as error:
            self.note(error)
            return False
        return True

    def note(self, error: Exception) -> None:
        """Report an exception that is a bug of ours."""
        if self._failed is None:
            raise error
        self._failed(error)

    def stop(self) -> None:
        """Let `run` return after the current round."""
        self._stopped = True

    def close(self) -> None:
        """Close the loop's own descriptors; signals wake it no more."""
        if self._wakeup:
            signal.set_wakeup_fd(-1)
            for end in self._wakeup:
                end.close()
        self._selector.close()

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if (callback := timer.callback) is not None:
                timer.callback = None
                self.guard(callback)

    def _is_current(self, key: selectors.SelectorKey) -> bool:
        now = self._selector.get_map().get(key.fd)
        return now is not None and now.data is key.data

    def _pause(self, key: selectors.SelectorKey) -> None:
        """Do not watch the descriptor for a moment, if its callback has not ended the watch."""
        if self._is_current(key):
            now = self._selector.unregister(key.fd)
            self._paused[key.fd] = now.events, now.data
            self.at(time.monotonic() + _PAUSE, partial(self._resume, key.fd, now.data))

    def _resume(self, fd: int, callback: Callable[[int], None]) -> None:
        mask, paused = self._paused.get(fd, (0, None))
        if paused is callback:
            del self._paused[fd]
            self.watch(fd, mask, callback)

    def _note_signal(self, number: int, _frame: object) -> None:
        self._signals[number] = None

    def _read_signals(self, _mask: int) -> None:
        assert self._wakeup
        assert self._on_signal
        self._wakeup[0].recv(4096)
        # A signal that arrives now is noted for this round, or for the next, which its byte wakes.
        noted, self._signals = self._signals, {}
        for number in noted:
            self.guard(self._on_signal, number)
