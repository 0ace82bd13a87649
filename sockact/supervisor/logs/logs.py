"""The logs of a service, and the process that writes them: docs/logs.md."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from sockact.core.errors import OperatorError
from sockact.core.news import News
from sockact.supervisor.base.loop import READ, WRITE
from sockact.supervisor.logs import pump
from sockact.supervisor.logs.channel import Channel
from sockact.supervisor.logs.log_state import LogState
from sockact.supervisor.logs.pipes import Pipes
from sockact.supervisor.records.carried_state import CarriedLogs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.model import Exit
    from sockact.core.plain import Json
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.logs.channel import Message
    from sockact.supervisor.logs.log_state import Notice
    from sockact.supervisor.logs.targets import Target

_REOPEN_WITHIN = 30.0
_END_WITHIN = 5.0
_PAUSE = 1.0
"""Seconds between the starts of log pumps that end at once."""


class Logs:
    """All logs of a service, perhaps none. `start`, or `take_over`, has to come first."""

    def __init__(
        self,
        loop: Loop,
        targets: tuple[Target, ...],
        notice: Notice,
        show: Callable[[], None],
    ) -> None:
        """`show` is called when `status` has changed."""
        self._loop = loop
        self._paths = tuple(target.path for target in targets)
        self._notice = notice
        self._states = [LogState(path, notice) for path in self._paths]
        self.pipes = Pipes(loop, targets, self._tell)
        self._channel: Channel | None = None
        self._pid = 0
        self._started = 0.0
        self._timer: Timer | None = None
        self._again: Timer | None = None
        self._reopening: list[tuple[Callable[[str], None], Timer]] = []
        # No answer to an earlier version of us is taken for one to us.
        self._asked = time.monotonic_ns()
        self._ended: Callable[[], None] | None = None
        self._show = show

    @property
    def files(self) -> int:
        """How many there are."""
        return len(self._paths)

    def start(self) -> None:
        """Start the log pump, where there is a log. Raises OperatorError."""
        try:
            if self._paths:
                self._start()
        except OSError as error:
            raise OperatorError(
                f"cannot start the log pump: {error.strerror}; look at the limits of processes "
                f"and of memory"
            ) from error

    def reopen(self, done: Callable[[str], None]) -> None:
        """Begin new files. `done` is called once, when nothing goes to the files before any more:
        with "", or with what went wrong.
        """
        if not self._paths:
            done("")
            return
        timer = self._loop.at(time.monotonic() + _REOPEN_WITHIN, self._reopen_late)
        self._reopening.append((done, timer))
        self._ask_to_reopen()

    def busy(self) -> str:
        """What has to end before another version takes over; "" for nothing."""
        if self._reopening:
            return "the logs are being reopened"
        if self._paths and (self._channel is None or self._channel.crowded):
            return "the log pump does not answer"
        return "the last lines of a generation are looked for" if self.pipes.waiting() else ""

    def status(self) -> list[Json]:
        """A Log of docs/control.md for each."""
        return [state.status() for state in self._states]

    def end(self, done: Callable[[], None]) -> None:
        """No process of the program is left: write what there is, then call `done`."""
        self._ended = done
        self._stop_timer()
        if self._channel is None and self._paths:
            # It has just died, and its pipes may have lines.
            with contextlib.suppress(OSError):
                self._start()
        if self._channel is None:
            self._finish()
            return
        self._tell({"end": True})
        self._timer = self._loop.at(time.monotonic() + _END_WITHIN, self._end_late)

    def close(self) -> None:
        """Let go of everything; a log pump that is left ends when the program does."""
        self._stop_timer()
        if self._again:
            self._again.cancel()
        self._part()
        self.pipes.close()

    # The log pump comes and goes.

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the log pump, which then is replaced."""
        if pid != self._pid:
            return
        self._hear(READ)
        self._part()
        if self._ended:
            self._finish()
            return
        waited = sum(state.waiting for state in self._states)
        lost = f"{waited} bytes that waited for the disk" if waited else "what it had just read"
        self._notice(
            f"the log pump has ended ({exit}), and with it {lost}: another follows", News.LOG
        )
        for state in self._states:
            state.forget_pump()
        if time.monotonic() - self._started > _PAUSE:
            self._start_again()
        else:
            self._timer = self._loop.at(time.monotonic() + _PAUSE, self._start_again)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = pump.fork(theirs, self._paths)
            except OSError:
                ours.close()
                raise
        self._meet(pid, ours)
        self.pipes.tell_all()
        if self._reopening:
            self._ask_to_reopen()

    def _start_again(self) -> None:
        try:
            self._start()
        except OSError:
            self._timer = self._loop.at(time.monotonic() + _PAUSE, self._start_again)

    def _meet(self, pid: int, sock: socket.socket) -> None:
        self._pid, self._started = pid, time.monotonic()
        self._channel = Channel(sock)
        self._loop.watch(self._channel.fileno(), READ, self._hear)

    def _part(self) -> None:
        if self._channel:
            self._unwatch(self._channel)
            self._channel.close()
        self._channel, self._pid = None, 0

    def _end_late(self) -> None:
        """It hangs in the middle of a write, and may do so for ever."""
        os.kill(self._pid, signal.SIGKILL)
        self._notice("the log pump did not end: the last lines may be missing", News.LOG)
        self._part()
        self._finish()

    def _finish(self) -> None:
        self._stop_timer()
        for state in self._states:
            state.say_dropped()
        self._reopened("the service has stopped")
        done, self._ended = self._ended, None
        if done:
            done()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()

    # What it is asked, and tells.

    def _ask_to_reopen(self) -> None:
        self._asked += 1
        self._tell({"reopen": self._asked})

    def _reopen_late(self) -> None:
        self._reopened(f"the log pump has not answered for {_REOPEN_WITHIN:g} s: a disk hangs?")

    def _reopened(self, error: str) -> None:
        waiting, self._reopening = self._reopening, []
        for done, timer in waiting:
            timer.cancel()
            done(error)

    def _tell(self, message: Message, fd: int | None = None) -> None:
        if self._channel:
            self._channel.tell(message, fd)
            self._watch(self._channel)

    def _watch(self, channel: Channel) -> None:
        if self._loop.watched(channel.fileno()):
            waits = channel.crowded and not channel.stuck
            self._loop.modify(channel.fileno(), READ | WRITE if waits else READ)
        if channel.stuck and self._again is None:
            self._again = self._loop.at(time.monotonic() + _PAUSE, self._hear_again)

    def _hear_again(self) -> None:
        self._again = None
        self._hear(READ)

    def _unwatch(self, channel: Channel) -> None:
        if self._loop.watched(channel.fileno()):
            self._loop.unwatch(channel.fileno())

    def _hear(self, _mask: int) -> None:
        channel = self._channel
        if channel is None:
            return
        channel.flush()
        try:
            for message, _fd in channel.heard():
                self._learn(message)
        except EOFError:
            self._unwatch(channel)  # It ends; we hear of that as of any child.
        else:
            self._watch(channel)

    def _learn(self, message: Message) -> None:
        if "state" in message:
            self._states[message["state"]].learn(message)
            self._show()
        elif "key" in message:
            self.pipes.learn(message)
        elif "missing" in message:
            self._loop.at(time.monotonic() + _PAUSE, self.pipes.tell_all)
        # An answer to those who asked before comes too early for the last of them.
        elif message.get("reopened") == self._asked:
            self._reopened(message["error"])

    # Another version takes our place.

    def carried(self) -> CarriedLogs | None:
        """While not busy; None where there is no log."""
        if self._channel is None:
            return None
        states = tuple(state.carried() for state in self._states)
        return CarriedLogs(self._pid, self._channel.fileno(), states, *self.pipes.carried())

    def take_over(self, carried: CarriedLogs | None) -> None:
        """Go on with the log pump of an earlier version of us."""
        if carried is None:
            return
        for state, one in zip(self._states, carried.states, strict=True):
            state.take_over(one)
        self.pipes.take_over(carried.last_key, carried.pipes)
        self._meet(carried.pid, socket.socket(fileno=carried.channel))
