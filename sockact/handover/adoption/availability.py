"""Whether adoption by seccomp works here."""

from __future__ import annotations

import os
import signal
import socket

from sockact.kernel import procfs, seccomp
from sockact.kernel.seccomp import Call


class Attempt:
    """Tries seccomp notification in a child process, which runs beside what its maker does next."""

    def __init__(self) -> None:
        self._pid = 0
        self._reason = _refused()
        if self._reason:
            return
        try:
            self._pid = os.fork()
        except OSError as error:
            self._reason = f"cannot fork: {error.strerror}"
            return
        if self._pid == 0:
            _try()

    def reason(self) -> str:
        """Wait for the child; return why seccomp notification cannot be used, "" if it can."""
        if self._pid:
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            self._pid = 0
            self._reason = f"cannot install a seccomp filter: {_failure(code)}" if code else ""
        return self._reason


def _failure(code: int) -> str:
    """What ended the child: an exit status or, if negative, a signal."""
    if code == -signal.SIGSYS:
        return (
            "killed by SIGSYS; allow seccomp in SystemCallFilter=, or set "
            "SystemCallErrorNumber=EPERM"
        )
    return os.strerror(code) if code > 0 else f"killed by {signal.Signals(-code).name}"


def _refused() -> str:
    """Why it cannot work, as far as that can be seen without trying; "" if it may."""
    if reason := seccomp.unavailable():
        return reason
    with socket.socket(socket.AF_UNIX) as found:
        if not procfs.socket_protocol(os.getpid(), found.fileno()):
            return "cannot read the protocol of a socket: allow getxattr(2) of /proc/PID/fd/N"
    return ""


def _try() -> None:
    """Install a filter in the child; its exit status is the error number."""
    code = 1
    try:
        seccomp.install({Call.BIND})
        code = 0
    except OSError as error:
        code = error.errno or 1
    finally:
        os._exit(code)
