"""Runs a command and its children with system calls refused, as in many containers.

    python tests/support/refuse.py CALL[=ERROR][,CALL…] COMMAND…

A seccomp filter answers the calls with the error, EPERM by default; everything else goes through.
`netlink` stands for socket(AF_NETLINK). See seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

# On x86_64 and on aarch64.
_CALLS = {
    "getxattr": (191, 8),
    "inotify_init1": (294, 26),
    "kcmp": (312, 272),
    "memfd_create": (319, 279),
    "netlink": (41, 198),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "seccomp": (317, 277),
}
_MACHINE = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
_AF_NETLINK = 16
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _FIRST_ARGUMENT = 0, 16


def launcher(calls: str) -> tuple[str, ...]:
    """What to put before a command for which these calls are refused."""
    return sys.executable, str(Path(__file__).resolve()), calls


# As most containers do.
LAUNCHER = launcher("pidfd_getfd")


def refuse(calls: str = "pidfd_getfd") -> None:
    """Put the filter on this process, for good. Raises OSError."""
    steps = b"".join(map(_rule, calls.split(",")))
    steps += _step(_RETURN, _ALLOW)
    filter = ctypes.create_string_buffer(steps)
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(steps) // 8, ctypes.addressof(filter))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    for option, argument, more in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program)),
    ):
        if libc.prctl(option, argument, more, zero, zero) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _rule(text: str) -> bytes:
    """Load the number of the call; if it is this one, return the error, else go on behind."""
    name, _, error = text.partition("=")
    answer = _step(_RETURN, _ERRNO | int(getattr(errno, error or "EPERM")))
    if name == "netlink":
        answer = _step(_LOAD, _FIRST_ARGUMENT) + _step(_JUMP_EQUAL, _AF_NETLINK, 0, 1) + answer
    jump = _step(_JUMP_EQUAL, _CALLS[name][_MACHINE], 0, len(answer) // 8)
    return _step(_LOAD, _NUMBER) + jump + answer


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


if __name__ == "__main__":
    refuse(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])
