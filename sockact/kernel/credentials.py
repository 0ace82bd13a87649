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
        return tuple(_identities([pid])[0])
    except OSError:
        return ()


def users(pids: list[int]) -> list[set[int]]:
    """The real, effective and saved user of each process or thread; empty if it is gone or hidden.

    Raises Unavailable.
    """
    found = (lines[:1] for lines in _identities(pids))
    return [{int(user) for line in lines for user in line.split()[1:4]} for lines in found]


@apart
def _identities(pids: list[int]) -> list[list[bytes]]:
    return [_identity(pid) for pid in pids]


def _identity(pid: int) -> list[bytes]:
    try:
        lines = procfs.read(f"/proc/{pid}/status").splitlines()
    except Unavailable:
        raise
    except OSError:
        return []
    return [line for line in lines if line.startswith((b"Uid:", b"Gid:"))]


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
