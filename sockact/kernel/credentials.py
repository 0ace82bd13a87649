"""Users and namespaces of processes and sockets: proc_pid_status(5), namespaces(7), and
SO_NETNS_COOKIE of socket(7), Linux 5.14.

The namespaces of another process can be read under the same conditions as its descriptors: see
procfs.py.
"""

from __future__ import annotations

import os
import socket

from sockact.kernel import procfs
from sockact.kernel.looks import Unavailable, apart

NETWORK = "net"
MOUNT = "mnt"

_SO_NETNS_COOKIE = 71


def identity(pid: int) -> tuple[bytes, ...]:
    """The users and groups of a process, to compare them; empty if it is gone or hidden."""
    try:
        return _identity(pid)
    except OSError:
        return ()


@apart
def _identity(pid: int) -> tuple[bytes, ...]:
    lines = procfs.read(f"/proc/{pid}/status").splitlines()
    return tuple(line for line in lines if line.startswith((b"Uid:", b"Gid:")))


def users(pid: int) -> set[int]:
    """The real, effective and saved user of a process or thread; empty if it is gone or hidden.

    Raises Unavailable.
    """
    try:
        found = _identity(pid)
    except Unavailable:
        raise
    except OSError:
        return set()
    return {*map(int, found[0].split()[1:4])} if found else set()


@apart
def shares_namespace(pid: int, kind: str) -> bool:
    """Whether a process or thread is in this process's namespace of the kind.

    Raises PermissionError, and FileNotFoundError if it is gone.
    """
    try:
        own = os.readlink(f"/proc/self/ns/{kind}")
    except FileNotFoundError:
        return True  # A kernel without such namespaces.
    return os.readlink(f"/proc/{pid}/ns/{kind}") == own


def shares_network(found: socket.socket) -> bool | None:
    """Whether a socket is of this process's network namespace; None before Linux 5.14."""
    try:
        with socket.socket(socket.AF_UNIX) as own:
            cookies = [
                one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8) for one in (own, found)
            ]
    except OSError:
        return None
    return cookies[0] == cookies[1]
