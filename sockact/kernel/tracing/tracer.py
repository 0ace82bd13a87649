"""A tracer of some threads of another process, until a deadline: ptrace(2), PTRACE_SEIZE (Linux
3.4), PTRACE_O_TRACESYSGOOD and PTRACE_O_TRACECLONE (Linux 2.6).

The kernel lets go of all threads when their tracer ends, however it ends, and resumes those that
are stopped: PTRACE_O_EXITKILL is not set. A thread that is not stopped can be let go in no other
way without interrupting its call, with EINTR for some (signal(7)). So the tracer is a process that
does nothing else and has no other children, and its end ends the tracing.

Needs PTRACE_MODE_ATTACH_REALCREDS, as pidfd_getfd(2) does. A thread has one tracer at most.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from enum import Enum

from sockact.core.record import dataclass
from sockact.kernel import libc
from sockact.kernel.tracing import registers
from sockact.kernel.tracing.registers import Call, Result

_SYSCALL, _DETACH = 24, 17
_SEIZE, _INTERRUPT = 0x4206, 0x4207
_O_TRACESYSGOOD, _O_TRACECLONE = 1, 1 << 3
_EVENT_STOP = 128
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_WALL = 0x40000000
"""Threads, too: waitpid(2)."""


class At(Enum):
    """Where a traced thread has stopped."""

    ENTRY = "entry"
    """A system call begins."""
    EXIT = "exit"
    """A system call ends."""
    INTERRUPTED = "interrupted"
    """Outside of a call, or a call was interrupted."""


@dataclass(frozen=True)
class Stop:
    """A thread that is stopped until `resume` or `let_go`."""

    tid: int
    at: At
    call: Call | None = None
    """The call that begins."""
    result: int = 0
    """That of the call that ends: a value, or a negative errno."""


class Tracer:
    """Traces threads for as long as this process lives, at most."""

    def __init__(self) -> None:
        # A stop sends SIGCHLD, unless that is ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.threads: set[int] = set()

    def seize(self, tid: int) -> None:
        """Trace a thread; it is not stopped. Does nothing if it has ended.

        Raises PermissionError: without the right to trace it, or if it has a tracer.
        """
        with contextlib.suppress(ProcessLookupError):
            libc.ptrace(_SEIZE, tid, 0, _O_TRACESYSGOOD | _O_TRACECLONE)
            self.threads.add(tid)

    def interrupt(self, tid: int) -> None:
        """Have a thread stop as soon as it can, even in a call that waits."""
        self._tell(_INTERRUPT, tid)

    def resume(self, tid: int, signal_number: int = 0) -> None:
        """Let a stopped thread go on until its next system call begins or ends."""
        self._tell(_SYSCALL, tid, signal_number)

    def let_go(self, tid: int, signal_number: int = 0) -> None:
        """Trace a stopped thread no longer."""
        self._tell(_DETACH, tid, signal_number)
        self.threads.discard(tid)

    def wait(self, until: float) -> Stop | None:
        """The next stop; None at the deadline (time.monotonic()), or if no thread is left."""
        while self.threads:
            tid, status = self._next()
            if tid:
                if (stop := self._stop(tid, status)) is not None:
                    return stop
                continue
            left = until - time.monotonic()
            if left <= 0 or signal.sigtimedwait({signal.SIGCHLD}, left) is None:
                return None
        return None

    def _next(self) -> tuple[int, int]:
        try:
            return os.waitpid(-1, os.WNOHANG | _WALL)
        except ChildProcessError:
            self.threads.clear()
            return 0, 0

    def _stop(self, tid: int, status: int) -> Stop | None:
        """What has happened, if that is for the caller; otherwise deal with it."""
        if not os.WIFSTOPPED(status):
            self.threads.discard(tid)
            return None
        self.threads.add(tid)  # It may be a new one, of a traced thread.
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_STOP:
            if number == signal.SIGTRAP:
                return Stop(tid, At.INTERRUPTED)
            self.let_go(tid)  # The process was stopped, by SIGSTOP say, and remains so.
        elif event:
            self.resume(tid)  # It has made a thread.
        elif number == _SYSCALL_STOP:
            return self._at_call(tid)
        else:
            self.resume(tid, number)  # A signal, which it gets now.
        return None

    def _at_call(self, tid: int) -> Stop | None:
        try:
            found = registers.at_stop(tid)
        except ProcessLookupError:
            return None  # It was killed. The next status tells so.
        if isinstance(found, Call):
            return Stop(tid, At.ENTRY, found)
        if isinstance(found, Result):
            return Stop(tid, At.EXIT, result=found.value)
        self.resume(tid)
        return None

    def _tell(self, request: int, tid: int, data: int = 0) -> None:
        """Make a request. A thread that was killed meanwhile needs none."""
        with contextlib.suppress(ProcessLookupError):
            libc.ptrace(request, tid, 0, data)
