"""Interest: a generation visibly waits for connections on a listener.

listen() is no proof: gunicorn listens before a worker has imported the application. A process waits
if one of its epoll instances watches the listener for input, if one of its threads is blocked in
accept, poll or select on it (for datagrams also in recvfrom, recvmsg or recvmmsg), or if an accept
waits in one of its io_uring instances.

`hold` stops a process that waits for datagrams: SIGSTOP, signal(7).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time

from sockact.kernel import epoll, pidfd, procfs, waits
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
# What recvfrom and recvmsg fill: of the buffer as much as shows a datagram, an address, its length.
_MOST_BUFFER, _ADDRESS, _LENGTH, _MSGHDR = 256, 28, 4, 56
_MOST_MESSAGES = 16
_STOPPED = {"T", "Z", "X"}  # proc_pid_stat(5)
_STOPS_WITHIN = 0.05
"""Seconds; a thread that sleeps in a call needs microseconds, one that waits for a disk longer."""
_STOPS_AGAIN = 0.0002


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
def waiting(pids: list[int], inodes: set[int]) -> set[int]:
    """Which of the processes wait on a listener. Those that cannot be read count.

    Raises procfs.Unavailable.
    """
    found = set()
    for pid in pids:
        try:
            waits_here = bool(_interest(pid, inodes))
        except (PermissionError, epoll.TooMany):
            waits_here = True
        if waits_here:
            found.add(pid)
    return found


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
        found |= {held[fd] for fd in waits_on(pid, call) if fd in held}
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


def waits_on(pid: int, call: BlockedCall) -> list[int]:
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


@apart
def hold(pid: int, inodes: set[int]) -> bool | None:
    """Stop a process that has no datagram in hand: a thread waits for the next one on one of the
    listeners, or in epoll, and no thread is outside of a system call.

    Returns whether it is stopped now; the caller has to `let_go` of it. None if there is nothing to
    wait for: it has none of the listeners, is stopped already, or gone. Raises PermissionError,
    procfs.Unavailable.
    """
    held = {fd for fd, inode in procfs.sockets(pid).items() if inode in inodes}
    if not held or "T" in _states(pid):
        return None
    before = waits.system_calls(pid)
    filled = _filled(pid, before)
    # The same again: no thread has run since, so the memory is as it was before the call returns.
    if not _waits_for_next(pid, held, before) or waits.system_calls(pid) != before:
        return False
    stopped = False
    try:
        pidfd.send_signal(pid, signal.SIGSTOP)
        # A thread on its way out of recvfrom() is shown in it, but the memory has the datagram.
        stopped = (
            _stops(pid) and waits.system_calls(pid) == before and _filled(pid, before) == filled
        )
    finally:
        if not stopped:
            let_go(pid)
    return stopped


def let_go(pid: int) -> None:
    """Continue a process that `hold` has stopped, or may have. Needs no descriptor."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGCONT)


def _waits_for_next(pid: int, held: set[int], calls: dict[int, tuple[str, ...]]) -> bool:
    if any(len(words) < 7 for words in calls.values()):
        return False  # A thread is running.
    return any(
        waits.in_epoll_wait(words)
        or ((call := waits.blocked_call(words)) and not held.isdisjoint(waits_on(pid, call)))
        for words in calls.values()
    )


def _filled(pid: int, calls: dict[int, tuple[str, ...]]) -> list[bytes]:
    """The memory that the calls fill when they return with a datagram."""
    found = []
    for call in filter(None, map(waits.blocked_call, calls.values())):
        _fd, two, three, _flags, five, six = call.arguments
        places = {
            "recvfrom": ((two, min(three, _MOST_BUFFER)), (five, _ADDRESS), (six, _LENGTH)),
            "recvmsg": ((two, _MSGHDR),),
            "recvmmsg": ((two, min(three, _MOST_MESSAGES) * (_MSGHDR + 8)),),
        }
        for address, length in places.get(call.name, ()):
            try:
                found.append(procfs.memory(pid, address, length) if address else b"")
            except procfs.Unavailable:
                raise
            except OSError:
                found.append(b"")  # Not memory of the process: the call would fail.
    return found


def _stops(pid: int) -> bool:
    until = time.monotonic() + _STOPS_WITHIN
    while not _states(pid) <= _STOPPED:
        if time.monotonic() > until:
            return False
        time.sleep(_STOPS_AGAIN)
    return True


def _states(pid: int) -> set[str]:
    return {thread.state for thread in waits.threads(pid)}
