"""Data in anonymous memory: memfd_create(2), Linux 3.17; seals of fcntl(2).

The data lives as long as a descriptor of it, also across execve. Functions raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os

# linux/memfd.h, Linux 6.3. Without it, vm.memfd_noexec=2 refuses the call, and 0 logs a line.
_MFD_NOEXEC_SEAL = 0x0008
_FLAGS = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_SEALS = fcntl.F_SEAL_WRITE | _SIZE_SEALS
_READ = 1 << 20


def sealed(name: str, data: bytes) -> int:
    """A close-on-exec descriptor of a sealed file with this data. /proc shows the name."""
    return _filled(name, data, _SEALS)


def fixed(name: str, data: bytes) -> int:
    """As `sealed`, of a file that can be written to and mapped, but keeps its size."""
    return _filled(name, data, _SIZE_SEALS)


def _filled(name: str, data: bytes, seals: int) -> int:
    fd = _create(name)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except OSError:
        os.close(fd)
        raise
    return fd


def contents(fd: int) -> bytes:
    """All data of a sealed file, whatever its offset. Raises OSError, also if it is not sealed."""
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise OSError(errno.EINVAL, "not sealed")
    chunks: list[bytes] = []
    offset = 0
    while chunk := os.pread(fd, _READ, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _create(name: str) -> int:
    try:
        return os.memfd_create(name, _FLAGS | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, _FLAGS)
