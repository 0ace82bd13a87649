"""The logs of a service, and the log pump, the process that writes them: docs/logs.md."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from sockact.core.errors import OperatorError
from sockact.core.message_kinds import News
from sockact.kernel.sockets import received
from sockact.supervisor.base.loop import READ, WRITE
from sockact.supervisor.logs.channel import Channel
from sockact.supervisor.logs.log_state import LogState
from sockact.supervisor.logs.pipes import Pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.logs.log_state import Notice
    from sockact.supervisor.logs.messages import Message
    from sockact.supervisor.logs.targets import Target
    from sockact.supervisor.records.carried_state import CarriedLogs

# Seconds.
_REOPEN_WITHIN = 30.0
_END_WITHIN = 5.0
_PAUSE = 1.0
"""Between the starts of log pumps that exit at once."""


class Logs:
    """All logs of a service, if any. Call `start` or `take_over` first."""

    def __init__(
        self,
        loop: Loop,
        targets: tuple[Target, ...],
        notice: Notice,
        show: Callable[[], None],
    ) -> None:
        """`show` is called when `status` changes."""
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
        self._missing: Timer | None = None
        self._reopening: list[tuple[Callable[[str], None], Timer]] = []
        # Not 0: an answer to the version before an upgrade must not be taken for a current one.
        self._asked = time.monotonic_ns()
        self._ended: Callable[[], None] | None = None
        self._show = show

    @property
    def files(self) -> int:
        """Number of log files."""
        return len(self._paths)

    def start(self) -> None:
        """Start the log pump, if there is a log. Raises OperatorError."""
        try:
            if self._paths:
                self._start()
        except OSError as error:
            raise OperatorError(
                f"cannot start the log pump: {error.strerror}; check the limits on processes "
                "and memory"
            ) from error

    def reopen(self, done: Callable[[str], None]) -> None:
        """Begin new files. `done` is called once, when nothing is written to the earlier files any
        more: with "", or with what went wrong.
        """
        if not self._paths:
            done("")
            return
        timer = self._loop.at(time.monotonic() + _REOPEN_WITHIN, self._reopen_late)
        self._reopening.append((done, timer))
        self._ask_to_reopen()

    def busy(self) -> str:
        """Return what must end before an upgrade, or ""."""
        if self._reopening:
            return "the logs are being reopened"
        if self._paths and (self._channel is None or self._channel.crowded):
            return "the log pump is not responding"
        return "the last output of a generation is still being read" if self.pipes.waiting() else ""

    def status(self) -> list[Json]:
        """Return a Log of docs/control.md for each log."""
        return [state.status() for state in self._states]

    def end(self, done: Callable[[], None]) -> None:
        """Write the remaining lines of the program, which has ended, then call `done`."""
        self._ended = done
        self._stop_timer()
        if self._channel is None and self._paths:
            # The log pump has just died, and there may be lines in its pipes.
            with contextlib.suppress(OSError):
                self._start()
        if self._channel is None:
            self._finish()
            return
        self._tell({"end": True})
        self._timer = self._loop.at(time.monotonic() + _END_WITHIN, self._end_late)

    def close(self) -> None:
        """Close everything; a log pump that is still there ends with the program."""
        self._stop_timer()
        for timer in filter(None, (self._again, self._missing)):
            timer.cancel()
        self._part()
        self.pipes.close()

    # Start and end of the log pump.

    def _pump_ended(self, exit: Exit) -> None:
        """Start another log pump."""
        self._hear(READ)
        self._part()
        if self._ended:
            self._finish()
            return
        waited = sum(state.waiting for state in self._states)
        lost = f"{waited} bytes waiting for the disk" if waited else "the lines it had just read"
        self._notice(f"the log pump {exit}; {lost} are lost; starting another one", News.LOG)
        for state in self._states:
            state.forget_pump()
        if time.monotonic() - self._started > _PAUSE:
            self._start_again()
        else:
            self._timer = self._loop.at(time.monotonic() + _PAUSE, self._start_again)

    def _start(self) -> None:
        from sockact.supervisor.logs import pump

        own, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with child_end:
            try:
                pid = pump.fork(child_end, self._paths)
            except OSError:
                own.close()
                raise
        self._meet(pid, own)
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
        self._loop.watch_child(pid, self._pump_ended)
        self._channel = Channel(sock)
        self._loop.watch(self._channel.fileno(), READ, self._hear)

    def _part(self) -> None:
        if self._channel:
            self._unwatch(self._channel)
            self._channel.close()
        self._loop.unwatch_child(self._pid)
        self._channel, self._pid = None, 0

    def _end_late(self) -> None:
        """Kill a log pump that hangs in a write, perhaps for ever."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._notice("the log pump did not exit; the last lines may be missing", News.LOG)
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

    # Messages to and from the log pump.

    def _ask_to_reopen(self) -> None:
        self._asked += 1
        self._tell({"reopen": self._asked})

    def _reopen_late(self) -> None:
        self._reopened(
            f"the log pump has not responded for {_REOPEN_WITHIN:g} s; is a disk hanging?"
        )

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
            for message, fd in channel.heard():
                received.close([] if fd is None else [fd])
                self._learn(message)
        except EOFError:
            self._unwatch(channel)  # The log pump is ending, and will be reaped.
        else:
            self._watch(channel)

    def _learn(self, message: Message) -> None:
        if "state" in message:
            for state in self._states[message["state"] :][:1]:
                state.learn(message)
                self._show()
        elif "key" in message:
            self.pipes.learn(message)
        elif "counted" in message:
            self.pipes.counted(message)
        elif "missing" in message:
            if self._missing is None:
                self._missing = self._loop.at(time.monotonic() + _PAUSE, self._tell_missing)
        # An answer to an earlier request does not cover the latest one.
        elif message.get("reopened") == self._asked:
            self._reopened(message["error"])

    def _tell_missing(self) -> None:
        self._missing = None
        self.pipes.tell_all()

    # Upgrades.

    def carried(self) -> CarriedLogs | None:
        """Return the state to carry over an upgrade; None if there is no log."""
        from sockact.supervisor.records.carried_state import CarriedLogs

        if self._channel is None:
            return None
        states = tuple(state.carried() for state in self._states)
        return CarriedLogs(self._pid, self._channel.fileno(), states, *self.pipes.carried())

    def take_over(self, carried: CarriedLogs | None) -> None:
        """Continue with the log pump that an upgrade carried over."""
        if carried is None:
            return
        for state, one in zip(self._states, carried.states, strict=True):
            state.take_over(one)
        self.pipes.take_over(carried.last_key, carried.pipes)
        self._meet(carried.pid, socket.socket(fileno=carried.channel))
