"""Comparison of open files: kcmp(2), Linux 3.5 with CONFIG_KCMP."""

from __future__ import annotations

from sockact.kernel.libc import per_machine, syscall

_KCMP = per_machine(312, 272)
_KCMP_FILE = 0


def same_file(pid: int, one: int, other: int) -> bool:
    """Whether two descriptors of a process refer to the same open file; False if the kernel does
    not tell. Needs the same rights as /proc/PID/fd.
    """
    try:
        return syscall(_KCMP, pid, pid, _KCMP_FILE, one, other) == 0
    except OSError:
        return False
