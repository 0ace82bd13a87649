"""Interest: a generation visibly waits for connections on a listener.

listen() is no proof: gunicorn listens before a worker has imported the application. A process waits
if one of its epoll instances watches the listener for input, if one of its threads is blocked in
accept, poll or select on it (for datagrams also in recvfrom, recvmsg or recvmmsg), or if an accept
waits in one of its io_uring instances.
"""

from __future__ import annotations

import select
import struct

from sockact.kernel import epoll, procfs, waits
from sockact.kernel.looks import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.epoll import Limit
    from sockact.kernel.waits import BlockedCall

_POLLFD = struct.Struct("=ihh")
_MOST_POLLFDS = 4096
_MOST_SELECT_BITS = 65536
# A listener that is watched only for hang-up has nobody who accepts: the supervisor watches so, and
# its child has the same epoll instance until it executes the program.
_INPUT = select.EPOLLIN | select.EPOLLRDNORM
# Operations of io_uring: io_uring_enter(2).
_RECVMSG, _ACCEPT, _RECV = 10, 13, 27
_DATAGRAMS = ("UDP", "UDPv6", "UNIX-DGRAM")


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
    return bool(waits.blocked_calls(pid)) and bool(_interest(pid, inodes))


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
    for call in waits.blocked_calls(pid):
        found |= {held[fd] for fd in _waits_on(pid, call) if fd in held}
    return found if found >= set(held.values()) else found | _in_rings(pid, held)


def _in_rings(pid: int, held: dict[int, int]) -> set[int]:
    """The listeners that operations in io_uring instances wait on.

    The kernel does not tell which operation waits on which socket. So these are all of one kind,
    if at least as many operations wait as there are.
    """
    waiting = waits.io_uring(pid)
    if not waiting:
        return set()
    datagrams = {n for fd, n in held.items() if procfs.socket_protocol(pid, fd) in _DATAGRAMS}
    streams = {*held.values()} - datagrams
    received = waiting.count(_RECVMSG) + waiting.count(_RECV)
    return (streams if waiting.count(_ACCEPT) >= len(streams) else set()) | (
        datagrams if received >= len(datagrams) else set()
    )


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
