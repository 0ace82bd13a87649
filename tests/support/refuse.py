"""Runs a command and its children with pidfd_getfd refused, as in many containers.

    python tests/support/refuse.py COMMAND…

A seccomp filter answers the call with EPERM; everything else goes through. See seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

# What to put before a command.
LAUNCHER = (sys.executable, str(Path(__file__).resolve()))

_PIDFD_GETFD = 438  # on every architecture
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000


def refuse() -> None:
    """Put the filter on this process, for good. Raises OSError."""
    # Load the number of the call; if it is ours, go on, else skip one; return.
    filter = ctypes.create_string_buffer(
        struct.pack("=HBBI", 0x20, 0, 0, 0)
        + struct.pack("=HBBI", 0x15, 0, 1, _PIDFD_GETFD)
        + struct.pack("=HBBI", 0x06, 0, 0, _ERRNO | errno.EPERM)
        + struct.pack("=HBBI", 0x06, 0, 0, _ALLOW)
    )
    program = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(filter)))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    for option, argument, more in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program)),
    ):
        if libc.prctl(option, argument, more, zero, zero) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    refuse()
    os.execvp(sys.argv[1], sys.argv[1:])
