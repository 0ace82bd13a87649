"""The log pump: the process that writes the output of all generations to the logs. docs/logs.md.

It is a fork of the supervisor and shares its memory and code, but never returns into it. It keeps
reading while a disk takes nothing, so that the program never waits; only a write(2) that does not
return can stop it. It sleeps while there is nothing to do. While lines arrive, it reads every PAUSE
seconds, to write many lines at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import sys
import time

from sockact.core.backlog import Lines
from sockact.kernel import signals
from sockact.kernel.libc import close_others
from sockact.kernel.sockets import received
from sockact.supervisor.logs.channel import Channel
from sockact.supervisor.logs.file import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import NoReturn

    from sockact.supervisor.logs.messages import Message

PAUSE = 0.01
"""Seconds."""
LAST_WORDS = 2.0
"""Seconds that the last lines wait for a disk."""

_MOST_READS = 16
_OFTEN = 4
"""A pipe that is fuller than 1/_OFTEN may be full before the next round, so there is no pause."""
_TAIL = 16384
_NAME = b"sockact-log"
_IGNORED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGXFSZ")


class _Source:
    """The output of one generation to one log: the read end of a pipe."""

    def __init__(self, key: int, fd: int, log: LogFile) -> None:
        self.key = key
        self.fd = fd
        self.log = log
        self.lines = Lines()
        self.count = 0
        """Lines that were read."""
        self.tail = b""
        # Read all at once: the data then ends with a whole write, and most writes end a line.
        self.size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


class LogPump:
    """The process, until its pipes are at their end and the supervisor is gone."""

    def __init__(self, control: socket.socket, paths: tuple[str, ...]) -> None:
        self._channel = Channel(control)
        self._logs = [LogFile(path) for path in paths]
        self._sources: dict[int, _Source] = {}
        self._poll = select.poll()
        self._control = select.poll()
        self._alone = False
        self._end_at: float | None = None
        self._watch_control()

    def run(self) -> None:
        """Return when all lines are written, or cannot be."""
        for log in self._logs:
            log.flush()
        while True:
            self._tell_states()
            if self._over():
                break
            self._turn()
        for log in self._logs:
            log.give_up()
        self._tell_states()

    def _turn(self) -> None:
        """Wait for events, then handle them."""
        read, much = False, False
        for fd, _events in self._poll.poll(self._timeout()):
            if fd == self._channel.fileno():
                self._hear()
            elif source := self._sources.get(fd):
                size = self._read(source)
                read, much = True, much or size > source.size // _OFTEN
        now = time.monotonic()
        for log in self._logs:
            if log.retry_at is not None and log.retry_at <= now:
                log.flush()
        if read and not much:
            self._control.poll(PAUSE * 1000)

    def _timeout(self) -> float | None:
        """Return the time until the next deadline, in milliseconds."""
        times = [log.retry_at for log in self._logs if log.retry_at is not None]
        times += [] if self._end_at is None else [self._end_at]
        return max(0.0, (min(times) - time.monotonic()) * 1000 + 1) if times else None

    def _over(self) -> bool:
        """Whether no more lines will come, and all are written or have waited long enough."""
        if not (self._alone and not self._sources):
            return False
        if not any(log.error for log in self._logs):
            return True
        if self._end_at is None:
            self._end_at = time.monotonic() + LAST_WORDS
        return time.monotonic() >= self._end_at

    # Output of the generations.

    def _read(self, source: _Source) -> int:
        """Pass on what is in the pipe; return the number of bytes."""
        try:
            data = os.read(source.fd, source.size)
        except BlockingIOError:
            return 0
        if data:
            source.count += data.count(b"\n")
            source.tail = (source.tail + data[-_TAIL:])[-_TAIL:]
            self._put(source, source.lines.feed(data))
        else:
            self._end(source)
        return len(data)

    def _drain(self, source: _Source) -> None:
        """Pass on everything in the pipe."""
        for _ in range(_MOST_READS):
            if not self._read(source):
                return

    def _end(self, source: _Source) -> None:
        self._put(source, source.lines.end())
        self._poll.unregister(source.fd)
        del self._sources[source.fd]
        os.close(source.fd)
        self._tell_tail(source, ended=True)
        self._watch_control()

    def _put(self, source: _Source, data: bytes) -> None:
        if data:
            source.log.put(source.key, data)

    # Messages from and to the supervisor.

    def _hear(self) -> None:
        self._channel.flush()
        try:
            for message, fd in self._channel.heard():
                self._obey(message, fd)
        except EOFError:
            self._poll.unregister(self._channel.fileno())
            self._control.unregister(self._channel.fileno())
            self._alone = True
            return
        self._watch_control()

    def _obey(self, message: Message, fd: int | None) -> None:
        if fd is not None and "add" not in message:
            received.close([fd])
        if "add" in message and fd is None:
            # This process had no descriptor left: SCM_RIGHTS of unix(7), MSG_CTRUNC.
            self._channel.tell({"missing": message["add"]})
        elif "add" in message and fd is not None:
            self._add(message["add"], fd, message["log"])
        elif "reopen" in message:
            reasons = [log.reopen() for log in self._logs]
            self._tell_states()
            why = "; ".join(filter(None, reasons))
            self._channel.tell({"reopened": message["reopen"], "error": why})
        elif "tail" in message:
            for source in tuple(self._sources.values()):
                if source.key == message["tail"]:
                    self._drain(source)
                    # At its end, the tail is sent already.
                    if source.fd in self._sources:
                        self._tell_tail(source, ended=False)
        elif "count" in message:
            for source in self._sources.values():
                if source.key == message["count"]:
                    self._channel.tell({"counted": source.key, "lines": source.count})
        elif "end" in message:
            # Processes that still hold a pipe do not belong to the service.
            for source in tuple(self._sources.values()):
                self._drain(source)
                if source.fd in self._sources:
                    self._end(source)
            self._alone = True

    def _add(self, key: int, fd: int, log: int) -> None:
        known = any(source.key == key for source in self._sources.values())
        # Known: sent again along with one that was missing.
        if not known and log < len(self._logs):
            with contextlib.suppress(OSError):  # It is no pipe.
                self._sources[fd] = _Source(key, fd, self._logs[log])
                self._poll.register(fd, select.POLLIN)
                return
        received.close([fd])

    def _tell_tail(self, source: _Source, *, ended: bool) -> None:
        text = source.tail.decode("utf-8", "replace")
        self._channel.tell({"key": source.key, "tail": text, "ended": ended})

    def _tell_states(self) -> None:
        """Send the state of each log that has changed; without room, only the latest, later."""
        for number, log in enumerate(self._logs):
            if self._channel.crowded or not log.take_news():
                continue
            state = {
                "state": number,
                "dropped_lines": log.backlog.dropped_lines,
                "dropped_bytes": log.backlog.dropped_size,
                "waiting_bytes": len(log.backlog.waiting),
                "error": log.error,
            }
            self._channel.tell(state)
        self._watch_control()

    def _watch_control(self) -> None:
        if not self._alone:
            mask = select.POLLIN | (select.POLLOUT if self._channel.crowded else 0)
            self._poll.register(self._channel.fileno(), mask)
            self._control.register(self._channel.fileno(), mask)


def fork(control: socket.socket, paths: tuple[str, ...]) -> int:
    """Start the log pump; return its pid. Raises OSError."""
    with signals.blocked():
        pid = os.fork()
        if pid == 0:
            _child(control, paths)
        return pid


def _child(control: socket.socket, paths: tuple[str, ...]) -> NoReturn:
    status = 1
    try:
        # Memory stays shared with the supervisor as long as the collector does not touch it.
        gc.disable()
        _leave_supervisor(control.fileno())
        LogPump(control, paths).run()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _leave_supervisor(control: int) -> None:
    os.setsid()
    os.chdir("/")
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    close_others([0, 1, 2, control])  # First, because none may be left for /dev/null.
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as file:
        file.write(_NAME)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
