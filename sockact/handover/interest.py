"""Interest: a generation visibly waits for connections on a listener.

listen() is no proof: gunicorn listens before a worker has imported the application. A process waits
if one of its epoll instances watches the listener for input, or if one of its threads is blocked in
accept, poll or select on it (for datagrams also in recvfrom, recvmsg or recvmmsg).
"""

from __future__ import annotations

import select
import struct

from sockact.kernel import epoll, procfs
from sockact.kernel.looks import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.epoll import Limit
    from sockact.kernel.procfs import BlockedCall

_POLLFD = struct.Struct("=ihh")
_MOST_POLLFDS = 4096
_MOST_SELECT_BITS = 65536
# A listener that is watched only for hang-up has nobody who accepts: the supervisor watches so, and
# its child has the same epoll instance until it executes the program.
_INPUT = select.EPOLLIN | select.EPOLLRDNORM


@apart
def interest(pids: list[int], inodes: set[int]) -> tuple[set[int], set[int]]:
    """Which of the listeners (by inode) the processes wait on: (inodes, unreadable processes).

    A process that is busy with a response may not be waiting at this moment. Raises
    procfs.Unavailable.
    """
    found: set[int] = set()
    unreadable = set()
    limit = epoll.Limit()
    for pid in pids:
        try:
            found |= _interest(pid, inodes, limit)
        except (PermissionError, epoll.TooMany):
            unreadable.add(pid)
    return found, unreadable


@apart
def accepts(pid: int, inodes: set[int]) -> bool:
    """Whether a thread is blocked in accept, poll or select on one of the listeners.

    Raises as `process_interest` does.
    """
    # To find out on which, all descriptors must be read; first check that there is such a call.
    return bool(procfs.blocked_calls(pid)) and bool(_interest(pid, inodes))


@apart
def process_interest(pid: int, inodes: set[int]) -> set[int]:
    """The listeners that one process waits on.

    Raises PermissionError, procfs.Unavailable and epoll.TooMany.
    """
    return _interest(pid, inodes)


def _interest(pid: int, inodes: set[int], limit: Limit | None = None) -> set[int]:
    sockets, epolls = procfs.sockets_and_epolls(pid)
    held = {fd: inode for fd, inode in sockets.items() if inode in inodes}
    if not held:
        return set()
    limit = limit or epoll.Limit()
    found = {
        entry.inode
        for epfd in epolls
        for entry in epoll.of_instance(pid, epfd, inodes, limit)
        if entry.events & _INPUT
    }
    if found >= set(held.values()):
        return found  # Reading the blocked calls needs more rights.
    for call in procfs.blocked_calls(pid):
        found |= {held[fd] for fd in _waits_on(pid, call) if fd in held}
    return found


def _waits_on(pid: int, call: BlockedCall) -> list[int]:
    """The descriptors that a blocked system call waits to read from."""
    try:
        if call.name in ("poll", "ppoll"):
            return _polled(pid, call.arguments)
        if call.name in ("select", "pselect6"):
            return _selected(pid, call.arguments)
    except procfs.Unavailable:
        raise
    except OSError:
        return []  # The process has ended, or has returned from the call and freed the memory.
    return [call.arguments[0] & 0xFFFFFFFF]


def _polled(pid: int, arguments: tuple[int, ...]) -> list[int]:
    count = min(arguments[1], _MOST_POLLFDS)
    data = procfs.memory(pid, arguments[0], count * _POLLFD.size)
    whole = len(data) - len(data) % _POLLFD.size
    return [fd for fd, events, _ in _POLLFD.iter_unpack(data[:whole]) if events & 1]


def _selected(pid: int, arguments: tuple[int, ...]) -> list[int]:
    bits = min(arguments[0], _MOST_SELECT_BITS)
    if not arguments[1]:
        return []
    data = procfs.memory(pid, arguments[1], (bits + 7) // 8)
    return [fd for fd in range(len(data) * 8) if data[fd // 8] >> fd % 8 & 1]
