"""Runs a command and its children with a system call refused, as in many containers.

    python tests/support/refuse.py CALL COMMAND…

A seccomp filter answers the call with EPERM; everything else goes through. See seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

_CALLS = {
    "pidfd_open": 434,  # on every architecture
    "pidfd_getfd": 438,
    "getxattr": {"x86_64": 191, "aarch64": 8}[os.uname().machine],
}
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000


def launcher(call: str) -> tuple[str, ...]:
    """What to put before a command for which this call is refused."""
    return sys.executable, str(Path(__file__).resolve()), call


# As most containers do.
LAUNCHER = launcher("pidfd_getfd")


def refuse(call: str = "pidfd_getfd") -> None:
    """Put the filter on this process, for good. Raises OSError."""
    # Load the number of the call; if it is ours, go on, else skip one; return.
    filter = ctypes.create_string_buffer(
        struct.pack("=HBBI", 0x20, 0, 0, 0)
        + struct.pack("=HBBI", 0x15, 0, 1, _CALLS[call])
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
    refuse(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])
