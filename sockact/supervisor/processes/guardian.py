"""A guardian: the process that ends a program when the supervisor has been killed.

The kernel does that itself (PR_SET_PDEATHSIG), but forgets it when a process changes its user or
group. Only root's programs can, and systemd ends whatever is left of its services. So a guardian is
needed only for a program that has changed its user under a supervisor that is root, and that
systemd did not execute.

It is a fork of the supervisor, keeps its rights, and sleeps until the program or the supervisor has
ended. It never returns into the supervisor.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket

from sockact.kernel import credentials, signals
from sockact.kernel.libc import close_others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

_NAME = b"sockact-guard"


def is_needed(pid: int, environment: Mapping[str, str]) -> bool:
    """Whether the kernel has forgotten to end this program with the supervisor, and systemd would
    not do it either.
    """
    if os.geteuid() != 0 or os.getpid() == 1:
        return False
    if environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        return False
    found = credentials.identity(pid)
    return bool(found) and found != credentials.identity(os.getpid())


def start(pid: int, stop_signal: int) -> int:
    """Start the guardian of a child of the supervisor; return a descriptor that has to stay open
    as long as the supervisor lives. Raises OSError.
    """
    own, other = socket.socketpair()
    with own, other:
        pidfd = os.pidfd_open(pid)
        try:
            with signals.blocked():
                if os.fork() == 0:
                    _child(other.fileno(), pidfd, stop_signal)
        finally:
            os.close(pidfd)
        return own.detach()


def _child(supervisor: int, pidfd: int, stop_signal: int) -> NoReturn:
    try:
        # Memory stays shared with the supervisor as long as the collector does not touch it.
        gc.disable()
        _leave_supervisor(supervisor, pidfd)
        poll = select.poll()
        poll.register(supervisor, 0)  # Only a hang-up.
        poll.register(pidfd, select.POLLIN)
        if pidfd not in dict(poll.poll()):
            signal.pidfd_send_signal(pidfd, stop_signal)
    except BaseException:
        os._exit(1)  # There is nobody to tell.
    finally:
        os._exit(0)


def _leave_supervisor(*kept: int) -> None:
    """Close all other descriptors, and ignore the signals to the supervisor."""
    os.setsid()
    os.chdir("/")
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    close_others([0, 1, 2, *kept])  # First, because none may be left for /dev/null.
    null = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as file:
        file.write(_NAME)
