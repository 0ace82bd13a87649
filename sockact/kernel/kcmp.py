"""kcmp(2), Linux 3.5 with CONFIG_KCMP: do two descriptors of a process share one open file?"""

from __future__ import annotations

from sockact.kernel.libc import per_machine, syscall

_KCMP = per_machine(312, 272)
_KCMP_FILE = 0


def same_file(pid: int, one: int, other: int) -> bool:
    """Are they duplicates? False when the kernel does not tell; the rights are those for
    /proc/PID/fd.
    """
    try:
        return syscall(_KCMP, pid, pid, _KCMP_FILE, one, other) == 0
    except OSError:
        return False
