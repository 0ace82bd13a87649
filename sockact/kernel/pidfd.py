"""Processes and their descriptors by pidfd: pidfd_getfd(2), Linux 5.6; pidfd_send_signal(2), 5.1.

A pid is reused, a pidfd is not. pidfd_getfd needs PTRACE_MODE_ATTACH_REALCREDS: a descendant of the
same user under Yama's default, and not refused by a seccomp filter (containers refuse it: EPERM).
"""

from __future__ import annotations

import os
import signal

from sockact.kernel.libc import syscall
from sockact.kernel.procfs import as_unavailable

_PIDFD_GETFD = 438


def getfd(pid: int, fd: int) -> int:
    """A duplicate, close-on-exec, of another process's descriptor.

    Raises ProcessLookupError when the process is gone, PermissionError when that is refused,
    OSError with EBADF when it has no such descriptor, ENOSYS before Linux 5.6.
    """
    pidfd = os.pidfd_open(pid)
    try:
        return syscall(_PIDFD_GETFD, pidfd, fd, 0)
    finally:
        os.close(pidfd)


def send_signal(pid: int, number: int) -> bool:
    """Signal a process; False when it has ended already.

    Raises PermissionError, and procfs.Unavailable when there is no descriptor for it.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise as_unavailable(error) from None
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True
