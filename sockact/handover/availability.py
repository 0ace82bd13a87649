"""Whether adoption by seccomp works here."""

from __future__ import annotations

import os
import socket

from sockact.kernel import procfs, seccomp
from sockact.kernel.seccomp import Call


def unavailable() -> str:
    """Why seccomp notification cannot be used here; "" if it can. Tries it in a child process."""
    if reason := seccomp.unavailable():
        return reason
    with socket.socket(socket.AF_UNIX) as found:
        if not procfs.socket_protocol(os.getpid(), found.fileno()):
            return "cannot read the protocol of a socket: allow getxattr(2) of /proc/PID/fd/N"
    try:
        pid = os.fork()
    except OSError as error:
        return f"cannot fork: {error.strerror}"
    if pid == 0:
        try:
            seccomp.install({Call.BIND})
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"cannot install a seccomp filter: {os.strerror(code)}" if code else ""
