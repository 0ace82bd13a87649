"""Processes and their descriptors by pidfd: pidfd_open(2), Linux 5.3; pidfd_send_signal(2), Linux
5.1; pidfd_getfd(2), Linux 5.6; kcmp(2), Linux 3.5 with CONFIG_KCMP.

A pid is reused, a pidfd is not. Where pidfd_open is refused, signals are sent by pid: a child keeps
its pid until it is reaped, and only a grandchild that ends at this moment could be mistaken.
pidfd_getfd needs PTRACE_MODE_ATTACH_REALCREDS: under Yama's
default, a descendant of the same user. The seccomp filters of containers may refuse it (EPERM).
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct

from sockact.kernel.libc import per_machine, syscall
from sockact.kernel.looks import as_unavailable

_PIDFD_GETFD = 438
_KCMP = per_machine(312, 272)
_KCMP_FILE = 0
# struct pidfd_info: mask, cgroupid, pid, tgid, ppid, four pairs of ids, exit_code.
_INFO = struct.Struct("=QQ11Ii")
_INFO_FIELDS = 13
_INFO_EXIT = 1 << 3
_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11
_NOT_HERE = (errno.EPERM, errno.EACCES, errno.ENOSYS)


def getfd(pid: int, fd: int) -> int:
    """A close-on-exec duplicate of another process's descriptor.

    Raises ProcessLookupError if the process is gone, PermissionError if the kernel refuses, and
    OSError: EBADF if there is no such descriptor, ENOSYS before Linux 5.6.
    """
    pidfd = os.pidfd_open(pid)
    try:
        return syscall(_PIDFD_GETFD, pidfd, fd, 0)
    finally:
        os.close(pidfd)


def same_file(pid: int, one: int, other: int) -> bool:
    """Whether two descriptors of a process refer to the same open file; False if the kernel does
    not tell. Needs the same rights as /proc/PID/fd.
    """
    try:
        return syscall(_KCMP, pid, pid, _KCMP_FILE, one, other) == 0
    except OSError:
        return False


def wait_status(pidfd: int) -> int | None:
    """How the process of a pidfd has ended, as wait(2) tells it; None if it is not reaped yet, or
    the kernel does not tell. For any process, not only for children: PIDFD_GET_INFO with
    PIDFD_INFO_EXIT of linux/pidfd.h, Linux 6.15.
    """
    info = bytearray(_INFO.pack(_INFO_EXIT, *bytes(_INFO_FIELDS)))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(info)
    return int(status) if mask & _INFO_EXIT else None


def unavailable() -> str:
    """Why pidfd_open cannot be used here; "" if it can."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return os.strerror(error.errno or 0) if error.errno in _NOT_HERE else ""
    return ""


def send_signal(pid: int, number: int) -> bool:
    """Send a signal; False if the process has ended.

    Raises PermissionError, and procfs.Unavailable if no descriptor is left.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError as error:
        if error.errno in _NOT_HERE:
            return _kill(pid, number)
        raise as_unavailable(error) from None
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
