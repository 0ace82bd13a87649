"""The gate inside the process: while it is closed, a decoy replaces the listener at each fd.

No fd number is remembered. One duplicate keeps the listener, and when the gate opens every fd that
shows the decoy gets the listener back, even if the program has duplicated, closed or inherited it
meanwhile. A fork copies the whole state: a child opens its own gate.

All fds of one socket share one open file description, hence one decoy for each listener.

If an epoll instance watches a fd, its entry moves along with the same events and data. So the
kernel remembers the entries, and the program can change or remove them meanwhile.

Raises OSError, and GateError if the program has closed a duplicate or a decoy.
"""

from __future__ import annotations

import _socket
import os

from . import decoy, epoll, threads

_SOCKET = 0o140000
_PIPE = 0o010000
_FORMAT = 0o170000


class GateError(Exception):
    """The order cannot be carried out."""


class _Valve:
    __slots__ = ("decoy", "decoy_inode", "kept", "listener")

    def __init__(self, listener: int, fd: int) -> None:
        self.listener = listener
        self.decoy, self.decoy_inode = decoy.make(fd)
        self.kept = os.dup(fd)

    def is_whole(self) -> bool:
        return _socket_inode(self.kept) == self.listener

    def discard(self) -> None:
        # A program that closes all unknown fds may have reused these numbers.
        for fd, inode in ((self.kept, self.listener), (self.decoy, self.decoy_inode)):
            if _socket_inode(fd) == inode:
                os.close(fd)


_valves: dict[int, _Valve] = {}


def close(listeners: list[int], watched: bool = False) -> int:
    """Replace the listeners, given by inode, by decoys. Returns the number of fds with a decoy.

    A fd that an epoll instance watches is skipped, because the supervisor gates it from outside,
    unless `watched`.
    """
    sockets, epolls = descriptors()
    fds: list[int] = []
    fresh: list[int] = []
    for listener in listeners:
        valve = _valves.get(listener)
        laid = _showing(sockets, valve.decoy_inode, valve) if valve else []
        found = _showing(sockets, listener, valve)
        if not watched:
            found = _unwatched(found, listener, epolls)
        if found and (valve is None or not valve.is_whole()):
            if not _is_listening(found[0]):
                continue
            before = 0
            if valve is not None:
                before = valve.decoy_inode
                valve.discard()
            valve = _valves[listener] = _Valve(listener, found[0])
            _lay(valve.decoy, laid, before, epolls)
        if valve is not None and found:
            _lay(_decoy_of(valve), found, listener, epolls)
            fresh.append(valve.decoy)
        fds += found + laid
    _wake(fds)
    for fd in fresh:
        decoy.visit(fd)
    return len(fds)


def open(listeners: list[int]) -> int:
    """Restore the listeners. Returns the number of their fds that no epoll instance watches."""
    sockets, epolls = descriptors()
    laid: list[int] = []
    fds: list[int] = []
    for listener in listeners:
        valve = _valves.get(listener)
        if valve is not None:
            closed = _showing(sockets, valve.decoy_inode, valve)
            _reopen(valve, closed, epolls)
            laid += closed
            sockets, epolls = descriptors()
        fds += _unwatched(_showing(sockets, listener, None), listener, epolls)
    _wake([*laid, *fds])
    return len(fds)


def _reopen(valve: _Valve, fds: list[int], epolls: list[int]) -> None:
    if fds:
        if not valve.is_whole():
            raise GateError(f"the program has closed the listener {valve.listener}")
        # All generations share the listener's O_NONBLOCK: it is never cleared.
        if not os.get_blocking(fds[0]):
            os.set_blocking(valve.kept, False)
        _lay(valve.kept, fds, valve.decoy_inode, epolls)
    valve.discard()
    del _valves[valve.listener]


def _wake(fds: list[int]) -> None:
    stuck = threads.nudge(fds) if fds else 0
    if stuck:
        raise GateError(f"{stuck} threads could not be interrupted")


def _lay(source: int, fds: list[int], shown: int, epolls: list[int]) -> None:
    """Replace the socket `shown` (inode) at these fds, together with its epoll entries."""
    moving = [entry for entry in epoll.entries(epolls, shown, fds) if entry.remove()]
    try:
        for fd in fds:
            os.dup2(source, fd, os.get_inheritable(fd))
    finally:
        lost = sum(not entry.add() for entry in moving)
    if lost:
        raise GateError(f"{lost} epoll entries were lost")


def _decoy_of(valve: _Valve) -> int:
    if _socket_inode(valve.decoy) != valve.decoy_inode:
        raise GateError(f"the program has closed the decoy of the listener {valve.listener}")
    return valve.decoy


def _socket_inode(fd: int) -> int:
    """The inode of the socket at a descriptor, 0 if there is none."""
    try:
        status = os.fstat(fd)
    except OSError:
        return 0
    return status.st_ino if status.st_mode & _FORMAT == _SOCKET else 0


def _is_listening(fd: int) -> bool:
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, os.dup(fd))
    try:
        return probe.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN) == 1
    finally:
        probe.close()


def descriptors() -> tuple[dict[int, int], list[int]]:
    """The sockets of this process (fd → inode), and the fds of its epoll instances."""
    sockets: dict[int, int] = {}
    epolls: list[int] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
            if status.st_mode & _FORMAT == _SOCKET:
                sockets[int(name)] = status.st_ino
            elif status.st_mode & _FORMAT != _PIPE:
                if os.readlink("/proc/self/fd/" + name) == "anon_inode:[eventpoll]":
                    epolls.append(int(name))
        except OSError:
            continue  # closed meanwhile, or the fd that listed the directory
    return sockets, epolls


def _showing(sockets: dict[int, int], inode: int, valve: _Valve | None) -> list[int]:
    own = (valve.kept, valve.decoy) if valve is not None else ()
    return [fd for fd, found in sockets.items() if found == inode and fd not in own]


def _unwatched(fds: list[int], inode: int, epolls: list[int]) -> list[int]:
    """The fds that no epoll instance watches; the others are gated from outside."""
    if not fds:
        return []
    watched = epoll.watched(epolls, inode)
    return [fd for fd in fds if fd not in watched]
