"""The program's own socket, which adoption replaces: its options and its epoll entries.

A program may put its socket into epoll before it binds. Such an entry belongs to the open file, so
it has to be made anew for the listener, with the same events and data.
"""

from __future__ import annotations

import os
import socket

from sockact.core.record import replace
from sockact.handover import gate
from sockact.kernel import pidfd, procfs
from sockact.kernel.sockets import received

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.handover.gate import Entry
    from sockact.kernel.sockets.listener import Listener


def duplicate(tid: int, fd: int) -> socket.socket | None:
    """A duplicate of a thread's socket; None if pidfd_getfd is refused, or if it is no socket."""
    try:
        copy = pidfd.getfd(procfs.thread_group(tid), fd)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None  # The descriptor was replaced meanwhile.


def close(own: socket.socket | None) -> None:
    """Close a duplicate, if there is one; does not wait for data of a connection to be sent."""
    if own is None:
        return
    try:
        own.getpeername()
    except OSError:
        pass  # It has no connection, so that its SO_LINGER has no effect here.
    else:
        received.do_not_linger(own)
    own.close()


def unwatch(tid: int, fd: int, own: socket.socket) -> list[Entry]:
    """Remove the entries of this socket at this descriptor from the epoll instances of the process.

    Returns them; an empty list if they cannot be read or removed.
    """
    inode = os.fstat(own.fileno()).st_ino
    try:
        found = gate.entries([procfs.thread_group(tid)], {inode})
        found = [entry for entry in found if entry.fd == fd]
        refused = gate.close(found, {inode: own.fileno()}) if found else {}
    except (OSError, gate.GateRefused):
        return []
    return [] if refused else found


def watch_instead(entries: list[Entry], listener: Listener) -> None:
    """Add the entries again for the listener, which has the socket's descriptor now."""
    if not entries:
        return
    moved = [replace(entry, inode=listener.inode) for entry in entries]
    try:
        gate.open(moved, {listener.inode: listener.socket.fileno()})
    except gate.GateRefused:
        return  # The process has ended.


def explain_unreadable(tid: int) -> str:
    """Why the socket of a thread cannot be looked at, and what to change."""
    try:
        user = f"user {os.stat(f'/proc/{tid}').st_uid}"
    except OSError:
        user = "another user"
    return (
        f"process {tid} of {user} called bind(), and sockact may not read it; set User= to that "
        f"user in the unit, or add CAP_SYS_PTRACE to CapabilityBoundingSet="
    )
