"""System calls that Python does not wrap, or only in part: syscall(2), prctl(2), ptrace(2),
close_range(2)."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LIBC = ctypes.CDLL(None, use_errno=True)

MACHINE = os.uname().machine


def per_machine(x86_64: int, aarch64: int) -> int:
    """A number that differs between the supported architectures; -1 elsewhere (ENOSYS)."""
    return {"x86_64": x86_64, "aarch64": aarch64}.get(MACHINE, -1)


_PTRACE = per_machine(101, 117)


def syscall(number: int, *arguments: int) -> int:
    """Make a system call; every argument is passed as a long. Raises OSError with errno set."""
    return call("syscall", ctypes.c_long(number), *map(ctypes.c_long, arguments))


def prctl(option: int, argument: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    call("prctl", option, *map(ctypes.c_ulong, (argument, 0, 0, 0)))


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    """ptrace(2) as the kernel has it: what is read is stored at `data`. Raises OSError."""
    syscall(_PTRACE, request, tid, address, data)


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def become_subreaper() -> None:
    """Orphaned descendants become children of this process (PR_SET_CHILD_SUBREAPER, Linux 3.4)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int) -> None:
    """Send this process the signal when its parent ends (PR_SET_PDEATHSIG, Linux 2.1.57)."""
    prctl(PR_SET_PDEATHSIG, number)


def no_new_privileges() -> None:
    """Gain no privileges by execve, nor do children (PR_SET_NO_NEW_PRIVS, Linux 3.5)."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def close_others(kept: Iterable[int]) -> None:
    """Close all descriptors but these, in a fork that must not keep pipes, listeners or locks."""
    try:
        highest = max(map(int, os.listdir("/proc/self/fd")))
    except OSError:
        # No descriptor is left to list them, say. close_range(2) takes any number, but before Linux
        # 5.9 Python tries each.
        highest = os.sysconf("SC_OPEN_MAX")
    bounds = sorted(set(kept))
    for low, high in zip([-1, *bounds], [*bounds, highest + 1], strict=True):
        if low + 1 < high:  # closerange(0, 0) of Python 3.11 closes all.
            os.closerange(low + 1, high)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that returns -1 on failure. Raises OSError with errno set.

    `arguments` are ints (C's int), bytes (strings), or values of ctypes.
    """
    ctypes.set_errno(0)
    result: int = getattr(_LIBC, name)(*arguments)
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result
