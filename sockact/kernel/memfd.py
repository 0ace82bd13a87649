"""A text in anonymous memory that nobody changes any more: memfd_create(2), Linux 3.17; seals, see
fcntl(2).

It lasts as long as a descriptor of it, also across execve. Raises OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os

# linux/memfd.h, Linux 6.3: without it, vm.memfd_noexec=2 refuses and =0 logs a line.
_MFD_NOEXEC_SEAL = 0x0008
_FLAGS = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_READ = 1 << 20


def sealed(name: str, data: bytes) -> int:
    """A descriptor, close-on-exec, of a file with this content. The name is shown in /proc."""
    fd = _create(name)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def contents(fd: int) -> bytes:
    """All of it, wherever the file's offset is. Raises OSError, also when it is not sealed."""
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
