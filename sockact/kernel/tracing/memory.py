"""Memory of a stopped thread: proc_pid_mem(5), writable since Linux 2.6.39.

A page may never arrive (looks.py): only for a process that can be given up.
"""

from __future__ import annotations

import errno
import os

from sockact.kernel import procfs

_HIGHEST_ADDRESS = (1 << 63) - 1  # what an offset of pwrite() can express


def read(tid: int, address: int, length: int) -> bytes:
    """Exactly `length` bytes. Raises OSError."""
    data = procfs.memory(tid, address, length)
    if len(data) < length:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return data


def write(tid: int, address: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError."""
    if address > _HIGHEST_ADDRESS:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    fd = os.open(f"/proc/{tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.pwrite(fd, data, address) < len(data):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    finally:
        os.close(fd)
